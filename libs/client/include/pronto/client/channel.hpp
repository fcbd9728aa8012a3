#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "pronto/async/sync.hpp"
#include "pronto/async/task.hpp"
#include "pronto/base/result.hpp"
#include "pronto/client/delivery.hpp"
#include "pronto/client/failure.hpp"
#include "pronto/wire/table.hpp"

namespace pronto::client {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// What a publish on the channel waits for.
enum class PublishMode {
  confirmed,      ///< the broker's confirm: on a durable queue, the message is on stable storage
  transactional,  ///< nothing: `commit` makes publishes and acks of this channel happen together
  unconfirmed     ///< nothing: may be lost without a word
};

struct ChannelOptions {
  PublishMode mode = PublishMode::confirmed;
  /// Deliveries in hand without an answer, for each consumer; 0: as many as there are.
  std::uint16_t prefetch_count = 100;
  /// Publishes without a confirm yet; more wait for room.
  std::size_t unconfirmed_count_max = 1'000;
  /// Bodies of them; a single larger one is still sent.
  std::size_t unconfirmed_bytes_max = 64 * 1024 * 1024;
  /// How long a publish may take in all: for connection, room and confirm.
  milliseconds publish_limit = seconds{30};
  /// How long of that it may be held up by `connection.blocked`.
  milliseconds blocked_limit = seconds{20};
  /// What is unconfirmed at a disconnect is sent again after the reconnect, within `publish_limit`,
  /// and may then be there twice. Otherwise it fails with `disconnected`.
  bool republish = false;
};

struct ConsumeOptions {
  std::string queue;
  std::string tag{};  ///< empty: one is made up
  bool no_ack = false;
  bool exclusive = false;
  wire::Table arguments{};
  /// The broker took the queue away, or the channel was closed by it. The consumer comes back by
  /// itself as soon as the broker lets it.
  std::function<void(const Failure&)> on_lost{};
};

/// Takes one delivery. Called on the loop's thread, in the broker's order; must not throw and not
/// wait: long work is spawned into a TaskGroup and answers the delivery later.
using DeliveryHandler = std::function<void(Delivery)>;

/// A publish that has been handed to the connection.
class Confirmation {
 public:
  /// Waits for the broker's answer. Errors: as `Channel::publish`; throws `Cancelled`.
  Task<Result<void, Failure>> wait() const { return outcome_.get(); }
  bool is_settled() const noexcept { return outcome_.is_set(); }

 private:
  friend class detail::ChannelCore;
  Promise<Result<void, Failure>> outcome_;
};

/// One AMQP channel that outlives its connections: after a reconnect, or after the broker closed
/// it, it is opened again with its prefetch, mode and consumers.
///
/// A handle; the channel closes when the handle goes. Runs on: the loop's thread.
class Channel {
 public:
  explicit Channel(std::shared_ptr<detail::ChannelCore> core);
  Channel(Channel&&) noexcept = default;
  Channel& operator=(Channel&& other) noexcept;
  ~Channel();

  /// Publishes and waits until the broker has taken responsibility (`PublishMode::confirmed`), or
  /// until the message is handed to the connection (the other modes). Errors: `unroutable`,
  /// `nacked`, `disconnected`, `blocked`, `timed_out`, `refused` (the channel was closed: no such
  /// exchange), `too_large`, `closed`; throws `Cancelled`, after which the message may have been
  /// sent.
  Task<Result<void, Failure>> publish(Message message);
  /// The first half of `publish`: waits for connection and room and hands the message over. To have
  /// many publishes under way from one coroutine; they are sent in the order of their `send`.
  Task<Result<Confirmation, Failure>> send(Message message);

  /// Starts a consumer. Returns: its tag. Errors: `refused` (no such queue, in exclusive use),
  /// `timed_out`, `disconnected`, `closed`.
  Task<Result<std::string, Failure>> consume(ConsumeOptions options, DeliveryHandler handler);
  /// Ends a consumer: when this returns, no delivery comes any more. Deliveries in hand may still
  /// be answered. Also succeeds for a tag that is not there. Errors: `timed_out`, `disconnected`
  /// (it is gone all the same).
  Task<Result<void, Failure>> cancel(std::string tag);
  /// Takes one message, or nothing when the queue is empty. Errors: as `consume`.
  Task<Result<std::optional<Delivery>, Failure>> get(std::string queue, bool no_ack = false);

  /// Makes all publishes and answers since the last commit happen, together.
  /// `PublishMode::transactional` only. Errors: `unroutable` when a mandatory message of it was
  /// returned (the rest is committed); `disconnected`, `timed_out` (both: done or not done, but
  /// never half); `refused`, `closed`.
  Task<Result<void, Failure>> commit();
  /// Forgets them. Errors: as `commit`.
  Task<Result<void, Failure>> rollback();

  /// Waits until every publish is settled, at most for `limit`. Errors: `timed_out`, with their
  /// count.
  Task<Result<void, Failure>> drain(milliseconds limit);
  /// Ends the channel: publishes still unconfirmed fail with `closed`, deliveries in hand go back
  /// to the queue.
  Task<Result<void, Failure>> close();

  bool is_open() const noexcept;
  std::size_t unconfirmed_count() const noexcept;

 private:
  std::shared_ptr<detail::ChannelCore> core_;
};

}  // namespace pronto::client
