#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "pronto/base/result.hpp"
#include "pronto/broker/records.hpp"
#include "pronto/broker/types.hpp"
#include "pronto/wire/methods.hpp"
#include "pronto/wire/reply_code.hpp"

namespace pronto::broker {

/// What became of a unit: where each body lies, in the unit's order, and when it is durable.
struct Appended {
  std::vector<BodyPosition> bodies;
  JournalSequence sequence{};
};

/// A message handed to a consumer. Views live until the call returns.
struct Deliver {
  ConnectionId connection;
  ChannelId channel;
  std::string_view consumer_tag;
  std::uint64_t delivery_tag;
  bool redelivered;
  BodyRef body;
  std::optional<std::int64_t> delivery_count;  ///< the header x-delivery-count, if it is to be sent
};

/// The answer to basic.get.
struct GetOk {
  ConnectionId connection;
  ChannelId channel;
  std::uint64_t delivery_tag;
  bool redelivered;
  std::uint32_t message_count;
  BodyRef body;
  std::optional<std::int64_t> delivery_count;
};

/// What somebody waits for of a unit.
enum class Awaited {
  nothing,  ///< it need not be synced by itself
  written,  ///< `on_written`; it need not be synced by itself either
  durable   ///< `on_durable`
};

/// The outside, as the engine sees it: what comes out of a command. Implementations do not call
/// back into the engine from within. Runs on: the engine's thread, inside the command.
class Effects {
 public:
  Effects() = default;
  Effects(const Effects&) = delete;
  Effects& operator=(const Effects&) = delete;
  virtual ~Effects() = default;

  virtual void send(ConnectionId connection, ChannelId channel, const wire::Method& method) = 0;
  /// Only of a body that `is_at_hand`.
  virtual void deliver(const Deliver& delivery) = 0;
  /// As `deliver`.
  virtual void get_ok(const GetOk& answer) = 0;
  /// basic.return, before the publish is confirmed.
  virtual void return_message(ConnectionId connection, ChannelId channel, wire::ReplyCode code,
                              std::string_view text, const ContentPtr& content) = 0;
  /// basic.ack or basic.nack to a publisher.
  virtual void confirm(ConnectionId connection, ChannelId channel, std::uint64_t tag, bool multiple,
                       bool is_ack) = 0;
  /// The channel is gone for the engine; the peer is to be told why.
  virtual void close_channel(ConnectionId connection, ChannelId channel,
                             const wire::Fault& fault) = 0;
  /// The connection is to be told why and closed; `connection_closed` follows from outside.
  virtual void close_connection(ConnectionId connection, const wire::Fault& fault) = 0;

  // Asked in the middle of a command: inputs as much as its arguments, so a replay has to give the
  // same answers.

  /// Whether the connection has room for one more delivery; asked before each. What `on_credit`
  /// said between commands, seen within one, so that no command overfills an outbox.
  virtual bool has_credit(ConnectionId) const { return true; }
  /// Whether the body's content is in memory, so that it can be delivered without a wait. What is
  /// not is fetched first.
  virtual bool is_at_hand(const BodyRef& body) const = 0;
  /// Whether the journal has room for bodies; without it persistent publishes with confirms are
  /// refused (nack), and transactions. Others come nevertheless: they cannot be told.
  virtual bool has_room() const = 0;
  /// Whether the cleaner may copy a body of so many bytes: it leaves room for what drains a disk
  /// that is full.
  virtual bool may_copy(std::uint64_t bytes) const {
    (void)bytes;
    return has_room();
  }

  /// Makes a unit: all of `records` or none of them after a crash.
  ///
  /// Once per command for what belongs together. Units of their own may follow: what deliveries
  /// without acks removed, and removals and counts beyond `Limits::unit_bytes_max`.
  virtual Appended append(std::span<const Record> records, Awaited awaited) = 0;
  /// Keeps a content in memory only, for `holders` entries.
  virtual BodyRef keep(const ContentPtr& content, std::uint32_t holders) = 0;
  /// One entry has left its queue, or refers to a copy. A journaled body had as many as its unit
  /// has enqueue records that refer to it; a copy, to which moved records refer, has none to count.
  virtual void release(const BodyRef& body) = 0;
  /// Wants the content: `on_fetched` answers, in a later command.
  virtual void fetch(const BodyRef& body, FetchTicket ticket) = 0;
  /// What was fetched is still of use: it is at hand until it is released, or there is no room. It
  /// stays at least to the end of the command.
  virtual void cache(const BodyRef& body, const ContentPtr& content) = 0;

  // Pages of queues' indexes, see `Limits::page_bytes_max`.
  /// Writes a page to the journal, where it can be read until it is released. The contents of its
  /// entries are not wanted soon. Returns: where it lies; nothing when there is no room.
  virtual std::optional<PageRef> write_page(QueuePageRecord page) = 0;
  /// Wants it: `on_page` answers, in a later command.
  virtual void fetch_page(const PageRef& page, FetchTicket ticket) = 0;
  /// Reads it at once, in a recovery or where nothing can go on without. Errors: the journal's.
  /// Blocks: on the disk.
  virtual Result<QueuePageRecord> read_page(const PageRef& page) = 0;
  /// It is not needed any more but by what `state` has stated before: by a checkpoint, until there
  /// are two that do not know it. Takes: whether its entries have left with it, and so need their
  /// bodies no longer; else they are in memory again.
  virtual void release_page(const PageRef& page, bool are_entries_gone) = 0;
};

}  // namespace pronto::broker
