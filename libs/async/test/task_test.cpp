#include <gtest/gtest.h>

#include <stdexcept>
#include <thread>
#include <vector>

#include "pronto/async/deadline.hpp"
#include "pronto/async/sync.hpp"
#include "pronto/async/system_loop.hpp"
#include "pronto/async/task_group.hpp"
#include "pronto/async/virtual_loop.hpp"
#include "pronto/async/worker.hpp"

namespace pronto {
namespace {

using namespace std::chrono_literals;

Task<int> add(int left, int right) {
  co_await sleep_for(1s);
  co_return left + right;
}

Task<int> fail() {
  co_await yield();
  throw std::runtime_error{"oven is cold"};
}

TEST(Task, GivesItsValueToTheAwaiter) {
  VirtualLoop loop;
  EXPECT_EQ(loop.run(add(2, 3)), 5);
  EXPECT_EQ(loop.now().time_since_epoch(), 1s);
}

TEST(Task, GivesItsExceptionToTheAwaiter) {
  VirtualLoop loop;
  EXPECT_THROW(loop.run(fail()), std::runtime_error);
}

TEST(Task, AwaitedNeverRunsNever) {
  bool ran = false;
  {
    const auto body = [](bool& flag) -> Task<> {
      flag = true;
      co_return;
    };
    const Task<> task = body(ran);
  }
  EXPECT_FALSE(ran);
}

TEST(Deadline, CutsATaskThatTakesTooLong) {
  VirtualLoop loop;
  const Result<int> late = loop.run(with_deadline(500ms, add(2, 3)));
  EXPECT_EQ(late.error(), make_error_code(Error::timed_out));
  const Result<int> early = loop.run(with_deadline(2s, add(2, 3)));
  EXPECT_EQ(early.value(), 5);
}

TEST(Deadline, InsideADeadlineTheShorterOneCounts) {
  VirtualLoop loop;
  const auto outer = [](bool& inner_ended) -> Task<Result<void>> {
    const Result<int> inner = co_await with_deadline(10s, add(1, 1));
    inner_ended = true;
    if (!inner) co_return inner.error();
    co_return Result<void>{};
  };
  bool inner_ended = false;
  const auto result = loop.run(with_deadline(500ms, outer(inner_ended)));
  EXPECT_EQ(result.error(), make_error_code(Error::timed_out));
  EXPECT_FALSE(inner_ended) << "the outer deadline ends all that is inside it";
}

struct Flag {
  explicit Flag(bool& value) : value_{value} {}
  ~Flag() { value_ = true; }
  bool& value_;
};

Task<> wait_for_ever(bool& left) {
  const Flag flag{left};
  co_await sleep_for(1h);
}

TEST(TaskGroup, CancelEndsWaitsAndJoinSeesTheEnd) {
  VirtualLoop loop;
  TaskGroup group{loop, "test"};
  bool left = false;
  group.spawn(wait_for_ever(left));
  loop.run_until_idle();
  EXPECT_FALSE(left);
  group.cancel();
  loop.run(group.join());
  EXPECT_TRUE(left);
  EXPECT_EQ(loop.now().time_since_epoch(), 0s);
}

TEST(TaskGroup, ATaskSpawnedAfterCancelEndsAtItsFirstWait) {
  VirtualLoop loop;
  TaskGroup group{loop, "test"};
  group.cancel();
  bool left = false;
  group.spawn(wait_for_ever(left));
  loop.run_until_idle();
  EXPECT_TRUE(left);
}

TEST(TaskGroup, DestroysWhatStillWaits) {
  VirtualLoop loop;
  bool left = false;
  {
    TaskGroup group{loop, "test"};
    group.spawn(wait_for_ever(left));
    loop.run_until_idle();
  }
  EXPECT_TRUE(left);
  loop.advance(2h);
}

TEST(TaskGroup, OneTaskThatFailsLeavesTheOthersRunning) {
  VirtualLoop loop;
  TaskGroup group{loop, "test"};
  int value = 0;
  group.spawn([]() -> Task<> { co_await fail(); });
  group.spawn([&value]() -> Task<> { value = co_await add(1, 2); });
  loop.advance(2s);
  EXPECT_EQ(value, 3);
  EXPECT_EQ(group.size(), 0U);
}

TEST(Mailbox, HoldsBackWhoPushesTooMuch) {
  VirtualLoop loop;
  TaskGroup group{loop, "test"};
  Mailbox<int> mailbox{2};
  int pushed = 0;
  group.spawn([&]() -> Task<> {
    for (; pushed < 4; ++pushed) (void)co_await mailbox.push(pushed);
  });
  loop.run_until_idle();
  EXPECT_EQ(pushed, 2);
  std::vector<int> taken;
  while (auto item = mailbox.try_pop()) {
    taken.push_back(*item);
    loop.run_until_idle();
  }
  EXPECT_EQ(taken, (std::vector{0, 1, 2, 3}));
  mailbox.close();
  EXPECT_FALSE(mailbox.try_push(5));
}

TEST(Slots, AreGivenInTheOrderOfAsking) {
  VirtualLoop loop;
  TaskGroup group{loop, "test"};
  Slots slots{1};
  std::vector<int> order;
  for (int i = 0; i < 4; ++i) {
    group.spawn([&order, &slots, i]() -> Task<> {
      const auto held = co_await slots.take();
      co_await sleep_for(1s);
      order.push_back(i);
    });
  }
  loop.advance(10s);
  EXPECT_EQ(order, (std::vector{0, 1, 2, 3}));
  EXPECT_EQ(slots.free(), 1U);
}

TEST(Promise, WakesAllWhoWaitAndKeepsItsFirstValue) {
  VirtualLoop loop;
  TaskGroup group{loop, "test"};
  const Promise<int> promise;
  int sum = 0;
  for (int i = 0; i < 3; ++i) {
    group.spawn([&sum, promise]() -> Task<> { sum += co_await promise.get(); });
  }
  loop.run_until_idle();
  promise.set(7);
  promise.set(8);
  loop.run_until_idle();
  EXPECT_EQ(sum, 21);
}

TEST(Worker, RunsBlockingCallsAwayFromTheLoop) {
  SystemLoop loop;
  TaskGroup group{loop, "test"};
  Worker worker{"test-worker"};
  const auto loop_thread = std::this_thread::get_id();
  std::thread::id seen;
  bool threw = false;
  group.spawn([&]() -> Task<> {
    seen = co_await worker.run([] { return std::this_thread::get_id(); });
    try {
      co_await worker.run([]() -> void { throw std::runtime_error{"disk"}; });
    } catch (const std::runtime_error&) {
      threw = true;
    }
    loop.stop();
  });
  loop.run();
  EXPECT_NE(seen, loop_thread);
  EXPECT_NE(seen, std::thread::id{});
  EXPECT_TRUE(threw);
}

// Goal: a timer is not rounded up to the reactor's whole milliseconds.
// Method: the best of many, since a busy machine may be late at any time.
TEST(SystemLoopTest, EndsAShortSleepWithinAMillisecond) {
  using namespace std::chrono_literals;
  SystemLoop loop;
  TaskGroup group{loop, "test"};
  SteadyTime::duration shortest = 1h;
  SteadyTime::duration longest{};
  group.spawn([&]() -> Task<> {
    for (int i = 0; i < 50; ++i) {
      const SteadyTime start = loop.now();
      co_await sleep_for(100us);
      shortest = std::min(shortest, loop.now() - start);
    }
    const SteadyTime start = loop.now();
    co_await sleep_for(25ms);
    longest = loop.now() - start;
    loop.stop();
  });
  loop.run();
  EXPECT_GE(shortest, 100us);
  EXPECT_LT(shortest, 900us);
  EXPECT_GE(longest, 25ms);
}

}  // namespace
}  // namespace pronto
