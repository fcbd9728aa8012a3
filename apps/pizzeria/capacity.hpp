#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>

#include "pronto/base/time.hpp"
#include "schedule.hpp"

namespace pizzeria {

/// What one stage can do: workers side by side, and how long one order takes.
struct StageCapacity {
  std::int64_t workers = 2;
  pronto::milliseconds duration{6000};
};

/// How fast orders get ready, from what has been seen and, until then, from what the kitchen is set
/// up for.
///
/// While more orders are in flight than the kitchen has hands, completions per second are its rate.
/// Otherwise they only tell how fast orders come in, and the set-up counts. How long until the next
/// few leave is read off what is in work now: with few workers an average would be far off.
/// Runs on: the loop's thread. Pure: time comes in.
class Capacity {
 public:
  explicit Capacity(std::array<StageCapacity, 3> stages);

  /// To be told whenever the count of orders in flight is known anew.
  void on_in_flight(std::int64_t count, pronto::SteadyTime now);
  void on_ready(pronto::SteadyTime now);
  /// What is in work and what waits in each stage.
  void on_stages(std::array<StageNow, 3> stages, pronto::SteadyTime now);

  /// Orders per second.
  double rate(pronto::SteadyTime now) const;

  struct Range {
    pronto::milliseconds earliest;
    pronto::milliseconds latest;
  };
  /// How long an order accepted now will take, with `ahead` orders before it.
  Range estimate(std::int64_t ahead, pronto::SteadyTime now) const;
  /// How long until `count` orders will have left the kitchen.
  pronto::milliseconds drain_time(std::int64_t count, pronto::SteadyTime now) const;

 private:
  double planned_rate() const;
  double slowness(const std::array<StageNow, 3>& stages, pronto::SteadyTime now) const;
  pronto::milliseconds scheduled(const std::array<StageNow, 3>& stages, std::int64_t count,
                                 pronto::SteadyTime now) const;
  pronto::milliseconds way() const;  // through all stages, without waiting
  bool is_busy() const { return busy_since_.time_since_epoch().count() != 0; }

  std::array<StageCapacity, 3> stages_;
  pronto::SteadyTime busy_since_{};
  std::deque<pronto::SteadyTime> ready_;  // of the busy time, the newest `ready_count_max`
  std::optional<std::array<StageNow, 3>> seen_;
  pronto::SteadyTime seen_at_{};
  std::int64_t ready_since_seen_ = 0;
};

}  // namespace pizzeria
