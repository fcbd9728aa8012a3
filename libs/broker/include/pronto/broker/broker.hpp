#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pronto/base/random.hpp"
#include "pronto/base/time.hpp"
#include "pronto/broker/effects.hpp"
#include "pronto/broker/permissions.hpp"
#include "pronto/broker/types.hpp"

namespace pronto::broker {

/// About what a record takes in a unit beside a message's bytes.
inline constexpr std::size_t unit_overhead_bytes = 128;

/// What the engine may hold. Each limit is answered with RabbitMQ's code for it.
struct Limits {
  std::size_t queues_max = 100'000;      ///< of one virtual host
  std::size_t exchanges_max = 100'000;   ///< of one virtual host
  std::size_t bindings_max = 2'000'000;  ///< of one virtual host
  std::size_t consumers_per_channel_max = 10'000;
  std::size_t transaction_count_max = 100'000;  ///< publishes and answers of one open transaction
  /// What the journal takes as one unit. A transaction beyond it is refused, as are the open ones
  /// of a connection when they come to more together; other commands that
  /// cause more write what need not be atomic in units of their own.
  std::size_t unit_bytes_max = 32 * 1024 * 1024;
  std::size_t waiting_gets_max = 1'000;  ///< of a channel, for messages still written or read
  /// How far ahead of a delivery a queue's contents are fetched: entries, and bytes of bodies.
  std::size_t load_count_max = 64;
  std::uint64_t load_bytes_max = 1024 * 1024;
  std::size_t page_entries_max = 4096;  ///< of a queue's index
  /// What the pages of all queues may take of the memory. Beyond it those are written to the
  /// journal that are full and far from what is delivered next.
  std::uint64_t page_bytes_max = 32 * 1024 * 1024;
};

/// A queue as operators see it.
struct QueueView {
  std::string virtual_host;
  std::string name;
  bool is_durable = false;
  bool is_exclusive = false;
  bool is_auto_delete = false;
  std::size_t ready_count = 0;
  std::size_t unacked_count = 0;
  std::size_t consumer_count = 0;
  std::uint64_t body_bytes = 0;
  std::uint64_t published_total = 0;
  std::uint64_t delivered_total = 0;
  std::uint64_t acked_total = 0;
  std::size_t segment_count = 0;  ///< of the journal, that have to stay for its messages
  wire::Table arguments;
};

/// The rules: virtual hosts, exchanges, queues, channels, without I/O, clock or thread.
///
/// Commands and the time go in; what they cause comes out through `Effects`. One command is one
/// atomic unit: all its records go to one `append`. Runs on: one thread, the engine's. Source:
/// BROKER.md, RabbitMQ 3.10.8's replies.
class Broker {
 public:
  /// Takes: all by reference, outliving the broker.
  Broker(Effects& effects, Random& random, Limits limits = {},
         const Permissions& permissions = all_allowed());
  Broker(const Broker&) = delete;
  Broker& operator=(const Broker&) = delete;
  ~Broker();

  // Recovery: each record of the journal in order, then `finish_recovery`, before anything else.
  /// Errors: `Error::malformed`; `Error::damaged` when it contradicts what came before. The rest
  /// may go on.
  Result<void> on_record(RecordType type, BodyPosition position, BytesView payload);
  void finish_recovery(WallTime now);
  /// States, between two commands, all that a restart would find: as records that `on_record`
  /// takes. Not while a journaled entry has no position, see `Effects::append`, nor while
  /// `is_moving`.
  void state(const std::function<void(const Record& record)>& see) const;

  // Connections and channels; the handshake is the session's.
  bool has_virtual_host(std::string_view name) const;
  void connection_opened(ConnectionId connection, std::string virtual_host, std::string user);
  /// Exclusive queues go, deliveries in hand go back, open transactions are forgotten.
  void connection_closed(ConnectionId connection, WallTime now);
  void channel_opened(ConnectionId connection, ChannelId channel);
  void channel_closed(ConnectionId connection, ChannelId channel, WallTime now);

