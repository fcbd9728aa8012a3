#pragma once

#include <boost/describe/class.hpp>
#include <cstdint>
#include <string_view>

#include "pronto/wire/reply_code.hpp"
#include "pronto/wire/table.hpp"
#include "pronto/wire/types.hpp"

namespace pronto::wire {

// Class connection: handshake, tuning and end of a connection, all on channel 0. Fields in wire
// order. Source: AMQP 0-9-1 specification, chapter 1; RabbitMQ's extended amqp0-9-1.

/// `connection.start`: the broker opens the handshake. `mechanisms` and `locales` are separated by
/// spaces.
struct ConnectionStart {
  static constexpr MethodId id{10, 10};
  static constexpr std::string_view name = "connection.start";
  std::uint8_t version_major = 0;
  std::uint8_t version_minor = 9;
  Table server_properties;
  LongString mechanisms;
  LongString locales;

  bool operator==(const ConnectionStart&) const = default;
};
BOOST_DESCRIBE_STRUCT(ConnectionStart, (),
                      (version_major, version_minor, server_properties, mechanisms, locales))

/// `connection.start-ok`.
struct ConnectionStartOk {
  static constexpr MethodId id{10, 11};
  static constexpr std::string_view name = "connection.start-ok";
  Table client_properties;
  ShortString mechanism;
  LongString response;
  ShortString locale;

  bool operator==(const ConnectionStartOk&) const = default;
};
BOOST_DESCRIBE_STRUCT(ConnectionStartOk, (), (client_properties, mechanism, response, locale))

/// `connection.secure`.
struct ConnectionSecure {
  static constexpr MethodId id{10, 20};
  static constexpr std::string_view name = "connection.secure";
  LongString challenge;

  bool operator==(const ConnectionSecure&) const = default;
};
BOOST_DESCRIBE_STRUCT(ConnectionSecure, (), (challenge))

/// `connection.secure-ok`.
struct ConnectionSecureOk {
  static constexpr MethodId id{10, 21};
  static constexpr std::string_view name = "connection.secure-ok";
  LongString response;

  bool operator==(const ConnectionSecureOk&) const = default;
};
BOOST_DESCRIBE_STRUCT(ConnectionSecureOk, (), (response))

/// `connection.tune`: limits the broker proposes; 0 means none. `frame_max` in bytes, `heartbeat`
/// in seconds.
struct ConnectionTune {
  static constexpr MethodId id{10, 30};
  static constexpr std::string_view name = "connection.tune";
  std::uint16_t channel_max = 0;
  std::uint32_t frame_max = 0;
  std::uint16_t heartbeat = 0;

  bool operator==(const ConnectionTune&) const = default;
};
BOOST_DESCRIBE_STRUCT(ConnectionTune, (), (channel_max, frame_max, heartbeat))

/// `connection.tune-ok`.
struct ConnectionTuneOk {
  static constexpr MethodId id{10, 31};
  static constexpr std::string_view name = "connection.tune-ok";
  std::uint16_t channel_max = 0;
  std::uint32_t frame_max = 0;
  std::uint16_t heartbeat = 0;

  bool operator==(const ConnectionTuneOk&) const = default;
};
BOOST_DESCRIBE_STRUCT(ConnectionTuneOk, (), (channel_max, frame_max, heartbeat))

/// `connection.open`.
struct ConnectionOpen {
  static constexpr MethodId id{10, 40};
  static constexpr std::string_view name = "connection.open";
  ShortString virtual_host;
  ShortString reserved_1;
  Bit reserved_2;

  bool operator==(const ConnectionOpen&) const = default;
};
BOOST_DESCRIBE_STRUCT(ConnectionOpen, (), (virtual_host, reserved_1, reserved_2))

/// `connection.open-ok`.
struct ConnectionOpenOk {
  static constexpr MethodId id{10, 41};
  static constexpr std::string_view name = "connection.open-ok";
  ShortString reserved_1;

  bool operator==(const ConnectionOpenOk&) const = default;
};
BOOST_DESCRIBE_STRUCT(ConnectionOpenOk, (), (reserved_1))

/// `connection.close`: either side; class and method name the culprit, or are zero.
struct ConnectionClose {
  static constexpr MethodId id{10, 50};
  static constexpr std::string_view name = "connection.close";
  std::uint16_t reply_code = 0;
  ShortString reply_text;
  std::uint16_t class_id = 0;
  std::uint16_t method_id = 0;

  bool operator==(const ConnectionClose&) const = default;
};
BOOST_DESCRIBE_STRUCT(ConnectionClose, (), (reply_code, reply_text, class_id, method_id))

/// `connection.close-ok`.
struct ConnectionCloseOk {
  static constexpr MethodId id{10, 51};
  static constexpr std::string_view name = "connection.close-ok";

  bool operator==(const ConnectionCloseOk&) const = default;
};
BOOST_DESCRIBE_STRUCT(ConnectionCloseOk, (), ())

/// `connection.blocked`: RabbitMQ's extension: publishers have to wait.
struct ConnectionBlocked {
  static constexpr MethodId id{10, 60};
  static constexpr std::string_view name = "connection.blocked";
  ShortString reason;

  bool operator==(const ConnectionBlocked&) const = default;
};
BOOST_DESCRIBE_STRUCT(ConnectionBlocked, (), (reason))

/// `connection.unblocked`.
struct ConnectionUnblocked {
  static constexpr MethodId id{10, 61};
  static constexpr std::string_view name = "connection.unblocked";

  bool operator==(const ConnectionUnblocked&) const = default;
};
BOOST_DESCRIBE_STRUCT(ConnectionUnblocked, (), ())

/// `connection.update-secret`: RabbitMQ's extension: a fresh token for a running connection.
struct ConnectionUpdateSecret {
  static constexpr MethodId id{10, 70};
  static constexpr std::string_view name = "connection.update-secret";
  LongString new_secret;
  ShortString reason;

  bool operator==(const ConnectionUpdateSecret&) const = default;
};
BOOST_DESCRIBE_STRUCT(ConnectionUpdateSecret, (), (new_secret, reason))

/// `connection.update-secret-ok`.
struct ConnectionUpdateSecretOk {
  static constexpr MethodId id{10, 71};
  static constexpr std::string_view name = "connection.update-secret-ok";

  bool operator==(const ConnectionUpdateSecretOk&) const = default;
};
BOOST_DESCRIBE_STRUCT(ConnectionUpdateSecretOk, (), ())

}  // namespace pronto::wire
