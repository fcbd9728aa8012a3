#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "pronto/async/loop.hpp"
#include "pronto/async/stream.hpp"
#include "pronto/async/task.hpp"
#include "pronto/base/result.hpp"
#include "pronto/client/channel.hpp"
#include "pronto/client/failure.hpp"
#include "pronto/client/topology.hpp"
#include "pronto/client/uri.hpp"
#include "pronto/wire/table.hpp"

namespace pronto::client {

namespace detail {
class ConnectionCore;
}

/// Something that happened to a connection; for metrics. The log has a line of it already.
struct Event {
  enum class Kind {
    connected,  ///< for the first time
    disconnected,
    recovered,          ///< connected again: topology is declared, channels and consumers follow
    channel_recovered,  ///< one channel is open again, with its consumers
    consumer_lost,
    blocked,
    unblocked
  };
  Kind kind = Kind::connected;
  std::string text{};  ///< address, reason, consumer tag
};

/// Totals since the start, over all channels and connections.
struct Statistics {
  std::uint64_t published_total = 0;
  std::uint64_t confirmed_total = 0;
  std::uint64_t nacked_total = 0;
  std::uint64_t returned_total = 0;
  std::uint64_t delivered_total = 0;
  std::uint64_t answered_total = 0;         ///< acks and rejects sent
  std::uint64_t answers_dropped_total = 0;  ///< of deliveries of an earlier connection
  std::uint64_t recoveries_total = 0;
  std::uint64_t channel_recoveries_total = 0;
};

/// Makes the stream to a broker in the same process; called for each connection attempt.
using StreamFactory = std::function<Task<Result<std::unique_ptr<Stream>>>()>;

struct ConnectionOptions {
  /// Tried in this order, again from the first after each disconnect.
  std::vector<Address> addresses{};
  /// Instead of the network: `addresses` then only gives user, password and virtual host.
  StreamFactory stream_factory{};
  /// Shown by the broker to its operators.
  std::string name = "pronto";
  wire::Table client_properties{};  ///< beside those that every client of ours sends

  seconds heartbeat{60};  ///< the broker may want a shorter one; 0: none
  std::uint16_t channels_max = 2'047;
  std::uint32_t frame_bytes_max = 131'072;
  std::uint64_t body_bytes_max = 512 * 1024 * 1024;  ///< of a delivery
  std::size_t outbox_bytes_max = 4 * 1024 * 1024;    ///< publishes wait above it

  milliseconds connect_limit = seconds{10};  ///< for one address, handshake included
  milliseconds answer_limit = seconds{30};   ///< for one declare, consume, get, ...
  milliseconds backoff_min{100};             ///< between attempts: doubled each time, up to
  milliseconds backoff_max = seconds{15};    ///< this, less a random part of up to a half

  std::function<void(const Event&)> on_event{};
};

/// A connection to a broker (Pronto, RabbitMQ) that comes back by itself.
///
/// After a disconnect it reconnects, declares again what was declared through it, and opens its
/// channels with their consumers. Each recovery is one log line and one event. Declares run on a
/// channel of their own, so one that is refused disturbs nobody. Runs on: the thread of `loop`,
/// which outlives the connection.
class Connection {
 public:
  Connection(Loop& loop, ConnectionOptions options);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  /// Drops the connection; `close` is the orderly way.
  ~Connection();

  /// Connects, trying again while no address answers, at most for `limit`. Call once.
  /// Errors: `refused` at once (password, virtual host), `unreachable` with the last cause,
  /// `closed`.
  Task<Result<void, Failure>> open(milliseconds limit = seconds{30});
  /// Waits for unconfirmed publishes, says goodbye and ends, all within `limit`. What still waits
  /// then fails with `closed`. Consumers go on until then: cancel them first. Errors: `timed_out`
  /// when publishes were left.
  Task<Result<void, Failure>> close(milliseconds limit = seconds{10});

  /// Errors: `closed`, `too_large` (no channel left), `timed_out`, `disconnected`, `refused`.
  Task<Result<Channel, Failure>> open_channel(ChannelOptions options = {});

  // Declared things are declared again after a reconnect, until they are deleted or unbound.
  // Errors, of all of these: `refused` with the broker's code and text, `timed_out`,
  // `disconnected`, `closed`.
  Task<Result<void, Failure>> declare_exchange(Exchange exchange);
  Task<Result<void, Failure>> delete_exchange(std::string name);
  /// Returns: the name, made up by the broker when it was empty, and what is in it.
  Task<Result<QueueInfo, Failure>> declare_queue(Queue queue);
  struct DeleteQueueOptions {
    bool if_unused = false;
    bool if_empty = false;
  };
  /// Returns: how many messages went with it.
  Task<Result<std::uint32_t, Failure>> delete_queue(std::string name, DeleteQueueOptions options);
  Task<Result<std::uint32_t, Failure>> delete_queue(std::string name) {
    return delete_queue(std::move(name), {});
  }
  /// Returns: how many ready messages were dropped.
  Task<Result<std::uint32_t, Failure>> purge_queue(std::string name);
  Task<Result<void, Failure>> bind_queue(Binding binding);
  Task<Result<void, Failure>> unbind_queue(Binding binding);
  Task<Result<void, Failure>> bind_exchange(Binding binding);
  Task<Result<void, Failure>> unbind_exchange(Binding binding);

  /// Asks without making (passive declare). Errors: `refused` with `not_found` when there is none.
  Task<Result<QueueInfo, Failure>> find_queue(std::string name);
  Task<Result<void, Failure>> find_exchange(std::string name);

  bool is_connected() const noexcept;
  bool is_blocked() const noexcept;
  /// The broker's name and version as it sent them; empty before the first connection.
  const wire::Table& server_properties() const noexcept;
  Statistics statistics() const noexcept;
  Loop& loop() const noexcept;

 private:
  std::shared_ptr<detail::ConnectionCore> core_;
};

}  // namespace pronto::client
