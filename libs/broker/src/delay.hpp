#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <queue>
#include <string_view>
#include <vector>

#include "pronto/base/result.hpp"
#include "pronto/broker/types.hpp"
#include "pronto/wire/reply_code.hpp"
#include "pronto/wire/table.hpp"
#include "queue_index.hpp"

namespace pronto::broker {

class Exchange;

inline constexpr std::string_view delayed_type_name = "x-delayed-message";

/// When the messages of an x-delayed-message exchange are due. They lie in a queue without a name
/// or consumers, which the exchange owns, as messages of any other; what makes them due is here.
/// Runs on: the engine's thread.
struct Delay {
  struct Due {
    std::int64_t at = 0;  ///< milliseconds since 1970
    std::uint64_t sequence = 0;
    auto operator<=>(const Due&) const = default;
  };
  /// One that is due: routed once its content is there, and those before it are routed.
  struct Release {
    FetchTicket ticket{};
    EntryId id;
    BodyRef body;
    bool is_answered = false;
    ContentPtr content;  ///< null once answered: cannot be read
  };

  explicit Delay(Exchange& owner) : exchange{owner} {}

  Exchange& exchange;
  /// The earliest first. One whose entry is gone is passed over.
  std::priority_queue<Due, std::vector<Due>, std::greater<>> due;
  std::deque<Release> releasing;
};

/// How long a message is to wait, milliseconds; 0: not at all, as with anything but a positive
/// integer. At most ten years. Source: the plugin rabbitmq-delayed-message-exchange, README.
std::int64_t delay_of(const wire::Table* headers);
/// Errors: `precondition_failed` for a delay that is too long.
Result<void, wire::Fault> check_delay(const wire::Table& headers);

}  // namespace pronto::broker
