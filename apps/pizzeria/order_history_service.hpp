#pragma once

#include "contracts.hpp"
#include "history.hpp"
#include "pronto/bus/bus.hpp"

namespace pizzeria {

/// Keeps the history that customers read. Its own queue, so it may be down for as long as it likes.
/// Source: ONE_ORDER.md step 4.
class OrderHistoryService {
 public:
  static constexpr const char* queue = "order-history";

  void subscribe(pronto::Bus& bus) {
    bus.on<&OrderHistoryService::placed, &OrderHistoryService::status>(*this, queue);
  }

 private:
  pronto::Task<> placed(const OrderPlaced& event, pronto::Transaction& tx) {
    return History::add(tx, event);
  }
  pronto::Task<> status(const OrderStatus& event, pronto::Transaction& tx) {
    return History::add(tx, event);
  }
};

}  // namespace pizzeria
