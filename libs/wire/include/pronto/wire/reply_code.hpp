#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace pronto::wire {

/// Reply codes of AMQP 0-9-1. Source: AMQP 0-9-1 specification, section 1.2 (constants).
enum class ReplyCode : std::uint16_t {
  reply_success = 200,
  content_too_large = 311,
  no_route = 312,
  no_consumers = 313,
  connection_forced = 320,
  invalid_path = 402,
  access_refused = 403,
  not_found = 404,
  resource_locked = 405,
  precondition_failed = 406,
  frame_error = 501,
  syntax_error = 502,
  command_invalid = 503,
  channel_error = 504,
  unexpected_frame = 505,
  resource_error = 506,
  not_allowed = 530,
  not_implemented = 540,
  internal_error = 541
};

/// The name as RabbitMQ writes it into reply texts: `NOT_FOUND`; `UNKNOWN` for any other number.
/// Runs on: any thread, as everything in this header.
std::string_view name_of(ReplyCode code) noexcept;

/// Whether `code` ends the connection (a hard error) rather than the channel only.
bool is_connection_error(ReplyCode code) noexcept;

/// Class and method number: what names a method on the wire and in a close.
struct MethodId {
  std::uint16_t class_id = 0;
  std::uint16_t method_id = 0;

  bool operator==(const MethodId&) const = default;
};

/// What a peer did wrong, in the words that close its channel or its connection.
struct Fault {
  ReplyCode code = ReplyCode::internal_error;
  /// The explanation, without the code's name: `no queue 'x' in vhost '/'`.
  std::string text;
  /// The method at fault, zero when there is none.
  MethodId method{};
  /// Follows from the code unless stated: RabbitMQ sometimes differs.
  bool is_connection_error = wire::is_connection_error(code);

  /// Returns: `NOT_FOUND - no queue 'x' in vhost '/'`, at most 255 bytes: a longer one is cut to
  /// 252 bytes and ends in `...`, as RabbitMQ does.
  std::string reply_text() const;

  bool operator==(const Fault&) const = default;
};

}  // namespace pronto::wire
