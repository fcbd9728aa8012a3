#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "contracts.hpp"
#include "pronto/base/time.hpp"
#include "pronto/bus/database.hpp"

namespace pizzeria {

/// The stages of an order, in their order; also the routing keys of their tickets.
inline constexpr std::array<std::string_view, 3> stages{"prep", "bake", "oven"};

/// The rows of OrderExecutor, which alone decides what an order's status is and numbers it.
///
/// Every change is conditional on what the row says, so a ticket or an event that comes twice
/// changes nothing. Each function is one step inside the caller's transaction. Source: ONE_ORDER.md
/// steps 5 to 8. Runs on: the loop's thread. Errors: as `Transaction::execute`.
class Kitchen {
 public:
  static std::vector<pronto::Migration> migrations();

  /// What is to be published with the change; nothing for a copy of what was seen before.
  struct Opened {
    std::optional<Ticket> ticket;       ///< for the first stage
    std::optional<OrderStatus> status;  ///< `failed`, for an order that cannot be made
  };
  static pronto::Task<Opened> open(pronto::Transaction& tx, OrderPlaced event,
                                   pronto::WallTime now);

  struct Begun {
    std::optional<pronto::WallTime> due;  ///< when the stage ends; nothing: drop the ticket
    std::optional<OrderStatus> status;    ///< the first time only
  };
  static pronto::Task<Begun> begin(pronto::Transaction& tx, Ticket ticket, pronto::WallTime now,
                                   pronto::milliseconds duration);

  struct Finished {
    std::optional<Ticket> ticket;       ///< for the next stage
    std::optional<OrderStatus> status;  ///< `ready`, after the last
  };
  static pronto::Task<Finished> finish(pronto::Transaction& tx, Ticket ticket,
                                       pronto::WallTime now);

  struct Decided {
    CancelOutcome outcome;
    std::optional<OrderStatus> status;  ///< `cancelled`, the first time
  };
  /// An order whose OrderPlaced has not come yet is cancelled all the same: it is never opened.
  static pronto::Task<Decided> cancel(pronto::Transaction& tx, CancelOrder request,
                                      pronto::WallTime now);

  /// The orders that workers have in hand.
  struct InWork {
    std::array<std::vector<pronto::WallTime>, 3> due;             ///< by stage
    std::array<std::optional<pronto::milliseconds>, 3> duration;  ///< of a stage, where one is seen
  };
  static pronto::Task<InWork> in_work(pronto::Database& database);

  /// How many orders are open and neither ready, cancelled nor failed.
  static pronto::Task<std::int64_t> count_open(pronto::Database& database);

  static constexpr std::size_t asked_at_once_max = 256;
  /// Which of `orders`, at most `asked_at_once_max`, are ready, cancelled or failed.
  static pronto::Task<std::vector<std::string>> finished_of(pronto::Database& database,
                                                            std::vector<std::string> orders);
};

}  // namespace pizzeria
