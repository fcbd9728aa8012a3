#pragma once

#include <string>
#include <vector>

#include "pronto/base/time.hpp"
#include "pronto/bus/contract.hpp"
#include "pronto/client/topology.hpp"

namespace pronto::detail {

// Names and arguments of what the bus declares; the same on Pronto and on RabbitMQ. Changing an
// argument of a queue that exists is refused by every broker, so these are part of the format.
// Source: docs/formats/cloudevents.md.

client::Exchange exchange_of(const std::string& name, MessageKind kind);

/// A queue of a service: replicated where the broker can, attempts counted by us and not by it.
client::Queue service_queue(std::string name);

/// Where the dead letters of `queue` wait for a person.
client::Queue dead_queue(const std::string& queue);

/// The name of a rung of the ladder: of the exchange to publish to (with the target queue's name as
/// the routing key), and of the queue behind it.
std::string delay_name(milliseconds delay);
/// Holds a message for `delay`, then hands it to the queue that its routing key names.
client::Queue delay_queue(milliseconds delay);

}  // namespace pronto::detail
