#include "page_notifier.hpp"

#include <algorithm>

namespace pizzeria {

std::shared_ptr<PageNotifier::Watch> PageNotifier::watch(const std::string& order) {
  std::weak_ptr<Watch>& place = watches_[order];
  std::shared_ptr<Watch> watch = place.lock();
  if (!watch) {
    // The last one to go takes the place in the map along.
    watch = std::shared_ptr<Watch>{new Watch, [this, order](Watch* gone) {
                                     watches_.erase(order);
                                     delete gone;
                                   }};
    watches_[order] = watch;
  }
  return watch;
}

void PageNotifier::wake(const std::string& order, std::int64_t sequence) {
  const auto found = watches_.find(order);
  if (found == watches_.end()) return;
  if (const auto watch = found->second.lock()) {
    watch->sequence_ = std::max(watch->sequence_, sequence);
    watch->changed_.notify_all();
  }
}

pronto::Task<> PageNotifier::placed(const OrderPlaced& event) {
  wake(event.order, 1);
  co_return;
}

pronto::Task<> PageNotifier::status(const OrderStatus& event) {
  wake(event.order, event.sequence);
  if (on_status) on_status(event);
  co_return;
}

}  // namespace pizzeria
