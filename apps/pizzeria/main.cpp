#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "common/settings.hpp"
#include "config.hpp"
#include "order_command.hpp"
#include "pronto/async/deadline.hpp"
#include "pronto/async/system_loop.hpp"
#include "pronto/async/task_group.hpp"
#include "pronto/base/log.hpp"
#include "system.hpp"

namespace pizzeria {
namespace {

using pronto::Settings;
using pronto::Task;

struct Service {
  Roles roles;
  std::string_view summary;
};

const std::map<std::string_view, Service>& services() {
  static const std::map<std::string_view, Service> known{
      {"up", {{true, true, true, true}, "Runs everything in one process, the broker embedded."}},
      {"order-service", {{.api = true}, "Takes orders: pages and HTTP API."}},
      {"order-history", {{.history = true}, "Keeps the history that customers read."}},
      {"order-executor", {{.executor = true}, "Makes the pizzas."}},
      {"notifier", {{.notifier = true}, "Calls back those who wait for a result."}}};
  return known;
}

void print_usage() {
  fmt::print(
      "pizzeria {}: orders, answered at once\n\n"
      "  pizzeria up               everything in one process, the broker embedded\n"
      "  pizzeria order-service    one service against --broker amqp://...\n"
      "  pizzeria order-history\n"
      "  pizzeria order-executor\n"
      "  pizzeria notifier\n"
      "  pizzeria order WORDS      order from a terminal: \"2 margherita, 1 large funghi\"\n"
      "  pizzeria token            print a bearer token\n\n"
      "  pizzeria COMMAND --help   the settings of a command\n",
      PRONTO_VERSION);
}

/// Runs `main` on the loop. Returns: its exit status.
int run(pronto::SystemLoop& loop, Task<int> main) {
  pronto::TaskGroup tasks{loop, "main"};
  int status = 1;
  tasks.spawn([](pronto::SystemLoop& on, Task<int> task, int& result) -> Task<> {
    try {
      result = co_await std::move(task);
    } catch (const pronto::StartError& error) {
      fmt::print(stderr, "pizzeria: {}\n", error.what());
      result = 2;
    } catch (const std::exception& error) {
      fmt::print(stderr, "pizzeria: {}\n", error.what());
      result = 1;
    }
    on.stop();
  }(loop, std::move(main), status));
  loop.run();
  return status;
}

Task<int> serve(pronto::SystemLoop& loop, System& system) {
  // The signal counts from the first moment on, also while starting.
  pronto::TaskGroup waiting{loop, "signals"};
  const pronto::Promise<int> ended;
  waiting.spawn([](pronto::SystemLoop& on, pronto::Promise<int> promise) -> Task<> {
    promise.set(co_await on.next_signal({SIGTERM, SIGINT}));
  }(loop, ended));
  waiting.spawn([](System& of, pronto::Promise<int> promise) -> Task<> {
    const std::string reason = co_await of.failure().get();
    fmt::print(stderr,
               "pizzeria: {}. Nothing can be stored any more; free the disk or mend it, then "
               "start again\n",
               reason);
    promise.set(-1);
  }(system, ended));
  co_await system.start();
  fmt::print("{}", system.greeting());
  std::fflush(stdout);
  const int signal = co_await ended.get();
  if (signal < 0) co_return 1;
  pronto::log::info("draining", {{"signal", signal}});
  // A second signal ends at once.
  waiting.spawn([](pronto::SystemLoop& on) -> Task<> {
    const int second = co_await on.next_signal({SIGTERM, SIGINT});
    std::_Exit(128 + second);
  }(loop));
  const bool is_clean = co_await system.stop();
  waiting.cancel();
  co_await waiting.join();
  if (!is_clean) pronto::log::warning("some work was handed back unfinished");
  co_return 0;
}

int run_service(const std::string& command, std::span<const char* const> arguments) {
  std::signal(SIGHUP, SIG_IGN);  // there is nothing to read anew; a closed terminal ends no service
  const Service& service = services().at(command);
  Config config;
  Settings settings{program(), command, std::string{service.summary}};
  add_settings(settings, config, service.roles, command == "up");
  if (settings.read(arguments, Settings::environment_of_process()) == Settings::Outcome::shown) {
    return 0;
  }
  pronto::SystemLoop loop;
  System system{loop, command, std::move(config), service.roles};
  return run(loop, serve(loop, system));
}

int run_token(std::span<const char* const> arguments) {
  Config config;
  std::string name;
  Settings settings{program(), "token", "Prints a bearer token of a caller."};
  settings.add_text("as", "NAME", name, "who calls");
  add_identity_settings(settings, config);
  if (settings.read(arguments, Settings::environment_of_process()) == Settings::Outcome::shown) {
    return 0;
  }
  if (name.empty()) throw pronto::StartError{"--as is missing: whose token?"};
  pronto::SystemLoop loop;
  fmt::print("{}\n", make_token(config, name, loop.wall_now()));
  return 0;
}

int run_order_command(std::span<const char* const> arguments) {
  Config config;
  OrderCommand command;
  Settings settings{program(), "order", "Orders from a terminal."};
  settings.add_positional("words", command.words, true, "\"2 margherita, 1 large funghi\"");
  settings.add_text("as", "NAME", command.as, "who orders");
  settings.add_text("url", "URL", command.url, "where the pizzeria is");
  settings.add_switch("follow", command.follow, "show each status until the order is ready");
  settings.add_text("output", "text|json", command.output, "how to show it");
  add_identity_settings(settings, config);
  if (settings.read(arguments, Settings::environment_of_process()) == Settings::Outcome::shown) {
    return 0;
  }
  pronto::SystemLoop loop;
  return run(loop, run_order(loop, config, command));
}

int run_main(std::span<const char* const> arguments) {
  const std::string command = arguments.empty() ? "" : arguments.front();
  if (command == "--help" || command == "-h" || command == "help") {
    print_usage();
    return 0;
  }
  if (command == "--version") {
    fmt::print("pizzeria {}\n", PRONTO_VERSION);
    return 0;
  }
  if (command == "order") return run_order_command(arguments.subspan(1));
  if (command == "token") return run_token(arguments.subspan(1));
  if (services().contains(command)) return run_service(command, arguments.subspan(1));
  throw pronto::StartError{
      command.empty() ? "a command is missing: up, order, token, ... (pizzeria --help)"
                      : fmt::format("there is no command '{}' (pizzeria --help)", command)};
}

}  // namespace
}  // namespace pizzeria

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return pizzeria::run_main(
        {const_cast<const char* const*>(argv + 1), static_cast<std::size_t>(argc - 1)});
  } catch (const pronto::StartError& error) {
    fmt::print(stderr, "pizzeria: {}\n", error.what());
    return 2;
  }
}
