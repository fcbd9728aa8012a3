#include "schedule.hpp"

#include <gtest/gtest.h>

namespace pizzeria {
namespace {

using namespace std::chrono_literals;

std::array<StageNow, 3> kitchen(std::int64_t workers) {
  return {{{workers, 6000ms, {}, 0}, {workers, 8000ms, {}, 0}, {workers, 6000ms, {}, 0}}};
}

TEST(Schedule, OrdersThatHaveNotBegunGoTheWholeWay) {
  EXPECT_EQ(time_until_left(kitchen(2), 1), 20s);
  EXPECT_EQ(time_until_left(kitchen(2), 2), 20s);
  EXPECT_EQ(time_until_left(kitchen(2), 3), 28s);
  EXPECT_EQ(time_until_left(kitchen(2), 5), 36s);
}

TEST(Schedule, TheNextToLeaveIsTheOneThatIsDueFirst) {
  auto stages = kitchen(2);
  stages[2].left = {3500ms, 1200ms};
  stages[1].left = {500ms, 4000ms};
  EXPECT_EQ(time_until_left(stages, 1), 1200ms);
  EXPECT_EQ(time_until_left(stages, 2), 3500ms);
  EXPECT_EQ(time_until_left(stages, 3), 1200ms + 6000ms);  // waits for a worker of the oven
  EXPECT_EQ(time_until_left(stages, 4), 4000ms + 6000ms);
}

TEST(Schedule, ThoseThatWaitTakeTheirTurns) {
  auto stages = kitchen(1);
  stages[2].left = {1000ms};
  stages[2].waiting = 3;
  EXPECT_EQ(time_until_left(stages, 4), 19s);
}

TEST(Schedule, AnOrderThatIsStuckIsNotExpectedAtOnce) {
  auto stages = kitchen(1);
  stages[2].left = {-30s};
  EXPECT_EQ(time_until_left(stages, 1), 30s);
  stages[2].left = {-10ms};
  EXPECT_EQ(time_until_left(stages, 1), 0ms);
}

TEST(Schedule, AFullKitchenWithManyWaitingGoesAtItsSlowestStage) {
  auto stages = kitchen(4);
  stages[0].waiting = 10'000;
  const auto last = time_until_left(stages, scheduled_count_max);
  EXPECT_EQ(last, 20s + (scheduled_count_max / 4 - 1) * 8s);
}

}  // namespace
}  // namespace pizzeria
