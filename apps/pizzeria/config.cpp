#include "config.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "kitchen.hpp"
#include "pronto/base/crypto.hpp"
#include "pronto/base/text.hpp"
#include "pronto/http/callback.hpp"

namespace pizzeria {

using pronto::StartError;

namespace {

constexpr std::size_t key_bytes = 32;

pronto::Endpoint loopback(std::uint16_t port) {
  return {pronto::IpAddress::from_v4(0x7F000001), port};
}

/// "prep=2,bake=2,oven=2" into (stage, value); a value alone is for all stages.
template <class Set>
void each_stage(const std::string& text, Set set) {
  for (const std::string_view part : pronto::split(text, ',')) {
    const std::size_t equals = part.find('=');
    const auto stage = std::ranges::find(stages, part.substr(0, equals));
    const auto number =
        equals == part.npos ? std::nullopt : pronto::parse_double(part.substr(equals + 1));
    if (stage == stages.end() || !number) {
      throw std::invalid_argument{"takes prep=N,bake=N,oven=N"};
    }
    set(static_cast<std::size_t>(stage - stages.begin()), *number);
  }
}

pronto::Bytes from_hex(const std::string& text) {
  pronto::Bytes bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    unsigned value = 0;
    const auto [end, ec] = std::from_chars(text.data() + i, text.data() + i + 2, value, 16);
    if (ec != std::errc{} || end != text.data() + i + 2) return {};
    bytes.push_back(static_cast<std::byte>(value));
  }
  return text.size() % 2 == 0 ? bytes : pronto::Bytes{};
}

}  // namespace

Config::Config()
    : http{loopback(8080)},
      amqp{loopback(5672)},
      callback_schedule{pronto::http::Callbacks::Options{}.schedule} {}

pronto::Program program() {
  return {.name = "pizzeria",
          .version = PRONTO_VERSION,
          .environment_prefix = "PIZZERIA_",
          .sections = {"up", "order-service", "order-history", "order-executor", "notifier",
                       "order", "token"}};
}

void add_identity_settings(pronto::Settings& settings, Config& config) {
  settings.add_text("data", "DIR", config.data, "folder of all data; made when it is missing");
  settings.add_secret(
      "secret", "HEX", config.secret,
      "key of sessions, order ids and callbacks, 32 bytes as hexadecimal; without it "
      "one is made and kept in the data folder");
}

