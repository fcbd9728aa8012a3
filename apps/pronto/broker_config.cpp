#include "broker_config.hpp"

#include <stdexcept>

#include "pronto/base/text.hpp"

namespace pronto {
namespace {

constexpr std::uint64_t mebibyte = 1024 * 1024;

void set_sync(BrokerConfig& config, const std::string& text) {
  constexpr std::string_view interval = "interval=";
  if (text == "sync") {
    config.sync_mode = journal::SyncMode::sync;
  } else if (text == "none") {
    config.sync_mode = journal::SyncMode::none;
  } else if (const auto ms = text.starts_with(interval)
                                 ? parse_unsigned(std::string_view{text}.substr(interval.size()))
                                 : std::nullopt;
             ms && *ms >= 1 && *ms <= 60'000) {
    config.sync_mode = journal::SyncMode::interval;
    config.sync_interval = milliseconds{*ms};
  } else {
    throw std::invalid_argument{"expected sync, interval=MILLISECONDS (1 to 60000) or none"};
  }
}

void set_log_level(BrokerConfig& config, const std::string& text) {
  const std::pair<std::string_view, log::Level> levels[] = {{"debug", log::Level::debug},
                                                            {"info", log::Level::info},
                                                            {"warning", log::Level::warning},
                                                            {"error", log::Level::error}};
  for (const auto& [name, level] : levels) {
    if (text != name) continue;
    config.log_level = level;
    return;
  }
  throw std::invalid_argument{"expected debug, info, warning or error"};
}

}  // namespace

void add_settings(Settings& settings, BrokerConfig& config) {
  settings.add_endpoint("amqp", config.amqp, "Where AMQP 0-9-1 clients connect.");
  settings.add_endpoint("management", config.management,
                        "Where health, overview and metrics are served over HTTP.");
  settings.add_text("data", "DIR", config.data, "The data folder; made when it is missing.");
  settings.add_text("ports-file", "FILE", config.ports_file,
                    "Written whole, as JSON, with the addresses in use once all are ready.");
  settings.add_text("user", "NAME", config.user, "Who may log in.");
  settings.add_secret("password", "TEXT", config.password,
                      "That user's password; guest when it is not given.");
  settings.add_switch("guest-from-anywhere", config.guest_from_anywhere,
                      "Let the user guest in from other machines, too.");
  settings.add_parsed(
      "sync", "sync|interval=MS|none", "sync",
      [&config](const std::string& text) { set_sync(config, text); },
      "When a message counts as stored: on stable storage; written, synced every MS; written.");
  settings.add_number("memory-limit", "BYTES", config.memory_bytes_max, {0, 1ULL << 50U},
                      "Publishers are blocked above it; 0: four tenths of what there is.");
  settings.add_number("disk-free-limit", "BYTES", config.disk_free_bytes_min, {0, 1ULL << 50U},
                      "Publishers are blocked when the disk has less free.");
  settings.add_number("message-size-limit", "BYTES", config.message_bytes_max, {1, 24 * mebibyte},
                      "The largest body that is taken.");
  settings.add_number("connection-limit", "N", config.connections_max, {1, 1'000'000},
                      "How many connections there may be.");
  settings.add_number("heartbeat", "SECONDS", config.heartbeat_seconds, {0, 65'535},
                      "Proposed to clients; 0: none.");
  settings.add_number("drain-seconds", "SECONDS", config.drain_seconds, {0, 3'600},
                      "How long clients may take to go when the broker is told to end.");
  settings.add_text("product", "NAME", config.product,
                    "What clients are told they talk to; some choose features by it.");
  settings.add_parsed(
      "log-level", "debug|info|warning|error", "info",
      [&config](const std::string& text) { set_log_level(config, text); }, "What is logged.");
}

server::HostOptions host_options(const BrokerConfig& config) {
  server::HostOptions options;
  options.session.product = config.product;
  options.session.platform = "Pronto " PRONTO_VERSION;
  options.session.heartbeat = seconds{config.heartbeat_seconds};
  options.session.message_bytes_max = config.message_bytes_max;
  options.journal.mode = config.sync_mode;
  options.journal.interval = config.sync_interval;
  options.journal.free_bytes_min = config.disk_free_bytes_min;
  options.memory_bytes_max = config.memory_bytes_max;
  options.connections_max = config.connections_max;
  return options;
}

std::vector<server::User> users_of(const BrokerConfig& config) {
  return {{.name = config.user,
           .password = config.password,
           .loopback_only = config.user == "guest" && !config.guest_from_anywhere}};
}

}  // namespace pronto
