#include "bench_command.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <stdexcept>

#include "bench/load.hpp"
#include "bench/report.hpp"
#include "pronto/async/system_loop.hpp"
#include "pronto/async/task_group.hpp"
#include "pronto/base/log.hpp"
#include "pronto/base/text.hpp"

namespace pronto {
namespace {

using bench::LoadOptions;

/// What `pronto bench` is told. Every member is a setting.
struct BenchConfig {
  LoadOptions load;
  std::uint64_t drain_seconds = 30;
  OutputForm output = OutputForm::table;
};

std::function<void(const std::string&)> seconds_into(std::chrono::duration<double>& into,
                                                     double min) {
  return [&into, min](const std::string& text) {
    const auto number = parse_double(text);
    constexpr double day = 86'400;
    if (!number || *number < min || *number > day) {
      throw std::invalid_argument{fmt::format("expected seconds from {} to {:.0f}", min, day)};
    }
    into = std::chrono::duration<double>{*number};
  };
}

void add_settings(Settings& settings, BenchConfig& config) {
  LoadOptions& load = config.load;
  constexpr std::uint64_t any = 1'000'000'000'000;
  settings.add_parsed(
      "broker", "URI", "amqp://guest:guest@127.0.0.1:5672",
      [&load](const std::string& text) {
        auto address = client::parse_address(text);
        if (!address) throw std::invalid_argument{address.error()};
        load.broker = std::move(*address);
      },
      "The broker: amqp://user:password@host:port/vhost, or amqps://.");
  settings.add_number("publishers", "N", load.publishers, {1, 10'000},
                      "Publishers, each with a connection.");
  settings.add_number("consumers", "N", load.consumers_of_queue, {0, 10'000},
                      "Consumers of each queue, each with a connection; 0: nothing is consumed.");
  settings.add_switch("share-connection", load.is_connection_shared,
                      "Each consumer takes from all queues, over one connection.");
  settings.add_number("queues", "N", load.queues, {1, 100'000},
                      "Queues that take messages in turn.");
  settings.add_number("bindings", "N", load.bindings, {0, 1'000'000},
                      "Further bindings of the direct exchange through which messages go then.");
  settings.add_number("fan-out", "N", load.fan_out, {0, 100'000},
                      "Instead of --queues: a fan-out exchange with so many queues.");
  settings.add_number("priorities", "N", load.priorities, {0, 256},
                      "Of the queues: messages have them in turn; 0: none.");
  settings.add_parsed(
      "queue-type", "classic|quorum", "",
      [&load](const std::string& text) {
        if (!text.empty() && text != "classic" && text != "quorum") {
          throw std::invalid_argument{"expected classic or quorum"};
        }
        load.queue_type = text;
      },
      "The queues' x-queue-type; without it the broker chooses.");
  settings.add_number("size", "BYTES", load.message_bytes,
                      {bench::message_bytes_min, 128 * 1024 * 1024}, "Of each message's body.");
  settings.add_switch("transient", load.is_transient, "Messages need not survive a restart.");
  settings.add_switch("no-confirms", load.is_unconfirmed,
                      "Publish without confirms, as fast as the broker reads.");
  settings.add_number("window", "N", load.window, {1, 10'000'000},
                      "Closed loop: messages of a publisher that may wait for their confirm.");
  settings.add_parsed(
      "rate", "PER_SECOND", "0",
      [&load](const std::string& text) {
        const auto number = parse_double(text);
        if (!number || *number < 0 || *number > 1e9) {
          throw std::invalid_argument{"expected messages a second, 0 for a closed loop"};
        }
        load.rate = *number;
      },
      "Open loop: messages a second of all publishers, whatever the broker does; their latency "
      "counts from when they were due. 0: closed loop.");
  settings.add_number("backlog", "N", load.backlog_max, {0, any},
                      "Publishers wait while so many messages are not delivered yet; 0: never.");
  settings.add_number("prefetch", "N", load.prefetch, {0, 65'535},
                      "Deliveries that a consumer may have without an ack; 0: any number.");
  settings.add_number("ack-every", "N", load.ack_every, {0, 65'535},
                      "One ack for so many deliveries; 0: consume without acks.");
  settings.add_parsed("duration", "SECONDS", "10", seconds_into(load.duration, 0.01),
                      "How long to measure.");
  settings.add_parsed("warmup", "SECONDS", "2", seconds_into(load.warmup, 0),
                      "How long to run before.");
  settings.add_number("count", "N", load.count, {0, any},
                      "Instead of duration and warm-up: messages to publish; 0: by time.");
  settings.add_number("drain-seconds", "SECONDS", config.drain_seconds, {0, 86'400},
                      "How long nothing may arrive before what is missing counts as lost.");
  settings.add_output(config.output);
}

void check(const LoadOptions& load) {
  if (load.prefetch > 0 && load.ack_every > load.prefetch) {
    throw StartError{fmt::format(
        "--ack-every {} is above --prefetch {}, so no ack would ever be sent: lower the one or "
        "raise the other",
        load.ack_every, load.prefetch)};
  }
  if (load.fan_out > 0 && load.queues > 1) {
    throw StartError{"--queues and --fan-out cannot be combined: with --fan-out N there are N"};
  }
  if (load.fan_out > 0 && load.bindings > 0) {
    throw StartError{"--bindings and --fan-out cannot be combined: a fan-out binds its queues"};
  }
  constexpr std::uint64_t streams_max = 65'536;
  if (load.streams() > streams_max) {
    throw StartError{"--publishers times --priorities is more than 65,536"};
  }
  if (load.backlog_max > 0 && load.consumers_of_queue == 0) {
    throw StartError{"--backlog without consumers would stop the publishers for ever"};
  }
}

/// Rewrites one line of the terminal, and leaves nothing behind.
class Progress {
 public:
  void show(const std::string& line) {
    fmt::print(stderr, "\r{}\x1b[K", line);
    std::fflush(stderr);
    is_shown_ = true;
  }
  void clear() {
    if (!is_shown_) return;
    fmt::print(stderr, "\r\x1b[K");
    std::fflush(stderr);
  }

 private:
  bool is_shown_ = false;
};

}  // namespace

int run_bench(const Program& program, std::span<const char* const> arguments) {
  BenchConfig config;
  Settings settings{program, "bench",
                    "Publishes to any AMQP 0-9-1 broker and consumes from it, measures both, and "
                    "checks that nothing is lost, doubled or out of order."};
  add_settings(settings, config);
  if (settings.read(arguments, Settings::environment_of_process()) == Settings::Outcome::shown) {
    return 0;
  }
  config.load.drain_limit = seconds{config.drain_seconds};
  check(config.load);
  log::set_level(log::Level::error);

  Progress progress;
  bench::LoadControl control;
  if (config.output == OutputForm::jsonl) {
    control.on_sample = [](const bench::LoadSample& sample) {
      fmt::print("{}\n", bench::to_json(sample));
      std::fflush(stdout);
    };
  } else if (::isatty(STDERR_FILENO) != 0) {
    control.sample_every = milliseconds{200};
    control.on_sample = [&progress](const bench::LoadSample& sample) {
      progress.show(bench::to_progress(sample));
    };
  }

  SystemLoop loop;
  TaskGroup tasks{loop, "pronto bench"};
  Result<bench::LoadResult, client::Failure> result{client::Failure{}};
  tasks.spawn([](SystemLoop& on, bench::LoadControl& of) -> Task<> {
    (void)co_await on.next_signal({SIGINT, SIGTERM});
    of.is_ending = true;
    (void)co_await on.next_signal({SIGINT, SIGTERM});
    of.is_abandoned = true;
  }(loop, control));
  tasks.spawn([](SystemLoop& on, const LoadOptions& load, bench::LoadControl& of,
                 Result<bench::LoadResult, client::Failure>& to) -> Task<> {
    to = co_await bench::run_load(on, load, of);
    on.stop();
  }(loop, config.load, control, result));
  loop.run();

  progress.clear();
  if (!result) {
    fmt::print(stderr, "pronto: bench: {}\n", result.error().text);
    return 1;
  }
  fmt::print("{}", config.output == OutputForm::table
                       ? bench::to_table(config.load, *result)
                       : bench::to_json(config.load, *result) + "\n");
  return result->is_right() ? 0 : 1;
}

}  // namespace pronto
