// A closed loop of HTTP requests over keep-alive connections: each sends its next request when it
// has the answer to the last. Reports answers a second and percentiles as one line of JSON.

#include <fmt/format.h>

#include <boost/json.hpp>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "common/histogram.hpp"
#include "common/settings.hpp"
#include "pronto/async/sync.hpp"
#include "pronto/async/system_loop.hpp"
#include "pronto/async/task_group.hpp"
#include "pronto/base/text.hpp"

namespace pronto {
namespace {

struct Config {
  Endpoint to{*IpAddress::parse("127.0.0.1"), 8080};
  std::string method = "GET";
  std::string path = "/health/live";
  std::string body;
  std::string tokens;
  std::uint64_t status = 200;
  std::uint64_t connections = 64;
  std::uint64_t count = 0;
  std::uint64_t duration_ms = 5'000;
  std::uint64_t warmup_ms = 1'000;
};

void add_settings(Settings& settings, Config& config) {
  settings.add_endpoint("to", config.to, "The server.");
  settings.add_text("method", "NAME", config.method, "Of each request.");
  settings.add_text("path", "PATH", config.path, "Of each request.");
  settings.add_text("body", "JSON", config.body, "Of each request; empty: none.");
  settings.add_text("tokens", "FILE", config.tokens,
                    "Bearer tokens, one a line; the connections use them in turn.");
  settings.add_number("status", "CODE", config.status, {100, 599}, "What a right answer has.");
  settings.add_number("connections", "N", config.connections, {1, 10'000}, "All at once.");
  settings.add_number("count", "N", config.count, {0, 100'000'000},
                      "Requests in all, instead of duration and warm-up; 0: by time.");
  settings.add_number("duration-ms", "MS", config.duration_ms, {1, 3'600'000}, "Measured.");
  settings.add_number("warmup-ms", "MS", config.warmup_ms, {0, 3'600'000}, "Run before.");
}

struct Totals {
  Histogram times;
  std::uint64_t right = 0;
  std::map<int, std::uint64_t> wrong;  // by status
  std::uint64_t broken = 0;            // connections
  std::uint64_t begun = 0;
  SteadyTime measure_from{};
  SteadyTime measure_to = SteadyTime::max();
  SteadyTime last{};
};

struct Answer {
  int status = 0;
  std::size_t bytes = 0;
};

/// The answer at the start of `in`, or nothing while it is not whole.
/// Errors: status 0 for one without a length.
std::optional<Answer> parse_answer(std::string_view in) {
  const std::size_t head_end = in.find("\r\n\r\n");
  if (head_end == in.npos) return std::nullopt;
  Answer answer;
  std::size_t length = in.npos;
  bool is_first = true;
  for (std::string_view line : split(in.substr(0, head_end), '\n')) {
    line = trim(line);
    if (std::exchange(is_first, false)) {
      const auto status = line.size() < 12 ? std::nullopt : parse_unsigned(line.substr(9, 3));
      answer.status = static_cast<int>(status.value_or(0));
      continue;
    }
    constexpr std::string_view name = "content-length:";
    if (line.size() > name.size() && equal_ignoring_case(line.substr(0, name.size()), name)) {
      length = parse_unsigned(trim(line.substr(name.size()))).value_or(in.npos);
    }
  }
  constexpr std::size_t head_end_bytes = 4;
  if (length == in.npos) return Answer{.status = 0, .bytes = in.size()};
  answer.bytes = head_end + head_end_bytes + length;
  if (in.size() < answer.bytes) return std::nullopt;
  return answer;
}

Task<> ask_for_ever(Loop& loop, const Config& config, std::string token, Totals& totals) {
  std::string request = fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\nAccept: application/json\r\n",
                                    config.method, config.path, config.to.to_string());
  if (!token.empty()) request += fmt::format("Authorization: Bearer {}\r\n", token);
  if (!config.body.empty()) {
    request +=
        fmt::format("Content-Type: application/json\r\nContent-Length: {}\r\n", config.body.size());
  }
  request += "\r\n" + config.body;
  std::vector<std::byte> inbox(64 * 1024);
  for (;;) {
    const auto stream = co_await loop.network().connect(config.to, {});
    if (!stream) {
      ++totals.broken;
      co_await sleep_for(milliseconds{10});
      continue;
    }
    for (bool is_alive = true; is_alive;) {
      if (config.count > 0 && totals.begun >= config.count) co_return;
      ++totals.begun;
      const SteadyTime start = loop.now();
      is_alive = (co_await write_all(**stream, as_bytes(request))).has_value();
      std::size_t filled = 0;
      std::optional<Answer> answer;
      while (is_alive && !answer) {
        const auto got = co_await (*stream)->read_some(std::span{inbox}.subspan(filled));
        is_alive = got.has_value();
        if (!is_alive) break;
        filled += *got;
        answer = parse_answer(as_text(BytesView{inbox}.first(filled)));
      }
      const SteadyTime now = loop.now();
      if (!is_alive) {
        ++totals.broken;
        break;
      }
      if (start < totals.measure_from || now > totals.measure_to) continue;
      totals.last = now;
      if (answer->status == static_cast<int>(config.status)) {
        ++totals.right;
        totals.times.add(now - start);
      } else {
        ++totals.wrong[answer->status];
      }
    }
  }
}

std::vector<std::string> read_tokens(const std::string& path) {
  std::vector<std::string> tokens;
  if (path.empty()) return {""};
  std::ifstream file{path};
  for (std::string line; std::getline(file, line);) tokens.push_back(line);
  if (tokens.empty()) throw StartError{"--tokens " + path + ": no token in it"};
  return tokens;
}

int run(std::span<const char* const> arguments) {
  Config config;
  Settings settings{{.name = "http_load",
                     .version = "",
                     .environment_prefix = "HTTP_LOAD_",
                     .sections = {"load"}},
                    "load",
                    "Sends HTTP requests and measures the answers."};
  add_settings(settings, config);
  if (settings.read(arguments, Settings::environment_of_process()) == Settings::Outcome::shown) {
    return 0;
  }
  const std::vector<std::string> tokens = read_tokens(config.tokens);
  SystemLoop loop;
  Totals totals;
  const SteadyTime begin = loop.now();
  totals.measure_from = begin + milliseconds{config.count > 0 ? 0 : config.warmup_ms};
  if (config.count == 0) {
    totals.measure_to = totals.measure_from + milliseconds{config.duration_ms};
  }
  TaskGroup asking{loop, "connections"};
  TaskGroup ending{loop, "end"};
  for (std::uint64_t i = 0; i < config.connections; ++i) {
    asking.spawn(ask_for_ever(loop, config, tokens[i % tokens.size()], totals));
  }
  ending.spawn([](SystemLoop& on, TaskGroup& of, const Config& with, SteadyTime at) -> Task<> {
    if (with.count == 0) {
      co_await sleep_for(at - on.now());
      of.cancel();
    }
    co_await of.join();
    on.stop();
  }(loop, asking, config, totals.measure_to));
  loop.run();

  const SteadyTime end = config.count > 0 ? totals.last : totals.measure_to;
  const double seconds = std::chrono::duration<double>(end - totals.measure_from).count();
  const auto ms = [](Histogram::Duration time) {
    return std::chrono::duration<double, std::milli>{time}.count();
  };
  boost::json::object wrong;
  for (const auto& [status, count] : totals.wrong) wrong[std::to_string(status)] = count;
  const boost::json::object result{{"right", totals.right},
                                   {"per_second", static_cast<double>(totals.right) / seconds},
                                   {"p50_ms", ms(totals.times.percentile(50))},
                                   {"p90_ms", ms(totals.times.percentile(90))},
                                   {"p99_ms", ms(totals.times.percentile(99))},
                                   {"p99.9_ms", ms(totals.times.percentile(99.9))},
                                   {"max_ms", ms(totals.times.max())},
                                   {"wrong_by_status", wrong},
                                   {"broken_connections", totals.broken},
                                   {"seconds", seconds}};
  fmt::print("{}\n", boost::json::serialize(result));
  return totals.wrong.empty() && totals.broken == 0 ? 0 : 1;
}

}  // namespace
}  // namespace pronto

int main(int count, char** values) {
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return pronto::run({values + 1, static_cast<std::size_t>(count - 1)});
  } catch (const pronto::StartError& error) {
    fmt::print(stderr, "http_load: {}\n", error.what());
    return 2;
  }
}
