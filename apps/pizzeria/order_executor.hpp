#pragma once

#include <array>

#include "capacity.hpp"
#include "contracts.hpp"
#include "kitchen.hpp"
#include "pronto/bus/bus.hpp"

namespace pizzeria {

/// Makes the pizzas: opens orders, works through their stages, decides about cancelling.
///
/// Orders compete for its instances, tickets of a stage for the stage's workers: one ticket a slot,
/// and a ticket stays unacknowledged on a timer while its stage is under way. Source: ONE_ORDER.md
/// steps 5 to 8.
class OrderExecutor {
 public:
  static constexpr const char* queue = "order-executor";
  static constexpr const char* cancel_queue = "order-executor.cancel";
  static std::string ticket_queue(std::string_view stage);

  OrderExecutor(pronto::Loop& loop, const std::array<StageCapacity, 3>& kitchen)
      : loop_{loop}, stages_{kitchen} {}

  void subscribe(pronto::Bus& bus);

 private:
  pronto::Task<> open(const OrderPlaced& event, pronto::Transaction& tx,
                      pronto::Out<Ticket, OrderStatus> out);
  pronto::Task<> work(const Ticket& ticket, pronto::Work<Ticket, OrderStatus>& work);
  pronto::Task<CancelOutcome> cancel(const CancelOrder& request, pronto::Transaction& tx,
                                     pronto::Out<OrderStatus> out);
  pronto::milliseconds duration_of(std::string_view stage) const;

  pronto::Loop& loop_;
  std::array<StageCapacity, 3> stages_;
};

}  // namespace pizzeria
