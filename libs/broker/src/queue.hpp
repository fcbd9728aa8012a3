#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "delay.hpp"
#include "pronto/broker/types.hpp"
#include "queue_arguments.hpp"
#include "queue_index.hpp"

namespace pronto::broker {

struct Consumer;

/// How many bodies of something lie in each segment of the journal, as far as there are any. It is
/// asked and changed for every message, mostly at its end, and mostly has one segment or two.
class BodyCounts {
 public:
  void add(std::uint32_t segment, std::uint64_t count);
  /// Not more than there are.
  void subtract(std::uint32_t segment, std::uint64_t count);
  bool contains(std::uint32_t segment) const;
  std::size_t size() const noexcept { return counts_.size(); }

 private:
  struct Count {
    std::uint32_t segment = 0;
    std::uint64_t bodies = 0;
  };
  std::vector<Count> counts_;  // by segment
};

/// Messages waiting for consumers, and who waits for them. Runs on: the engine's thread.
class Queue {
 public:
  struct Paging {
    std::size_t page_entries_max;
    std::uint64_t& page_bytes;    ///< of all indexes
    std::uint64_t& memory_bytes;  ///< of all else
  };
  Queue(QueueId id, std::string virtual_host, std::string name, QueueArguments arguments,
        wire::Table table, Paging paging);

  const QueueId id;
  const std::string virtual_host;
  const std::string name;
  const QueueArguments arguments;
  const wire::Table table;
  bool is_durable = false;
  bool is_auto_delete = false;
  std::optional<ConnectionId> owner;  ///< of an exclusive queue
  /// Whether the journal knows it: a restart finds it again, with its persistent messages.
  bool is_journaled() const noexcept { return is_durable && !owner; }
  bool had_consumers = false;
  std::int64_t unused_since = 0;  ///< for x-expires

  std::vector<Consumer*> consumers;    ///< in the order of their start
  std::size_t next_consumer = 0;       ///< whose turn it is
  bool is_touched = false;             ///< is to be dispatched at the end of the command
  std::optional<std::int64_t> due_at;  ///< when something of it may be due, as the engine knows it

  QueueIndex entries;
  BodyCounts segments;                        ///< of the journal
  std::optional<DeduplicationWindow> window;  ///< of one that takes no duplicates
  /// Of a queue that holds what an x-delayed-message exchange delays, else null.
  std::unique_ptr<Delay> delay;
  std::set<std::uint64_t> loading;     ///< whose contents are being fetched for a delivery
  std::vector<EntryId> set_aside;      ///< that could not be read: out until a restart
  std::uint64_t durable_sequence = 0;  ///< of the journaled entries, those up to here are durable
  std::uint64_t last_sequence = 0;
  std::size_t unacked_count = 0;
  std::uint64_t published_total = 0;
  std::uint64_t delivered_total = 0;
  std::uint64_t acked_total = 0;

  /// "queue 'q' in vhost '/'", as RabbitMQ's texts have it.
  std::string subject() const;
};

}  // namespace pronto::broker
