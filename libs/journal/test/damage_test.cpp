#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <ranges>

#include "batch.hpp"
#include "fixture.hpp"

namespace pronto::journal {
namespace {

using testing::IsEmpty;
using testing::Not;

/// A disk with `count` durable units, each in a batch of its own.
void fill(SimulatedDisk& disk, std::uint64_t count, std::size_t padding = 100) {
  Told told;
  auto log = *open_log(disk, told);
  for (std::uint64_t unit = 1; unit <= count; ++unit) {
    ASSERT_TRUE(append_unit(*log, unit, 2, padding));
    ASSERT_TRUE(log->write_once());
  }
}

// Goal: a flipped bit costs the batch that it hits, is told, and costs nothing that follows.
// Method: each byte of a small segment in turn.
TEST(Damage, NoRecordIsReadWhereNothingWasWritten) {
  SimulatedDisk disk;
  Told told;
  auto log = *open_log(disk, told);
  EXPECT_EQ(log->read(Position{std::uint64_t{1} << 32U | 4096}).error(), Error::damaged);
}

TEST(Damage, OfAnyByteIsToldAndCostsOneBatchOnly) {
  constexpr std::uint64_t count = 6;
  SimulatedDisk pristine;
  fill(pristine, count);
  const std::uint64_t used = segment_header_bytes + count * (batch_header_bytes + 2 * 128);
  for (std::uint64_t offset = 0; offset < used; ++offset) {
    SCOPED_TRACE(testing::Message() << "offset " << offset);
    SimulatedDisk disk;
    fill(disk, count);
    disk.flip("00000001.log", offset, std::byte{0x10});
    Told told;
    const auto log = open_log(disk, told);
    ASSERT_TRUE(log) << log.error().message();
    const auto units = whole_units(told.texts);
    // Only the last batch has nobody behind it that tells of its durability.
    ASSERT_GE(units.size(), count - 1);
    const bool is_last_lost = units.size() == count - 1 && units.back() == count - 1;
    if (units.size() < count && !is_last_lost) {
      EXPECT_THAT(told.damage, Not(IsEmpty()));
      EXPECT_EQ(units.back(), count);
    }
  }
}

// Goal: what was cut is gone, even if the disk should show again what it had hidden: the next batch
// may be torn so that half of it and half of what lay there are the old one.
TEST(Damage, WhatWasCutDoesNotComeBack) {
  constexpr std::uint64_t count = 6;
  SimulatedDisk disk;
  fill(disk, count);
  const std::uint64_t last = segment_header_bytes + (count - 1) * (batch_header_bytes + 2 * 128);
  disk.flip("00000001.log", last + 1, std::byte{0x10});
  for (int start = 0; start < 2; ++start) {
    Told told;
    const auto log = open_log(disk, told);
    ASSERT_TRUE(log) << log.error().message();
    EXPECT_EQ(whole_units(told.texts).size(), count - 1) << "start " << start;
    // The bit is as it was.
    if (start == 0) disk.flip("00000001.log", last + 1, std::byte{0x10});
  }
}

TEST(Damage, OfTheLogsTailIsCutAndTheLogGoesOn) {
  SimulatedDisk disk;
  fill(disk, 5);
  const std::uint64_t end = segment_header_bytes + 5 * (batch_header_bytes + 2 * 128);
  disk.flip("00000001.log", end - 20, std::byte{1});
  Told told;
  {
    auto log = *open_log(disk, told);
    EXPECT_EQ(whole_units(told.texts).back(), 4U);
    ASSERT_TRUE(append_unit(*log, 6, 1, 10));
    ASSERT_TRUE(log->write_once());
  }
  Told again;
  auto log = *open_log(disk, again);
  EXPECT_EQ(whole_units(again.texts), (std::vector<std::uint64_t>{1, 2, 3, 4, 6}));
  EXPECT_THAT(again.damage, IsEmpty());
}

TEST(Damage, AMissingSegmentInTheMiddleIsToldAndTheRestKept) {
  SimulatedDisk disk;
  fill(disk, 40, 2000);
  ASSERT_GT(disk.names().size(), 4U);
  ASSERT_TRUE(disk.open()->remove("00000002.log"));
  Told told;
  auto log = *open_log(disk, told);
  EXPECT_THAT(told.damage, Not(IsEmpty()));
  EXPECT_EQ(whole_units(told.texts).back(), 40U);
}

TEST(Damage, ATruncatedLastSegmentLosesOnlyWhatIsCutOff) {
  SimulatedDisk disk;
  fill(disk, 6);
  const std::uint64_t one = batch_header_bytes + 2 * 128;
  disk.truncate("00000001.log", segment_header_bytes + 4 * one + 30);
  Told told;
  {
    auto log = *open_log(disk, told);
    EXPECT_EQ(whole_units(told.texts).back(), 4U);
    ASSERT_TRUE(append_unit(*log, 7, 1, 10));
    ASSERT_TRUE(log->write_once());
  }
  Told again;
  auto log = *open_log(disk, again);
  EXPECT_EQ(whole_units(again.texts).back(), 7U);
}

// Goal: of a unit that lies in several batches nothing is told when one of them is damaged.
// Method: each of its batches in turn.
TEST(Damage, OfAnyBatchOfAUnitTakesTheWholeUnit) {
  Options options = small_segments();
  options.batch_bytes_max = 1024;
  int hits = 0;
  for (std::uint64_t offset = 0; offset < 8 * 1024; offset += 64) {
    SCOPED_TRACE(testing::Message() << "offset " << offset);
    SimulatedDisk disk;
    {
      Told told;
      auto log = *open_log(disk, told, options);
      for (std::uint64_t unit = 1; unit <= 4; ++unit) {
        ASSERT_TRUE(append_unit(*log, unit, unit == 2 ? 6 : 1, 700));
        ASSERT_TRUE(log->write_once());
      }
    }
    disk.flip("00000001.log", offset, std::byte{0x10});
    Told told;
    const auto log = open_log(disk, told, options);
    ASSERT_TRUE(log);
    const auto units = whole_units(told.texts);
    ASSERT_GE(units.size(), 3U);
    if (units == std::vector<std::uint64_t>{1, 3, 4}) ++hits;
  }
  EXPECT_GT(hits, 6 * 700 / 64) << "the whole of unit 2 was tried";
}

TEST(Version, OfANewerProgramIsRefusedAndNothingIsTouched) {
  SimulatedDisk disk;
  fill(disk, 3);
  {
    auto handle = disk.open();
    auto file = *handle->open("00000001.log");
    const Bytes header = encode(SegmentHeader{format_version + 1, 1, 1});
    const BytesView part = header;
    ASSERT_TRUE(file->write_at(0, {&part, 1}));
    ASSERT_TRUE(file->sync_data());
  }
  const std::uint64_t writes = disk.write_count();
  Told told;
  EXPECT_EQ(open_log(disk, told).error(), make_error_code(Error::too_new));
  EXPECT_EQ(disk.write_count(), writes);
}

/// Makes a folder what the program of an older format version would have written.
void write_as_version(SimulatedDisk& disk, std::uint16_t version) {
  auto handle = disk.open();
  for (const std::string& name : *handle->list()) {
    if (!name.ends_with(".log")) continue;
    auto file = *handle->open(name);
    Bytes bytes(*file->size());
    ASSERT_TRUE(file->read_at(0, bytes));
    const auto segment = decode_segment_header(bytes);
    ASSERT_TRUE(segment);
    const Bytes header =
        encode(SegmentHeader{version, segment->number, segment->epoch, segment->made_at});
    std::ranges::copy(header, bytes.begin());
    for (std::size_t at = segment_header_bytes;;) {
      const auto batch = decode_batch_header(BytesView{bytes}.subspan(at));
      if (!batch) break;
      const std::size_t size = batch_header_bytes + batch->bytes;
      Bytes one(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                bytes.begin() + static_cast<std::ptrdiff_t>(at + size));
      BatchHeader older = *batch;
      older.version = version;
      seal(one, older);
      std::ranges::copy(one, bytes.begin() + static_cast<std::ptrdiff_t>(at));
      at += size;
    }
    const BytesView part = bytes;
    ASSERT_TRUE(file->write_at(0, {&part, 1}));
    ASSERT_TRUE(file->sync_data());
  }
}

void expect_read_and_gone_on_with(std::uint16_t version) {
  SimulatedDisk disk;
  fill(disk, 3);
  Told before;
  {
    ASSERT_TRUE(open_log(disk, before));
  }
  write_as_version(disk, version);
  for (int round = 0; round < 2; ++round) {
    Told told;
    auto log = open_log(disk, told);
    ASSERT_TRUE(log);
    EXPECT_TRUE(told.damage.empty());
    ASSERT_GE(told.texts.size(), before.texts.size());
    EXPECT_TRUE(
        std::ranges::equal(before.texts, std::views::take(told.texts, std::ssize(before.texts))));
    EXPECT_EQ(told.texts.size(), before.texts.size() + static_cast<std::size_t>(round));
    const Record record{RecordType{1}, {as_bytes(std::string_view{"new"}), {}}};
    ASSERT_TRUE((*log)->append({&record, 1}, Need::space));
    ASSERT_TRUE((*log)->write_once());
  }
}

// BROKER.md, case 50.
TEST(Version, OfTheProgramBeforeIsReadAndGoneOnWith) {
  for (const auto version : {std::uint16_t{1}, std::uint16_t{2}}) {
    SCOPED_TRACE(testing::Message() << "version " << version);
    expect_read_and_gone_on_with(version);
  }
}

TEST(FindBatchStart, FindsOnlyAWholeMagicOnAMultipleOfEight) {
  Bytes bytes(64, std::byte{'P'});
  const auto put = [&](std::size_t at, std::string_view text) {
    std::memcpy(bytes.data() + at, text.data(), text.size());
  };
  put(4, "PBAT");
  put(8, "PBAX");
  put(60, "PBAT");
  EXPECT_EQ(find_batch_start(bytes), bytes.size());
  put(56, "PBAT");
  EXPECT_EQ(find_batch_start(bytes), 56U);
  EXPECT_EQ(find_batch_start(BytesView{bytes}.first(59)), 59U) << "cut in the magic";
  put(24, "PBAT");
  EXPECT_EQ(find_batch_start(bytes), 24U);
  EXPECT_EQ(find_batch_start(Bytes(1000)), 1000U);
  EXPECT_EQ(find_batch_start({}), 0U);
}

}  // namespace
}  // namespace pronto::journal
