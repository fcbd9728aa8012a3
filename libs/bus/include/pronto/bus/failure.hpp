#pragma once

#include <string>
#include <string_view>

namespace pronto {

/// Why the bus did not do what it was asked for.
struct BusFailure {
  enum class Kind {
    unroutable,   ///< no queue takes the message; the text names exchange and key
    unavailable,  ///< no connection to the broker, or it could not take the message
    blocked,      ///< the broker takes no messages: its disk or memory is full
    timed_out,    ///< no confirm or no reply in time: it may be done all the same
    unanswered,  ///< no reply in time to a request that outlives its limit: it is stored, and waits
    failed,      ///< the handler that should reply has failed; the text says how
    refused,     ///< the broker said no: another declaration of the same name, permissions
    too_large,
    not_found,  ///< no such dead letter
    closed      ///< the bus drains or has ended
  };
  Kind kind = Kind::closed;
  std::string text{};

  bool operator==(const BusFailure&) const = default;
};

/// Returns: `unroutable`, `timed_out`, ... Runs on: any thread.
std::string_view name_of(BusFailure::Kind kind) noexcept;

}  // namespace pronto
