#include "capacity.hpp"

#include <algorithm>
#include <cmath>

namespace pizzeria {

using pronto::milliseconds;
using pronto::SteadyTime;

namespace {

constexpr std::size_t ready_count_max = 512;
constexpr std::size_t ready_count_min = 4;    // fewer say nothing about a rate
constexpr std::size_t ready_count_sure = 16;  // from here on the rate is worth correcting by
constexpr std::size_t recent_count = 64;
constexpr double ways_min = 3;        // and after so many times the way through all stages
constexpr double slowness_min = 1.1;  // less is chance
constexpr double spread = 1.3;        // of the estimate: from the rate to this much slower

double to_seconds(SteadyTime::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

milliseconds from_seconds(double value) {
  return milliseconds{static_cast<std::int64_t>(std::ceil(value * 1000))};
}

}  // namespace

Capacity::Capacity(std::array<StageCapacity, 3> stages) : stages_{stages} {}

void Capacity::on_in_flight(std::int64_t count, SteadyTime now) {
  std::int64_t hands = 0;
  for (const StageCapacity& stage : stages_) hands += stage.workers;
  if (count <= hands) {
    busy_since_ = {};
    ready_.clear();
  } else if (!is_busy()) {
    busy_since_ = now;
  }
}

void Capacity::on_ready(SteadyTime now) {
  ++ready_since_seen_;
  if (!is_busy()) return;
  ready_.push_back(now);
  if (ready_.size() > ready_count_max) ready_.pop_front();
}

void Capacity::on_stages(std::array<StageNow, 3> stages, SteadyTime now) {
  seen_ = std::move(stages);
  seen_at_ = now;
  ready_since_seen_ = 0;
}

double Capacity::planned_rate() const {
  double slowest = 1e9;
  for (const StageCapacity& stage : stages_) {
    const double duration = std::max(0.001, to_seconds(stage.duration));
    slowest =
        std::min(slowest, static_cast<double>(std::max<std::int64_t>(1, stage.workers)) / duration);
  }
  return slowest;
}

milliseconds Capacity::way() const {
  milliseconds sum{0};
  for (const StageCapacity& stage : stages_) sum += stage.duration;
  return sum;
}

double Capacity::rate(SteadyTime now) const {
  if (ready_.size() < ready_count_min) return planned_rate();
  // From the first completion on: what came before it is the way of the first order. The time since
  // the last one counts, too, so that a kitchen that stands still is seen.
  const double span = to_seconds(std::max(now, ready_.back()) - ready_.front());
  return static_cast<double>(ready_.size() - 1) / std::max(span, 0.001);
}

/// How many times slower the kitchen has been of late than its stages take; 1 until enough was
/// seen.
double Capacity::slowness(const std::array<StageNow, 3>& stages, SteadyTime now) const {
  double ideal_rate = 1e9;
  double way_seconds = 0;
  for (const StageNow& stage : stages) {
    const double duration = std::max(0.001, to_seconds(stage.duration));
    const auto workers = static_cast<double>(std::max<std::int64_t>(1, stage.workers));
    ideal_rate = std::min(ideal_rate, workers / duration);
    way_seconds += duration;
  }
  // The hole while a kitchen fills up, or starts again, is not its speed.
  const std::size_t count = std::min(ready_.size(), recent_count);
  if (count < ready_count_sure) return 1;
  const double span = to_seconds(now - ready_[ready_.size() - count]);
  if (span < ways_min * way_seconds) return 1;
  const double slowness = ideal_rate * span / static_cast<double>(count - 1);
  return slowness < slowness_min ? 1 : slowness;
}

/// The next `count` orders one by one, from what was in work when it was last looked at.
milliseconds Capacity::scheduled(const std::array<StageNow, 3>& stages, std::int64_t count,
                                 SteadyTime now) const {
  const std::int64_t since_seen = std::min(count + ready_since_seen_, scheduled_count_max);
  const milliseconds whole = time_until_left(stages, since_seen);
  const milliseconds left = whole - std::chrono::duration_cast<milliseconds>(now - seen_at_);
  return from_seconds(to_seconds(std::max(left, milliseconds{0})) * slowness(stages, now));
}

milliseconds Capacity::drain_time(std::int64_t count, SteadyTime now) const {
  if (count <= 0) return milliseconds{0};
  if (seen_) {
    const std::int64_t first = std::min(count, scheduled_count_max);
    const milliseconds rest = from_seconds(static_cast<double>(count - first) / rate(now));
    return scheduled(*seen_, first, now) + rest;
  }
  const milliseconds by_rate = from_seconds(static_cast<double>(count) / rate(now));
  if (is_busy() && ready_.empty()) {
    // Nothing has come out yet: the first order is still on its way.
    const auto left = std::chrono::ceil<milliseconds>(way() - (now - busy_since_));
    return std::max(by_rate, left);
  }
  return by_rate;
}

Capacity::Range Capacity::estimate(std::int64_t ahead, SteadyTime now) const {
  const milliseconds queued = from_seconds(static_cast<double>(ahead + 1) / rate(now));
  const milliseconds earliest = std::max(way(), queued);
  const auto latest = from_seconds(to_seconds(earliest) * spread);
  return {earliest, latest};
}

}  // namespace pizzeria
