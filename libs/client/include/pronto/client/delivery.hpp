#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "pronto/base/bytes.hpp"
#include "pronto/wire/properties.hpp"

namespace pronto::client {

namespace detail {
class ChannelCore;
}

/// What is published. Safe unless told otherwise: stored by the broker, and an error when no queue
/// takes it.
struct Message {
  std::string
      exchange;  ///< empty: the default exchange, which takes `routing_key` as a queue's name
  std::string routing_key;
  Bytes body;
  wire::BasicProperties properties{};
  bool mandatory = true;
  /// Sets `properties.delivery_mode` to 2 when it is not set.
  bool persistent = true;
};

enum class Requeue { no, yes };

/// A message in hand, to be acknowledged once. Movable, so that work may go on after the handler
/// returns.
///
/// A delivery that goes away without an answer stays with this consumer, and counts against its
/// prefetch, until the channel closes. An answer to a delivery of an earlier connection is dropped
/// silently: the broker has given the message to somebody else already. Runs on: the loop's thread.
class Delivery {
 public:
  std::string exchange;
  std::string routing_key;
  std::string consumer_tag;  ///< empty for `Channel::get`
  wire::BasicProperties properties;
  Bytes body;
  bool redelivered = false;

  Delivery() = default;
  Delivery(Delivery&&) = default;
  Delivery& operator=(Delivery&&) = default;

  /// The message is done with. The first answer counts, later ones are dropped.
  void ack();
  /// The message is given back, or dead-lettered (`Requeue::no`).
  void reject(Requeue requeue);
  bool is_answered() const noexcept { return answered_; }
  /// Whether an answer would still reach the broker that delivered.
  bool is_current() const noexcept;

 private:
  friend class detail::ChannelCore;
  std::weak_ptr<detail::ChannelCore> channel_;
  std::uint64_t generation_ = 0;
  std::uint64_t tag_ = 0;
  bool answered_ = false;
};

}  // namespace pronto::client
