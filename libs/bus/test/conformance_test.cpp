// Goal: what the bus promises holds on a real broker as on the model: the embedded one here, and
// any other whose address is in PRONTO_TEST_BROKER (RabbitMQ 3.10 and later). Method: real time,
// real threads, short delays; each test has names of its own in the broker.
#include <gmock/gmock.h>

#include <cstdlib>

#include "pronto/async/system_loop.hpp"
#include "pronto/async/task_group.hpp"
#include "pronto/client/uri.hpp"
#include "pronto/journal/real_disk.hpp"
#include "pronto/server/broker_host.hpp"
#include "pronto/server/users.hpp"
#include "shop.hpp"

namespace pronto {
namespace {

using testing::ElementsAre;

std::vector<std::string> transports() {
  std::vector<std::string> all{"embedded"};
  if (const char* address = std::getenv("PRONTO_TEST_BROKER")) all.emplace_back(address);
  return all;
}

class BusConformance : public testing::TestWithParam<std::string> {
 protected:
  BusConformance()
      : id_{SystemRandom{}.url_safe_id(9)},
        folder_{std::filesystem::temp_directory_path() / ("pronto-bus-" + id_)} {
    std::filesystem::create_directory(folder_);
  }
  ~BusConformance() override {
    bus.reset();
    database.reset();
    host.reset();
    std::filesystem::remove_all(folder_);
  }

  bool is_embedded() const { return GetParam() == "embedded"; }
  /// A queue's name that no other test uses.
  std::string name(const std::string& what) const { return "test-" + id_ + "-" + what; }

