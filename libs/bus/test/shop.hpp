#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/describe/class.hpp>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "model_broker.hpp"
#include "pronto/async/virtual_loop.hpp"
#include "pronto/bus/bus.hpp"
#include "pronto/persist/sqlite.hpp"

namespace pronto {

enum class Stage { prep, bake };
BOOST_DESCRIBE_ENUM(Stage, prep, bake)

struct Placed {
  std::string order;
  int number = 0;
};
BOOST_DESCRIBE_STRUCT(Placed, (), (order, number))
struct Status {
  std::string order;
  int sequence = 0;
};
BOOST_DESCRIBE_STRUCT(Status, (), (order, sequence))
struct Ticket {
  std::string order;
  Stage stage = Stage::prep;
};
BOOST_DESCRIBE_STRUCT(Ticket, (), (order, stage))
struct Outcome {
  bool is_cancelled = false;
};
BOOST_DESCRIBE_STRUCT(Outcome, (), (is_cancelled))
struct Cancel {
  std::string order;
};
BOOST_DESCRIBE_STRUCT(Cancel, (), (order))

template <>
inline constexpr auto contract<Placed> = event("shop.placed", 1).key(&Placed::order);
template <>
inline constexpr auto contract<Status> = event("shop.status", 1).key(&Status::order);
template <>
inline constexpr auto contract<Ticket> =
    command("shop.ticket", 1).key(&Ticket::order).route(&Ticket::stage);
template <>
inline constexpr auto contract<Cancel> = request<Outcome>("shop.cancel", 1);

/// A service that writes down what it handled, and does what the test asks it to.
struct Counter {
  std::vector<std::string> seen;
  std::vector<int> attempts;
  std::function<void(const Envelope&)> before{};
  std::function<Task<>()> wait{};

  Task<> on(const Placed& event, const Envelope& envelope) {
    attempts.push_back(envelope.attempt);
    if (before) before(envelope);
    if (wait) co_await wait();
    seen.push_back(event.order);
  }
  Task<> on_status(const Status& event) {
    seen.push_back(event.order + ":" + std::to_string(event.sequence));
    co_return;
  }
};

/// A service with rows: each order once, and a status for it.
struct Ledger {
  int started = 0;
  std::function<void()> before{};

  static std::vector<Migration> migrations() {
    return {{1, "create table ledger (id text primary key, status integer not null)"}};
  }
  Task<> on(const Placed& event, Transaction& tx, Out<Status, Ticket> out) {
    ++started;
    if (before) before();
    co_await tx.execute("insert into ledger values ($1, 1)", event.order);
    out.publish(Status{event.order, 1});
  }
};

class Observer final : public BusObserver {
 public:
  void on_committed(const Envelope& envelope) override {
    if (committed) committed(envelope);
  }
  void on_ended(const Envelope&, Ending ending, std::chrono::nanoseconds,
                std::string_view) override {
    endings.push_back(ending);
  }
  void on_relayed(std::size_t) override {
    if (relayed) relayed();
  }
  std::function<void(const Envelope&)> committed{};
  std::function<void()> relayed{};
  std::vector<Ending> endings;
};

/// A broker, a folder, and processes that come and go.
class ShopTest : public testing::Test {
 protected:
  ShopTest()
      : folder_{std::filesystem::temp_directory_path() /
                ("pronto-bus-" + SystemRandom{}.url_safe_id(9))} {
    std::filesystem::create_directory(folder_);
  }
  ~ShopTest() override {
    stop_all();
    std::filesystem::remove_all(folder_);
  }

  struct Process {
    std::unique_ptr<persist::SqliteDatabase> database;
    std::unique_ptr<Bus> bus;
    Bus* operator->() const { return bus.get(); }
  };

  std::string file(const std::string& name) const { return (folder_ / name).string(); }
  Bus::Options options() {
    return {.stream_factory = broker.stream_factory(), .name = "shop", .observer = &observer};
  }
  /// A process with a database of that name, not started yet.
  Process process(const std::string& name = "rows.db") { return process(name, options()); }
  Process process(const std::string& name, Bus::Options bus_options) {
    Process made;
    made.database = std::make_unique<persist::SqliteDatabase>(
        loop, persist::SqliteDatabase::Options{.path = file(name), .has_threads = false});
    loop.run(made.database->migrate("ledger", Ledger::migrations()));
    made.bus = std::make_unique<Bus>(loop, std::move(bus_options), made.database.get());
    return made;
  }
  void start(Process& one) {
    const auto started = loop.run(one.bus->start());
    ASSERT_TRUE(started.has_value()) << started.error().text;
  }
  /// As SIGKILL would.
  void kill(Process& one) {
    one.bus.reset();
    one.database.reset();
    loop.run_until_idle();
  }
  void stop_all() {
    broker.drop_connections();
    loop.run_until_idle();
  }
  void publish(Process& one, Placed event, std::string id = "") {
    const auto published = loop.run(one.bus->publish(std::move(event), {.id = std::move(id)}));
    ASSERT_TRUE(published.has_value()) << published.error().text;
  }
  /// Lets the clock run until `condition` holds. Returns: whether it came to hold.
  bool eventually(const std::function<bool()>& condition, seconds limit = seconds{60}) {
    const SteadyTime end = loop.now() + limit;
    loop.run_until_idle();
    while (!condition()) {
      if (loop.now() >= end) return false;
      loop.advance(milliseconds{10});
    }
    return true;
  }
  std::int64_t count(Process& one, const std::string& sql) {
    return loop.run(one.database->query(sql))[0].integer(0);
  }

  VirtualLoop loop;
  ModelBroker broker{loop};
  Observer observer;

 private:
  std::filesystem::path folder_;
};

}  // namespace pronto
