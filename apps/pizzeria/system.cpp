#include "system.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <optional>

#include "crash.hpp"
#include "descriptions.hpp"
#include "instance_lock.hpp"
#include "metrics.hpp"
#include "notifier.hpp"
#include "operator_api.hpp"
#include "order_executor.hpp"
#include "order_history_service.hpp"
#include "order_service.hpp"
#include "page_notifier.hpp"
#include "pages.hpp"
#include "pronto/async/task_group.hpp"
#include "pronto/base/crypto.hpp"
#include "pronto/base/log.hpp"
#include "pronto/client/uri.hpp"
#include "pronto/http/server.hpp"
#include "pronto/journal/real_disk.hpp"
#include "pronto/persist/open.hpp"
#include "pronto/server/broker_host.hpp"
#include "pronto/server/listener.hpp"

namespace pizzeria {

namespace http = pronto::http;
using namespace std::chrono_literals;
using pronto::StartError;
using pronto::Task;

namespace {

constexpr int instance_number_max = 1'000;

/// A callback is due as soon as the transaction that wrote it has committed.
class WakeCallbacks final : public pronto::BusObserver {
 public:
  std::function<void()> wake;
  void on_committed(const pronto::Envelope& message) override {
    if (wake && message.queue == Notifier::queue) wake();
  }
};

}  // namespace

class System::Inside {
 public:
  Inside(pronto::SystemLoop& on_loop, std::string command, Config settings, Roles which)
      : loop{on_loop},
        name{std::move(command)},
        config{std::move(settings)},
        roles{which},
        key{load_key(config)},
        ids{key, loop.random()},
        tasks{loop, name},
        capacity{config.stages} {}

  bool is_embedded() const { return config.broker == "embedded"; }
  /// `pizzeria up` on a broker elsewhere leaves the management port to that one.
  bool has_management() const { return config.management && (is_embedded() || name != "up"); }

  // -- starting --------------------------------------------------------------

  std::string store_url() const {
    return config.store.empty() ? "sqlite:" + config.data + "/pizzeria.db" : config.store;
  }

  void open_store() {
    const std::string url = store_url();
    try {
      database = with_crash_points(pronto::persist::open_database(loop, url));
    } catch (const pronto::DatabaseError& error) {
      throw StartError{fmt::format("the store {} cannot be opened: {}", url, error.what())};
    }
  }

  /// Two processes of one name on one store would send each other's messages, and take each other's
  /// callbacks.
  void take_instance() {
    instance = config.instance.empty() ? name : config.instance;
    instance_lock = InstanceLock::take(store_url(), instance);
    if (!instance_lock && !config.instance.empty()) {
      throw StartError{fmt::format(
          "an instance '{}' runs on the store {} already; choose another --instance, or "
          "leave it out",
          instance, store_url())};
    }
    for (int number = 2; !instance_lock && number <= instance_number_max; ++number) {
      instance = fmt::format("{}-{}", name, number);
      instance_lock = InstanceLock::take(store_url(), instance);
    }
    if (!instance_lock) {
      throw StartError{fmt::format("more than {} processes of {} run on the store {}",
                                   instance_number_max, name, store_url())};
    }
    if (config.instance.empty() && instance != name) {
      pronto::log::info("one of several on its store", {{"instance", instance}});
    }
  }

  /// Before anything is opened, so that a port in use leaves nothing half-started.
  void check_ports() {
    const auto check = [this](const pronto::Endpoint& at, std::string_view setting) {
      const auto acceptor = loop.network().listen(at);
      if (!acceptor) throw StartError{pronto::listen_failure(at, setting, acceptor.error())};
    };
    if (roles.api) check(config.http, "http");
    if (is_embedded()) check(config.amqp, "amqp");
    if (has_management()) check(*config.management, "management");
  }

