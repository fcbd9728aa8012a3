// Goal: a log with checkpoints is the same log, shorter to read and smaller on the disk, wherever
// the power goes or a bit flips. Method: the owner's state is a count of units; a checkpoint holds
// the count, a unit its number; what a reopened log tells has to go on from one to the next.
#include <gmock/gmock.h>

#include <cstdlib>
#include <cstring>
#include <map>

#include "fixture.hpp"
#include "pronto/base/crc32c.hpp"
#include "pronto/base/log.hpp"
#include "pronto/base/random.hpp"

namespace pronto::journal {
namespace {

using testing::IsEmpty;

/// The owner, with the state that the log has told.
struct Owner {
  std::uint64_t count = 0;  // units in a row
  std::uint64_t from_checkpoint = 0;
  std::uint64_t replayed = 0;
  bool has_gap = false;
  std::vector<Damage> damage;
  std::map<std::uint64_t, Position> positions;
  std::unique_ptr<Log> log;

  Result<void> open(SimulatedDisk& disk, Options options = small_segments()) {
    auto opened = Log::open(disk.open(), std::move(options),
                            {.on_record =
                                 [this](RecordType type, Position position, BytesView payload) {
                                   const std::uint64_t number = std::stoull(to_string(payload));
                                   if (type == RecordType{2}) {
                                     count = from_checkpoint = number;
                                     return;
                                   }
                                   if (number != count + 1) has_gap = true;
                                   count = number;
                                   positions[number] = position;
                                   ++replayed;
                                 },
                             .on_damage = [this](const Damage& one) { damage.push_back(one); }});
    if (!opened) return opened.error();
    log = std::move(*opened);
    return {};
  }
  bool append(std::size_t padding = 700) {
    const std::string text = std::to_string(count + 1) + ':' + std::string(padding, 'x');
    const Record record{RecordType{1}, {as_bytes(text), {}}};
    const auto appended = log->append({&record, 1}, Need::space);
    if (!appended) return false;
    positions[++count] = appended->positions[0];
    return log->write_once().has_value();
  }
  void checkpoint(const std::vector<std::uint64_t>& needed = {}) {
    Checkpoint one = log->begin_checkpoint();
    const std::string text = std::to_string(count);
    one.add({RecordType{2}, {as_bytes(text), {}}});
    for (const std::uint64_t unit : needed) {
      one.need(static_cast<std::uint32_t>(static_cast<std::uint64_t>(positions.at(unit)) >> 32U));
    }
    log->write_checkpoint(std::move(one));
  }
};

TEST(Checkpoint, ReplayBeginsAtItsMark) {
  SimulatedDisk disk;
  {
    Owner owner;
    ASSERT_TRUE(owner.open(disk));
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(owner.append());
    EXPECT_GT(owner.log->bytes_to_replay(), 70'000U);
    owner.checkpoint();
    EXPECT_EQ(owner.log->bytes_to_replay(), 0U);
    for (int i = 0; i < 7; ++i) ASSERT_TRUE(owner.append());
  }
  {
    Owner owner;
    ASSERT_TRUE(owner.open(disk));
    EXPECT_GT(owner.log->bytes_to_replay(), 7 * 700U) << "the next start would read them again";
    EXPECT_LT(owner.log->bytes_to_replay(), 14 * 700U);
  }
  for (int round = 0; round < 3; ++round) {
    Owner owner;
    ASSERT_TRUE(owner.open(disk));
    EXPECT_EQ(owner.from_checkpoint, 100U);
    EXPECT_EQ(owner.replayed, 7U + static_cast<unsigned>(round));
    EXPECT_EQ(owner.count, 107U + static_cast<unsigned>(round));
    EXPECT_FALSE(owner.has_gap);
    EXPECT_THAT(owner.damage, IsEmpty());
    ASSERT_TRUE(owner.append());
  }
}

TEST(Checkpoint, OfUnitsThatAreNotWrittenYetWaitsForThem) {
  SimulatedDisk disk;
  Owner owner;
  ASSERT_TRUE(owner.open(disk));
  const std::string text = "1:";
  const Record record{RecordType{1}, {as_bytes(text), {}}};
  ASSERT_TRUE(owner.log->append({&record, 1}, Need::space));
  owner.count = 1;
  owner.checkpoint();
  EXPECT_TRUE(owner.log->is_writing_checkpoint());
  EXPECT_EQ(owner.log->statistics().checkpoints_total, 0U);
  ASSERT_TRUE(owner.log->write_once());
  EXPECT_FALSE(owner.log->is_writing_checkpoint());
  EXPECT_EQ(owner.log->statistics().checkpoints_total, 1U);
}

TEST(Checkpoint, FreesSegmentsThatItDoesNotNeedBeforeTheOneThatPrecedesIt) {
  SimulatedDisk disk;
  Owner owner;
  ASSERT_TRUE(owner.open(disk));
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(owner.append());
  const std::size_t all = owner.log->segments().size();
  owner.checkpoint({30});
  EXPECT_EQ(owner.log->segments().size(), all) << "another may have to be read in its place";
  ASSERT_TRUE(owner.append());
  owner.checkpoint({30});
  EXPECT_THAT(owner.log->segments().size(), testing::Le(3U));
  EXPECT_TRUE(owner.log->read(owner.positions.at(30))) << "it is needed";
  EXPECT_FALSE(owner.log->read(owner.positions.at(100)));
  EXPECT_GT(owner.log->statistics().segments_freed_total, 5U);

  // They come back as new ones, and what they held does not.
  for (int i = 0; i < 60; ++i) ASSERT_TRUE(owner.append());
  EXPECT_EQ(owner.log->statistics().segments_recycled_total, 2U);
  owner.log.reset();
  Owner next;
  ASSERT_TRUE(next.open(disk));
  EXPECT_EQ(next.count, 261U);
  EXPECT_FALSE(next.has_gap);
  EXPECT_THAT(next.damage, IsEmpty());
}

TEST(Checkpoint, ThatIsDamagedIsReplacedByTheOneBefore) {
  for (std::uint64_t offset = 0; offset < 200; ++offset) {
    SimulatedDisk disk;
    {
      Owner owner;
      ASSERT_TRUE(owner.open(disk));
      for (int i = 0; i < 80; ++i) {
        ASSERT_TRUE(owner.append());
        if (i % 20 == 10) owner.checkpoint();
      }
    }
    if (offset >= disk.size_of("00000004.checkpoint")) break;
    disk.flip("00000004.checkpoint", offset, std::byte{0x10});
    log::set_level(log::Level::off);
    Owner owner;
    const auto opened = owner.open(disk);
    log::set_level(log::Level::info);
    ASSERT_TRUE(opened);
    EXPECT_EQ(owner.count, 80U) << offset;
    EXPECT_FALSE(owner.has_gap);
    // What nobody reads (the zeros behind a header) may flip.
    if (owner.from_checkpoint != 71) {
      EXPECT_EQ(owner.from_checkpoint, 51U);
      ASSERT_EQ(owner.damage.size(), 1U);
      EXPECT_EQ(owner.damage[0].file, "00000004.checkpoint");
    }
  }
}

// Goal: a checkpoint refers to nothing that a loss of power may take, though the log calls units
// durable before they are synced. Method: read all that it counts after the power has gone.
TEST(Checkpoint, ThatCouldNotBeWrittenIsNotCountedOn) {
  SimulatedDisk disk;
  Owner kept;
  ASSERT_TRUE(kept.open(disk));
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(kept.append());
  const std::uint64_t before = kept.log->bytes_to_replay();
  disk.fail_call(0, std::make_error_code(std::errc::no_space_on_device));
  kept.checkpoint();
  EXPECT_EQ(kept.log->statistics().checkpoints_failed_total, 1U);
  EXPECT_EQ(kept.log->bytes_to_replay(), before) << "a start would still read all of it";
  kept.checkpoint();
  EXPECT_EQ(kept.log->statistics().checkpoints_total, 1U);
  EXPECT_EQ(kept.log->bytes_to_replay(), 0U);
}

TEST(Checkpoint, OfALogThatDoesNotSyncHasSyncedWhatItRefersTo) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SimulatedDisk disk;
    Options options = small_segments();
    options.mode = SyncMode::none;
    SeededRandom chance{seed};
    std::map<std::uint64_t, Position> positions;
    {
      Owner owner;
      ASSERT_TRUE(owner.open(disk, options));
      for (int i = 0; i < 40; ++i) ASSERT_TRUE(owner.append());
      owner.checkpoint();
      positions = owner.positions;
      for (int i = 0; i < 10; ++i) ASSERT_TRUE(owner.append());
    }
    disk.crash(chance);
    Owner owner;
    ASSERT_TRUE(owner.open(disk, options));
    EXPECT_EQ(owner.from_checkpoint, 40U);
    for (const auto& [number, position] : positions) {
      const auto payload = owner.log->read(position);
      ASSERT_TRUE(payload) << "seed " << seed << ", unit " << number;
      EXPECT_TRUE(to_string(*payload).starts_with(std::to_string(number) + ':'));
    }
  }
}

/// Makes a checkpoint one of another format version.
void set_version(SimulatedDisk& disk, const std::string& name, int version) {
  auto handle = disk.open();
  auto file = *handle->open(name);
  Bytes header(64);
  ASSERT_TRUE(file->read_at(0, header));
  header[8] = static_cast<std::byte>(version);
  const std::uint32_t sum = crc32c(BytesView{header}.first(56));
  std::memcpy(header.data() + 56, &sum, sizeof sum);
  const BytesView part = header;
  ASSERT_TRUE(file->write_at(0, {&part, 1}));
}

TEST(Checkpoint, OfAnOlderVersionIsReadAndOfANewerOneRefused) {
  SimulatedDisk disk;
  {
    Owner owner;
    ASSERT_TRUE(owner.open(disk));
    ASSERT_TRUE(owner.append());
    owner.checkpoint();
  }
  for (const int version : {1, 2}) {
    set_version(disk, "00000001.checkpoint", version);
    Owner owner;
    EXPECT_TRUE(owner.open(disk));
  }
  set_version(disk, "00000001.checkpoint", 4);
  Owner owner;
  EXPECT_EQ(owner.open(disk).error(), Error::too_new);
}

// Goal: a loss of power after any write, be it of a checkpoint, segment change and reuse, too,
// takes nothing that was durable. Method: as above, with several cuts one after the other.
TEST(Checkpoint, PowerCutAfterAnyWriteTakesNothingThatWasDurable) {
  log::set_level(log::Level::off);
  const std::uint64_t seeds = std::getenv("PRONTO_TEST_ALL") ? 20'000 : 300;
  for (std::uint64_t seed = 1; seed <= seeds && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    SeededRandom chance{seed};
    SimulatedDisk disk;
    std::uint64_t durable = 0;
    for (int round = 0; round < 4; ++round) {
      disk.cut_after_writes(chance.below(400));
      Owner owner;
      if (owner.open(disk)) {
        for (int i = 0; i < 150 && !disk.was_cut(); ++i) {
          const bool is_written = owner.append(100 + chance.below(2'000));
          if (is_written) durable = owner.count;
          if (chance.below(10) == 0 && !disk.was_cut()) owner.checkpoint();
        }
      }
      owner.log.reset();
      disk.crash(chance);
      Owner next;
      ASSERT_TRUE(next.open(disk));
      EXPECT_GE(next.count, durable) << "round " << round;
      EXPECT_FALSE(next.has_gap);
      EXPECT_THAT(next.damage, IsEmpty());
      durable = next.count;
    }
  }
  log::set_level(log::Level::info);
}

}  // namespace
}  // namespace pronto::journal
