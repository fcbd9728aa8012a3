// Goal: a backlog whose pages lie in the journal only outlives what the disk does to it.
// Method: pages of a few entries, and room for none of them.

#include <fmt/format.h>

#include "fixture.hpp"
#include "pronto/base/log.hpp"
#include "pronto/journal/inspect.hpp"

namespace pronto::server {
namespace {

using testing::SizeIs;

class HostPages : public HostTest {
 protected:
  HostPages() {
    options.limits.page_entries_max = 8;
    options.limits.page_bytes_max = 0;
    options.journal.segment_bytes = 64 * 1024;
    options.checkpoint_bytes = 128 * 1024;
    options.cache_bytes_max = 64 * 1024;
  }

  void publish(RawClient& client, int first, int last, std::size_t size) {
    for (int i = first; i <= last; ++i) client.publish(1, "q", body(i, size));
  }
  /// Takes all that is there.
  static std::vector<int> take(RawClient& client) {
    const std::size_t before = client.bodies().size();
    client.send(1, wire::BasicConsume{.queue = "q", .consumer_tag = "c", .no_ack = true});
    std::vector<int> numbers;
    for (const std::string& one : std::span{client.bodies()}.subspan(before)) {
      numbers.push_back(number_of(one));
    }
    client.send(1, wire::BasicCancel{.consumer_tag = "c"});
    return numbers;
  }
  static int number_of(const std::string& body) { return std::stoi(body); }
  static std::vector<int> numbers(int first, int last) {
    std::vector<int> all;
    for (int i = first; i <= last; ++i) all.push_back(i);
    return all;
  }
  std::vector<std::string> checkpoints() {
    std::vector<std::string> names;
    const auto folder = disk.open();
    const auto all = folder->list();
    for (const std::string& name : *all) {
      if (name.ends_with(".checkpoint")) names.push_back(name);
    }
    return names;
  }
  /// Where the pages lie that the newest checkpoint refers to.
  std::vector<std::uint64_t> pages_of(const std::string& checkpoint) {
    std::vector<std::uint64_t> positions;
    const auto folder = disk.open();
    const auto seen = journal::inspect(
        *folder, {.on_file = [&](const journal::FileView& file) { return file.name == checkpoint; },
                  .on_batch =
                      [&](const journal::BatchView& batch) {
                        for (const journal::RecordInfo& record : batch.records) {
                          const auto type = static_cast<broker::RecordType>(record.type);
                          const auto decoded = broker::decode_record(type, record.payload);
                          if (!decoded) continue;
                          if (const auto* page = std::get_if<broker::WrittenPage>(&*decoded)) {
                            positions.push_back(static_cast<std::uint64_t>(page->image.position));
                          }
                        }
                        return true;
                      }});
    EXPECT_TRUE(seen);
    return positions;
  }
};

TEST_F(HostPages, AreWrittenAndReadAgainInOrder) {
  open();
  auto client = log_in();
  client->send(1, durable("q"));
  publish(*client, 1, 1000, 300);
  EXPECT_GT(host->overview().pages.out, 100U);
  EXPECT_EQ(take(*client), numbers(1, 1000));
  EXPECT_GT(host->overview().pages.read_total, 100U);
  EXPECT_EQ(host->overview().pages.lost_total, 0U);
}

TEST_F(HostPages, AreNotReadByAStart) {
  open();
  log_in()->send(1, durable("q"));
  {
    auto client = log_in();
    publish(*client, 1, 1000, 300);
  }
  shut_down();
  open();
  EXPECT_GT(host->overview().pages.out, 100U);
  EXPECT_EQ(host->overview().pages.read_total, 0U);
  EXPECT_EQ(queue("q").ready_count, 1000U);
  auto client = log_in();
  EXPECT_EQ(take(*client), numbers(1, 1000));
}

// Goal: a recovery that falls back to the last but one checkpoint finds the pages that this one
// refers to, though the last does not and their segments were needed for nothing else.
TEST_F(HostPages, StayForTheCheckpointBeforeTheLast) {
  log::set_level(log::Level::off);
  open();
  auto client = log_in();
  client->send(1, durable("q"));
  client->send(1, durable("other"));
  publish(*client, 1, 300, 300);
  // Each round takes some of the pages back into memory, and then makes the journal grow.
  int taken = 0;
  for (int round = 0; round < 6; ++round) {
    for (int i = 0; i < 30; ++i) {
      client->send(1, wire::BasicGet{.queue = "q", .no_ack = true});
      ++taken;
    }
    const std::uint64_t before = host->overview().journal.checkpoints_total;
    for (int i = 0; host->overview().journal.checkpoints_total == before; ++i) {
      client->publish(1, "other", body(i, 3000));
      client->send(1, wire::BasicGet{.queue = "other", .no_ack = true});
    }
    client->told();
  }
  client.reset();
  crash();
  const std::vector<std::string> names = checkpoints();
  ASSERT_THAT(names, SizeIs(2));
  ASSERT_GT(pages_of(names[0]).size(), pages_of(names[1]).size());
  disk.flip(names[1], 100, std::byte{0xFF});
  open();
  EXPECT_EQ(host->overview().pages.lost_total, 0U);
  client = log_in();
  EXPECT_EQ(take(*client), numbers(taken + 1, 300));
}

TEST_F(HostPages, ThatAreDamagedAreSetAsideAndTheOthersGoOn) {
  log::set_level(log::Level::off);
  open();
  auto client = log_in();
  client->send(1, durable("q"));
  publish(*client, 1, 400, 300);
  client.reset();
  shut_down();
  const std::vector<std::uint64_t> pages = pages_of(checkpoints().back());
  ASSERT_GT(pages.size(), 20U);
  const std::uint64_t one = pages[10];
  // The middle of its payload.
  disk.flip(fmt::format("{:08}.log", one >> 32U), (one & 0xFFFF'FFFF) + 16 + 20, std::byte{0x40});
  open();
  EXPECT_EQ(queue("q").ready_count, 400U);
  client = log_in();
  EXPECT_THAT(take(*client), SizeIs(392));
  EXPECT_EQ(queue("q").ready_count, 0U);
  EXPECT_EQ(host->overview().pages.lost_total, 1U);
  // Its segment stays, for whoever can mend it, until the queue is purged.
  EXPECT_GT(queue("q").segment_count, 0U);
  client->call(1, wire::QueuePurge{.queue = "q"});
  EXPECT_EQ(queue("q").segment_count, 0U);
}

TEST_F(HostPages, GiveTheirSegmentsBackWhenTheyHaveBeenRead) {
  open();
  auto client = log_in();
  client->send(1, durable("q"));
  for (int round = 0; round < 20; ++round) {
    publish(*client, 1, 500, 300);
    EXPECT_THAT(take(*client), SizeIs(500));
  }
  const Overview seen = host->overview();
  EXPECT_GT(seen.pages.written_total, 1000U);
  EXPECT_LT(seen.journal_bytes, 1'000'000U);
  EXPECT_EQ(queue("q").segment_count, 0U);
}

// Goal: many small pages do not keep a journal whose bodies have long been moved or read.
TEST_F(HostPages, LieInSegmentsThatAreCleaned) {
  open();
  auto client = log_in();
  client->send(1, durable("q"));
  client->send(1, durable("other"));
  for (int i = 1; i <= 2000; ++i) {
    if (i % 20 == 0) client->publish(1, "q", body(i / 20, 100));
    client->publish(1, "other", body(i, 3000));
    client->send(1, wire::BasicGet{.queue = "other", .no_ack = true});
    client->told();
  }
  const Overview seen = host->overview();
  EXPECT_GT(seen.segments_cleaned_total, 10U);
  EXPECT_GT(seen.pages.read_total, 0U) << "cleaning has to look into them";
  EXPECT_LT(queue("q").segment_count, 20U);
  client.reset();
  crash();
  open();
  client = log_in();
  EXPECT_EQ(take(*client), numbers(1, 100));
}

}  // namespace
}  // namespace pronto::server
