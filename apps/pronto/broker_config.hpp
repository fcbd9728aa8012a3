#pragma once

#include <cstdint>
#include <string>

#include "common/settings.hpp"
#include "pronto/async/address.hpp"
#include "pronto/base/log.hpp"
#include "pronto/server/broker_host.hpp"
#include "pronto/server/users.hpp"

namespace pronto {

/// What `pronto broker` is told. Every member is a setting; see `add_settings`.
struct BrokerConfig {
  Endpoint amqp{*IpAddress::parse("127.0.0.1"), 5672};
  Endpoint management{*IpAddress::parse("127.0.0.1"), 15672};
  std::string data = "data";
  std::string ports_file;
  std::string user = "guest";
  std::string password = "guest";
  bool guest_from_anywhere = false;
  std::string product = "RabbitMQ";
  std::uint64_t memory_bytes_max = 0;
  std::uint64_t disk_free_bytes_min = 64 * 1024 * 1024;
  std::uint64_t message_bytes_max = 16 * 1024 * 1024;
  std::uint64_t connections_max = 65'536;
  std::uint64_t heartbeat_seconds = 60;
  std::uint64_t drain_seconds = 10;
  journal::SyncMode sync_mode = journal::SyncMode::sync;
  milliseconds sync_interval{200};
  log::Level log_level = log::Level::info;
};

/// Describes the settings of `pronto broker`; `config` outlives `settings`.
void add_settings(Settings& settings, BrokerConfig& config);

server::HostOptions host_options(const BrokerConfig& config);
std::vector<server::User> users_of(const BrokerConfig& config);

}  // namespace pronto
