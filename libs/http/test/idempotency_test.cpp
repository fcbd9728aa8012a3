#include "pronto/http/idempotency.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "database_fixture.hpp"
#include "pronto/async/task_group.hpp"

namespace pronto::http {
namespace {

using namespace std::chrono_literals;

class IdempotencyTest : public DatabaseTest {
 protected:
  IdempotencyTest() { open(); }
  ~IdempotencyTest() override { keys_.reset(); }

  Idempotency& keys() { return *keys_; }
  void open() {
    keys_ = std::make_unique<Idempotency>(loop, database());
    loop.run(keys_->start());
  }
  /// As after a kill: nothing in memory, what was committed is there.
  void crash() {
    keys_.reset();
    crash_database();
    open();
  }
  Result<Idempotency::Claim, Problem> claim(
      std::string body = "{}", std::string key = "k", std::string caller = "alice",
      Idempotency::WhileBusy busy = Idempotency::WhileBusy::refuse) {
    return loop.run(keys_->claim(
        caller, key, body, [this] { return "id" + std::to_string(++ids_made); }, busy));
  }

  int ids_made = 0;

 private:
  std::unique_ptr<Idempotency> keys_;
};

TEST_F(IdempotencyTest, ReplaysTheFirstAnswerForTheSameKeyAndBody) {
  {
    auto first = claim().value();
    EXPECT_TRUE(first.is_new());
    EXPECT_EQ(first.answer_id(), "id1");
    first.finish("the answer");
  }
  const auto second = claim().value();
  EXPECT_FALSE(second.is_new());
  EXPECT_EQ(second.answer_id(), "id1");
  EXPECT_EQ(second.answer(), "the answer");
  EXPECT_EQ(ids_made, 1);
}

TEST_F(IdempotencyTest, TellsWhetherAKeyCameBeforeWithoutUsingIt) {
  EXPECT_FALSE(loop.run(keys().is_known("alice", "k")));
  {
    const auto first = claim().value();
    EXPECT_TRUE(loop.run(keys().is_known("alice", "k"))) << "under way";
  }
  crash();
  EXPECT_TRUE(loop.run(keys().is_known("alice", "k")));
  EXPECT_FALSE(loop.run(keys().is_known("bob", "k")));
  EXPECT_FALSE(loop.run(keys().is_known("alice", "other")));
  EXPECT_TRUE(claim("{}", "other").value().is_new());
}

TEST_F(IdempotencyTest, KeepsTheAnswerOverARestart) {
  claim().value().finish("the answer");
  loop.run_until_idle();
  crash();
  EXPECT_EQ(claim().value().answer(), "the answer");
}

TEST_F(IdempotencyTest, GivesTheSameIdAgainAfterACrashBeforeTheAnswer) {
  EXPECT_EQ(claim().value().answer_id(), "id1");
  crash();
  const auto retry = claim().value();
  EXPECT_EQ(retry.answer_id(), "id1");
  EXPECT_FALSE(retry.is_new());
  EXPECT_EQ(retry.answer(), std::nullopt) << "so the work is done, under the same id";
  EXPECT_EQ(claim("other").error().status, 422);
}

TEST_F(IdempotencyTest, RefusesAnotherBody) {
  (void)claim("{}").value();
  const auto other = claim("{ }");
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().status, 422);
  EXPECT_EQ(other.error().errors.at(0).field, "Idempotency-Key");
  EXPECT_EQ(claim("{}").value().answer_id(), "id1");
}

TEST_F(IdempotencyTest, RefusesASecondRequestWhileTheFirstIsUnderWay) {
  auto first = std::optional{claim().value()};
  const auto second = claim();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().status, 409);
  EXPECT_EQ(second.error().retry_after, 1s);
  EXPECT_EQ(claim("other").error().status, 422);
  first.reset();
  EXPECT_TRUE(claim().has_value());
}

TEST_F(IdempotencyTest, LetsASecondRequestWaitForTheFirst) {
  auto first = std::optional{claim().value()};
  TaskGroup tasks{loop, "test"};
  std::string seen;
  tasks.spawn([&]() -> Task<> {
    auto second = co_await keys().claim(
        "alice", "k", "{}", [] { return std::string{"never"}; }, Idempotency::WhileBusy::wait);
    seen = second.value().answer().value_or("none");
  });
  loop.run_until_idle();
  EXPECT_EQ(seen, "");
  first->finish("the answer");
  first.reset();
  loop.run_until_idle();
  EXPECT_EQ(seen, "the answer");
}

TEST_F(IdempotencyTest, KeepsCallersAndKeysApart) {
  EXPECT_EQ(claim("{}", "k", "alice").value().answer_id(), "id1");
  EXPECT_EQ(claim("{}", "k", "bob").value().answer_id(), "id2");
  EXPECT_EQ(claim("{}", "K", "alice").value().answer_id(), "id3");
}

TEST_F(IdempotencyTest, ForgetsAKeyAfter24Hours) {
  (void)claim("{}").value();
  loop.advance(24h - 1s);
  EXPECT_EQ(claim("other").error().status, 422);
  loop.advance(1s);
  EXPECT_EQ(claim("other").value().answer_id(), "id2");
}

TEST_F(IdempotencyTest, DeletesOldRowsByItself) {
  for (int i = 0; i < 20; ++i) (void)claim("{}", std::to_string(i)).value();
  const auto count = [&] {
    return loop.run(database().query("select count(*) from http_idempotency"))[0].integer(0);
  };
  loop.advance(23h);
  EXPECT_EQ(count(), 20);
  loop.advance(2h);
  EXPECT_EQ(count(), 0);
}

TEST_F(IdempotencyTest, TakesKeysUpToTheLimitAndNothingUnprintable) {
  EXPECT_TRUE(claim("{}", std::string(255, 'k')).has_value());
  for (const std::string& key :
       {std::string(256, 'k'), std::string{}, std::string{"a\nb"}, std::string{"\xC3\xA4"}}) {
    EXPECT_EQ(claim("{}", key).error().status, 400) << key;
  }
}

TEST_F(IdempotencyTest, LeavesNothingBehindWhenTheDatabaseFails) {
  loop.run(database().close());
  EXPECT_THROW((void)claim(), DatabaseError);
  EXPECT_THROW((void)claim(), DatabaseError) << "and not 409";
}

}  // namespace
}  // namespace pronto::http
