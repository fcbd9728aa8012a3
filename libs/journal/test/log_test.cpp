#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "fixture.hpp"
#include "pronto/base/random.hpp"
#include "pronto/journal/real_disk.hpp"

namespace pronto::journal {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Log, TellsWhatWasAppendedInOrderAfterAReopen) {
  SimulatedDisk disk;
  Told told;
  {
    auto log = *open_log(disk, told);
    for (std::uint64_t unit = 1; unit <= 50; ++unit) {
      ASSERT_TRUE(append_unit(*log, unit, 1 + unit % 4, unit * 7));
      if (unit % 5 == 0) ASSERT_TRUE(log->write_once());
    }
    EXPECT_EQ(log->durable_upto(), Sequence{50});
  }
  EXPECT_THAT(told.texts, IsEmpty());
  auto log = *open_log(disk, told);
  EXPECT_EQ(whole_units(told.texts).size(), 50U);
  EXPECT_THAT(told.damage, IsEmpty());
  EXPECT_EQ(append_unit(*log, 51, 1, 0)->sequence, Sequence{51});
}

TEST(Log, ReadsARecordBackBeforeAndAfterItIsWritten) {
  SimulatedDisk disk;
  Told told;
  auto log = *open_log(disk, told);
  const Appended first = *append_unit(*log, 1, 3, 100);
  EXPECT_EQ(to_string(*log->read(first.positions[1])), text_of(1, 1, 3, 100));
  ASSERT_TRUE(log->write_once());
  EXPECT_EQ(to_string(*log->read(first.positions[2])), text_of(1, 2, 3, 100));
}

TEST(Log, ManyAppendsShareOneSync) {
  SimulatedDisk disk;
  Told told;
  std::vector<Sequence> announced;
  Options options = small_segments();
  options.on_durable = [&](Sequence upto) { announced.push_back(upto); };
  auto log = *open_log(disk, told, options);
  const std::uint64_t before = disk.sync_count();
  for (std::uint64_t unit = 1; unit <= 40; ++unit) ASSERT_TRUE(append_unit(*log, unit, 1, 10));
  EXPECT_EQ(log->durable_upto(), Sequence{0});
  ASSERT_TRUE(*log->write_once());
  EXPECT_EQ(disk.sync_count(), before + 1);
  EXPECT_THAT(announced, ElementsAre(Sequence{40}));
  EXPECT_FALSE(*log->write_once());
}

TEST(Log, AUnitMayBeLargerThanABatchAndCrossSegments) {
  SimulatedDisk disk;
  Told told;
  {
    auto log = *open_log(disk, told);
    for (std::uint64_t unit = 1; unit <= 10; ++unit) {
      ASSERT_TRUE(append_unit(*log, unit, 3, 3000));
    }
    ASSERT_TRUE(log->write_once());
    EXPECT_GT(log->segments().size(), 5U);
  }
  auto log = *open_log(disk, told);
  EXPECT_EQ(whole_units(told.texts).size(), 10U);
}

TEST(Log, RefusesARecordThatNoSegmentHolds) {
  SimulatedDisk disk;
  Told told;
  auto log = *open_log(disk, told);
  EXPECT_EQ(append_unit(*log, 1, 1, 16 * 1024).error(), make_error_code(Error::too_large));
  EXPECT_TRUE(append_unit(*log, 1, 1, 1000));
}

TEST(Log, AFailedSyncIsForEver) {
  SimulatedDisk disk;
  Told told;
  std::vector<std::error_code> failures;
  Options options = small_segments();
  options.on_failure = [&](std::error_code error) { failures.push_back(error); };
  auto log = *open_log(disk, told, options);
  ASSERT_TRUE(append_unit(*log, 1, 1, 10));
  ASSERT_TRUE(log->write_once());
  ASSERT_TRUE(append_unit(*log, 2, 1, 10));
  disk.fail_call(1, std::make_error_code(std::errc::io_error));  // the write goes, the sync fails
  EXPECT_EQ(log->write_once().error(), std::errc::io_error);
  EXPECT_EQ(log->write_once().error(), std::errc::io_error);
  EXPECT_EQ(append_unit(*log, 3, 1, 10).error(), std::errc::io_error);
  EXPECT_EQ(log->durable_upto(), Sequence{1});
  EXPECT_THAT(failures, ElementsAre(std::make_error_code(std::errc::io_error)));
}

TEST(Log, AFullDiskRefusesWhatNeedsSpaceAndStillTakesAcks) {
  SimulatedDisk disk;
  Told told;
  auto log = *open_log(disk, told);
  disk.set_capacity(16 * 1024);
  std::uint64_t taken = 0;
  while (append_unit(*log, taken + 1, 1, 500)) ++taken;
  EXPECT_GT(taken, 10U);
  EXPECT_FALSE(log->has_room());
  EXPECT_EQ(append_unit(*log, taken + 1, 1, 500).error(), std::errc::no_space_on_device);
  EXPECT_TRUE(append_unit(*log, taken + 1, 1, 20, Need::reserve));
  ASSERT_TRUE(log->write_once());
  disk.set_capacity(1024 * 1024);
  EXPECT_TRUE(append_unit(*log, taken + 2, 1, 500)) << "goes on when there is space again";
  ASSERT_TRUE(log->write_once());
  log.reset();
  log = *open_log(disk, told);
  EXPECT_EQ(whole_units(told.texts).size(), taken + 2);
}

