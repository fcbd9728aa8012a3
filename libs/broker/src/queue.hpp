#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "pronto/broker/types.hpp"
#include "queue_arguments.hpp"

namespace pronto::broker {

struct Consumer;

/// What all queues that hold a message share.
struct Message {
  BodyRef body;
  JournalSequence durable_at{};  ///< 0: in memory only, deliverable at once
  std::uint32_t holders = 0;     ///< queue entries that refer to it
  bool is_new = false;           ///< its body is in the unit under way, not yet written
};

/// A message's place in one queue.
struct Entry {
  std::uint64_t sequence = 0;
  Message* message = nullptr;
  std::int64_t expires_at = 0;  ///< milliseconds since 1970; 0: never
  std::uint32_t delivery_count = 0;
  std::uint8_t priority = 0;
  bool redelivered = false;
};

/// Messages waiting for consumers, by priority and then oldest first.
///
/// Runs on: the engine's thread. Invariant: an entry is ready here or unacked on a channel, never
/// both.
class Queue {
 public:
  Queue(QueueId id, std::string virtual_host, std::string name, QueueArguments arguments,
        wire::Table table);

  const QueueId id;
  const std::string virtual_host;
  const std::string name;
  const QueueArguments arguments;
  const wire::Table table;
  bool is_durable = false;
  bool is_auto_delete = false;
  std::optional<ConnectionId> owner;  ///< of an exclusive queue
  bool had_consumers = false;
  std::int64_t unused_since = 0;  ///< for x-expires

  std::vector<Consumer*> consumers;  ///< in the order of their start
  std::size_t next_consumer = 0;     ///< whose turn it is
  bool is_touched = false;           ///< is to be dispatched at the end of the command
  bool is_watched = false;           ///< something of it may become due

  std::set<std::uint64_t> loading;    ///< whose contents are being fetched for a delivery
  std::set<std::uint64_t> set_aside;  ///< that could not be read: in the journal only

  std::uint64_t last_sequence = 0;
  std::size_t unacked_count = 0;
  std::uint64_t published_total = 0;
  std::uint64_t delivered_total = 0;
  std::uint64_t acked_total = 0;

  /// "queue 'q' in vhost '/'", as RabbitMQ's texts have it.
  std::string subject() const;

  std::size_t ready_count() const noexcept { return ready_count_; }
  std::uint64_t ready_bytes() const noexcept { return ready_bytes_; }
  /// Puts an entry at the place that its priority and sequence give it: new ones at the end,
  /// requeued ones where they were.
  void put(const Entry& entry);
  /// The entry that would be delivered next, or null.
  const Entry* front() const noexcept;
  /// Shows the oldest entry of each priority.
  template <class See>
  void for_each_front(See see) const {
    for (const Level& level : levels_) {
      if (!level.empty()) see(level.front());
    }
  }
  Entry take_front();
  /// The oldest entry of the lowest priority: what drop-head drops. Not on an empty queue.
  Entry take_oldest();
  /// Takes an entry out of the middle. Returns: nothing when it is not ready.
  std::optional<Entry> take(std::uint8_t priority, std::uint64_t sequence);
  /// Takes all ready entries.
  std::vector<Entry> take_all();
  /// Takes all that have expired by `now`.
  std::vector<Entry> take_expired(std::int64_t now);
  /// When the next entry expires.
  std::optional<std::int64_t> next_expiry() const;
  /// Shows the entries that would be delivered next, in that order, while `see` returns true.
  template <class See>
  void for_each_next(See see) const {
    for (auto level = levels_.rbegin(); level != levels_.rend(); ++level) {
      for (const Entry& entry : *level) {
        if (!see(entry)) return;
      }
    }
  }
  /// Returns: a ready entry, or null.
  const Entry* find(std::uint8_t priority, std::uint64_t sequence) const;
  std::vector<Entry> peek(std::uint64_t from, std::size_t count_max) const;

 private:
  using Level = std::deque<Entry>;
  void taken(const Entry& entry);
  Level& level_of(std::uint8_t priority);
  const Level& level_of(std::uint8_t priority) const;

  std::vector<Level> levels_;  // by priority, lowest first
  std::size_t ready_count_ = 0;
  std::uint64_t ready_bytes_ = 0;
  struct Expiry {
    std::int64_t at;
    std::uint8_t priority;
    std::uint64_t sequence;
    auto operator<=>(const Expiry&) const = default;
  };
  std::set<Expiry> expiries_;  // of ready entries that expire
};

}  // namespace pronto::broker
