#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "pronto/base/time.hpp"

namespace pizzeria {

/// One stage at a moment: who is in work, who waits, and how fast it goes.
struct StageNow {
  std::int64_t workers = 1;
  pronto::milliseconds duration{0};        ///< of one order
  std::vector<pronto::milliseconds> left;  ///< of each order in work; negative: overdue
  std::int64_t waiting = 0;                ///< orders whose turn has not come
};

/// How many orders `time_until_left` looks at one by one.
inline constexpr std::int64_t scheduled_count_max = 512;

/// Plays the kitchen on: when `count` orders will have left its last stage. Orders that the stages
/// do not show are taken to wait for the first.
///
/// Takes: `count` from 1 to `scheduled_count_max`. Source: ONE_ORDER.md, capacity.
pronto::milliseconds time_until_left(const std::array<StageNow, 3>& stages, std::int64_t count);

}  // namespace pizzeria
