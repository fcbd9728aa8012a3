#include "common/histogram.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace pronto {
namespace {

// Of a value's bits the highest seven choose the bucket, the first of them being 1.
constexpr unsigned kept_bits = 7;
constexpr std::uint64_t exact_below = 1U << kept_bits;
constexpr std::uint64_t buckets_of_doubling = exact_below / 2;
constexpr std::size_t bucket_count = exact_below + (63 - kept_bits) * buckets_of_doubling;

std::size_t bucket_of(std::uint64_t value) noexcept {
  if (value < exact_below) return value;
  const auto dropped_bits = static_cast<unsigned>(std::bit_width(value)) - kept_bits;
  return dropped_bits * buckets_of_doubling + (value >> dropped_bits);
}

/// The largest value of a bucket.
std::uint64_t end_of(std::size_t bucket) noexcept {
  if (bucket < exact_below) return bucket;
  const std::uint64_t dropped_bits = bucket / buckets_of_doubling - 1;
  const std::uint64_t kept = bucket - dropped_bits * buckets_of_doubling;
  return ((kept + 1) << dropped_bits) - 1;
}

}  // namespace

Histogram::Histogram() : counts_(bucket_count) {}

void Histogram::add(Duration value) noexcept {
  const std::int64_t nanoseconds = std::max<std::int64_t>(value.count(), 0);
  ++counts_[bucket_of(static_cast<std::uint64_t>(nanoseconds))];
  ++count_;
  max_ = std::max(max_, nanoseconds);
  sum_ += static_cast<double>(nanoseconds);
}

void Histogram::add(const Histogram& other) noexcept {
  for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
  count_ += other.count_;
  max_ = std::max(max_, other.max_);
  sum_ += other.sum_;
}

Histogram::Duration Histogram::mean() const noexcept {
  if (count_ == 0) return {};
  return Duration{std::llround(sum_ / static_cast<double>(count_))};
}

Histogram::Duration Histogram::percentile(double percent) const noexcept {
  if (count_ == 0) return {};
  const double share = std::clamp(percent, 0.0, 100.0) / 100;
  const auto wanted = std::clamp<std::uint64_t>(
      static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(count_))), 1, count_);
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    seen += counts_[i];
    if (seen >= wanted) return Duration{std::min(static_cast<std::int64_t>(end_of(i)), max_)};
  }
  return max();
}

}  // namespace pronto
