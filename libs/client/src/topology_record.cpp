#include "topology_record.hpp"

#include <algorithm>

namespace pronto::client::detail {

void TopologyRecord::add(Exchange exchange) {
  std::erase_if(exchanges_, [&](const Exchange& one) { return one.name == exchange.name; });
  exchanges_.push_back(std::move(exchange));
}

void TopologyRecord::remove_exchange(const std::string& name) {
  std::erase_if(exchanges_, [&](const Exchange& one) { return one.name == name; });
  const auto concerns = [&](const Binding& binding) { return binding.source == name; };
  std::erase_if(queue_bindings_, concerns);
  std::erase_if(exchange_bindings_, [&](const Binding& binding) {
    return concerns(binding) || binding.destination == name;
  });
}

void TopologyRecord::add(Queue queue, bool is_named_by_broker) {
  std::erase_if(queues_, [&](const RecordedQueue& one) { return one.queue.name == queue.name; });
  queues_.push_back({std::move(queue), is_named_by_broker});
}

void TopologyRecord::remove_queue(const std::string& name) {
  std::erase_if(queues_, [&](const RecordedQueue& one) { return one.queue.name == name; });
  std::erase_if(queue_bindings_,
                [&](const Binding& binding) { return binding.destination == name; });
}

void TopologyRecord::remove_queue_binding(const Binding& binding) {
  std::erase(queue_bindings_, binding);
}

void TopologyRecord::remove_exchange_binding(const Binding& binding) {
  std::erase(exchange_bindings_, binding);
}

void TopologyRecord::rename_queue(const std::string& from, const std::string& to) {
  for (RecordedQueue& one : queues_) {
    if (one.queue.name == from) one.queue.name = to;
  }
  for (Binding& binding : queue_bindings_) {
    if (binding.destination == from) binding.destination = to;
  }
}

void TopologyRecord::add(std::vector<Binding>& to, Binding binding) {
  if (std::ranges::find(to, binding) == to.end()) to.push_back(std::move(binding));
}

}  // namespace pronto::client::detail
