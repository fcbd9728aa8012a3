#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "contracts.hpp"
#include "pronto/async/sync.hpp"
#include "pronto/bus/bus.hpp"

namespace pizzeria {

/// Wakes the pages (event streams, long polls) of this process when an order moves.
///
/// It has a queue of its own for as long as the process lives; what it misses, the history knows.
/// Runs on: the loop's thread. Source: ONE_ORDER.md step 9.
class PageNotifier {
 public:
  void subscribe(pronto::Bus& bus) {
    bus.on_each_instance<&PageNotifier::placed, &PageNotifier::status>(*this, "pages");
  }

  /// An interest in one order, while it lives.
  class Watch {
   public:
    /// The highest sequence of the order that was heard of since the watch began; 0: none.
    std::int64_t sequence() const noexcept { return sequence_; }
    pronto::Signal& changed() noexcept { return changed_; }

   private:
    friend class PageNotifier;
    std::int64_t sequence_ = 0;
    pronto::Signal changed_;
  };
  std::shared_ptr<Watch> watch(const std::string& order);

  /// Called with each status that is heard of.
  std::function<void(const OrderStatus&)> on_status;

 private:
  pronto::Task<> placed(const OrderPlaced& event);
  pronto::Task<> status(const OrderStatus& event);
  void wake(const std::string& order, std::int64_t sequence);

  std::unordered_map<std::string, std::weak_ptr<Watch>> watches_;
};

}  // namespace pizzeria