  void open_broker() {
    const std::string folder = config.data + "/broker";
    auto disk = pronto::journal::open_real_disk(folder);
    if (!disk) {
      throw StartError{
          fmt::format("the data folder {} cannot be used: {}; choose another with --data", folder,
                      disk.error().message())};
    }
    const std::string holder = (*disk)->lock_holder();
    pronto::server::HostOptions options;
    options.on_failure = [this](std::error_code error) {
      failure.set("the broker's journal in " + config.data + " has failed: " + error.message());
    };
    auto opened =
        pronto::server::BrokerHost::open(loop, std::move(*disk), users, std::move(options));
    if (!opened) {
      if (opened.error() == pronto::Error::locked) {
        throw StartError{
            fmt::format("the data folder {} is in use by {}; nothing was touched. Stop "
                        "that one, or choose another folder with --data",
                        folder, holder)};
      }
      if (opened.error() == pronto::Error::too_new) {
        throw StartError{
            fmt::format("the data folder {} was written by a newer version; nothing was "
                        "touched. Use that version, or another folder with --data",
                        folder)};
      }
      throw StartError{
          fmt::format("the data folder {} cannot be opened: {}", folder, opened.error().message())};
    }
    host = std::move(*opened);
  }

  void listen_amqp() {
    auto opened = pronto::server::Listener::open(loop, config.amqp, *host);
    if (!opened) throw StartError{pronto::listen_failure(config.amqp, "amqp", opened.error())};
    listener = std::move(*opened);
    ports.insert_or_assign("amqp", listener->local());
  }

  std::vector<pronto::client::Address> broker_addresses() const {
    auto addresses = pronto::client::parse_addresses(config.broker);
    if (!addresses) throw StartError{"--broker: " + addresses.error()};
    return std::move(*addresses);
  }

  void make_bus() {
    pronto::Bus::Options options;
    if (is_embedded()) {
      options.stream_factory = [this]() -> Task<pronto::Result<std::unique_ptr<pronto::Stream>>> {
        co_return host->connect();
      };
    } else {
      options.addresses = broker_addresses();
    }
    options.name = "pizzeria/" + name;
    options.instance = instance;
    options.observer = &observer;
    bus = std::make_unique<pronto::Bus>(loop, std::move(options), database.get());
  }

  void make_callbacks() {
    http::Callbacks::Options options;
    options.schedule = config.callback_schedule;
    options.user_agent = "pizzeria";
    options.instance = instance;
    callbacks = std::make_unique<http::Callbacks>(
        loop, *database, address_check,
        [this](std::string_view subject, std::string_view secret) {
          return std::vector<std::string>{secret.empty() ? ids.callback_secret(subject)
                                                         : std::string{secret}};
        },
        std::move(options));
    if (!roles.notifier) return;  // only for operators to look at, and to send again
    notifier = std::make_unique<Notifier>(*callbacks, ids);
    observer.wake = [this] { callbacks->wake(); };
  }

  void subscribe() {
    if (roles.history) history.subscribe(*bus);
    if (!roles.history) bus->expect<OrderPlaced, OrderStatus>(OrderHistoryService::queue);
    if (roles.executor) {
      executor.emplace(loop, config.stages);
      executor->subscribe(*bus);
    } else {
      bus->expect<OrderPlaced>(OrderExecutor::queue);
      bus->expect_work<CancelOrder>(OrderExecutor::cancel_queue);
      for (const std::string_view stage : stages) {
        bus->expect_work<Ticket>(OrderExecutor::ticket_queue(stage), std::string{stage});
      }
    }
    if (roles.notifier) notifier->subscribe(*bus);
    if (!roles.notifier) bus->expect<OrderStatus>(Notifier::queue);
    if (roles.api) page_notifier.subscribe(*bus);
  }

  Task<> migrate() {
    co_await database->migrate("pizzeria-history", History::migrations());
    co_await database->migrate("pizzeria-executor", Kitchen::migrations());
    co_await database->migrate("pizzeria-notifier", Notifier::migrations());
  }

