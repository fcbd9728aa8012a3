#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fixture.hpp"

namespace pronto::server {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

/// A broker on a disk that fills up, or that must not.
class FullDiskTest : public HostTest {
 protected:
  static wire::BasicProperties persistent(wire::Table headers = {}) {
    wire::BasicProperties properties;
    properties.delivery_mode = 2;
    properties.headers = std::move(headers);
    return properties;
  }
  void declare(RawClient& client, std::string_view queue, wire::Table arguments) {
    client.call(
        1, wire::QueueDeclare{.queue = queue, .durable = true, .arguments = std::move(arguments)});
  }
  void declare_delayed(RawClient& client, std::string_view exchange) {
    client.call(1, wire::ExchangeDeclare{.exchange = exchange,
                                         .type = "x-delayed-message",
                                         .durable = true,
                                         .arguments = {{"x-delayed-type", "fanout"}}});
  }
  void limit_disk(std::size_t segment_bytes, std::size_t segments) {
    options.journal.segment_bytes = segment_bytes;
    options.journal.free_bytes_min = segment_bytes;
    disk.set_capacity(segments * segment_bytes);
  }
  void open_with_little_memory() {
    limit_disk(std::size_t{256} * 1024, 40);
    options.memory_bytes_max = 1'000'000;
    options.cache_bytes_max = 100'000;
    open();
  }
  /// Publishes until the disk alarm. Returns: how many.
  template <class Publish>
  int fill(Publish publish) {
    int sent = 0;
    while (host->is_ready() && sent < 20'000) {
      publish(++sent);
      loop.advance(milliseconds{10});
    }
    EXPECT_FALSE(host->is_ready());
    return sent;
  }
};

struct Drain {
  const char* name;
  int keep_every;  ///< so many messages one is for a queue that nobody drains
  std::size_t bytes;
  std::size_t segments;
};

class DrainTest : public FullDiskTest, public testing::WithParamInterface<Drain> {};

// Goal: a full disk that consumers drain has room again by itself, also where each segment holds
// something that stays: that is copied, and never from what the answers need.
TEST_P(DrainTest, GivesTheDiskBack) {
  limit_disk(std::size_t{64} * 1024, GetParam().segments);
  open();
  auto client = log_in();
  client->send(1, durable("q"));
  client->send(1, durable("old"));
  std::size_t kept = 0;
  const int sent = fill([&](int number) {
    const bool is_kept = number % GetParam().keep_every == 0;
    kept += is_kept ? 1 : 0;
    client->publish(1, is_kept ? "old" : "q", body(number, GetParam().bytes));
  });
  client->send(1, wire::BasicConsume{.queue = "q", .consumer_tag = "c"});
  ASSERT_THAT(client->deliveries, SizeIs(static_cast<std::size_t>(sent) - kept));
  for (std::size_t i = 0; i < client->deliveries.size(); ++i) {
    client->send(1, wire::BasicAck{.delivery_tag = client->deliveries[i].tag});
    if (i % 20 == 0) loop.advance(milliseconds{100});
  }
  loop.advance(seconds{60});
  EXPECT_TRUE(host->is_ready());
  EXPECT_THAT(failures, IsEmpty());
  client.reset();
  crash();
  open();
  EXPECT_EQ(queue("q").ready_count, 0U);
  EXPECT_EQ(queue("old").ready_count, kept);
}

INSTANTIATE_TEST_SUITE_P(All, DrainTest,
                         testing::Values(Drain{"EachThirdStays", 3, 1000, 8},
                                         Drain{"EachTenthStays", 10, 1000, 16},
                                         Drain{"SmallOnesNoneStays", 1'000'000, 100, 8},
                                         Drain{"EachThirdOfManyStays", 3, 1000, 32}),
                         [](const auto& info) { return info.param.name; });

TEST_F(FullDiskTest, WhatIsDueWaitsForRoomAndNotInMemory) {
  open_with_little_memory();
  auto client = log_in();
  declare_delayed(*client, "late");
  client->send(1, durable("q"));
  client->call(1, wire::QueueBind{.queue = "q", .exchange = "late"});
  const int sent = fill([&](int number) {
    client->write(RawClient::published(1, "late", "q", body(number, 5000),
                                       persistent({{"x-delay", std::int64_t{3'600'000}}})));
  });
  loop.advance(seconds{3700});
  EXPECT_LE(host->overview().memory_bytes, 1'200'000U);
  EXPECT_EQ(queue("q").ready_count + host->overview().delayed_count,
            static_cast<std::size_t>(sent));
  disk.set_capacity(std::size_t{200} * 256 * 1024);
  loop.advance(seconds{60});
  EXPECT_EQ(queue("q").ready_count, static_cast<std::size_t>(sent));
  EXPECT_TRUE(host->is_ready());
}

TEST_F(FullDiskTest, WhatExpiresIntoADeadLetterExchangeWaitsForRoomAndNotInMemory) {
  open_with_little_memory();
  auto client = log_in();
  client->send(1, durable("dead"));
  declare(*client, "q",
          {{"x-message-ttl", 3'600'000},
           {"x-dead-letter-exchange", ""},
           {"x-dead-letter-routing-key", "dead"}});
  const int sent = fill([&](int number) { client->publish(1, "q", body(number, 5000)); });
  loop.advance(seconds{3700});
  EXPECT_LE(host->overview().memory_bytes, 1'200'000U);
  EXPECT_EQ(queue("q").ready_count + queue("dead").ready_count, static_cast<std::size_t>(sent));
  disk.set_capacity(std::size_t{200} * 256 * 1024);
  loop.advance(seconds{60});
  EXPECT_EQ(queue("dead").ready_count, static_cast<std::size_t>(sent));
  EXPECT_EQ(queue("q").ready_count, 0U);
}

TEST_F(FullDiskTest, TakesNoCheckpointThatFreesNothing) {
  limit_disk(std::size_t{64} * 1024, 8);
  open();
  auto client = log_in();
  client->send(1, durable("q"));
  fill([&](int number) { client->publish(1, "q", body(number, 1000)); });
  loop.advance(seconds{5});
  const std::uint64_t before = host->overview().journal.checkpoints_total;
  client->send(1, wire::BasicConsume{.queue = "q", .consumer_tag = "c"});
  for (std::size_t i = 0; i < 20; ++i) {
    client->send(1, wire::BasicAck{.delivery_tag = client->deliveries.at(i).tag});
    loop.advance(seconds{1});
  }
  EXPECT_LE(host->overview().journal.checkpoints_total - before, 2U);
}

// Each full queue's copy is a unit of its own: together they may be larger than a segment.
TEST_F(FullDiskTest, CopiesOfWhatManyFullQueuesRefuseAreUnitsOfTheirOwn) {
  options.journal.segment_bytes = std::size_t{8} * 1024 * 1024;
  open();
  auto client = log_in();
  client->send(1, durable("dead"));
  client->call(1, wire::ExchangeDeclare{.exchange = "all", .type = "fanout", .durable = true});
  for (int i = 0; i < 8; ++i) {
    const std::string name = "q" + std::to_string(i);
    declare(*client, name,
            {{"x-max-length", std::int64_t{0}},
             {"x-overflow", "reject-publish-dlx"},
             {"x-dead-letter-exchange", ""},
             {"x-dead-letter-routing-key", "dead"}});
    client->call(1, wire::QueueBind{.queue = name, .exchange = "all"});
  }
  client->write(
      RawClient::published(1, "all", "", body(1, std::size_t{3} * 512 * 1024), persistent()));
  loop.advance(seconds{1});
  EXPECT_THAT(failures, IsEmpty());
  EXPECT_EQ(queue("dead").ready_count, 8U);
}

TEST_F(FullDiskTest, BlindCopiesOfWhatIsDelayedCountInATransaction) {
  options.journal.segment_bytes = std::size_t{8} * 1024 * 1024;
  open();
  auto client = log_in();
  client->send(1, durable("q"));
  declare_delayed(*client, "late");
  client->call(1, wire::ExchangeDeclare{.exchange = "all", .type = "fanout", .durable = true});
  client->call(1, wire::QueueBind{.queue = "q", .exchange = "all"});
  client->call(1, wire::ExchangeBind{.destination = "late", .source = "all"});
  client->call(1, wire::TxSelect{});
  for (int i = 0; i < 30; ++i) {
    client->write(RawClient::published(
        1, "all", "", body(i, 100'000),
        persistent({{"x-delay", std::int64_t{3'600'000}}, {"BCC", wire::Array{}}})));
  }
  client->call(1, wire::TxCommit{});
  loop.advance(seconds{1});
  EXPECT_THAT(failures, IsEmpty());
  EXPECT_EQ(queue("q").ready_count, host->overview().delayed_count) << "all or nothing";
}

TEST_F(FullDiskTest, AQueueWithSyncModeIntervalConfirmsBeforeTheSync) {
  open();
  auto client = log_in();
  declare(*client, "q", {{"x-sync-mode", "interval"}});
  client->call(1, wire::ConfirmSelect{});
  loop.advance(seconds{1});
  const std::uint64_t syncs = host->overview().journal.syncs_total;
  client->write(RawClient::published(1, "", "q", "a", persistent()));
  EXPECT_THAT(client->told(), testing::ElementsAre("1 basic.ack 1"));
  EXPECT_EQ(host->overview().journal.syncs_total, syncs);
  loop.advance(seconds{1});
  EXPECT_EQ(host->overview().journal.syncs_total, syncs + 1) << "and is synced soon after";
  client.reset();
  crash();
  open();
  EXPECT_EQ(queue("q").ready_count, 1U);
}

TEST_F(FullDiskTest, APersistentMessageIsNoDuplicateOfATransientOne) {
  open();
  auto client = log_in();
  declare(*client, "q", {{"x-message-deduplication", true}});
  client->call(1, wire::ConfirmSelect{});
  wire::BasicProperties transient = persistent({{"x-deduplication-header", std::string{"X"}}});
  transient.delivery_mode = 1;
  client->write(RawClient::published(1, "", "q", "a", transient));
  client->write(RawClient::published(1, "", "q", "a",
                                     persistent({{"x-deduplication-header", std::string{"X"}}})));
  client->write(RawClient::published(1, "", "q", "a", transient));
  loop.advance(seconds{1});
  EXPECT_EQ(queue("q").ready_count, 2U);
  client.reset();
  crash();
  open();
  EXPECT_EQ(queue("q").ready_count, 1U) << "what was confirmed";
}

TEST_F(FullDiskTest, AnExchangeBehindADelayedOneTakesNoDuplicates) {
  open();
  auto client = log_in();
  declare_delayed(*client, "late");
  client->call(1, wire::ExchangeDeclare{
                      .exchange = "once", .type = "x-message-deduplication", .durable = true});
  client->send(1, durable("q"));
  client->call(1, wire::QueueBind{.queue = "q", .exchange = "once"});
  client->call(1, wire::ExchangeBind{.destination = "once", .source = "late"});
  for (const std::int64_t delay : {1000, 1000, 0}) {
    client->write(RawClient::published(
        1, "late", "", "a",
        persistent({{"x-deduplication-header", std::string{"X"}}, {"x-delay", delay}})));
    loop.advance(seconds{3});
  }
  EXPECT_EQ(queue("q").ready_count, 1U);
}

}  // namespace
}  // namespace pronto::server