TEST(Log, TwoCannotHoldOneFolder) {
  SimulatedDisk disk;
  Told told;
  auto log = *open_log(disk, told);
  EXPECT_EQ(open_log(disk, told).error(), make_error_code(Error::locked));
  log.reset();
  EXPECT_TRUE(open_log(disk, told));
}

class Folder {
 public:
  Folder()
      : path_{std::filesystem::temp_directory_path() /
              ("pronto-journal-" + SystemRandom{}.url_safe_id(9))} {}
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string path() const { return path_; }

 private:
  std::filesystem::path path_;
};

TEST(RealDisk, HoldsALogThatSeveralThreadsUse) {
  const Folder folder;
  constexpr std::uint64_t count = 2000;
  std::atomic<std::uint64_t> announced{0};
  Options options;
  options.segment_bytes = 256 * 1024;
  options.free_bytes_min = 0;
  options.on_durable = [&](Sequence upto) { announced = static_cast<std::uint64_t>(upto); };
  {
    auto log = *Log::open(*open_real_disk(folder.path()), options, {});
    for (std::uint64_t unit = 1; unit <= count; ++unit) {
      const auto appended = append_unit(*log, unit, 2, 300);
      ASSERT_TRUE(appended) << appended.error().message();
      ASSERT_EQ(to_string(*log->read(appended->positions[1])), text_of(unit, 1, 2, 300));
    }
    ASSERT_TRUE(log->flush());
    EXPECT_EQ(announced, count);
    EXPECT_LT(log->statistics().syncs_total, count) << "appends share syncs";
  }
  std::vector<std::string> texts;
  auto log = *Log::open(*open_real_disk(folder.path()), options,
                        {.on_record = [&](RecordType, Position, BytesView payload) {
                          texts.push_back(to_string(payload));
                        }});
  EXPECT_EQ(whole_units(texts).size(), count);
}

TEST(RealDisk, NamesTheProcessThatHoldsTheFolder) {
  const Folder folder;
  auto disk = *open_real_disk(folder.path());
  ASSERT_TRUE(disk->lock());
  auto other = *open_real_disk(folder.path());
  EXPECT_EQ(other->lock().error(), make_error_code(Error::locked));
  EXPECT_EQ(other->lock_holder(), "process " + std::to_string(::getpid()));
}

TEST(Log, WhatNobodyWaitsForIsSyncedWithTheNextOrAfterAWhile) {
  SimulatedDisk disk;
  Told told;
  auto log = *open_log(disk, told);
  const std::string text = "x";
  const Record record{RecordType{1}, {as_bytes(text), {}}};
  ASSERT_TRUE(log->append({&record, 1}, Need::reserve));
  ASSERT_TRUE(log->write_once());
  const std::uint64_t syncs = disk.sync_count();
  const auto later = log->append({&record, 1}, Need::reserve, Urgency::later);
  ASSERT_TRUE(log->write_once());
  EXPECT_EQ(disk.sync_count(), syncs);
  EXPECT_LT(log->durable_upto(), later->sequence);
  EXPECT_TRUE(log->has_unsynced());
  const auto now = log->append({&record, 1}, Need::reserve, Urgency::now);
  ASSERT_TRUE(log->write_once());
  EXPECT_EQ(disk.sync_count(), syncs + 1);
  EXPECT_EQ(log->durable_upto(), now->sequence);
  EXPECT_FALSE(log->has_unsynced());
  const auto last = log->append({&record, 1}, Need::reserve, Urgency::later);
  ASSERT_TRUE(log->write_once());
  ASSERT_TRUE(log->write_once()) << "nothing to write: a sync";
  EXPECT_EQ(log->durable_upto(), last->sequence);
  EXPECT_FALSE(*log->write_once());
}

class OwnThread : public testing::TestWithParam<SyncMode> {};

TEST_P(OwnThread, SyncsTheLastOfWhatWasWrittenWithoutBeingAsked) {
  SimulatedDisk disk;
  Told told;
  Options options = small_segments();
  options.threading = Threading::own_thread;
  options.mode = GetParam();
  options.interval = std::chrono::milliseconds{20};
  auto log = *open_log(disk, told, options);
  const std::string text = "x";
  const Record record{RecordType{1}, {as_bytes(text), {}}};
  const auto appended = log->append({&record, 1}, Need::reserve, Urgency::later);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{20};
  while (log->durable_upto() < appended->sequence || log->has_unsynced() ||
         log->statistics().syncs_total == 0) {
    ASSERT_LT(std::chrono::steady_clock::now(), end);
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  }
  // Whoever flushes does not wait for the interval.
  ASSERT_TRUE(log->append({&record, 1}, Need::reserve, Urgency::later));
  EXPECT_TRUE(log->flush());
}

INSTANTIATE_TEST_SUITE_P(Modes, OwnThread, testing::Values(SyncMode::sync, SyncMode::interval));

}  // namespace
}  // namespace pronto::journal
