#include <fmt/format.h>
#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <thread>

#include "content_store.hpp"
#include "fixture.hpp"
#include "gated_disk.hpp"
#include "pronto/journal/real_disk.hpp"
#include "pronto/server/listener.hpp"
#include "pronto/server/outbox.hpp"

namespace pronto::server {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;

class Host : public HostTest {
 protected:
  static int number_of(const std::string& body) { return std::stoi(body); }
};

TEST_F(Host, ConfirmsAndDeliversAfterTheSyncAndNotBefore) {
  std::uint64_t syncs = 0;
  RawClient* client = nullptr;
  auto opened = BrokerHost::open(
      loop,
      std::make_unique<GatedDisk>(disk.open(),
                                  [&] {
                                    ++syncs;
                                    if (!client) return;
                                    const Counters& counters = host->overview().counters;
                                    EXPECT_EQ(counters.confirmed_total, 0U);
                                    EXPECT_EQ(counters.delivered_total, 0U);
                                  }),
      users, options);
  ASSERT_TRUE(opened);
  host = std::move(*opened);
  auto owner = log_in();
  owner->send(1, durable("q"));
  owner->send(1, wire::ConfirmSelect{});
  owner->send(1, wire::BasicConsume{.queue = "q", .consumer_tag = "c"});
  owner->told();
  client = owner.get();
  const std::uint64_t before = syncs;
  owner->publish(1, "q", "1");
  EXPECT_EQ(syncs, before + 1);
  EXPECT_THAT(owner->told(), ElementsAre("1 basic.deliver c 1 1", "1 basic.ack 1"));
  client = nullptr;
  owner.reset();
  host.reset();
}

TEST_F(Host, OneSyncConfirmsAllThatCameInTogether) {
  open();
  auto client = log_in();
  client->send(1, durable("q"));
  client->send(1, wire::ConfirmSelect{});
  client->told();
  const std::uint64_t before = disk.sync_count();
  wire::BasicProperties properties;
  properties.delivery_mode = 2;
  Bytes bytes;
  for (int i = 0; i < 50; ++i) {
    append(bytes, RawClient::published(1, "", "q", body(i, 10), properties));
  }
  client->write(bytes);
  EXPECT_EQ(disk.sync_count(), before + 1);
  EXPECT_THAT(client->told(), ElementsAre("1 basic.ack up to 50"));
}

TEST_F(Host, AcksForceNoSync) {
  open();
  auto client = log_in();
  client->send(1, durable("q"));
  for (int i = 0; i < 20; ++i) client->publish(1, "q", body(i, 10));
  client->send(1, wire::BasicConsume{.queue = "q", .consumer_tag = "c"});
  ASSERT_THAT(client->deliveries, SizeIs(20));
  const std::uint64_t syncs = disk.sync_count();
  for (std::uint64_t tag = 1; tag <= 20; ++tag) {
    client->send(1, wire::BasicAck{.delivery_tag = tag});
  }
  EXPECT_EQ(disk.sync_count(), syncs);
  EXPECT_GT(host->overview().undurable_bytes, 0U);
  loop.advance(milliseconds{250});
  EXPECT_EQ(disk.sync_count(), syncs + 1);
  EXPECT_EQ(host->overview().undurable_bytes, 0U);
  client.reset();
  crash();
  open();
  EXPECT_EQ(queue("q").ready_count, 0U);
}

TEST_F(Host, AfterAFailedSyncNothingIsConfirmedEverAgain) {
  open();
  auto client = log_in();
  client->send(1, durable("q"));
  client->send(1, wire::ConfirmSelect{});
  client->publish(1, "q", "1");
  EXPECT_THAT(client->told(), Contains("1 basic.ack 1"));
  disk.fail_call(1, std::make_error_code(std::errc::io_error));  // the write goes through
  client->publish(1, "q", "2");
  client->publish(1, "q", "3");
  loop.advance(seconds{10});
  client->publish(1, "q", "4");
  loop.advance(seconds{10});
  EXPECT_TRUE(disk.has_failed());
  EXPECT_THAT(client->told(), Not(Contains(StartsWith("1 basic.ack"))));
  EXPECT_THAT(failures, ElementsAre(std::make_error_code(std::errc::io_error)));
  EXPECT_FALSE(host->is_ready());
  // What is in no need of the disk goes on.
  client->send(1, wire::BasicConsume{.queue = "q", .consumer_tag = "c"});
  EXPECT_THAT(client->told(), Contains("1 basic.deliver c 1 1"));
  client.reset();
  crash();
  open();
  auto again = log_in();
  again->call(1, wire::BasicGet{.queue = "q"});
  EXPECT_THAT(again->bodies(), ElementsAre("1"));
}

TEST_F(Host, AFullDiskBlocksPublishersLosesNothingAndGoesOnWhenThereIsRoom) {
  options.journal.segment_bytes = 64 * 1024;
  disk.set_capacity(3 * 64 * 1024);
  open();
  auto client = log_in();
  auto consumer = log_in();
  client->send(1, durable("q"));
  client->send(1, wire::ConfirmSelect{});
  client->told();
  int sent = 0;
  std::vector<std::string> told;
  const auto listen = [&] {
    for (std::string& line : client->told()) told.push_back(std::move(line));
  };
  while (sent < 500 && std::ranges::find(told, "0 connection.blocked low on disk") == told.end()) {
    client->publish(1, "q", body(++sent, 1000));
    loop.advance(milliseconds{10});
    listen();
  }
  ASSERT_LT(sent, 500) << "the disk is full and nobody was told";
  EXPECT_THAT(told, Not(Contains(StartsWith("1 basic.nack"))));
  EXPECT_TRUE(failures.empty());
  EXPECT_FALSE(host->is_ready());
  // What is published now waits; what frees room does not.
  const int blocked_at = sent;
  for (int i = 0; i < 20; ++i) client->publish(1, "q", body(++sent, 1000));
  loop.advance(seconds{5});
  EXPECT_EQ(queue("q").ready_count, static_cast<std::size_t>(blocked_at));
  consumer->send(1, wire::BasicConsume{.queue = "q", .consumer_tag = "c"});
  EXPECT_THAT(consumer->bodies(), SizeIs(blocked_at));
  consumer->send(1, wire::BasicAck{.delivery_tag = 0, .multiple = true});
  disk.set_capacity(100 * 64 * 1024);
  loop.advance(seconds{5});
  listen();
  EXPECT_THAT(told, Contains("0 connection.unblocked"));
  EXPECT_TRUE(host->is_ready());
  ASSERT_THAT(consumer->bodies(), SizeIs(sent));
  for (int i = 0; i < sent; ++i)
    EXPECT_EQ(number_of(consumer->bodies()[static_cast<std::size_t>(i)]), i + 1);
  EXPECT_TRUE(failures.empty());
  EXPECT_EQ(host->overview().counters.confirmed_total, static_cast<std::uint64_t>(sent));
  EXPECT_EQ(host->overview().counters.nacked_total, 0U);
}

TEST_F(Host, AFullDiskStillTakesAcksUntilTheQueueIsEmpty) {
  options.journal.segment_bytes = 64 * 1024;
  disk.set_capacity(4 * 64 * 1024);
  open();
  auto client = log_in();
  client->send(1, durable("dead"));
  client->send(1, wire::QueueDeclare{.queue = "q",
                                     .durable = true,
                                     .arguments = {{"x-dead-letter-exchange", ""},
                                                   {"x-dead-letter-routing-key", "dead"}}});
  client->send(1, wire::BasicQos{.prefetch_count = 1});
  int sent = 0;
  while (host->is_ready() && sent < 2'000) {
    client->publish(1, "q", body(++sent, 10));
    loop.advance(milliseconds{10});
  }
  ASSERT_FALSE(host->is_ready());
  // One by one, so that each is a write of its own: far more than the reserve takes. The last is
  // rejected, and moves.
  client->send(1, wire::BasicConsume{.queue = "q", .consumer_tag = "c"});
  for (std::size_t seen = 0; seen < client->deliveries.size(); ++seen) {
    const std::uint64_t tag = client->deliveries[seen].tag;
    if (seen + 1 == static_cast<std::size_t>(sent)) {
      client->send(1, wire::BasicReject{.delivery_tag = tag, .requeue = false});
    } else {
      client->send(1, wire::BasicAck{.delivery_tag = tag});
    }
  }
  EXPECT_THAT(client->deliveries, SizeIs(sent));
  loop.advance(seconds{5});
  EXPECT_TRUE(failures.empty());
  EXPECT_FALSE(host->is_ready());
  client->send(1, wire::BasicGet{.queue = "dead"});
  EXPECT_THAT(client->deliveries, SizeIs(sent)) << "a letter that is on no disk is not delivered";
  disk.set_capacity(100 * 64 * 1024);
  loop.advance(seconds{5});
  EXPECT_TRUE(host->is_ready());
  ASSERT_THAT(client->deliveries, SizeIs(sent + 1));
  EXPECT_EQ(number_of(client->deliveries.back().body), sent);
  client.reset();
  crash();
  open();
  EXPECT_EQ(queue("q").ready_count, 0U);
  EXPECT_EQ(queue("dead").ready_count, 1U);
}

TEST_F(Host, AFullDiskThatWasDrainedHasRoomAgain) {
  options.journal.segment_bytes = 64 * 1024;
  options.journal.free_bytes_min = 64 * 1024;
  disk.set_capacity(8 * 64 * 1024);
  open();
  auto client = log_in();
  client->send(1, durable("q"));
  int sent = 0;
  while (host->is_ready() && sent < 2'000) {
    client->publish(1, "q", body(++sent, 1000));
    loop.advance(milliseconds{10});
  }
  ASSERT_FALSE(host->is_ready());
  // All but one, which keeps its segment.
  client->send(1, wire::BasicConsume{.queue = "q", .consumer_tag = "c"});
  ASSERT_THAT(client->deliveries, SizeIs(sent));
  for (std::size_t i = 1; i < client->deliveries.size(); ++i) {
    client->send(1, wire::BasicAck{.delivery_tag = client->deliveries[i].tag});
  }
  loop.advance(seconds{10});
  EXPECT_TRUE(host->is_ready());
  EXPECT_GT(host->overview().journal.segments_freed_total, 2U);
  client = log_in();
  for (int i = 0; i < 50; ++i) client->publish(1, "q", body(++sent, 1000));
  loop.advance(seconds{1});
  client.reset();
  crash();
  open();
  EXPECT_EQ(queue("q").ready_count, 51U);
  client = log_in();
  client->send(1, wire::BasicGet{.queue = "q"});
  EXPECT_EQ(number_of(client->deliveries.at(0).body), 1);
}

// What was held back while the disk was full finds its place, so that checkpoints go on.
TEST_F(Host, WhatAFullDiskHadNoRoomForIsWhereACheckpointSays) {
  options.journal.segment_bytes = 64 * 1024;
  disk.set_capacity(2 * 64 * 1024);
  open();
  auto client = log_in();
  client->send(1, durable("dead"));
  client->send(1, wire::QueueDeclare{.queue = "q",
                                     .durable = true,
                                     .arguments = {{"x-dead-letter-exchange", ""},
                                                   {"x-dead-letter-routing-key", "dead"}}});
  int sent = 0;
  while (host->is_ready() && sent < 2'000) {
    client->publish(1, "q", body(++sent, 100));
    loop.advance(milliseconds{10});
  }
  ASSERT_FALSE(host->is_ready());
  for (int i = 0; i < sent; ++i) {
    client->send(1, wire::BasicGet{.queue = "q"});
    client->send(
        1, wire::BasicReject{.delivery_tag = static_cast<std::uint64_t>(i) + 1, .requeue = false});
  }
  loop.advance(seconds{1});
  EXPECT_FALSE(host->is_ready());
  EXPECT_EQ(queue("dead").ready_count, static_cast<std::size_t>(sent));
  const std::uint64_t checkpoints = host->overview().journal.checkpoints_total;
  disk.set_capacity(1000 * 64 * 1024);
  loop.advance(seconds{5});
  EXPECT_TRUE(host->is_ready());
  client.reset();
  shut_down();
  open();
  EXPECT_EQ(checkpoints, 0U);
  EXPECT_EQ(queue("q").ready_count, 0U);
  EXPECT_EQ(queue("dead").ready_count, static_cast<std::size_t>(sent));
  client = log_in();
  client->send(1, wire::BasicConsume{.queue = "dead", .consumer_tag = "c"});
  ASSERT_THAT(client->deliveries, SizeIs(sent));
  for (int i = 0; i < sent; ++i) {
    EXPECT_EQ(number_of(client->deliveries[static_cast<std::size_t>(i)].body), i + 1);
  }
}

/// A host whose journal has a thread, on a disk whose syncs wait while the gate is closed.
class SlowDisk : public Host {
 protected:
  ~SlowDisk() override {
    set_gate(true);
    host.reset();
  }
  void open_gated() {
    options.journal.threading = journal::Threading::own_thread;
    auto opened =
        BrokerHost::open(loop,
                         std::make_unique<GatedDisk>(disk.open(),
                                                     [this] {
                                                       std::unique_lock lock{mutex_};
                                                       opens_.wait(lock, [&] { return is_open_; });
                                                     }),
                         users, options);
    ASSERT_TRUE(opened);
    host = std::move(*opened);
  }
  void set_gate(bool is_open) {
    {
      const std::lock_guard lock{mutex_};
      is_open_ = is_open;
    }
    opens_.notify_all();
  }
  /// Runs until `condition` is true: what the other thread posts comes when it comes.
  template <class Condition>
  bool eventually(Condition condition) {
    const auto end = std::chrono::steady_clock::now() + seconds{20};
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) return false;
      loop.run_until_idle();
      std::this_thread::sleep_for(milliseconds{1});
    }
    return true;
  }

 private:
  std::mutex mutex_;
  std::condition_variable opens_;
  bool is_open_ = true;
};

