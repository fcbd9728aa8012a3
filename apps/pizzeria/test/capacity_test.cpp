#include "capacity.hpp"

#include <gtest/gtest.h>

namespace pizzeria {
namespace {

using namespace std::chrono_literals;
using pronto::SteadyTime;

constexpr SteadyTime start{1h};

Capacity kitchen() {
  return Capacity{{StageCapacity{2, 6000ms}, StageCapacity{2, 8000ms}, StageCapacity{2, 6000ms}}};
}

TEST(Capacity, AnEmptyKitchenNeedsTheTimeOfItsStages) {
  const Capacity capacity = kitchen();
  EXPECT_EQ(capacity.estimate(0, start).earliest, 20s);
  EXPECT_GT(capacity.estimate(0, start).latest, 20s);
}

TEST(Capacity, UntilSomethingIsSeenTheSlowestStageSetsTheRate) {
  EXPECT_DOUBLE_EQ(kitchen().rate(start), 0.25);
}

TEST(Capacity, OrdersThatTrickleInSayNothingAboutTheRate) {
  Capacity capacity = kitchen();
  for (int i = 0; i < 20; ++i) {
    capacity.on_in_flight(1, start + i * 60s);
    capacity.on_ready(start + i * 60s + 20s);
  }
  EXPECT_DOUBLE_EQ(capacity.rate(start + 1200s), 0.25);
}

TEST(Capacity, ABusyKitchenIsMeasured) {
  Capacity capacity = kitchen();
  capacity.on_in_flight(1000, start);
  for (int i = 1; i <= 100; ++i) capacity.on_ready(start + 20s + i * 2s);
  EXPECT_NEAR(capacity.rate(start + 220s), 0.5, 0.01);
  EXPECT_NEAR(static_cast<double>(capacity.drain_time(50, start + 220s).count()), 100'000, 2000);
}

TEST(Capacity, AKitchenThatStandsStillIsSeen) {
  Capacity capacity = kitchen();
  capacity.on_in_flight(1000, start);
  for (int i = 1; i <= 10; ++i) capacity.on_ready(start + i * 1s);
  EXPECT_LT(capacity.rate(start + 100s), 0.15);
}

TEST(Capacity, BeforeTheFirstIsReadyTheWayThroughTheStagesCounts) {
  Capacity capacity = kitchen();
  capacity.on_in_flight(7, start);
  EXPECT_EQ(capacity.drain_time(1, start + 5s), 15s);
}

TEST(Capacity, WhatIsInWorkTellsWhenTheNextOrderLeaves) {
  Capacity capacity = kitchen();
  capacity.on_in_flight(3, start);
  std::array<StageNow, 3> stages{{{2, 6000ms, {}, 0}, {2, 8000ms, {}, 0}, {2, 6000ms, {}, 0}}};
  EXPECT_EQ(capacity.drain_time(1, start), 4s) << "from what it was set up for";
  stages[0].left = {5000ms};
  capacity.on_stages(stages, start);
  EXPECT_EQ(capacity.drain_time(1, start + 1s), 4s + 8s + 6s);
  EXPECT_EQ(capacity.drain_time(scheduled_count_max + 100, start) -
                capacity.drain_time(scheduled_count_max, start),
            400s);
}

TEST(Capacity, AnOrderThatHasLeftSinceIsNotTheNextToLeave) {
  Capacity capacity = kitchen();
  capacity.on_in_flight(6, start);
  std::array<StageNow, 3> stages{{{1, 1000ms, {}, 3}, {1, 2500ms, {}, 0}, {1, 1500ms, {}, 0}}};
  stages[2].left = {100ms};
  stages[1].left = {1200ms};
  capacity.on_stages(stages, start);
  EXPECT_EQ(capacity.drain_time(1, start), 100ms);
  capacity.on_ready(start + 110ms);
  EXPECT_EQ(capacity.drain_time(1, start + 200ms), 1200ms + 1500ms - 200ms);
}

TEST(Capacity, TheHoleAfterAStartIsNotTheKitchensSpeed) {
  Capacity capacity = kitchen();
  capacity.on_in_flight(1000, start);
  for (int i = 0; i < 4; ++i) capacity.on_ready(start);  // were in the oven when it was stopped
  for (int i = 0; i < 14; ++i) capacity.on_ready(start + 20s + i * 2s);
  std::array<StageNow, 3> stages{
      {{4, 6000ms, {}, 500}, {4, 8000ms, {}, 500}, {4, 6000ms, {2s, 4s}, 0}}};
  capacity.on_stages(stages, start + 46s);
  EXPECT_EQ(capacity.drain_time(2, start + 46s), 4s);
}

TEST(Capacity, AKitchenThatIsSlowerThanItsStagesIsBelieved) {
  Capacity capacity = kitchen();
  capacity.on_in_flight(1000, start);
  for (int i = 0; i <= 40; ++i) capacity.on_ready(start + i * 8s);  // half of what two ovens can do
  std::array<StageNow, 3> stages{{{2, 6000ms, {}, 500}, {2, 8000ms, {}, 500}, {2, 6000ms, {}, 0}}};
  stages[1].left = {4000ms, 8000ms};
  capacity.on_stages(stages, start + 320s);
  EXPECT_NEAR(static_cast<double>(capacity.drain_time(100, start + 320s).count()), 800'000, 50'000);
}

}  // namespace
}  // namespace pizzeria
