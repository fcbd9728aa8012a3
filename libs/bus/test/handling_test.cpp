#include <gmock/gmock.h>

#include <set>

#include "pronto/async/task_group.hpp"
#include "shop.hpp"

namespace pronto {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

using Failing = ShopTest;

TEST_F(Failing, AFailureLeavesItsSlotAndIsTriedAgainAfterItsDelays) {
  Counter kitchen;
  kitchen.before = [&](const Envelope& envelope) {
    if (envelope.attempt < 3 && envelope.key == "bad") throw std::runtime_error{"oven is cold"};
  };
  Process one = process();
  one->on<&Counter::on>(kitchen, "kitchen", {.concurrency = 1});
  start(one);
  const SteadyTime began = loop.now();
  publish(one, {"bad", 1});
  publish(one, {"good", 2});
  ASSERT_TRUE(eventually([&] { return kitchen.seen.size() == 1; }));
  EXPECT_THAT(kitchen.seen, ElementsAre("good")) << "with a single slot";
  EXPECT_LT(loop.now() - began, milliseconds{500});
  ASSERT_TRUE(eventually([&] { return kitchen.attempts.size() == 3; }));
  EXPECT_NEAR(std::chrono::duration<double>(loop.now() - began).count(), 1, 0.2);
  ASSERT_TRUE(eventually([&] { return kitchen.seen.size() == 2; }));
  EXPECT_NEAR(std::chrono::duration<double>(loop.now() - began).count(), 1 + 5, 0.4);
  EXPECT_THAT(kitchen.attempts, ElementsAre(1, 1, 2, 3));
  loop.run_until_idle();
  const QueueMetrics metrics = one->metrics().queues.at(0);
  EXPECT_EQ(metrics.handled_total, 2U);
  EXPECT_EQ(metrics.failed_total, 2U);
  EXPECT_EQ(metrics.retried_total, 2U);
  EXPECT_EQ(metrics.dead_total, 0U);
}

TEST_F(Failing, AttemptsAreBoundedAndTheDeadLetterSaysWhy) {
  Counter kitchen;
  kitchen.before = [&](const Envelope&) { throw std::runtime_error{"oven is cold"}; };
  Bus::Options bus_options = options();
  bus_options.attempts_max = 3;
  Process one = process("rows.db", bus_options);
  one->on<&Counter::on>(kitchen, "kitchen");
  start(one);
  const WallTime began = loop.wall_now();
  publish(one, {"bad", 1}, "id-1");
  ASSERT_TRUE(eventually([&] { return broker.ready_count("kitchen.dead") == 1; }));
  EXPECT_THAT(kitchen.attempts, ElementsAre(1, 2, 3));
  loop.advance(seconds{3600});
  EXPECT_EQ(kitchen.attempts.size(), 3U);
  for (int look = 0; look < 2; ++look) {  // looking takes nothing away
    const auto letters = loop.run(one->dead_letters().list("kitchen"));
    ASSERT_TRUE(letters.has_value());
    ASSERT_EQ(letters->size(), 1U);
    const DeadLetter& letter = letters->front();
    EXPECT_EQ(letter.id, "id-1");
    EXPECT_EQ(letter.type, "shop.placed");
    EXPECT_EQ(letter.queue, "kitchen");
    EXPECT_EQ(letter.key, "bad");
    EXPECT_THAT(letter.handler, HasSubstr("Counter::on"));
    EXPECT_EQ(letter.error, "oven is cold");
    EXPECT_EQ(letter.attempts, 3);
    EXPECT_EQ(letter.body, R"({"order":"bad","number":1})");
    EXPECT_EQ(letter.traceparent.size(), 55U);
    EXPECT_GE(letter.made_at, began);
    EXPECT_LT(letter.first_failed_at - began, seconds{1});
    EXPECT_GE(letter.dead_at - letter.first_failed_at, seconds{6});
  }
}

TEST_F(Failing, ADeadLetterThatIsSentBackIsHandled) {
  Counter kitchen;
  bool is_mended = false;
  kitchen.before = [&](const Envelope&) {
    if (!is_mended) throw Rejected{"no such pizza"};
  };
  Process one = process();
  one->on<&Counter::on>(kitchen, "kitchen");
  start(one);
  for (const char* id : {"a", "b", "c", "d"}) publish(one, {id, 1}, id);
  ASSERT_TRUE(eventually([&] { return broker.ready_count("kitchen.dead") == 4; }));
  EXPECT_THAT(kitchen.attempts, ElementsAre(1, 1, 1, 1)) << "rejected: not tried again";
  is_mended = true;
  ASSERT_TRUE(loop.run(one->dead_letters().retry("kitchen", "b")).has_value());
  ASSERT_TRUE(eventually([&] { return kitchen.seen.size() == 1; }));
  EXPECT_THAT(kitchen.seen, ElementsAre("b"));
  EXPECT_EQ(kitchen.attempts.back(), 1) << "counted from the start";
  EXPECT_EQ(loop.run(one->dead_letters().retry("kitchen", "b")).error().kind,
            BusFailure::Kind::not_found);
  ASSERT_TRUE(loop.run(one->dead_letters().discard("kitchen", "c", "a test")).has_value());
  loop.run_until_idle();
  std::vector<std::string> left;
  for (const DeadLetter& letter : *loop.run(one->dead_letters().list("kitchen"))) {
    left.push_back(letter.id);
  }
  EXPECT_THAT(left, ElementsAre("a", "d")) << "in their order";
  EXPECT_EQ(loop.run(one->dead_letters().retry_all("kitchen")).value(), 2U);
  ASSERT_TRUE(eventually([&] { return kitchen.seen.size() == 3; }));
  EXPECT_EQ(loop.run(one->dead_letters().count("kitchen")).value(), 0U);
  EXPECT_EQ(loop.run(one->dead_letters().count("nobody")).value(), 0U);
  EXPECT_TRUE(loop.run(one->dead_letters().list("nobody"))->empty());
}

TEST_F(Failing, OnlyABoundedNumberOfDeadLettersIsLookedAt) {
  Process one = process();
  one->expect<Placed>("kitchen");
  Counter kitchen;
  one->on<&Counter::on>(kitchen, "kitchen");
  start(one);
  for (int number = 0; number < 20; ++number) broker.put("kitchen.dead", std::to_string(number));
  EXPECT_EQ(loop.run(one->dead_letters().list("kitchen", 5))->size(), 5U);
  loop.run_until_idle();
  EXPECT_EQ(broker.ready_count("kitchen.dead"), 20U);
  EXPECT_EQ(loop.run(one->dead_letters().discard_all("kitchen", "a test")).value(), 20U);
  loop.run_until_idle();
  EXPECT_EQ(broker.ready_count("kitchen.dead"), 0U);
}

TEST_F(Failing, WhatIsNotTheMessageItClaimsToBeIsDeadAtOnce) {
  Counter kitchen;
  Process one = process();
  one->on<&Counter::on>(kitchen, "kitchen");
  start(one);
  broker.put("kitchen", "{", {.type = "shop.placed.v1"});
  broker.put("kitchen", R"({"order":7})", {.type = "shop.placed.v1"});
  broker.put("kitchen", "{}", {.type = "shop.placed.v2"});
  ASSERT_TRUE(eventually([&] { return broker.ready_count("kitchen.dead") == 3; }));
  const auto letters = loop.run(one->dead_letters().list("kitchen"));
  EXPECT_THAT(letters->at(0).error, HasSubstr("not JSON"));
  EXPECT_THAT(letters->at(1).error, HasSubstr("order: not a text"));
  EXPECT_THAT(letters->at(2).error, HasSubstr("no handler for a message of type 'shop.placed.v2'"));
  EXPECT_THAT(kitchen.attempts, IsEmpty());
}

TEST_F(Failing, AMessageThatKillsWhoeverTakesItBecomesADeadLetter) {
  Counter kitchen;
  Process one = process();
  one->on<&Counter::on>(kitchen, "kitchen");
  start(one);
  const std::string body = to_json(Placed{"killer", 1});
  broker.put(
      "kitchen", body,
      {.headers = wire::Table{{"x-delivery-count", std::int64_t{200}}}, .type = "shop.placed.v1"});
  broker.put(
      "kitchen", body,
      {.headers = wire::Table{{"x-delivery-count", std::int64_t{201}}}, .type = "shop.placed.v1"});
  ASSERT_TRUE(eventually([&] { return broker.ready_count("kitchen.dead") == 1; }));
  EXPECT_EQ(kitchen.seen.size(), 1U);
}

TEST_F(Failing, ADatabaseThatIsAwayCountsNoAttempt) {
  Ledger ledger;
  Process one = process();
  one->on<&Ledger::on>(ledger, "ledger");
  one->expect<Status>("history");
  start(one);
  int left = 20;
  ledger.before = [&] {
    if (left-- > 0) throw DatabaseError{DatabaseError::Kind::unavailable, "disk full"};
  };
  publish(one, {"o", 1});
  ASSERT_TRUE(eventually([&] { return broker.ready_count("history") == 1; }, seconds{600}));
  EXPECT_EQ(ledger.started, 21) << "more often than attempts are allowed";
  EXPECT_EQ(broker.ready_count("ledger.dead"), 0U);
}

TEST_F(Failing, WhenTheFailureCannotBeSentAwayTheMessageGoesBack) {
  Counter kitchen;
  kitchen.before = [&](const Envelope& envelope) {
    if (!envelope.redelivered) throw std::runtime_error{"no"};
  };
  Process one = process();
  one->on<&Counter::on>(kitchen, "kitchen");
  start(one);
  broker.nacked_exchanges.insert("pronto.delay.1000");
  publish(one, {"o", 1});
  ASSERT_TRUE(eventually([&] { return kitchen.seen.size() == 1; }));
  EXPECT_EQ(one->metrics().queues.at(0).returned_total, 1U);
}

using Keys = ShopTest;

TEST_F(Keys, MessagesOfOneKeyAreHandledOneAfterAnotherAndOthersMeanwhile) {
  Counter kitchen;
  int running = 0;
  int running_max = 0;
  kitchen.wait = [&]() -> Task<> {
    running_max = std::max(running_max, ++running);
    co_await sleep_for(milliseconds{100});
    --running;
  };
  Process one = process();
  one->on<&Counter::on>(kitchen, "kitchen", {.concurrency = 10});
  start(one);
  const SteadyTime began = loop.now();
  for (const char* key : {"a", "a", "a", "b"}) publish(one, {key, 1});
  ASSERT_TRUE(eventually([&] { return kitchen.seen.size() == 4; }));
  EXPECT_EQ(running_max, 2);
  EXPECT_THAT(kitchen.seen, ElementsAre("a", "b", "a", "a"));
  EXPECT_NEAR(std::chrono::duration<double>(loop.now() - began).count(), 0.3, 0.1);
}

using RowsAndMessages = ShopTest;

TEST_F(RowsAndMessages, RowsInboxAndMessagesAreOneTransaction) {
  Ledger ledger;
  Counter history;
  Process one = process();
  one->on<&Ledger::on>(ledger, "ledger");
  one->on<&Counter::on_status>(history, "history");
  start(one);
  publish(one, {"o", 1}, "id-1");
  ASSERT_TRUE(eventually([&] { return history.seen.size() == 1; }));
  EXPECT_EQ(count(one, "select count(*) from ledger"), 1);
  EXPECT_EQ(count(one, "select count(*) from bus_inbox where message_id = 'id-1'"), 1);
  ASSERT_TRUE(eventually([&] { return count(one, "select count(*) from bus_outbox") == 0; }));
  EXPECT_EQ(one->metrics().relayed_total, 1U);
  EXPECT_EQ(one->metrics().outbox_rows, 0U);
}

TEST_F(RowsAndMessages, WhenTheHandlerFailsNothingOfItIsDone) {
  struct Halfway {
    int tries = 0;
    Task<> on(const Placed& event, Transaction& tx, Out<Status> out) {
      co_await tx.execute("insert into ledger values ($1, 1)", event.order);
      out.publish(Status{event.order, 1});
      if (++tries == 1) throw std::runtime_error{"half way"};
    }
  } service;
  Counter history;
  Process one = process();
  one->on<&Halfway::on>(service, "ledger");
  one->on<&Counter::on_status>(history, "history");
  start(one);
  publish(one, {"o", 1});
  ASSERT_TRUE(eventually([&] { return service.tries == 1; }));
  EXPECT_EQ(count(one, "select count(*) from ledger"), 0);
  EXPECT_EQ(count(one, "select count(*) from bus_inbox"), 0);
  ASSERT_TRUE(eventually([&] { return history.seen.size() == 1; }));
  EXPECT_EQ(count(one, "select count(*) from ledger"), 1);
}

TEST_F(RowsAndMessages, ACopyIsKnownByItsIdAndDropped) {
  Ledger ledger;
  Counter history;
  Process one = process();
  one->on<&Ledger::on>(ledger, "ledger");
  one->on<&Counter::on_status>(history, "history");
  start(one);
  for (int copy = 0; copy < 3; ++copy) publish(one, {"o", 1}, "same");
  ASSERT_TRUE(eventually([&] { return observer.endings.size() == 4; }));
  EXPECT_EQ(ledger.started, 1);
  EXPECT_EQ(history.seen.size(), 1U);
  EXPECT_EQ(one->metrics().queues.at(0).duplicate_total, 2U);
}

TEST_F(RowsAndMessages, TheInboxForgetsAfterItsTime) {
  Ledger ledger;
  Bus::Options bus_options = options();
  bus_options.inbox_kept = std::chrono::hours{3};
  Process one = process("rows.db", bus_options);
  one->on<&Ledger::on>(ledger, "ledger");
  one->expect<Status>("history");
  start(one);
  publish(one, {"o", 1});
  ASSERT_TRUE(eventually([&] { return count(one, "select count(*) from bus_inbox") == 1; }));
  loop.advance(std::chrono::hours{2});
  EXPECT_EQ(count(one, "select count(*) from bus_inbox"), 1);
  loop.advance(std::chrono::hours{2});
  EXPECT_EQ(count(one, "select count(*) from bus_inbox"), 0);
}

TEST_F(RowsAndMessages, TransactPutsRowsAndMessagesTogetherFromOutsideOfAHandler) {
  Counter history;
  Process one = process();
  one->on<&Counter::on_status>(history, "history");
  start(one);
  EXPECT_THROW(loop.run(one->transact<Status>([](Transaction& tx, Out<Status> out) -> Task<> {
    co_await tx.execute("insert into ledger values ('a', 1)");
    out.publish(Status{"a", 1});
    throw std::runtime_error{"no"};
  })),
               std::runtime_error);
  loop.run(one->transact<Status>([](Transaction& tx, Out<Status> out) -> Task<> {
    co_await tx.execute("insert into ledger values ('b', 1)");
    out.publish(Status{"b", 1});
  }));
  ASSERT_TRUE(eventually([&] { return !history.seen.empty(); }));
  loop.advance(seconds{30});
  EXPECT_THAT(history.seen, ElementsAre("b:1"));
}

TEST_F(RowsAndMessages, AHandlerWithoutRowsPublishesBeforeItsMessageIsAcknowledged) {
  struct Forward {
    Task<> on(const Placed& event, Out<Status> out) {
      out.publish(Status{event.order, 1});
      out.publish(Status{event.order, 2});
      co_return;
    }
  } service;
  struct Ids {
    std::vector<std::string> ids;
    Task<> on(const Status&, const Envelope& envelope) {
      ids.push_back(envelope.id);
      co_return;
    }
  } reader;
  Process one = process();
  one->on<&Forward::on>(service, "forward");
  one->on<&Ids::on>(reader, "reader");
  start(one);
  int drops = 1;
  observer.committed = [&](const Envelope& envelope) {
    if (envelope.queue == "forward" && drops-- > 0) broker.drop_connections();  // before the ack
  };
  publish(one, {"o", 1});
  ASSERT_TRUE(eventually([&] { return broker.published_to("shop.status.v1").size() == 4; }));
  loop.advance(seconds{1});
  const std::set<std::string> ids(reader.ids.begin(), reader.ids.end());
  EXPECT_EQ(ids.size(), 2U) << "published twice, to be known by their ids";
}

using Draining = ShopTest;

TEST_F(Draining, WhatRunsFinishesAndNothingNewIsTaken) {
  Counter kitchen;
  kitchen.wait = []() -> Task<> { co_await sleep_for(seconds{2}); };
  Process one = process();
  one->on<&Counter::on>(kitchen, "kitchen", {.concurrency = 2});
  start(one);
  for (int number = 0; number < 5; ++number) publish(one, {"o" + std::to_string(number), number});
  loop.run_until_idle();
  EXPECT_EQ(one->metrics().queues.at(0).running, 2U);
  EXPECT_TRUE(loop.run(one->drain(seconds{10})));
  loop.run_until_idle();
  EXPECT_THAT(kitchen.seen, ElementsAre("o0", "o1"));
  EXPECT_EQ(broker.ready_count("kitchen"), 3U);
  EXPECT_EQ(broker.connection_count(), 0U);
}

TEST_F(Draining, WhatDoesNotFinishInTimeGoesBack) {
  Counter kitchen;
  kitchen.wait = []() -> Task<> { co_await sleep_for(seconds{60}); };
  Process one = process();
  one->on<&Counter::on>(kitchen, "kitchen");
  start(one);
  publish(one, {"o", 1});
  loop.run_until_idle();
  const SteadyTime began = loop.now();
  EXPECT_FALSE(loop.run(one->drain(seconds{3})));
  EXPECT_LT(loop.now() - began, seconds{5});
  loop.run_until_idle();
  EXPECT_TRUE(kitchen.seen.empty());
  EXPECT_EQ(broker.ready_count("kitchen"), 1U);
}

TEST_F(Draining, TheOutboxIsSentFirst) {
  Ledger ledger;
  Process one = process();
  one->on<&Ledger::on>(ledger, "ledger");
  one->expect<Status>("history");
  start(one);
  broker.nacked_exchanges.insert("shop.status.v1");
  publish(one, {"o", 1});
  ASSERT_TRUE(eventually([&] { return one->metrics().relay_failed_total > 0; }));
  loop.start_timer(loop.now() + seconds{1}, [&] { broker.nacked_exchanges.clear(); });
  EXPECT_TRUE(loop.run(one->drain(seconds{20})));
  EXPECT_EQ(broker.ready_count("history"), 1U);
}

}  // namespace
}  // namespace pronto