void add_settings(pronto::Settings& settings, Config& config, const Roles& roles, bool is_up) {
  if (roles.api) settings.add_endpoint("http", config.http, "where pages and API are served");
  if (is_up) {
    settings.add_endpoint("amqp", config.amqp, "where the embedded broker listens for AMQP 0-9-1");
    config.management = loopback(15672);
    settings.add_endpoint("management", *config.management,
                          "where the embedded broker's health, metrics and queues are served");
  } else if (!roles.api) {
    settings.add_parsed(
        "management", "ADDRESS:PORT", "",
        [&config](const std::string& text) {
          const auto endpoint = pronto::Endpoint::parse(text);
          if (!endpoint) throw std::invalid_argument{"expected ADDRESS:PORT, as 127.0.0.1:15673"};
          config.management = *endpoint;
        },
        "where health and metrics of this process are served; without it nowhere");
  }
  add_identity_settings(settings, config);
  settings.add_text("ports-file", "FILE", config.ports_file,
                    "written with the addresses in use, as JSON, once all are ready");
  settings.add_text("broker", "URIS", config.broker,
                    is_up ? "embedded, or amqp://... of Pronto or RabbitMQ, several with commas"
                          : "amqp://... of Pronto or RabbitMQ, several with commas");
  settings.add_text("store", "URL", config.store,
                    "sqlite:PATH; without it a file in the data folder");
  settings.add_text("instance", "NAME", config.instance,
                    "tells apart processes on one store; without it the service's name, or NAME-2 "
                    "and so on while that one runs");
  const auto stage_text = [&config](auto value) {
    std::string text;
    for (std::size_t i = 0; i < stages.size(); ++i) {
      if (i > 0) text += ',';
      text += fmt::format("{}={}", stages[i], value(config.stages[i]));
    }
    return text;
  };
  settings.add_parsed(
      "workers", "prep=N,...", stage_text([](const StageCapacity& stage) { return stage.workers; }),
      [&config](const std::string& text) {
        each_stage(text, [&config](std::size_t stage, double value) {
          if (value < 1 || value > 10'000 ||
              value != static_cast<double>(static_cast<int>(value))) {
            throw std::invalid_argument{"takes whole numbers from 1 to 10000"};
          }
          config.stages[stage].workers = static_cast<std::int64_t>(value);
        });
      },
      "workers of each stage");
  settings.add_parsed(
      "stage-seconds", "prep=N,...", stage_text([](const StageCapacity& stage) {
        return static_cast<double>(stage.duration.count()) / 1000;
      }),
      [&config](const std::string& text) {
        each_stage(text, [&config](std::size_t stage, double value) {
          if (value < 0 || value > 86'400) throw std::invalid_argument{"takes 0 to 86400 seconds"};
          config.stages[stage].duration =
              pronto::milliseconds{static_cast<std::int64_t>(value * 1000)};
        });
      },
      "how long each stage takes, decimals allowed");
  if (roles.api || roles.notifier) {
    settings.add_list("allow-callbacks-to", "CIDR|NAME", config.allow_callbacks_to,
                      "callbacks may go there, too; without it only to public addresses");
  }
  if (roles.notifier) {
    settings.add_parsed(
        "callback-schedule", "SECONDS,...", "0,5,300,1800,7200,18000,36000,50400,72000,86400",
        [&config](const std::string& text) {
          auto schedule = pronto::http::parse_schedule(text);
          if (!schedule) throw std::invalid_argument{schedule.error()};
          config.callback_schedule = std::move(*schedule);
        },
        "time before each attempt of a callback");
  }
  if (roles.api) {
    settings.add_number("accept-limit", "N", config.accept_limit, {1, 1'000'000'000},
                        "orders in flight; beyond it the answer is 503");
    settings.add_secret("operator-password", "TEXT", config.operator_password,
                        "of /operator; without it one is made and shown at the first start");
  }
  settings.add_number("drain-seconds", "N", config.drain_seconds, {1, 3600},
                      "how long SIGTERM waits for work under way");
}

pronto::Bytes load_key(const Config& config) {
  if (!config.secret.empty()) {
    pronto::Bytes key = from_hex(config.secret);
    if (key.size() < key_bytes) {
      throw StartError{"--secret takes at least 64 hexadecimal digits"};
    }
    return key;
  }
  std::error_code ec;
  std::filesystem::create_directories(config.data, ec);
  if (ec) {
    throw StartError{
        fmt::format("the data folder {} cannot be made: {}; choose another with --data",
                    config.data, ec.message())};
  }
  const std::string path = config.data + "/secret.key";
  for (int attempt = 0; attempt < 2; ++attempt) {
    std::ifstream file{path, std::ios::binary};
    std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    if (file.is_open() || !text.empty()) {
      pronto::Bytes key = from_hex(std::string{pronto::trim(text)});
      if (key.size() >= key_bytes) return key;
      throw StartError{
          fmt::format("{} is not a key of {} bytes as hexadecimal: put back the one that "
                      "was there, or remove it, which ends all sessions",
                      path, key_bytes)};
    }
    pronto::Bytes key(key_bytes);
    pronto::SystemRandom{}.fill(key);
    const std::string line = pronto::to_hex(key) + '\n';
    // Whole or not at all, readable by us alone; whoever comes second takes the first one's.
    const std::string beside = fmt::format("{}.{}", path, ::getpid());
    const int made = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (made < 0 || ::write(made, line.data(), line.size()) != static_cast<ssize_t>(line.size()) ||
        ::fsync(made) != 0 || ::close(made) != 0) {
      throw StartError{
          fmt::format("{} cannot be written: {}", path, pronto::last_system_error().message())};
    }
    (void)::link(beside.c_str(), path.c_str());
    (void)::unlink(beside.c_str());
  }
  throw StartError{fmt::format("{} cannot be read", path)};
}

}  // namespace pizzeria