  void make_api() {
    sessions = std::make_unique<http::Sessions>(
        http::TokenSigner{key, "caller"},
        http::Sessions::Options{.cookie_name = "pizzeria_session"});
    idempotency = std::make_unique<http::Idempotency>(loop, *database);
    order_service = std::make_unique<OrderService>(
        OrderServiceParts{loop, *bus, *database, ids, *sessions, *idempotency, address_check,
                          capacity},
        OrderService::Options{.accept_limit = static_cast<std::int64_t>(config.accept_limit),
                              .stages = config.stages});
    page_notifier.on_placed = [this](const OrderPlaced& event) { order_service->on_placed(event); };
    page_notifier.on_status = [this](const OrderStatus& event) { order_service->on_status(event); };
    load_operator_password();
    operator_api = std::make_unique<OperatorApi>(
        loop, *bus, *callbacks, [this] { return queue_rows(); },
        OperatorApi::Options{
            .password_mac = operator_mac,
            .key = key,
            .queues = {OrderHistoryService::queue, OrderExecutor::queue,
                       OrderExecutor::ticket_queue("prep"), OrderExecutor::ticket_queue("bake"),
                       OrderExecutor::ticket_queue("oven"), Notifier::queue}});
    order_service->add_routes(router);
    operator_api->add_routes(router);
    add_page_routes(router);
    add_description_routes(router);
    add_health_routes(router);
    http::Server::Options options;
    if (listener) options.amqp_address = listener->local().to_string();
    server = std::make_unique<http::Server>(
        loop,
        [this](http::Request& request) -> Task<http::Response> {
          co_return presented(request, co_await handle(request));
        },
        options);
  }

  /// The port is taken before anything is set in motion; who comes before all of it runs, or while
  /// it drains, is told when to come again.
  Task<http::Response> handle(http::Request& request) {
    if (!is_started && !request.path.starts_with("/health/") && request.path != "/metrics") {
      co_return http::unavailable("The pizzeria is starting or stopping.", pronto::seconds{1});
    }
    co_return co_await router.handle(request);
  }