  /// Any method of a channel but those of class connection, channel.open and -close, and
  /// basic.publish. Faults come out as `close_channel` or `close_connection`.
  void on_method(ConnectionId connection, ChannelId channel, const wire::Method& method,
                 WallTime now);
  /// basic.publish: to the content's exchange, with its routing key.
  void on_publish(ConnectionId connection, ChannelId channel, PublishFlags flags,
                  ContentPtr content, WallTime now);

  /// All units up to `sequence` are on stable storage: their messages may be delivered, publishers
  /// told.
  void on_durable(JournalSequence sequence, WallTime now);
  /// All units up to `sequence` are written, and outlive the process: what goes only to queues with
  /// the argument `x-sync-mode` "interval" may be delivered, its publishers told.
  void on_written(JournalSequence sequence, WallTime now);
  /// Whether the connection has room for output; without, its consumers are passed over.
  void on_credit(ConnectionId connection, bool has_room, WallTime now);
  /// The content that `fetch` asked for; null when it cannot be read: the message is set aside
  /// until a restart, which reads the journal anew. A purge removes it.
  void on_fetched(FetchTicket ticket, ContentPtr content, WallTime now);
  /// The page that `fetch_page` asked for; nothing when it cannot be read: its messages are set
  /// aside as if each could not be read. Returns: whether they were.
  bool on_page(FetchTicket ticket, const std::optional<QueuePageRecord>& page, WallTime now);
  /// What is due by `now`: message TTLs, queue expiry.
  void on_time(WallTime now);
  /// When `on_time` next has something to do.
  std::optional<WallTime> next_due() const;

  // The cleaner: what is still needed of a segment is copied to the journal's end.
  /// Begins, or goes on a part further: to be called again when something has become durable. The
  /// segment is the same until it is done. Returns: whether there is more to do.
  bool clean(std::uint32_t segment, WallTime now);
  /// Whether copies are on their way to the disk. `state` would still say where they were, which is
  /// not what the units before it say.
  bool is_moving() const noexcept;

  /// The body of an entry, which was in memory only since the journal had no room for it, lies
  /// there now, and is durable. The one in memory is released.
  void on_stored(QueueId queue, std::uint64_t sequence, std::uint8_t priority, BodyRef in_memory,
                 BodyPosition position);

  // What operators ask.
  std::vector<QueueView> queues() const;
  /// Looks at up to `count_max` messages of a queue, ready and unacked ones, from the place `from`
  /// on, changing nothing.
  struct Peeked {
    std::uint64_t sequence;
    BodyRef body;
    bool is_unacked;
  };
  std::vector<Peeked> peek(std::string_view virtual_host, std::string_view queue,
                           std::uint64_t from, std::size_t count_max) const;
  /// Messages that x-delayed-message exchanges hold until they are due.
  std::size_t delayed_count() const noexcept;
  /// Publishes that a queue or an exchange had had before.
  std::uint64_t duplicates_total() const noexcept;
  /// What open transactions hold of publishes until they are committed.
  std::uint64_t held_bytes() const noexcept;
  /// Direct replies that were dropped, since whoever asked does not read.
  std::uint64_t replies_dropped_total() const noexcept;
  /// Pages of queues' indexes that lie in the journal only: now, and written and read since the
  /// start.
  struct PageCounts {
    std::size_t out = 0;
    std::uint64_t written_total = 0;
    std::uint64_t read_total = 0;
    std::uint64_t lost_total = 0;  ///< that could not be read
  };
  PageCounts pages() const noexcept;
  /// Memory that the places of all messages take.
  std::uint64_t index_bytes() const noexcept;
  /// The journal's segments that hold bodies which are still needed, in their order.
  std::vector<SegmentUse> segments_in_use() const;

 private:
  class Inside;
  std::unique_ptr<Inside> inside_;
};

}  // namespace pronto::broker
