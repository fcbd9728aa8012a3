#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "fixture.hpp"

namespace pronto::journal {
namespace {

std::uint64_t seed_count() {
  const char* text = std::getenv("PRONTO_CRASH_SEEDS");
  return text ? std::strtoull(text, nullptr, 10) : 300;
}

struct Outcome {
  std::uint64_t appended = 0;  // units that `append` took
  std::uint64_t durable = 0;   // of them, those announced
};

/// Appends units from `first` on until the disk fails or `count` are there.
Outcome run(SimulatedDisk& disk, Random& random, std::uint64_t first, std::uint64_t count,
            Told& told) {
  Outcome outcome{first - 1, first - 1};
  Options options = small_segments();
  auto opened = open_log(disk, told, options);
  if (!opened) return outcome;
  Log& log = **opened;
  for (std::uint64_t unit = first; unit < first + count; ++unit) {
    if (!append_unit(log, unit, 1 + random.below(4), random.below(1500))) break;
    outcome.appended = unit;
    if (random.below(3) > 0) continue;
    const auto wrote = log.write_once();
    if (!wrote) break;
    outcome.durable = unit;
  }
  return outcome;
}

// Goal: what was announced durable survives a loss of power at any point; nothing is torn, out of
// order or invented. Method: cut the disk after each write in turn, with torn, lost and reordered
// unsynced sectors; recover; compare; go on from there, and lose power again.
TEST(LogCrash, DurableUnitsSurviveACutAfterAnyWrite) {
  for (std::uint64_t seed = 1; seed <= seed_count(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    SeededRandom random{seed};
    SimulatedDisk disk;
    std::uint64_t known = 0;    // the last unit that a recovery told of
    std::uint64_t durable = 0;  // the last that must be there
    for (int round = 0; round < 4; ++round) {
      SCOPED_TRACE(testing::Message() << "round " << round);
      disk.cut_after_writes(random.below(60));
      Told told;
      const Outcome outcome = run(disk, random, known + 1, 40, told);
      if (!told.texts.empty()) {
        const auto units = whole_units(told.texts);
        ASSERT_EQ(units.back(), known);
      }
      durable = std::max(durable, outcome.durable);
      disk.crash(random);
      Told after;
      const auto log = open_log(disk, after);
      ASSERT_TRUE(log) << log.error().message();
      ASSERT_THAT(after.damage, testing::IsEmpty());
      const auto units = whole_units(after.texts);
      for (std::size_t i = 0; i < units.size(); ++i) ASSERT_EQ(units[i], i + 1) << "a gap";
      known = units.empty() ? 0 : units.back();
      ASSERT_GE(known, durable) << "a durable unit is lost";
      ASSERT_LE(known, std::max(outcome.appended, durable)) << "a unit that nobody wrote";
      durable = known;  // what was read counts as durable from now on
      if (HasFatalFailure()) return;
    }
  }
}

// Goal: an error of the disk ends in an error or in a right result, whichever call it hits.
TEST(LogFailure, EveryCallMayFail) {
  for (std::uint64_t call = 0;; ++call) {
    SCOPED_TRACE(testing::Message() << "call " << call);
    SimulatedDisk disk;
    disk.fail_call(call, std::make_error_code(std::errc::io_error));
    SeededRandom random{7};
    Told told;
    const Outcome outcome = run(disk, random, 1, 30, told);
    const bool has_failed = disk.has_failed();
    disk.crash(random);
    Told after;
    const auto log = open_log(disk, after);
    ASSERT_TRUE(log) << log.error().message();
    const auto units = whole_units(after.texts);
    ASSERT_GE(units.size(), outcome.durable);
    if (!has_failed) break;
  }
}

}  // namespace
}  // namespace pronto::journal
