#pragma once

#include <boost/describe.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pronto/bus/contract.hpp"

namespace pizzeria {

/// One line of an order.
struct Item {
  std::string pizza;
  std::string size;
  std::int64_t quantity = 1;
  bool operator==(const Item&) const = default;
};
BOOST_DESCRIBE_STRUCT(Item, (), (pizza, size, quantity))

/// One step of an order's journey. `at` is RFC 3339, `sequence` counts from 1 (placed).
struct Step {
  std::string status;
  std::string at;
  std::int64_t sequence = 0;
  bool operator==(const Step&) const = default;
};
BOOST_DESCRIBE_STRUCT(Step, (), (status, at, sequence))

/// A customer has ordered, and has (or will have) a 202 for it. Published by OrderService.
struct OrderPlaced {
  std::string order;
  std::string customer;
  std::vector<Item> items;
  std::string placed_at;
  std::string estimated_ready_at;
  std::string estimated_ready_latest;
  std::optional<std::string> callback_url;
};
BOOST_DESCRIBE_STRUCT(OrderPlaced, (),
                      (order, customer, items, placed_at, estimated_ready_at,
                       estimated_ready_latest, callback_url))

/// An order has reached a status. Published by OrderExecutor, which numbers them; readers order by
/// number. The last one carries the whole order, so that whoever tells the customer needs no other
/// source.
struct OrderStatus {
  std::string order;
  std::string customer;
  std::string status;
  std::string at;
  std::int64_t sequence = 0;
  std::optional<OrderPlaced> placed;         ///< with the last status only
  std::optional<std::vector<Step>> journey;  ///< with the last status only
};
BOOST_DESCRIBE_STRUCT(OrderStatus, (), (order, customer, status, at, sequence, placed, journey))

/// Work for one worker of a stage; the routing key is the stage.
struct Ticket {
  std::string order;
  std::string stage;
};
BOOST_DESCRIBE_STRUCT(Ticket, (), (order, stage))

/// A request to OrderExecutor, which alone decides.
struct CancelOrder {
  std::string order;
  std::string customer;
};
BOOST_DESCRIBE_STRUCT(CancelOrder, (), (order, customer))

/// The answer: whether the order is cancelled (now or before), and its status.
struct CancelOutcome {
  bool is_cancelled = false;
  std::string status;
};
BOOST_DESCRIBE_STRUCT(CancelOutcome, (), (is_cancelled, status))

}  // namespace pizzeria

template <>
inline constexpr auto pronto::contract<pizzeria::OrderPlaced> =
    pronto::event("pizzeria.order-placed", 1).key(&pizzeria::OrderPlaced::order);
template <>
inline constexpr auto pronto::contract<pizzeria::OrderStatus> =
    pronto::event("pizzeria.order-status", 1).key(&pizzeria::OrderStatus::order);
template <>
inline constexpr auto pronto::contract<pizzeria::Ticket> = pronto::command("pizzeria.ticket", 1)
                                                               .key(&pizzeria::Ticket::order)
                                                               .route(&pizzeria::Ticket::stage);
template <>
inline constexpr auto pronto::contract<pizzeria::CancelOrder> =
    pronto::request<pizzeria::CancelOutcome>("pizzeria.cancel-order", 1);
