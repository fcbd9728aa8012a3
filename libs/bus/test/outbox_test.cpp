#include <gmock/gmock.h>

#include "pronto/async/task_group.hpp"
#include "shop.hpp"

namespace pronto {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class Outbox : public ShopTest {
 protected:
  void commit(Process& one, Status status) {
    loop.run(one->transact<Status>([status](Transaction& tx, Out<Status> out) -> Task<> {
      co_await tx.execute("update ledger set status = 1 where id = 'none'");
      out.publish(status);
    }));
  }
  std::int64_t rows(Process& one) { return count(one, "select count(*) from bus_outbox"); }
};

TEST_F(Outbox, WhatAKilledProcessLeftIsSentByTheNext) {
  Process one = process();
  one->expect<Status>("history");
  start(one);
  broker.nacked_exchanges.insert("shop.status.v1");
  for (int sequence = 1; sequence <= 3; ++sequence) commit(one, {"o", sequence});
  kill(one);
  broker.nacked_exchanges.clear();
  Counter history;
  Process next = process();
  EXPECT_EQ(rows(next), 3);
  next->on<&Counter::on_status>(history, "history");
  start(next);
  ASSERT_TRUE(eventually([&] { return history.seen.size() == 3; }));
  EXPECT_THAT(history.seen, ElementsAre("o:1", "o:2", "o:3"));
  ASSERT_TRUE(eventually([&] { return rows(next) == 0; }));
}

// Goal: a crash between confirm and delete publishes again under the same id.
// Method: the database's files as they are at the confirm are what the next process finds.
TEST_F(Outbox, ACrashBetweenConfirmAndDeleteGivesACopyThatIsDropped) {
  struct Archive {
    std::vector<std::string> seen;
    Task<> on(const Status& status, Transaction& tx) {
      co_await tx.execute("insert into ledger values ($1, $2)", status.order, status.sequence);
      seen.push_back(status.order);
    }
  } archive;
  Process reader = process("reader.db");
  reader->on<&Archive::on>(archive, "archive");
  start(reader);
  Process one = process("one.db");
  start(one);
  observer.relayed = [&] {
    for (const char* end : {"", "-wal"}) {
      std::filesystem::copy_file(file("one.db") + end, file("crashed.db") + end);
    }
    observer.relayed = {};
  };
  commit(one, {"o", 1});
  ASSERT_TRUE(eventually([&] { return archive.seen.size() == 1; }));
  kill(one);
  Process next = process("crashed.db");
  EXPECT_EQ(rows(next), 1);
  start(next);
  ASSERT_TRUE(eventually([&] { return rows(next) == 0; }));
  EXPECT_EQ(broker.published_to("shop.status.v1").size(), 2U);
  ASSERT_TRUE(eventually([&] { return reader->metrics().queues.at(0).duplicate_total == 1; }));
  EXPECT_EQ(archive.seen.size(), 1U);
}

TEST_F(Outbox, MessagesOfOneKeyLeaveInTheOrderOfTheirCommits) {
  Process one = process();
  one->expect<Status>("history");
  start(one);
  broker.confirms = false;  // connections break with messages under way
  TaskGroup group{loop, "writers"};
  for (int sequence = 1; sequence <= 20; ++sequence) {
    for (const char* order : {"a", "b", "c"}) commit(one, {order, sequence});
    if (sequence % 5 == 0) broker.drop_connections();
  }
  broker.confirms = true;
  broker.drop_connections();
  ASSERT_TRUE(eventually([&] { return rows(one) == 0; }, seconds{300}));
  std::map<std::string, int> last;
  std::map<std::string, int> sent;
  for (const std::string& body : broker.published_to("shop.status.v1")) {
    const Status status = from_json<Status>(body).value();
    ++sent[status.order];
    EXPECT_LE(status.sequence, last[status.order] + 1) << "left before the one in front of it";
    last[status.order] = std::max(last[status.order], status.sequence);
  }
  for (const char* order : {"a", "b", "c"}) {
    EXPECT_EQ(last[order], 20);
    EXPECT_GE(sent[order], 20);
  }
}

TEST_F(Outbox, OneThatNoQueueTakesWaitsAndHoldsUpNobodyElse) {
  Process one = process();
  one->expect_work<Ticket>("prep", "prep");
  start(one);
  for (const Stage stage : {Stage::bake, Stage::prep}) {
    loop.run(one->transact<Ticket>([stage](Transaction& tx, Out<Ticket> out) -> Task<> {
      co_await tx.execute("select 1");
      out.publish(Ticket{stage == Stage::bake ? "x" : "y", stage});
    }));
  }
  ASSERT_TRUE(eventually([&] { return broker.ready_count("prep") == 1; }, seconds{5}));
  EXPECT_EQ(rows(one), 1);
  EXPECT_EQ(one->metrics().outbox_rows, 1U);
  Process late = process("late.db");
  late->expect_work<Ticket>("bake", "bake");
  start(late);
  ASSERT_TRUE(eventually([&] { return broker.ready_count("bake") == 1; }));
  ASSERT_TRUE(eventually([&] { return rows(one) == 0; }));
}

TEST_F(Outbox, IndependentMessagesAreUnderWayTogether) {
  Process one = process();
  one->expect<Status>("history");
  start(one);
  broker.confirms = false;
  TaskGroup group{loop, "writers"};
  loop.run(one->transact<Status>([](Transaction& tx, Out<Status> out) -> Task<> {
    co_await tx.execute("select 1");
    for (int number = 0; number < 100; ++number) out.publish(Status{std::to_string(number), 1});
  }));
  loop.advance(seconds{1});
  EXPECT_EQ(broker.ready_count("history"), 100U) << "without a single confirm";
}

TEST_F(Outbox, AFullOneHoldsUpTransactionsForABoundedTime) {
  Bus::Options bus_options = options();
  bus_options.outbox_rows_max = 2;
  Process one = process("rows.db", bus_options);
  one->expect<Status>("history");
  start(one);
  broker.nacked_exchanges.insert("shop.status.v1");
  commit(one, {"a", 1});
  commit(one, {"b", 1});
  try {
    commit(one, {"c", 1});
    ADD_FAILURE() << "no error";
  } catch (const DatabaseError& error) {
    EXPECT_EQ(error.kind(), DatabaseError::Kind::unavailable);
  }
  broker.nacked_exchanges.clear();
  commit(one, {"c", 1});
  ASSERT_TRUE(eventually([&] { return broker.ready_count("history") == 3; }));
}

TEST_F(Outbox, ProcessesThatShareADatabaseDoNotPublishTwice) {
  const auto named = [this](const char* instance) {
    Bus::Options bus_options = options();
    bus_options.instance = instance;
    return bus_options;
  };
  Process one = process("shared.db", named("one"));
  Process two = process("shared.db", named("two"));
  one->expect<Status>("history");
  start(one);
  start(two);
  for (int sequence = 1; sequence <= 10; ++sequence) {
    commit(one, {"a", sequence});
    commit(two, {"b", sequence});
  }
  ASSERT_TRUE(eventually([&] { return rows(one) == 0; }));
  EXPECT_EQ(broker.ready_count("history"), 20U);
}

TEST_F(Outbox, RowsOfAProcessThatIsGoneAreAdopted) {
  Bus::Options first = options();
  first.instance = "one";
  Process one = process("shared.db", first);
  one->expect<Status>("history");
  start(one);
  broker.nacked_exchanges.insert("shop.status.v1");
  commit(one, {"a", 1});
  kill(one);
  broker.nacked_exchanges.clear();
  Bus::Options second = options();
  second.instance = "two";
  Process two = process("shared.db", second);
  start(two);
  loop.advance(seconds{5});
  EXPECT_EQ(broker.ready_count("history"), 0U) << "the other may be there still";
  ASSERT_TRUE(eventually([&] { return broker.ready_count("history") == 1; }));
  ASSERT_TRUE(eventually([&] { return rows(two) == 0; }));
}

/// The kitchen of ONE_ORDER.md: a stage takes ten seconds, and what was done shows in its row.
struct Kitchen {
  int begun = 0;
  int ended = 0;
  std::function<void()> at_wait{};

