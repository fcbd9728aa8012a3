#pragma once

#include <optional>
#include <string>

#include "pronto/bus/dead_letters.hpp"
#include "pronto/bus/handler.hpp"
#include "pronto/client/delivery.hpp"

namespace pronto::detail {

// The mapping of CloudEvents, and of our own bookkeeping, to AMQP 0-9-1.
// Source: docs/formats/cloudevents.md.

/// A message as it stands in the outbox and on the wire.
struct WireMessage {
  std::string id;
  std::string type;  ///< wire name with version: also the exchange
  MessageKind kind = MessageKind::event;
  std::string routing_key;
  std::string key;
  std::string body;
  std::string source;
  std::string traceparent;
  WallTime time{};
};

client::Message to_client_message(const WireMessage& message);

/// What is known of `delivery`. What a foreign publisher has left out is made up (`id`) or empty.
Envelope read_envelope(const client::Delivery& delivery, std::string queue, Random& random);
/// The contract's wire name with version, as the sender has stated it; may be empty.
std::string read_type(const client::Delivery& delivery);
/// How often handling it has failed so far.
int read_attempts(const client::Delivery& delivery);
/// How often the broker has handed it out before, where it counts that; else 0.
std::int64_t read_delivery_count(const client::Delivery& delivery);

/// What is noted of a handling that failed.
struct FailureNote {
  std::string queue;
  std::string handler;
  std::string error;
  int attempts = 0;  ///< failed so far, this one included
  WallTime at{};
};

/// `delivery` again, on its way to wait `delay` and then to come back to its queue.
client::Message make_retry(const client::Delivery& delivery, const FailureNote& note,
                           milliseconds delay);
/// `delivery` again, on its way to the dead letters of its queue.
client::Message make_dead(const client::Delivery& delivery, const FailureNote& note);
/// A dead letter on its way back to `queue`, as if it had never failed.
client::Message make_redriven(const client::Delivery& dead, const std::string& queue);

DeadLetter read_dead_letter(const client::Delivery& delivery, const std::string& queue);

}  // namespace pronto::detail