  void add_health_routes(http::Router& to) {
    to.get("/health/live", [](http::Request&) -> Task<http::Response> {
      co_return http::Response::json_text(200, R"({"status":"live"})");
    });
    to.get("/health/ready", [this](http::Request&) -> Task<http::Response> {
      if (is_ready()) co_return http::Response::json_text(200, R"({"status":"ready"})");
      co_return http::unavailable("The broker is not reached, or takes nothing.",
                                  pronto::seconds{1});
    });
    to.get("/metrics", [this](http::Request&) -> Task<http::Response> {
      MetricsText text;
      text.add(bus->metrics());
      if (server) text.add(server->counts());
      if (notifier) text.add(callbacks->counts());
      if (order_service) {
        text.gauge("pizzeria_orders_in_flight", static_cast<double>(order_service->in_flight()));
      }
      if (host) text.add(host->overview());
      co_return http::Response::text(200, std::move(text).take())
          .with("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    });
  }

  bool is_ready() const {
    return is_started && bus->is_ready() && (!host || host->is_ready()) &&
           (!order_service || order_service->knows_kitchen());
  }

  /// The operator's password: from the setting, else made once; only its MAC is kept.
  void load_operator_password() {
    if (!config.operator_password.empty()) {
      operator_mac = OperatorApi::password_mac(key, config.operator_password);
      return;
    }
    const std::string path = config.data + "/operator.mac";
    std::ifstream file{path};
    std::string line;
    if (std::getline(file, line)) {
      operator_mac = pronto::from_base64(line).value_or(pronto::Bytes{});
      if (!operator_mac.empty()) return;
    }
    first_password = loop.random().url_safe_id(9);
    operator_mac = OperatorApi::password_mac(key, first_password);
    pronto::write_whole_file(path, pronto::to_base64(operator_mac) + '\n');
  }

  // -- what operators see ----------------------------------------------------

  Task<std::vector<QueueRow>> queue_rows() {
    std::vector<QueueRow> rows;
    if (!host) {
      const auto states = co_await bus->queue_states();
      if (states) {
        for (const auto& state : *states) {
          rows.push_back({.name = state.queue,
                          .ready = static_cast<std::int64_t>(state.ready_count),
                          .consumers = static_cast<std::int64_t>(state.consumer_count)});
        }
      }
      co_return rows;
    }
    for (const auto& queue : host->overview().queues) {
      const Rates& rate = rates[queue.name];
      rows.push_back({.name = queue.name,
                      .ready = static_cast<std::int64_t>(queue.ready_count),
                      .unacked = static_cast<std::int64_t>(queue.unacked_count),
                      .consumers = static_cast<std::int64_t>(queue.consumer_count),
                      .publish_rate = rate.published,
                      .deliver_rate = rate.delivered});
    }
    co_return rows;
  }

  /// Per second, over the last five.
  Task<> measure_rates() {
    std::map<std::string, std::pair<std::uint64_t, std::uint64_t>> before;
    for (;;) {
      co_await pronto::sleep_for(5s);
      std::map<std::string, Rates> now;
      std::map<std::string, std::pair<std::uint64_t, std::uint64_t>> totals;
      for (const auto& queue : host->overview().queues) {
        const auto& last = before[queue.name];
        now[queue.name] = {static_cast<double>(queue.published_total -
                                               std::min(last.first, queue.published_total)) /
                               5,
                           static_cast<double>(queue.delivered_total -
                                               std::min(last.second, queue.delivered_total)) /
                               5};
        totals[queue.name] = {queue.published_total, queue.delivered_total};
      }
      before = std::move(totals);
      rates = std::move(now);
    }
  }

  void listen_management() {
    add_health_routes(management_router);
    if (host) add_broker_routes(management_router, [this] { return host->overview(); });
    management = std::make_unique<http::Server>(
        loop, [this](http::Request& request) { return management_router.handle(request); },
        http::Server::Options{});
    const auto local = management->listen(*config.management);
    if (!local) {
      throw StartError{pronto::listen_failure(*config.management, "management", local.error())};
    }
    ports.insert_or_assign("management", *local);
    if (host) host->set_management_address(local->to_string());
  }

  struct Rates {
    double published = 0;
    double delivered = 0;
  };

  pronto::SystemLoop& loop;
  std::string name;
  Config config;
  Roles roles;
  pronto::Bytes key;
  OrderIds ids;
  pronto::TaskGroup tasks;
  Capacity capacity;
  pronto::Promise<std::string> failure;
  std::string instance;
  std::optional<InstanceLock> instance_lock;
  http::AddressCheck address_check;
  std::map<std::string, pronto::Endpoint> ports;
  bool is_started = false;
  std::string first_password;
  pronto::Bytes operator_mac;
  std::map<std::string, Rates> rates;

  // Destroyed from the last to the first: whoever uses something stands below it.
  pronto::server::FixedUsers users;
  std::unique_ptr<pronto::server::BrokerHost> host;
  std::unique_ptr<pronto::server::Listener> listener;
  std::unique_ptr<pronto::Database> database;
  WakeCallbacks observer;
  std::unique_ptr<http::Callbacks> callbacks;
  std::unique_ptr<Notifier> notifier;
  OrderHistoryService history;
  std::optional<OrderExecutor> executor;
  PageNotifier page_notifier;
  std::unique_ptr<pronto::Bus> bus;
  std::unique_ptr<http::Sessions> sessions;
  std::unique_ptr<http::Idempotency> idempotency;
  std::unique_ptr<OrderService> order_service;
  std::unique_ptr<OperatorApi> operator_api;
  http::Router router;
  http::Router management_router;
  std::unique_ptr<http::Server> server;
  std::unique_ptr<http::Server> management;
};

System::System(pronto::SystemLoop& loop, std::string name, Config config, Roles roles)
    : inside_{std::make_unique<Inside>(loop, std::move(name), std::move(config), roles)} {}

System::~System() = default;

const pronto::Promise<std::string>& System::failure() const {
  return inside_->failure;
}

Task<> System::start() {
  Inside& in = *inside_;
  for (const std::string& allowed : in.config.allow_callbacks_to) {
    const auto added = in.address_check.allow(allowed);
    if (!added) throw StartError{"--allow-callbacks-to: " + added.error()};
  }
  if (in.name != "up" && in.is_embedded()) {
    throw StartError{
        "--broker is missing: a service alone needs the address of a broker, "
        "amqp://guest:guest@127.0.0.1:5672; `pizzeria up` brings its own"};
  }
  if (!in.is_embedded())
    (void)in.broker_addresses();  // wrong ones are told before anything is made
  in.check_ports();
  if (in.is_embedded()) {
    in.open_broker();
    in.listen_amqp();
  }
  in.open_store();
  in.take_instance();
  try {
    co_await in.migrate();
  } catch (const pronto::DatabaseError& error) {
    throw StartError{std::string{"the store cannot be used: "} + error.what()};
  }
  in.make_bus();
  if (in.roles.notifier || in.roles.api) {
    in.make_callbacks();
    co_await in.callbacks->prepare();
  }
  if (in.roles.api) in.make_api();
  in.subscribe();
  if (in.has_management()) in.listen_management();
  if (in.server) {
    const auto local = in.server->listen(in.config.http);
    if (!local) throw StartError{pronto::listen_failure(in.config.http, "http", local.error())};
    in.ports.insert_or_assign("http", *local);
  }
  if (in.idempotency) co_await in.idempotency->start();
  const auto started = co_await in.bus->start();
  if (!started) {
    throw StartError{fmt::format("the broker {} cannot be used: {}",
                                 in.is_embedded() ? "embedded" : "at --broker",
                                 started.error().text)};
  }
  if (in.notifier) in.callbacks->start();
  if (in.order_service) {
    co_await in.order_service->refresh();
    in.tasks.spawn(in.order_service->refresh_for_ever());
  }
  if (in.host) in.tasks.spawn(in.measure_rates());
  in.is_started = true;
  if (!in.config.ports_file.empty()) pronto::write_ports_file(in.config.ports_file, in.ports);
}

std::string System::greeting() const {
  const Inside& in = *inside_;
  std::string text = fmt::format("Pizzeria {} ({})\n", PRONTO_VERSION, in.name);
  text += fmt::format("  data       {}, durable, synced in groups\n",
                      std::filesystem::absolute(in.config.data).lexically_normal().string());
  if (const auto http = in.ports.find("http"); http != in.ports.end()) {
    const std::string at = http->second.to_string();
    text += fmt::format("  order      http://{}/\n", at);
    text += fmt::format(
        "  operator   http://{}/operator{}\n", at,
        in.first_password.empty() ? "" : "  password " + in.first_password + " (shown this once)");
    text += fmt::format("  metrics    http://{}/metrics\n", at);
  }
  if (const auto amqp = in.ports.find("amqp"); amqp != in.ports.end()) {
    text += fmt::format("  AMQP       amqp://guest:guest@{}/\n", amqp->second.to_string());
  }
  text += "  stop       Ctrl-C; data is kept\n";
  if (in.roles.api) {
    text += "  try        pizzeria order \"2 margherita\" --as alice --follow\n";
  }
  return text;
}

Task<bool> System::stop() {
  Inside& in = *inside_;
  const auto limit = std::chrono::duration_cast<pronto::milliseconds>(
      pronto::seconds{static_cast<std::int64_t>(in.config.drain_seconds)});
  in.is_started = false;
  if (in.listener) co_await in.listener->stop();
  if (in.server) co_await in.server->stop(limit / 4);
  if (in.management) co_await in.management->stop(1s);
  in.tasks.cancel();
  co_await in.tasks.join();
  const bool is_clean = co_await in.bus->drain(limit);
  if (in.callbacks) co_await in.callbacks->stop(limit / 4);
  if (in.idempotency) co_await in.idempotency->stop(limit / 4);
  co_await in.database->close();
  if (in.host) {
    const auto shut = co_await in.host->shut_down(limit / 4);
    if (!shut) pronto::log::error("the broker did not end cleanly", {{"error", shut.error()}});
  }
  co_return is_clean;
}

}  // namespace pizzeria
