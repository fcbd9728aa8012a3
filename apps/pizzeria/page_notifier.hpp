#pragma once

#include <functional>

#include "contracts.hpp"
#include "pronto/bus/bus.hpp"

namespace pizzeria {

/// Hears of every order that moves, so that the pages (event streams, long polls) of this process
/// wake up.
///
/// It has a queue of its own for as long as the process lives; what it misses, the history knows.
/// Runs on: the loop's thread. Source: ONE_ORDER.md step 9.
class PageNotifier {
 public:
  void subscribe(pronto::Bus& bus) {
    bus.on_each_instance<&PageNotifier::placed, &PageNotifier::status>(*this, "pages");
  }

  /// Called with each that is heard of.
  std::function<void(const OrderPlaced&)> on_placed;
  std::function<void(const OrderStatus&)> on_status;

 private:
  pronto::Task<> placed(const OrderPlaced& event) {
    if (on_placed) on_placed(event);
    co_return;
  }
  pronto::Task<> status(const OrderStatus& event) {
    if (on_status) on_status(event);
    co_return;
  }
};

}  // namespace pizzeria
