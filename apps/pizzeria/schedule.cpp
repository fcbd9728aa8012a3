#include "schedule.hpp"

#include <algorithm>
#include <functional>
#include <queue>

#include "pronto/base/assert.hpp"

namespace pizzeria {

using pronto::milliseconds;

namespace {

constexpr milliseconds overdue_max{1000};

/// An order that should have been done long ago is stuck: the longer it was, the longer it will be.
milliseconds time_left(milliseconds left) {
  if (left < -overdue_max) return -left;
  return std::max(left, milliseconds{0});
}

/// When each order leaves `stage`, the soonest first; `arrivals` come from the stage before it.
std::vector<milliseconds> play(const StageNow& stage, const std::vector<milliseconds>& arrivals,
                               std::int64_t waiting) {
  std::priority_queue<milliseconds, std::vector<milliseconds>, std::greater<>> free_at;
  std::vector<milliseconds> left;
  for (const milliseconds one : stage.left) {
    left.push_back(time_left(one));
    free_at.push(left.back());
  }
  while (static_cast<std::int64_t>(free_at.size()) < std::max<std::int64_t>(stage.workers, 1)) {
    free_at.push(milliseconds{0});
  }
  const auto work = [&](milliseconds arrival) {
    const milliseconds begin = std::max(arrival, free_at.top());
    free_at.pop();
    free_at.push(begin + stage.duration);
    left.push_back(begin + stage.duration);
  };
  for (std::int64_t i = 0; i < waiting; ++i) work(milliseconds{0});
  for (const milliseconds arrival : arrivals) work(arrival);
  std::ranges::sort(left);
  return left;
}

}  // namespace

milliseconds time_until_left(const std::array<StageNow, 3>& stages, std::int64_t count) {
  PRONTO_ASSERT(count >= 1 && count <= scheduled_count_max);
  // From the last stage back: those behind the `count` first do not matter.
  std::array<std::int64_t, 3> waiting{};
  std::int64_t missing = count;
  for (std::size_t i = stages.size(); i-- > 0;) {
    missing -= static_cast<std::int64_t>(stages[i].left.size());
    waiting[i] = std::clamp<std::int64_t>(missing, 0, stages[i].waiting);
    missing -= waiting[i];
  }
  waiting[0] += std::max<std::int64_t>(missing, 0);
  std::vector<milliseconds> left;
  for (std::size_t i = 0; i < stages.size(); ++i) left = play(stages[i], left, waiting[i]);
  return left[static_cast<std::size_t>(count) - 1];
}

}  // namespace pizzeria
