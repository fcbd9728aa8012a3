#include "topology.hpp"

namespace pronto::detail {
namespace {

// A quorum queue of RabbitMQ 4 drops a message after 20 deliveries unless told otherwise; -1 is
// refused before 3.13. We count attempts ourselves, long before this.
constexpr std::int64_t delivery_limit = 1'000'000;

client::Queue quorum_queue(std::string name) {
  client::Queue queue{.name = std::move(name)};
  queue.arguments.set(wire::ShortString{"x-queue-type"}, "quorum");
  queue.arguments.set(wire::ShortString{"x-delivery-limit"}, delivery_limit);
  return queue;
}

}  // namespace

client::Exchange exchange_of(const std::string& name, MessageKind kind) {
  return {.name = name, .type = kind == MessageKind::event ? "fanout" : "direct"};
}

client::Queue service_queue(std::string name) {
  return quorum_queue(std::move(name));
}

client::Queue dead_queue(const std::string& queue) {
  return quorum_queue(queue + ".dead");
}

std::string delay_name(milliseconds delay) {
  return "pronto.delay." + std::to_string(delay.count());
}

client::Queue delay_queue(milliseconds delay) {
  client::Queue queue = quorum_queue(delay_name(delay));
  queue.arguments.set(wire::ShortString{"x-message-ttl"}, std::int64_t{delay.count()});
  queue.arguments.set(wire::ShortString{"x-dead-letter-exchange"}, "");
  // A quorum queue of RabbitMQ loses what it dead-letters when a node stops, unless it is told to
  // wait for the target's confirm, which in turn asks for this overflow.
  queue.arguments.set(wire::ShortString{"x-dead-letter-strategy"}, "at-least-once");
  queue.arguments.set(wire::ShortString{"x-overflow"}, "reject-publish");
  return queue;
}

}  // namespace pronto::detail