  Task<> work(const Ticket& ticket, Work<Status, Ticket>& work) {
    std::optional<WallTime> due;
    co_await work.transact([&](Transaction& tx, Out<Status, Ticket> out) -> Task<> {
      const Rows rows =
          co_await tx.execute("select status from ledger where id = $1", ticket.order);
      if (rows.empty()) {
        due = work.now() + seconds{10};
        ++begun;
        co_await tx.execute("insert into ledger values ($1, $2)", ticket.order,
                            due->time_since_epoch().count());
        out.publish(Status{ticket.order, 1});
      } else if (rows[0].integer(0) > 0) {
        due = WallTime{milliseconds{rows[0].integer(0)}};
      }
    });
    if (!due) co_return;  // a copy of a ticket whose stage has ended
    if (at_wait) at_wait();
    co_await work.wait_until(*due);
    co_await work.transact([&](Transaction& tx, Out<Status> out) -> Task<> {
      const Rows rows = co_await tx.execute(
          "update ledger set status = 0 where id = $1 and status > 0", ticket.order);
      if (rows.changed_count == 0) co_return;
      ++ended;
      out.publish(Status{ticket.order, 2});
    });
  }
};

class Stages : public Outbox {
 protected:
  Process kitchen_process(const std::string& name = "rows.db") {
    Process made = process(name);
    made->work<&Kitchen::work>(kitchen,
                               {.queue = "kitchen.prep", .route = "prep", .concurrency = 1});
    made->expect<Status>("history");
    return made;
  }
  void ticket(Process& one, const std::string& order) {
    const auto published = loop.run(one->publish(Ticket{order, Stage::prep}));
    ASSERT_TRUE(published.has_value()) << published.error().text;
  }
  Kitchen kitchen;
};

TEST_F(Stages, ASlotIsHeldForAsLongAsTheStageTakes) {
  Process one = kitchen_process();
  start(one);
  const SteadyTime began = loop.now();
  ticket(one, "a");
  ticket(one, "b");
  ASSERT_TRUE(eventually([&] { return broker.ready_count("history") == 1; }, seconds{2}));
  EXPECT_EQ(broker.unacked_count("kitchen.prep"), 1U);
  EXPECT_EQ(broker.ready_count("kitchen.prep"), 1U) << "left for whoever is free";
  ASSERT_TRUE(eventually([&] { return kitchen.ended == 2; }));
  EXPECT_NEAR(std::chrono::duration<double>(loop.now() - began).count(), 20, 0.5);
  ASSERT_TRUE(eventually([&] { return broker.ready_count("history") == 4; }));
}

TEST_F(Stages, KilledInTheMiddleTheNextWorkerWaitsWhatIsLeft) {
  Process one = kitchen_process();
  start(one);
  const SteadyTime began = loop.now();
  ticket(one, "a");
  loop.advance(seconds{6});
  kill(one);
  Process next = kitchen_process();
  start(next);
  ASSERT_TRUE(eventually([&] { return kitchen.ended == 1; }));
  EXPECT_NEAR(std::chrono::duration<double>(loop.now() - began).count(), 10, 0.5);
  EXPECT_EQ(kitchen.begun, 1);
  ASSERT_TRUE(eventually([&] { return broker.ready_count("history") == 2; }));
}

TEST_F(Stages, ATicketWhoseStageHasEndedIsDropped) {
  Process one = kitchen_process();
  start(one);
  bool is_dropped = false;
  observer.committed = [&](const Envelope&) {
    if (!std::exchange(is_dropped, true)) broker.drop_connections();  // before the ack
  };
  ticket(one, "a");
  ASSERT_TRUE(eventually([&] { return is_dropped && observer.endings.size() == 2; }));
  EXPECT_EQ(kitchen.begun, 1);
  EXPECT_EQ(kitchen.ended, 1);
  loop.advance(seconds{30});
  EXPECT_EQ(broker.ready_count("history"), 2U);
  EXPECT_EQ(broker.ready_count("kitchen.prep") + broker.unacked_count("kitchen.prep"), 0U);
}

TEST_F(Stages, ALostConnectionGivesTheSlotFreeAndTheTicketComesAgain) {
  Process one = kitchen_process();
  start(one);
  ticket(one, "a");
  loop.advance(seconds{3});
  broker.drop_connections();
  ASSERT_TRUE(eventually([&] { return broker.unacked_count("kitchen.prep") == 1; }));
  loop.run_until_idle();
  EXPECT_EQ(one->metrics().queues.at(0).running, 1U) << "the wait for the lost delivery has ended";
  ASSERT_TRUE(eventually([&] { return kitchen.ended == 1; }));
  EXPECT_EQ(kitchen.begun, 1);
}

TEST_F(Stages, DrainingDoesNotWaitForAStage) {
  Process one = kitchen_process();
  start(one);
  ticket(one, "a");
  loop.advance(seconds{3});
  const SteadyTime began = loop.now();
  EXPECT_TRUE(loop.run(one->drain(seconds{30})));
  EXPECT_LT(loop.now() - began, seconds{1});
  loop.run_until_idle();
  EXPECT_EQ(broker.ready_count("kitchen.prep"), 1U);
  EXPECT_EQ(kitchen.ended, 0);
}

// Goal: whatever breaks between a commit and its ack, each order is in the ledger once and its
// status leaves once or as copies of one id. Method: the connections are dropped at every commit in
// turn, and the process is killed at every commit in turn.
TEST_F(Outbox, ACrashAfterAnyCommitLosesNothingAndDoesNothingTwice) {
  constexpr int orders = 5;
  for (int crash_at = 0; crash_at <= orders; ++crash_at) {
    SCOPED_TRACE(testing::Message() << "crash after commit " << crash_at);
    const std::string name = "rows" + std::to_string(crash_at) + ".db";
    Ledger ledger;
    Process one = process(name);
    one->on<&Ledger::on>(ledger, "ledger");
    one->expect<Status>("history");
    start(one);
    int commits = 0;
    bool is_crashed = false;
    observer.committed = [&](const Envelope&) {
      if (commits++ == crash_at) {
        is_crashed = true;
        broker.drop_connections();
      }
    };
    for (int number = 0; number < orders; ++number) {
      // As a client that was told nothing would: again, under the same id.
      const std::string order = "o" + std::to_string(number);
      ASSERT_TRUE(eventually([&] {
        return loop.run(one->publish(Placed{order, number}, {.id = order + "@" + name}))
            .has_value();
      }));
    }
    loop.run_until_idle();
    if (is_crashed) kill(one);
    if (is_crashed) {
      one = process(name);
      one->on<&Ledger::on>(ledger, "ledger");
      start(one);
    }
    ASSERT_TRUE(eventually([&] {
      return broker.ready_count("ledger") + broker.unacked_count("ledger") == 0 && rows(one) == 0;
    }));
    EXPECT_EQ(count(one, "select count(*) from ledger"), orders);
    EXPECT_EQ(ledger.started, orders) << "each handled once";
    EXPECT_EQ(broker.ready_count("ledger.dead"), 0U);
    EXPECT_EQ(broker.published_to("shop.status.v1").size(),
              static_cast<std::size_t>(orders) * static_cast<std::size_t>(crash_at + 1))
        << "each status once";
    observer.committed = {};
    kill(one);
  }
}

}  // namespace
}  // namespace pronto
