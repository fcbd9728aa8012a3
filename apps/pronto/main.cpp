#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <span>
#include <string_view>

#include "bench_command.hpp"
#include "broker_command.hpp"
#include "common/settings.hpp"
#include "doctor_command.hpp"
#include "journal_command.hpp"
#include "pronto/base/text.hpp"

namespace {

const pronto::Program program{.name = "pronto",
                              .version = PRONTO_VERSION,
                              .environment_prefix = "PRONTO_",
                              .sections = {"broker", "bench", "doctor", "journal-inspect"}};

constexpr std::string_view usage =
    "pronto: a durable message broker that any RabbitMQ client can talk to\n"
    "\n"
    "Usage: pronto COMMAND [--flag VALUE ...]\n"
    "\n"
    "  broker            runs the broker alone\n"
    "  bench             measures a broker, this one or another, and checks what it delivers\n"
    "  doctor            looks at a data folder and the machine, and says what to do\n"
    "  journal inspect   shows what a data folder holds, record by record\n"
    "\n"
    "  pronto COMMAND --help   the settings of a command, with their defaults\n"
    "  pronto --version\n";

int run(std::span<const char* const> arguments) {
  const std::string_view command = arguments.empty() ? "" : arguments.front();
  if (command == "broker") return pronto::run_broker(program, arguments.subspan(1));
  if (command == "bench") return pronto::run_bench(program, arguments.subspan(1));
  if (command == "doctor") return pronto::run_doctor(program, arguments.subspan(1));
  if (command == "journal") return pronto::run_journal(program, arguments.subspan(1));
  if (command == "--help" || command == "-h" || command == "help") {
    fmt::print("{}", usage);
    return 0;
  }
  if (command == "--version") {
    fmt::print("{} {}\n", program.name, program.version);
    return 0;
  }
  if (command.empty()) {
    fmt::print(stderr, "{}", usage);
    return 2;
  }
  const auto near = pronto::nearest_name(
      command, {"broker", "bench", "doctor", "journal", "--help", "--version"});
  throw pronto::StartError{fmt::format("unknown command '{}'{}; pronto --help lists them", command,
                                       near ? fmt::format("; did you mean '{}'?", *near) : "")};
}

}  // namespace

int main(int count, char** values) {
  std::signal(SIGPIPE, SIG_IGN);  // a peer that has gone is an error of the write, no more
  try {
    return run(std::span<const char* const>{values, static_cast<std::size_t>(count)}.subspan(1));
  } catch (const pronto::StartError& error) {
    fmt::print(stderr, "pronto: {}\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "pronto: ended by a fault of its own: {}\n", error.what());
    return 1;
  }
}
