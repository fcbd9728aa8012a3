#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pronto/async/stream.hpp"
#include "pronto/base/result.hpp"

namespace pronto::client {

/// One broker, as `amqp://user:password@host:port/vhost?heartbeat=30` says it.
struct Address {
  std::string host = "127.0.0.1";
  std::uint16_t port = 5672;
  std::string user = "guest";
  std::string password = "guest";
  std::string virtual_host = "/";
  std::optional<std::chrono::seconds> heartbeat;           ///< `heartbeat`, 0: none
  std::optional<std::chrono::milliseconds> connect_limit;  ///< `connection_timeout`
  std::optional<std::uint16_t> channels_max;               ///< `channel_max`
  std::optional<std::uint32_t> frame_bytes_max;            ///< `frame_max`
  /// For `amqps`: `cacertfile`, `verify=verify_peer|verify_none`, `server_name_indication`.
  std::optional<TlsClientOptions> tls;

  /// Returns: `amqp://guest@127.0.0.1:5672/%2F`, never with the password.
  std::string to_string() const;
};

/// Reads one URI. All but the scheme and the host may be left out; user, password and virtual host
/// are percent-decoded. An empty virtual host (`amqp://host/`) is `/`: no broker has one without a
/// name. Errors: what is wrong, for people, without the password. Runs on: any thread. Source:
/// RabbitMQ's URI specification and its query parameters.
Result<Address, std::string> parse_address(std::string_view uri);
/// Reads several, separated by commas. Errors: as `parse_address`, of the first that is wrong.
Result<std::vector<Address>, std::string> parse_addresses(std::string_view uris);

}  // namespace pronto::client
