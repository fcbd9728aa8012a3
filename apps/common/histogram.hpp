#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <vector>

namespace pronto {

/// Counts durations in buckets of which each is less than 2 % wide, so that percentiles of any
/// number of values cost a fixed few kilobytes.
///
///     below 128 ns: one bucket a nanosecond
///     above:        64 buckets for each doubling
///
/// Runs on: one thread.
class Histogram {
 public:
  using Duration = std::chrono::nanoseconds;

  Histogram();

  /// Takes: any duration; a negative one counts as zero.
  void add(Duration value) noexcept;
  void add(const Histogram& other) noexcept;

  std::uint64_t count() const noexcept { return count_; }
  /// The largest value itself, not its bucket; zero without values.
  Duration max() const noexcept { return Duration{max_}; }
  Duration mean() const noexcept;
  /// The smallest duration that `percent` (0 to 100) of all values do not exceed, rounded up to the
  /// end of its bucket. Zero without values.
  Duration percentile(double percent) const noexcept;

 private:
  std::vector<std::uint64_t> counts_;
  std::uint64_t count_ = 0;
  std::int64_t max_ = 0;
  double sum_ = 0;
};

}  // namespace pronto