  void open_host() {
    auto disk = journal::open_real_disk(folder_.string());
    ASSERT_TRUE(disk.has_value()) << disk.error().message();
    auto opened = server::BrokerHost::open(loop, std::move(*disk), users, {});
    ASSERT_TRUE(opened.has_value()) << opened.error().message();
    host = std::move(*opened);
  }
  void make_bus() {
    Bus::Options options{.name = "conformance",
                         .retry_delays = {milliseconds{50}, milliseconds{100}},
                         .attempts_max = 3};
    if (is_embedded()) {
      if (!host) open_host();
      options.stream_factory = [this]() -> Task<Result<std::unique_ptr<Stream>>> {
        if (!host) co_return std::make_error_code(std::errc::connection_refused);
        co_return host->connect();
      };
    } else {
      options.addresses = client::parse_addresses(GetParam()).value();
    }
    database = std::make_unique<persist::SqliteDatabase>(
        loop, persist::SqliteDatabase::Options{.path = (folder_ / "rows.db").string()});
    bus = std::make_unique<Bus>(loop, std::move(options), database.get());
  }
  /// Runs the test's body, which fails when it takes too long.
  void run(std::function<Task<>()> body) {
    TaskGroup group{loop, "test"};
    bool is_over = false;
    group.spawn([&]() -> Task<> {
      try {
        co_await database->migrate("ledger", Ledger::migrations());
        const auto started = co_await bus->start();
        EXPECT_TRUE(started.has_value()) << (started ? "" : started.error().text);
        if (started) co_await body();
        EXPECT_TRUE(co_await bus->drain(seconds{10}));
        is_over = true;
      } catch (const std::exception& error) {
        ADD_FAILURE() << error.what();
      }
      loop.stop();
    });
    const Timer limit{loop, seconds{60}, [this] { loop.stop(); }};
    loop.run();
    EXPECT_TRUE(is_over) << "took too long";
    group.cancel();
  }
  /// Looks every few milliseconds, at most for twenty seconds.
  Task<> until(std::function<bool()> condition) {
    for (int look = 0; look < 4'000 && !condition(); ++look) co_await sleep_for(milliseconds{5});
    EXPECT_TRUE(condition()) << "did not come to hold";
  }
  Task<> publish(Placed event) {
    const auto published = co_await bus->publish(std::move(event));
    EXPECT_TRUE(published.has_value()) << (published ? "" : published.error().text);
  }

  SystemLoop loop;
  server::FixedUsers users;
  std::unique_ptr<server::BrokerHost> host;
  std::unique_ptr<persist::SqliteDatabase> database;
  std::unique_ptr<Bus> bus;

 private:
  std::string id_;
  std::filesystem::path folder_;
};

TEST_P(BusConformance, AnEventReachesEveryServiceAndItsRowsMessagesFollow) {
  Ledger ledger;
  Counter kitchen;
  Counter history;
  make_bus();
  bus->on<&Counter::on>(kitchen, name("kitchen"));
  bus->on<&Ledger::on>(ledger, name("ledger"));
  bus->on_each_instance<&Counter::on_status>(history, "notifier");
  run([&]() -> Task<> {
    for (int number = 0; number < 50; ++number) {
      co_await publish({name(std::to_string(number)), number});
    }
    co_await until([&] { return kitchen.seen.size() == 50 && history.seen.size() == 50; });
    EXPECT_EQ(ledger.started, 50);
  });
}

TEST_P(BusConformance, AFailureWaitsOnTheLadderAndEndsAsADeadLetterThatCanBeSentBack) {
  Counter kitchen;
  bool is_mended = false;
  kitchen.before = [&](const Envelope&) {
    if (!is_mended) throw std::runtime_error{"oven is cold"};
  };
  make_bus();
  bus->on<&Counter::on>(kitchen, name("kitchen"));
  run([&]() -> Task<> {
    co_await publish({"a", 1});
    co_await publish({"b", 1});
    co_await until([&] { return bus->metrics().queues.at(0).dead_total == 2; });
    EXPECT_EQ(kitchen.attempts.size(), 6U);
    for (int look = 0; look < 2; ++look) {
      std::vector<std::string> keys;
      const auto letters = co_await bus->dead_letters().list(name("kitchen"));
      for (const DeadLetter& letter : letters.value()) {
        keys.push_back(letter.key);
        EXPECT_EQ(letter.error, "oven is cold");
        EXPECT_EQ(letter.attempts, 3);
      }
      std::ranges::sort(keys);
      EXPECT_THAT(keys, ElementsAre("a", "b"));
    }
    is_mended = true;
    EXPECT_EQ((co_await bus->dead_letters().retry_all(name("kitchen"))).value(), 2U);
    co_await until([&] { return kitchen.seen.size() == 2; });
  });
}

TEST_P(BusConformance, AnUnroutableMessageFailsAndARequestIsAnswered) {
  struct Owner {
    Task<Outcome> cancel(const Cancel& request) {
      if (request.order == "bad") throw std::runtime_error{"no such order"};
      co_return Outcome{true};
    }
  } owner;
  make_bus();
  bus->answer<&Owner::cancel>(owner, name("cancel"));
  run([&]() -> Task<> {
    const auto lost = co_await bus->publish(Ticket{"o", Stage::bake});
    EXPECT_FALSE(lost.has_value());
    if (!lost) EXPECT_EQ(lost.error().kind, BusFailure::Kind::unroutable);
    const auto reply = co_await bus->request(Cancel{"o"}, seconds{5});
    EXPECT_TRUE(reply.has_value() && reply->is_cancelled) << (reply ? "" : reply.error().text);
    const auto failed = co_await bus->request(Cancel{"bad"}, seconds{5});
    EXPECT_EQ(failed.error().text, "no such order");
  });
}

TEST_P(BusConformance, LongWorkHoldsItsSlotAndGoesThroughItsTransactions) {
  struct Kitchen {
    int running = 0;
    int running_max = 0;
    int done = 0;
    Task<> work(const Ticket& ticket, Work<Status, Ticket>& work) {
      running_max = std::max(running_max, ++running);
      co_await work.transact([&](Transaction& tx, Out<Status, Ticket> out) -> Task<> {
        co_await tx.execute("insert into ledger values ($1, 1)", ticket.order);
        out.publish(Status{ticket.order, 1});
      });
      co_await work.wait_until(work.now() + milliseconds{20});
      co_await work.transact([&](Transaction& tx, Out<Status> out) -> Task<> {
        co_await tx.execute("update ledger set status = 2 where id = $1", ticket.order);
        out.publish(Status{ticket.order, 2});
      });
      --running;
      ++done;
    }
  } kitchen;
  Counter history;
  make_bus();
  bus->work<&Kitchen::work>(kitchen, {.queue = name("prep"), .route = "prep", .concurrency = 3});
  bus->on_each_instance<&Counter::on_status>(history, "notifier");
  run([&]() -> Task<> {
    for (int number = 0; number < 12; ++number) {
      const auto sent = co_await bus->publish(Ticket{name(std::to_string(number)), Stage::prep});
      EXPECT_TRUE(sent.has_value());
    }
    co_await until([&] { return kitchen.done == 12 && history.seen.size() == 24; });
    EXPECT_EQ(kitchen.running_max, 3);
  });
}

INSTANTIATE_TEST_SUITE_P(All, BusConformance, testing::ValuesIn(transports()),
                         [](const auto& tested) {
                           return tested.param == "embedded" ? std::string{"embedded"}
                                                             : std::string{"given_broker"};
                         });

class EmbeddedBus : public BusConformance {};

TEST_P(EmbeddedBus, ABrokerThatCrashesComesBackWithEverythingThatWasConfirmed) {
  Ledger ledger;
  make_bus();
  bus->on<&Ledger::on>(ledger, name("ledger"));
  bus->expect<Status>(name("history"));
  run([&]() -> Task<> {
    for (int number = 0; number < 40; ++number) {
      if (number % 20 == 5) {
        host.reset();
        co_await sleep_for(milliseconds{20});
        open_host();
      }
      // As a client that was told nothing would: again, under the same id.
      const std::string order = std::to_string(number);
      for (int attempt = 0; attempt < 100; ++attempt) {
        if (co_await bus->publish(Placed{order, number}, {.id = order})) break;
        co_await sleep_for(milliseconds{10});
      }
    }
    // Handlers are started more than once for what comes again; rows are not.
    std::int64_t count = 0;
    while (count < 40) {
      count = (co_await database->query("select count(*) from ledger"))[0].integer(0);
      co_await sleep_for(milliseconds{10});
    }
    EXPECT_EQ(count, 40);
    co_await until([&] { return bus->metrics().outbox_rows == 0; });
    co_await until([&] { return bus->metrics().queues.at(0).running == 0; });
  });
}

INSTANTIATE_TEST_SUITE_P(All, EmbeddedBus, testing::Values("embedded"));

}  // namespace
}  // namespace pronto
