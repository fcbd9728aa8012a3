#pragma once

#include <string>
#include <string_view>
#include <system_error>

#include "pronto/wire/reply_code.hpp"

namespace pronto::client {

/// Why something asked of a broker was not done.
struct Failure {
  enum class Kind {
    unroutable,    ///< a mandatory message reached no queue; the text names exchange and key
    nacked,        ///< the broker could not take the message (full queue, internal error)
    disconnected,  ///< the connection went away meanwhile; what was under way may have been done or
                   ///< not
    blocked,       ///< the broker kept publishers blocked for longer than allowed
    timed_out,     ///< no answer in time; what was asked may still be done
    refused,       ///< the broker said no and closed the channel or connection: see `code`
    unreachable,   ///< no address answered: see `cause`
    broken_peer,   ///< the broker's bytes made no sense
    too_large,     ///< above a limit of ours or of the connection
    closed         ///< this side has closed the channel or the connection
  };

  Kind kind = Kind::closed;
  /// What happened to which exchange, queue, address; for people and logs.
  std::string text;
  /// The broker's reply code, for `refused` and `unroutable`.
  wire::ReplyCode code = wire::ReplyCode::reply_success;
  /// The system's error, for `unreachable` and `disconnected`.
  std::error_code cause{};

  bool operator==(const Failure&) const = default;
};

/// Returns: `unroutable`, `timed_out`, ... Runs on: any thread.
std::string_view name_of(Failure::Kind kind) noexcept;
/// Whether the same may succeed later without a change by somebody. Runs on: any thread.
bool is_transient(Failure::Kind kind) noexcept;

}  // namespace pronto::client
