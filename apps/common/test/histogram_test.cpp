#include "common/histogram.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "pronto/base/random.hpp"

namespace pronto {
namespace {

using namespace std::chrono_literals;

TEST(HistogramTest, HasZeroesWithoutValues) {
  const Histogram histogram;
  EXPECT_EQ(histogram.count(), 0U);
  EXPECT_EQ(histogram.percentile(99), 0ns);
  EXPECT_EQ(histogram.max(), 0ns);
  EXPECT_EQ(histogram.mean(), 0ns);
}

TEST(HistogramTest, IsExactForSmallValues) {
  Histogram histogram;
  for (int value = 1; value <= 100; ++value) histogram.add(std::chrono::nanoseconds{value});
  EXPECT_EQ(histogram.percentile(0), 1ns);
  EXPECT_EQ(histogram.percentile(1), 1ns);
  EXPECT_EQ(histogram.percentile(50), 50ns);
  EXPECT_EQ(histogram.percentile(99), 99ns);
  EXPECT_EQ(histogram.percentile(100), 100ns);
  EXPECT_EQ(histogram.mean(), 51ns);
}

TEST(HistogramTest, KnowsTheLargestValueItself) {
  Histogram histogram;
  histogram.add(1'234'567'891ns);
  EXPECT_EQ(histogram.max(), 1'234'567'891ns);
  EXPECT_EQ(histogram.percentile(99.9), 1'234'567'891ns);
}

TEST(HistogramTest, TakesTheSmallestAndTheLargestDuration) {
  Histogram histogram;
  histogram.add(std::chrono::nanoseconds{-5});
  EXPECT_EQ(histogram.percentile(100), 0ns);
  histogram.add(std::chrono::nanoseconds::max());
  EXPECT_EQ(histogram.percentile(100), std::chrono::nanoseconds::max());
}

// Goal: a percentile is never below the true one and less than 1.6 % above it.
// Method: values over all magnitudes, compared with the sorted list.
TEST(HistogramTest, StaysNearTheTruePercentile) {
  SeededRandom random{42};
  Histogram histogram;
  std::vector<std::int64_t> values;
  for (int i = 0; i < 10'000; ++i) {
    const auto magnitude = 1 + random.below(40);
    const auto value = static_cast<std::int64_t>(random.below(std::uint64_t{1} << magnitude));
    values.push_back(value);
    histogram.add(std::chrono::nanoseconds{value});
  }
  std::ranges::sort(values);
  for (const double percent : {0.1, 1.0, 25.0, 50.0, 90.0, 99.0, 99.9, 100.0}) {
    SCOPED_TRACE(percent);
    const auto rank = static_cast<std::size_t>(std::ceil(percent / 100 * 10'000)) - 1;
    const std::int64_t found = histogram.percentile(percent).count();
    EXPECT_GE(found, values[rank]);
    EXPECT_LE(static_cast<double>(found), static_cast<double>(values[rank]) * 1.016 + 1);
  }
}

TEST(HistogramTest, AddsAnother) {
  Histogram one;
  Histogram other;
  one.add(10ns);
  other.add(30ns);
  one.add(other);
  EXPECT_EQ(one.count(), 2U);
  EXPECT_EQ(one.max(), 30ns);
  EXPECT_EQ(one.mean(), 20ns);
}

}  // namespace
}  // namespace pronto
