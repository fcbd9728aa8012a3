#pragma once

#include <string>
#include <vector>

#include "pronto/client/topology.hpp"

namespace pronto::client::detail {

/// What was declared through a connection and has to be there again after a reconnect.
class TopologyRecord {
 public:
  struct RecordedQueue {
    Queue queue;
    bool is_named_by_broker = false;
  };

  void add(Exchange exchange);
  void remove_exchange(const std::string& name);
  void add(Queue queue, bool is_named_by_broker);
  void remove_queue(const std::string& name);
  void add_queue_binding(Binding binding) { add(queue_bindings_, std::move(binding)); }
  void remove_queue_binding(const Binding& binding);
  void add_exchange_binding(Binding binding) { add(exchange_bindings_, std::move(binding)); }
  void remove_exchange_binding(const Binding& binding);
  /// The broker gave a queue without a name another name.
  void rename_queue(const std::string& from, const std::string& to);

  const std::vector<Exchange>& exchanges() const noexcept { return exchanges_; }
  const std::vector<RecordedQueue>& queues() const noexcept { return queues_; }
  const std::vector<Binding>& queue_bindings() const noexcept { return queue_bindings_; }
  const std::vector<Binding>& exchange_bindings() const noexcept { return exchange_bindings_; }

 private:
  static void add(std::vector<Binding>& to, Binding binding);

  std::vector<Exchange> exchanges_;
  std::vector<RecordedQueue> queues_;
  std::vector<Binding> queue_bindings_;
  std::vector<Binding> exchange_bindings_;
};

}  // namespace pronto::client::detail
