#include "broker_command.hpp"

#include <fmt/format.h>
#include <sys/resource.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <optional>

#include "broker_config.hpp"
#include "management.hpp"
#include "pronto/async/system_loop.hpp"
#include "pronto/base/log.hpp"
#include "pronto/http/server.hpp"
#include "pronto/journal/real_disk.hpp"
#include "pronto/server/listener.hpp"

namespace pronto {
namespace {

/// As many open files as the system lets us have: each connection is one.
void raise_file_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  constexpr rlim_t enough = 1'048'576;
  limit.rlim_cur = std::min(limit.rlim_max, enough);
  (void)::setrlimit(RLIMIT_NOFILE, &limit);  // what there is will do
}

std::unique_ptr<Acceptor> listen(Loop& loop, const Endpoint& at, std::string_view setting) {
  auto acceptor = loop.network().listen(at);
  if (!acceptor) throw StartError{listen_failure(at, setting, acceptor.error())};
  return std::move(*acceptor);
}

std::unique_ptr<server::BrokerHost> open_host(Loop& loop, const BrokerConfig& config,
                                              const server::Users& users,
                                              server::HostOptions options) {
  const auto unusable = [&](const std::error_code& error) {
    return StartError{
        fmt::format("the data folder {} cannot be used: {}; choose another with --data",
                    config.data, error.message())};
  };
  auto disk = journal::open_real_disk(config.data);
  if (!disk) throw unusable(disk.error());
  auto host = server::BrokerHost::open(loop, std::move(*disk), users, std::move(options));
  if (host) return std::move(*host);
  if (host.error() == Error::locked) {
    auto again = journal::open_real_disk(config.data);
    throw StartError{fmt::format(
        "the data folder {} is in use by {}; nothing was touched: stop that one, or choose another "
        "folder with --data",
        config.data, again ? (*again)->lock_holder() : "another process")};
  }
  if (host.error() == Error::too_new) {
    throw StartError{
        fmt::format("the data folder {} was written by a newer version of Pronto; nothing was "
                    "touched: use that "
                    "version, or another folder with --data",
                    config.data)};
  }
  throw unusable(host.error());
}

/// The parts in the order of their start; they end in the reverse order.
struct Running {
  explicit Running(BrokerConfig from) : config{std::move(from)}, users{users_of(config)} {}

  BrokerConfig config;
  SystemLoop loop;
  server::FixedUsers users;
  std::optional<std::error_code> failure;
  std::unique_ptr<server::BrokerHost> host;
  std::unique_ptr<server::Listener> listener;
  std::optional<http::Router> router;
  std::unique_ptr<http::Server> management;
};

Task<> end_in_order(Running& running) {
  const milliseconds limit = seconds{running.config.drain_seconds};
  co_await running.listener->stop();
  const auto ended = co_await running.host->shut_down(limit);
  co_await running.management->stop(limit);
  if (!ended) running.failure = ended.error();
}

Task<> run_until_told(Running& running) {
  const int number = co_await running.loop.next_signal({SIGTERM, SIGINT});
  log::info("told to end", {{"signal", number}});
  co_await end_in_order(running);
  running.loop.stop();
}

void greet(const Running& running, const Endpoint& amqp, const Endpoint& management) {
  const BrokerConfig& config = running.config;
  const std::string_view durability =
      config.sync_mode == journal::SyncMode::sync       ? "durable, synced in groups"
      : config.sync_mode == journal::SyncMode::interval ? "written at once, synced every moment"
                                                        : "written at once, synced by the system";
  fmt::print(stderr,
             "Pronto " PRONTO_VERSION
             "\n"
             "  data        {} ({})\n"
             "  AMQP 0-9-1  amqp://{}@{}\n"
             "  management  http://{}/ (health, overview, metrics)\n"
             "  stop        Ctrl-C or SIGTERM; what is stored is kept\n",
             std::filesystem::absolute(config.data).lexically_normal().string(), durability,
             config.user, amqp.to_string(), management.to_string());
}

}  // namespace

int run_broker(const Program& program, std::span<const char* const> arguments) {
  std::signal(SIGHUP, SIG_IGN);  // there is nothing to read anew; a closed terminal ends no broker
  BrokerConfig config;
  Settings settings{program, "broker", "Runs the broker alone."};
  add_settings(settings, config);
  if (settings.read(arguments, Settings::environment_of_process()) == Settings::Outcome::shown) {
    return 0;
  }
  log::set_level(config.log_level);
  raise_file_limit();
  Running running{config};
  // Ports first: where one is taken, no folder was made. Who connects now waits in the backlog.
  auto amqp = listen(running.loop, config.amqp, "amqp");
  const Endpoint amqp_address = amqp->local();
  http::Server::Options http_options;
  http_options.amqp_address = amqp_address.to_string();
  running.management = std::make_unique<http::Server>(
      running.loop, [&running](http::Request& request) { return running.router->handle(request); },
      http_options);
  const auto management_address = running.management->listen(config.management);
  if (!management_address) {
    throw StartError{listen_failure(config.management, "management", management_address.error())};
  }

  server::HostOptions options = host_options(config);
  options.session.management_address = management_address->to_string();
  options.on_failure = [&running](std::error_code error) {
    running.failure = error;
    running.loop.stop();
  };
  running.host = open_host(running.loop, config, running.users, std::move(options));
  running.router = management_router(*running.host, running.users);
  running.listener =
      std::make_unique<server::Listener>(running.loop, std::move(amqp), *running.host);
  if (!config.ports_file.empty()) {
    write_ports_file(config.ports_file,
                     {{"amqp", amqp_address}, {"management", *management_address}});
  }
  greet(running, amqp_address, *management_address);
  TaskGroup tasks{running.loop, "pronto broker"};
  tasks.spawn(run_until_told(running));
  running.loop.run();
  if (running.failure) {
    fmt::print(
        stderr,
        "pronto: the journal in {} failed: {}. Nothing was confirmed since; look at the disk "
        "and start again\n",
        config.data, running.failure->message());
    return 1;
  }
  return 0;
}

}  // namespace pronto