// BROKER.md, case 41.
TEST_F(SlowDisk, ASyncThatTakesAMinuteIsAnAlarmAndHeartbeatsGoOn) {
  open_gated();
  auto client = log_in({.heartbeat_seconds = 10});
  client->call(1, durable("q"));
  client->call(1, wire::ConfirmSelect{});
  ASSERT_TRUE(eventually([&] { return host->overview().undurable_bytes == 0; }));
  client->told();
  set_gate(false);
  client->publish(1, "q", "1");
  for (int second = 0; second < 60; ++second) {
    loop.advance(seconds{1});
    client->frame(wire::FrameType::heartbeat, 0, "");
    if (second >= 1) EXPECT_TRUE(host->overview().alarms.slow_disk) << second;
  }
  const std::vector<std::string> told = client->told();
  EXPECT_GE(std::ranges::count(told, "heartbeat"), 5);
  EXPECT_THAT(told, Not(Contains(StartsWith("1 basic.ack"))));
  EXPECT_FALSE(client->has_ended());
  EXPECT_TRUE(host->is_ready()) << "nobody is blocked for that alone";
  set_gate(true);
  ASSERT_TRUE(eventually([&] { return host->overview().counters.confirmed_total == 1; }));
  EXPECT_FALSE(host->overview().alarms.slow_disk);
  EXPECT_THAT(client->told(), Contains("1 basic.ack 1"));
}

// BROKER.md, case 32.
TEST_F(SlowDisk, APublisherThatIsFasterThanTheDiskIsSlowedAndMemoryIsBounded) {
  options.undurable_bytes_max = 200'000;
  options.session.parked_bytes_max = 100'000;
  open_gated();
  auto client = log_in({.heartbeat_seconds = 10});
  client->call(1, durable("q"));
  client->call(1, wire::ConfirmSelect{});
  ASSERT_TRUE(eventually([&] { return host->overview().undurable_bytes == 0; }));
  set_gate(false);
  std::uint64_t peak = 0;
  constexpr int count = 2'000;
  for (int i = 0; i < count; ++i) {
    client->publish(1, "q", body(i, 1'000));
    if (i % 20 == 0) loop.advance(milliseconds{10});
    peak = std::max(peak, host->overview().memory_bytes);
  }
  EXPECT_TRUE(client->is_sending()) << "its socket is not read";
  EXPECT_LT(peak, 1'000'000U) << "of two megabytes";
  loop.advance(seconds{9});
  EXPECT_FALSE(client->has_ended());
  set_gate(true);
  ASSERT_TRUE(eventually([&] {
    loop.advance(milliseconds{5});
    return host->overview().counters.confirmed_total == count;
  }));
  EXPECT_EQ(queue("q").ready_count, std::size_t{count});
}

// BROKER.md, case 31.
TEST_F(Host, AConsumerWithoutAcksThatDoesNotReadGetsItsBacklogAsItReads) {
  options.cache_bytes_max = 100'000;
  options.outbox_bytes_max = 200'000;
  open();
  auto client = log_in();
  client->send(1, durable("q"));
  constexpr int count = 2'000;
  for (int i = 0; i < count; ++i) client->publish(1, "q", body(i, 10'000));
  auto consumer = log_in();
  consumer->set_reading(false);
  consumer->send(1, wire::BasicConsume{.queue = "q", .consumer_tag = "c", .no_ack = true});
  loop.advance(seconds{1});
  EXPECT_LT(host->overview().memory_bytes, 1'000'000U) << "of twenty megabytes";
  EXPECT_GT(queue("q").ready_count, std::size_t{count - 100});
  consumer->set_reading(true);
  loop.advance(seconds{1});
  ASSERT_THAT(consumer->bodies(), SizeIs(count));
  for (int i = 0; i < count; ++i) {
    EXPECT_EQ(number_of(consumer->bodies()[static_cast<std::size_t>(i)]), i);
  }
}

// BROKER.md, case 33.
TEST_F(Host, AlarmsComeAndGoAHundredTimesAndAcksAreTakenAllTheWhile) {
  options.memory_bytes_max = 200'000;
  options.cache_bytes_max = 1000;
  open();
  auto publisher = log_in();
  auto old = log_in({.is_capable = false});
  auto consumer = log_in();
  publisher->send(1, wire::QueueDeclare{.queue = "q"});
  int sent = 0;
  wire::BasicProperties transient;
  std::vector<std::string> told;
  for (int round = 1; round <= 100; ++round) {
    while (host->is_ready()) {
      publisher->write(RawClient::published(1, "", "q", body(++sent, 5'000), transient));
      loop.advance(milliseconds{10});
      ASSERT_LT(sent, 100 * 100);
    }
    consumer->call(1, wire::BasicConsume{.queue = "q", .consumer_tag = "c"});
    loop.advance(milliseconds{10});
    consumer->send(1, wire::BasicAck{.delivery_tag = 0, .multiple = true});
    consumer->call(1, wire::BasicCancel{.consumer_tag = "c"});
    loop.advance(seconds{2});
    ASSERT_TRUE(host->is_ready()) << "round " << round;
  }
  for (std::string& line : publisher->told()) told.push_back(std::move(line));
  EXPECT_EQ(std::ranges::count(told, "0 connection.blocked low on memory"), 100);
  EXPECT_EQ(std::ranges::count(told, "0 connection.unblocked"), 100);
  EXPECT_THAT(old->told(), Not(Contains(HasSubstr("blocked"))));
  EXPECT_THAT(consumer->bodies(), SizeIs(sent - static_cast<int>(queue("q").ready_count)));
}

TEST_F(Host, ALackOfMemoryBlocksPublishersAloneAndIsOverWhenThereIsEnough) {
  options.memory_bytes_max = 200'000;
  options.cache_bytes_max = 1000;
  open();
  auto publisher = log_in();
  auto old = log_in({.is_capable = false});
  auto consumer = log_in();
  publisher->send(1, wire::QueueDeclare{.queue = "q"});
  publisher->told();
  wire::BasicProperties transient;
  for (int i = 0; i < 25; ++i) {
    publisher->write(RawClient::published(1, "", "q", body(i, 10'000), transient));
    loop.advance(milliseconds{20});
  }
  EXPECT_THAT(publisher->told(), ElementsAre("0 connection.blocked low on memory"));
  EXPECT_EQ(host->overview().connections.size(), 3U);
  old->told();
  old->write(RawClient::published(1, "", "q", "parked", transient));
  loop.advance(seconds{1});
  EXPECT_THAT(old->told(), IsEmpty());
  // Others are served meanwhile, and what they answer counts.
  consumer->told();
  EXPECT_EQ(consumer->call(1, wire::QueueDeclare{.queue = "p"}), "1 queue.declare-ok p 0 0");
  consumer->send(1, wire::BasicConsume{.queue = "q", .consumer_tag = "c"});
  consumer->send(1, wire::BasicAck{.delivery_tag = 0, .multiple = true});
  loop.advance(seconds{1});
  EXPECT_THAT(publisher->told(), ElementsAre("0 connection.unblocked"));
  EXPECT_THAT(consumer->bodies(), Contains("parked"));
  EXPECT_THAT(consumer->bodies(), SizeIs(26));
}

TEST_F(Host, OpenTransactionsCountAsMemory) {
  options.memory_bytes_max = 400'000;
  open();
  auto client = log_in();
  client->send(1, durable("q"));
  client->send(1, wire::TxSelect{});
  for (int i = 0; i < 8; ++i) client->publish(1, "q", body(i, 60'000));
  loop.advance(milliseconds{10});
  EXPECT_GT(host->overview().memory_bytes, 480'000U);
  EXPECT_TRUE(host->overview().alarms.memory);
  client->send(1, wire::ChannelClose{});
  loop.advance(seconds{1});
  EXPECT_LT(host->overview().memory_bytes, 100'000U);
  EXPECT_FALSE(host->overview().alarms.memory);
}

TEST_F(Host, ABlockedPublisherIsReadUpToALimitAndNoFurther) {
  options.memory_bytes_max = 50'000;
  options.session.parked_bytes_max = 20'000;
  open();
  auto publisher = log_in();
  publisher->send(1, wire::QueueDeclare{.queue = "q"});
  wire::BasicProperties transient;
  int sent = 0;
  const auto publish = [&] {
    publisher->write(RawClient::published(1, "", "q", body(++sent, 1000), transient));
  };
  while (host->is_ready() && sent < 1000) {
    publish();
    loop.advance(milliseconds{10});
  }
  const std::uint64_t before = host->overview().counters.received_bytes_total;
  for (int i = 0; i < 400; ++i) publish();
  loop.advance(seconds{1});
  EXPECT_LT(host->overview().counters.received_bytes_total - before, 40'000U);
  EXPECT_TRUE(publisher->is_sending()) << "the client is held back";
  auto consumer = log_in();
  consumer->send(1, wire::BasicConsume{.queue = "q", .consumer_tag = "c", .no_ack = true});
  for (int i = 0; i < 200 && consumer->bodies().size() < static_cast<std::size_t>(sent); ++i) {
    loop.advance(milliseconds{100});
  }
  ASSERT_THAT(consumer->bodies(), SizeIs(sent));
  for (int i = 0; i < sent; ++i)
    ASSERT_EQ(number_of(consumer->bodies()[static_cast<std::size_t>(i)]), i + 1);
  EXPECT_FALSE(publisher->is_sending());
}

TEST_F(Host, AConsumerThatDoesNotReadIsSkippedAndLaterServed) {
  options.outbox_bytes_max = 64 * 1024;
  open();
  auto publisher = log_in();
  auto slow = log_in();
  publisher->send(1, durable("q"));
  slow->send(1, wire::BasicConsume{.queue = "q", .consumer_tag = "slow", .no_ack = true});
  slow->set_reading(false);
  for (int i = 1; i <= 1000; ++i) publisher->publish(1, "q", body(i, 2000));
  std::size_t outbox_bytes = 0;
  for (const ConnectionView& view : host->overview().connections) {
    outbox_bytes = std::max(outbox_bytes, view.outbox_bytes);
  }
  EXPECT_LT(outbox_bytes, 2U * 64 * 1024 + 4096);
  EXPECT_GT(queue("q").ready_count, 700U) << "a memory stream and an outbox hold the rest";
  auto quick = log_in();
  quick->send(1, wire::BasicConsume{.queue = "q", .consumer_tag = "quick", .no_ack = true});
  EXPECT_EQ(queue("q").ready_count, 0U);
  EXPECT_THAT(quick->bodies(), Not(IsEmpty()));
  slow->set_reading(true);
  EXPECT_EQ(slow->bodies().size() + quick->bodies().size(), 1000U);
  quick->send(1, wire::BasicCancel{.consumer_tag = "quick"});
  publisher->publish(1, "q", body(1001, 10));
  EXPECT_EQ(number_of(slow->bodies().back()), 1001);
}

TEST_F(Host, AConsumerWhoseOutboxIsFullOfOtherThingsIsServedOnceItReads) {
  options.outbox_bytes_max = 64 * 1024;
  open();
  auto publisher = log_in();
  auto consumer = log_in();
  publisher->send(1, durable("q"));
  publisher->send(1, durable("large"));
  publisher->publish(1, "large", body(1, 350'000));
  consumer->send(1, wire::BasicConsume{.queue = "q", .consumer_tag = "c"});
  consumer->set_reading(false);
  consumer->send(1, wire::BasicGet{.queue = "large"});
  publisher->publish(1, "q", "2");
  EXPECT_EQ(queue("q").ready_count, 1U);
  consumer->set_reading(true);
  EXPECT_THAT(consumer->bodies(), SizeIs(2));
  EXPECT_EQ(queue("q").ready_count, 0U);
}

TEST_F(Host, AClientThatDoesNotReadItsAnswersIsNotReadAndGoesOnWhenItDoes) {
  options.outbox_bytes_max = 64 * 1024;
  open();
  auto client = log_in({.heartbeat_seconds = 10});
  client->send(1, durable("q"));
  client->send(1, durable("large"));
  client->publish(1, "large", body(1, 100'000));
  client->told();
  client->set_reading(false);
  constexpr int asked = 50'000;
  for (int i = 0; i < asked; ++i) {
    Bytes bytes;
    wire::append_method_frame(bytes, 1, wire::QueueDeclare{.queue = "q", .passive = true});
    client->hold(bytes);
  }
  client->send(1, wire::BasicGet{.queue = "large", .no_ack = true});
  EXPECT_LT(host->overview().connections.at(0).outbox_bytes, 2U * 64 * 1024 + 4096);
  EXPECT_TRUE(client->is_sending()) << "the client is held back";
  EXPECT_EQ(queue("large").ready_count, 1U);
  loop.advance(seconds{60});
  EXPECT_EQ(host->connection_count(), 1U) << "nobody heard its heartbeats, but for our sake";
  client->set_reading(true);
  EXPECT_FALSE(client->is_sending());
  EXPECT_THAT(client->told(), SizeIs(testing::Ge(std::size_t{asked})));
  EXPECT_THAT(client->bodies(), SizeIs(1));
  EXPECT_FALSE(client->has_ended());
}

TEST_F(Host, AConsumerThatAnswersBeforeItReadsALargeDeliveryIsHeard) {
  options.outbox_bytes_max = 64 * 1024;
  open();
  auto client = log_in();
  client->send(1, durable("requests"));
  client->send(1, durable("results"));
  client->set_reading(false);
  client->send(1, wire::BasicConsume{.queue = "requests", .consumer_tag = "c"});
  client->publish(1, "requests", body(1, 350'000));
  client->publish(1, "results", body(2, 350'000));
  EXPECT_FALSE(client->is_sending());
  EXPECT_EQ(queue("results").ready_count, 1U);
}

TEST_F(Host, GetsAndReturnsThatNobodyReadsAreNotHeldEither) {
  options.outbox_bytes_max = 64 * 1024;
  open();
  auto client = log_in();
  client->send(1, durable("q"));
  for (int i = 0; i < 100; ++i) client->publish(1, "q", body(i, 50'000));
  client->set_reading(false);
  for (int i = 0; i < 100; ++i) client->send(1, wire::BasicGet{.queue = "q"});
  EXPECT_GT(queue("q").ready_count, 80U) << "a memory stream and an outbox hold the rest";
  EXPECT_LT(host->overview().connections.at(0).outbox_bytes, 2U * 64 * 1024 + 60'000);
  client->set_reading(true);
  EXPECT_THAT(client->bodies(), SizeIs(100));

  auto publisher = log_in();
  publisher->set_reading(false);
  for (int i = 0; i < 100; ++i) {
    publisher->hold(RawClient::published(1, "", "nonesuch", body(i, 50'000), {}, true));
  }
  publisher->write("");
  for (const ConnectionView& view : host->overview().connections) {
    EXPECT_LT(view.outbox_bytes, 2U * 64 * 1024 + 60'000);
  }
  publisher->set_reading(true);
  EXPECT_EQ(host->overview().counters.returned_total, 100U);
}

TEST_F(Host, AClientThatNeverReadsItsAnswersIsLeft) {
  options.outbox_bytes_max = 64 * 1024;
  options.session.stalling_limit = seconds{30};
  open();
  auto client = log_in();
  client->send(1, durable("q"));
  client->set_reading(false);
  for (int i = 0; i < 50'000; ++i) {
    Bytes bytes;
    wire::append_method_frame(bytes, 1, wire::QueueDeclare{.queue = "q", .passive = true});
    client->hold(bytes);
  }
  client->write("");
  loop.advance(seconds{29});
  EXPECT_EQ(host->connection_count(), 1U);
  loop.advance(seconds{2});
  EXPECT_EQ(host->connection_count(), 0U);
}

TEST_F(Host, BodiesThatLeftTheCacheAreReadFromTheJournal) {
  options.cache_bytes_max = 10'000;
  options.journal.segment_bytes = 64 * 1024;
  open();
  auto client = log_in();
  client->send(1, durable("q"));
  for (int i = 0; i < 200; ++i) client->publish(1, "q", body(i, 1000));
  client->send(1, wire::BasicConsume{.queue = "q", .consumer_tag = "c"});
  ASSERT_THAT(client->bodies(), SizeIs(200));
  for (int i = 0; i < 200; ++i)
    EXPECT_EQ(client->bodies()[static_cast<std::size_t>(i)], body(i, 1000));
  EXPECT_LT(host->overview().memory_bytes, 150'000U);
}

TEST_F(Host, ABacklogIsReadByAThreadOfItsOwnInItsOrder) {
  options.journal.threading = journal::Threading::own_thread;
  options.cache_bytes_max = 10'000;
  const std::string folder =
      (std::filesystem::temp_directory_path() / fmt::format("pronto-host-{}", ::getpid())).string();
  auto opened = BrokerHost::open(loop, *journal::open_real_disk(folder), users, options);
  ASSERT_TRUE(opened);
  host = std::move(*opened);
  const auto eventually = [this](auto is_so) {
    const auto deadline = std::chrono::steady_clock::now() + seconds{30};
    while (!is_so() && std::chrono::steady_clock::now() < deadline) {
      loop.run_until_idle();
      std::this_thread::yield();
    }
    return is_so();
  };
  auto client = log_in();
  client->send(1, durable("q"));
  client->send(1, wire::ConfirmSelect{});
  for (int i = 0; i < 500; ++i) client->publish(1, "q", body(i, 1000));
  ASSERT_TRUE(eventually([&] { return queue("q").ready_count == 500; }));
  client->send(1, wire::BasicConsume{.queue = "q", .consumer_tag = "c", .no_ack = true});
  ASSERT_TRUE(eventually([&] { return client->bodies().size() == 500; }));
  for (int i = 0; i < 500; ++i)
    EXPECT_EQ(client->bodies()[static_cast<std::size_t>(i)], body(i, 1000));
  client.reset();
  host.reset();
  std::filesystem::remove_all(folder);
}

TEST_F(Host, AMessageThatRotOnTheDiskIsSetAsideAndTheOthersComeThrough) {
  options.cache_bytes_max = 0;
  open();
  auto client = log_in();
  client->send(1, durable("q"));
  for (int i = 1; i <= 3; ++i) client->publish(1, "q", body(i, 3000));
  // The second message's body lies about there: after queue and first message.
  disk.flip("00000001.log", 5'500, std::byte{0x01});
  client->told();
  client->send(1, wire::BasicConsume{.queue = "q", .consumer_tag = "c"});
  ASSERT_THAT(client->bodies(), SizeIs(2));
  EXPECT_EQ(number_of(client->bodies()[0]), 1);
  EXPECT_EQ(number_of(client->bodies()[1]), 3);
  EXPECT_EQ(queue("q").unacked_count, 2U);
  for (const RawClient::Delivery& one : client->deliveries) {
    EXPECT_EQ(client->call(1, wire::BasicAck{.delivery_tag = one.tag}), "");
  }
  client.reset();
  shut_down();
  open();
  // The checkpoint knows its place, and nobody has read its body yet.
  EXPECT_EQ(queue("q").ready_count, 1U);
  client = log_in();
  client->send(1, wire::BasicConsume{.queue = "q", .consumer_tag = "c"});
  EXPECT_THAT(client->bodies(), SizeIs(0));
  EXPECT_EQ(queue("q").unacked_count, 0U);
}

TEST_F(Host, ACheckpointHasWhatIsDelayedAndTheNamesOfWhatWasThere) {
  open();
  auto client = log_in();
  client->call(1, wire::ExchangeDeclare{.exchange = "late",
                                        .type = "x-delayed-message",
                                        .durable = true,
                                        .arguments = {{"x-delayed-type", "fanout"},
                                                      {"x-message-deduplication", true}}});
  client->call(
      1, wire::QueueDeclare{
             .queue = "q", .durable = true, .arguments = {{"x-message-deduplication", true}}});
  client->call(1, wire::QueueBind{.queue = "q", .exchange = "late"});
  wire::BasicProperties properties;
  properties.delivery_mode = 2;
  const auto publish = [&](std::string_view exchange, std::string_view name, std::int64_t delay) {
    properties.headers =
        wire::Table{{"x-deduplication-header", std::string{name}}, {"x-delay", delay}};
    client->write(RawClient::published(1, exchange, "q", name, properties));
  };
  publish("", "at once", 0);
  publish("late", "later", 60'000);
  shut_down();
  open();
  EXPECT_EQ(host->overview().delayed_count, 1U);
  client = log_in();
  publish("", "at once", 0);
  publish("late", "later", 0);
  EXPECT_EQ(queue("q").ready_count, 1U);
  EXPECT_EQ(host->overview().counters.duplicates_total, 2U);
  loop.advance(seconds{61});
  EXPECT_EQ(queue("q").ready_count, 2U);
}

// Goal: the journal does not grow with what has passed through, while one message of long ago stays
// and is found again. Method: a hundred times a checkpoint's length of messages, each acked.
TEST_F(Host, JournalKeepsWhatIsNeededAndCheckpointsAreWhereAStartBegins) {
  options.journal.segment_bytes = 64 * 1024;
  options.checkpoint_bytes = 128 * 1024;
  open();
  auto client = log_in();
  client->send(1, durable("old"));
  client->send(1, durable("q"));
  client->publish(1, "old", body(7, 1000));
  for (int i = 0; i < 4000; ++i) {
    client->publish(1, "q", body(i, 3000));
    client->send(1, wire::BasicGet{.queue = "q", .no_ack = true});
    client->told();
  }
  const Overview before = host->overview();
  EXPECT_GT(before.journal.written_bytes_total, 10'000'000U);
  EXPECT_LT(before.journal_bytes, 1'000'000U);
  EXPECT_GT(before.journal.checkpoints_total, 50U);
  EXPECT_GT(before.journal.segments_recycled_total, 50U);
  client.reset();
  crash();
  open();
  EXPECT_EQ(queue("q").ready_count, 0U);
  client = log_in();
  client->send(1, wire::BasicConsume{.queue = "old", .consumer_tag = "c"});
  ASSERT_THAT(client->bodies(), SizeIs(1));
  EXPECT_EQ(number_of(client->bodies()[0]), 7);
}

// Goal: a few messages that nobody takes do not keep the whole journal. Method: one of fifty stays.
TEST_F(Host, SegmentsThatAreAlmostEmptyAreCleanedAndGo) {
  options.journal.segment_bytes = 64 * 1024;
  options.checkpoint_bytes = 128 * 1024;
  open();
  auto client = log_in();
  client->send(1, durable("old"));
  client->send(1, durable("q"));
  int kept = 0;
  for (int i = 0; i < 4000; ++i) {
    client->publish(1, "q", body(i, 3000));
    if (i % 50 == 0) client->publish(1, "old", body(++kept, 1000));
    client->send(1, wire::BasicGet{.queue = "q", .no_ack = true});
    client->told();
  }
  const Overview before = host->overview();
  EXPECT_GT(before.journal.written_bytes_total, 10'000'000U);
  EXPECT_LT(before.journal_bytes, 1'500'000U);
  EXPECT_GT(before.segments_cleaned_total, 50U);
  EXPECT_LT(queue("old").segment_count, 10U);
  EXPECT_LT(before.journal.written_bytes_total, 4000U * 3000U * 3 / 2) << "copying has its price";
  client.reset();
  crash();
  open();
  client = log_in();
  client->send(1, wire::BasicConsume{.queue = "old", .consumer_tag = "c"});
  ASSERT_THAT(client->bodies(), SizeIs(kept));
  for (int i = 0; i < kept; ++i) {
    EXPECT_EQ(number_of(client->bodies()[static_cast<std::size_t>(i)]), i + 1);
  }
}

TEST_F(Host, AfterShuttingDownAllIsThere) {
  open();
  auto client = log_in();
  client->send(1, durable("q"));
  for (int i = 0; i < 10; ++i) client->publish(1, "q", body(i, 10));
  client->send(1, wire::BasicGet{.queue = "q", .no_ack = true});
  client->told();
  const auto stopped = [](BrokerHost& one) -> Task<Result<void>> {
    co_return co_await one.shut_down(seconds{2});
  };
  EXPECT_TRUE(loop.run(stopped(*host)));
  EXPECT_THAT(client->told(), Contains(HasSubstr("connection.close 320 CONNECTION_FORCED")));
  EXPECT_TRUE(client->has_ended());
  const auto late = connect();
  loop.run_until_idle();
  EXPECT_TRUE(late->has_ended()) << "no new ones";
  client.reset();
  host.reset();
  open();
  EXPECT_EQ(queue("q").ready_count, 9U);
  const auto seen = host->peek("/", "q", 0, 2);
  ASSERT_THAT(seen, SizeIs(2));
  EXPECT_EQ(number_of(to_string(seen[0].body)), 1);
  EXPECT_EQ(queue("q").ready_count, 9U) << "a look takes nothing";
}

TEST_F(Host, ConnectionsAreLimited) {
  options.connections_max = 2;
  open();
  auto first = log_in();
  auto second = log_in();
  auto third = connect();
  loop.run_until_idle();
  EXPECT_TRUE(third->has_ended());
  first.reset();
  auto fourth = log_in();
  EXPECT_EQ(host->connection_count(), 2U);
}

TEST_F(Host, AMessageThatNoSegmentTakesIsRefusedAndTheJournalGoesOn) {
  options.journal.segment_bytes = 1024 * 1024;
  open();
  auto client = log_in();
  client->send(1, durable("q"));
  client->told();
  client->publish(1, "q", std::string(600 * 1024, 'x'));
  EXPECT_THAT(client->told(), ElementsAre(HasSubstr("1 channel.close 406 PRECONDITION_FAILED - "
                                                    "message size 614400 is larger")));
  EXPECT_TRUE(failures.empty());
  client->send(1, wire::ChannelCloseOk{});
  client->send(1, wire::ChannelOpen{});
  client->publish(1, "q", std::string(200 * 1024, 'x'));
  EXPECT_EQ(queue("q").ready_count, 1U);
}

TEST_F(Host, ATransactionThatNoSegmentTakesIsRefusedAndTheJournalGoesOn) {
  options.journal.segment_bytes = 1024 * 1024;
  open();
  auto client = log_in();
  client->send(1, durable("q"));
  client->send(1, wire::TxSelect{});
  for (int i = 0; i < 5; ++i) client->publish(1, "q", std::string(150 * 1024, 'x'));
  client->send(1, wire::TxCommit{});
  EXPECT_THAT(client->told(), Contains(HasSubstr("1 channel.close 506 RESOURCE_ERROR")));
  EXPECT_TRUE(failures.empty());
  EXPECT_EQ(queue("q").ready_count, 0U);
}

TEST_F(Host, ManyMessagesInHandComeBackWithoutEndingTheJournal) {
  options.journal.segment_bytes = 64 * 1024;
  open();
  auto client = log_in();
  auto other = log_in();
  client->send(1, durable("q"));
  client->send(1, durable("p"));
  for (const char* name : {"q", "p"}) {
    client->send(1, wire::BasicConsume{.queue = name, .consumer_tag = name});
  }
  wire::BasicProperties persistent;
  persistent.delivery_mode = 2;
  Bytes bytes;
  for (int i = 0; i < 2'000; ++i) {
    append(bytes, RawClient::published(1, "", i % 2 == 0 ? "q" : "p", body(i, 4), persistent));
  }
  other->write(bytes);
  EXPECT_THAT(client->bodies(), SizeIs(2'000));
  client->die();
  EXPECT_EQ(queue("q").ready_count, 1'000U);
  for (const char* name : {"q", "p"}) {
    other->send(1, wire::BasicConsume{.queue = name, .consumer_tag = name});
  }
  other->send(1, wire::BasicAck{.delivery_tag = 0, .multiple = true});
  EXPECT_TRUE(failures.empty());
  client.reset();
  other.reset();
  crash();
  open();
  EXPECT_EQ(queue("q").ready_count + queue("p").ready_count, 0U);
}

TEST_F(Host, TimesToLiveAndDeadLettersFollowTheClock) {
  open();
  auto client = log_in();
  client->send(1, durable("dead"));
  client->send(1, wire::QueueDeclare{.queue = "q",
                                     .durable = true,
                                     .arguments = {{"x-message-ttl", 500},
                                                   {"x-dead-letter-exchange", ""},
                                                   {"x-dead-letter-routing-key", "dead"}}});
  client->publish(1, "q", "1");
  loop.advance(milliseconds{490});
  EXPECT_EQ(queue("q").ready_count, 1U);
  loop.advance(milliseconds{30});
  EXPECT_EQ(queue("q").ready_count, 0U);
  EXPECT_EQ(queue("dead").ready_count, 1U);
}

TEST_F(Host, AListenerHandsOverWhatComesInUntilItIsStopped) {
  open();
  const Endpoint at{*IpAddress::parse("127.0.0.1"), 0};
  auto listener = Listener::open(loop, at, *host);
  ASSERT_TRUE(listener);
  const Endpoint local = (*listener)->local();
  EXPECT_NE(local.port, 0);
  const auto connect = [](Loop& on, Endpoint to) -> Task<Result<std::unique_ptr<Stream>>> {
    co_return co_await on.network().connect(to, {});
  };
  auto stream = loop.run(connect(loop, local));
  ASSERT_TRUE(stream);
  RawClient client{loop, std::move(*stream)};
  client.log_in();
  EXPECT_THAT(client.told(), Contains("1 channel.open-ok"));
  loop.run((*listener)->stop());
  EXPECT_FALSE(client.has_ended()) << "those that are there go on";
  EXPECT_EQ(client.call(1, wire::QueueDeclare{.queue = "q"}), "1 queue.declare-ok q 0 0");
  EXPECT_FALSE(loop.run(connect(loop, local)));
  client.die();
}

TEST(ContentStoreTest, FindsWhatIsLeftOfManyThatHaveGone) {
  constexpr std::uint64_t count = 300'000;
  ContentStore store{std::uint64_t{1} << 30U};
  const auto content = std::make_shared<broker::Content>();
  std::vector<broker::BodyPosition> kept;
  for (std::uint64_t i = 0; i < count; ++i) {
    kept.push_back(store.keep(content, 1).position);
    store.cache(broker::BodyPosition{i}, content);
  }
  const auto stays = [](std::uint64_t i) { return i % 1'000 == 7; };
  for (std::uint64_t i = 0; i < count; ++i) {
    if (stays(i)) continue;
    store.release(kept[i]);
    store.release(broker::BodyPosition{i});
  }
  EXPECT_EQ(store.count(), 2 * count / 1'000);
  for (std::uint64_t i = 0; i < count; ++i) {
    ASSERT_EQ(store.has(kept[i]), stays(i)) << i;
    ASSERT_EQ(store.has(broker::BodyPosition{i}), stays(i)) << i;
  }
}

TEST(ContentStoreTest, KeepsWhatIsInMemoryOnlyAndLetsTheOldestOfTheRestGo) {
  const auto content = [](std::size_t bytes) {
    auto made = std::make_shared<broker::Content>();
    made->body.resize(bytes);
    return made;
  };
  const std::uint64_t each = bytes_of(*content(1000));
  ContentStore store{2 * each};
  const broker::BodyRef kept = store.keep(content(5000), 1);
  EXPECT_TRUE(ContentStore::is_in_memory_only(kept.position));
  EXPECT_EQ(kept.bytes, 5000U);
  store.cache(broker::BodyPosition{1}, content(1000));
  store.cache(broker::BodyPosition{2}, content(1000));
  EXPECT_TRUE(store.find(broker::BodyPosition{1})) << "at the limit";
  store.cache(broker::BodyPosition{3}, content(1000));
  EXPECT_FALSE(store.find(broker::BodyPosition{1})) << "one past it";
  EXPECT_TRUE(store.find(broker::BodyPosition{2}));
  EXPECT_EQ(store.evicted_total(), 1U);
  store.release(broker::BodyPosition{2});
  store.release(broker::BodyPosition{1});  // left already
  store.release(kept.position);
  EXPECT_EQ(store.kept_bytes(), 0U);
  EXPECT_EQ(store.cached_bytes(), each);
  EXPECT_EQ(store.count(), 1U);
  store.cache(broker::BodyPosition{4}, content(100'000));
  EXPECT_EQ(store.count(), 1U) << "one that is larger than all room stays until another comes";
  EXPECT_TRUE(store.has(broker::BodyPosition{4}));
  store.cache(broker::BodyPosition{4}, content(10));
  EXPECT_EQ(store.cached_bytes(), bytes_of(*content(100'000))) << "what is here already stays";
  store.cache(broker::BodyPosition{5}, content(10));
  EXPECT_FALSE(store.has(broker::BodyPosition{4}));
}

TEST(OutboxTest, JoinsSmallPiecesAndRefersToLargeOnes) {
  Outbox outbox;
  EXPECT_TRUE(outbox.empty());
  const auto put = [&](std::string_view text) {
    outbox.append([&](Bytes& out) { append(out, as_bytes(text)); });
  };
  auto body = std::make_shared<const Bytes>(to_bytes("large"));
  put("a");
  put("b");
  put("");
  outbox.append_shared(body, *body);
  outbox.append_shared(body, {});
  put("c");
  const Outbox::Batch batch = outbox.take({});
  const auto parts = batch.parts();
  ASSERT_EQ(parts.size(), 3U);
  EXPECT_EQ(as_text(parts[0]), "ab");
  EXPECT_EQ(parts[1].data(), body->data());
  EXPECT_EQ(as_text(parts[2]), "c");
  EXPECT_EQ(batch.bytes(), 8U);
  EXPECT_TRUE(outbox.empty());
  EXPECT_EQ(outbox.bytes_total(), 8U);
}

}  // namespace
}  // namespace pronto::server
