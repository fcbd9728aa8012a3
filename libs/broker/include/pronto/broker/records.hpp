#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "pronto/base/bytes.hpp"
#include "pronto/base/result.hpp"
#include "pronto/broker/types.hpp"
#include "pronto/wire/table.hpp"

namespace pronto::broker {

/// The kinds of records that the broker writes to its journal. Numbers are for ever.
/// Source: docs/formats/records.md.
enum class RecordType : std::uint8_t {
  body = 1,
  enqueue = 2,
  remove = 3,
  delivery_count = 4,
  queue_declared = 5,
  queue_deleted = 6,
  queue_purged = 7,
  exchange_declared = 8,
  exchange_deleted = 9,
  bound = 10,
  unbound = 11,
  broker_state = 12,
  queue_state = 13,
  queue_page = 14,
  delayed_exchange = 15,
  deduplication = 16,
  moved = 17,
  index_page = 18,
  written_page = 19,
  remove_runs = 20,
};

/// A message, once, however many queues it reaches.
struct BodyRecord {
  ContentPtr content;
};
/// A message has entered a queue.
struct EnqueueRecord {
  QueueId queue{};
  std::uint64_t sequence = 0;  ///< the place in the queue
  std::uint32_t bodies_back =
      0;  ///< which body of this unit, counted back from the last one: 0, 1, ...
  std::uint32_t body_bytes = 0;
  std::uint8_t priority = 0;
  std::int64_t expires_at = 0;  ///< milliseconds since 1970; 0: never
};
/// Messages have left a queue for good: acked, dropped, expired, moved. A run of sequences. Read,
/// not written: `RemoveRunsRecord` takes its place.
struct RemoveRecord {
  QueueId queue{};
  std::uint64_t first = 0;
  std::uint64_t last = 0;
};
/// A message went back to its queue.
struct DeliveryCountRecord {
  QueueId queue{};
  std::uint64_t sequence = 0;
  std::uint32_t count = 0;
};
struct QueueDeclaredRecord {
  QueueId queue{};
  std::string virtual_host;
  std::string name;
  bool is_auto_delete = false;
  wire::Table arguments;
};
struct QueueDeletedRecord {
  QueueId queue{};
};
/// All messages below `sequence` that are not out with a consumer left the queue.
struct QueuePurgedRecord {
  QueueId queue{};
  std::vector<std::uint64_t> kept;  ///< those that are out with a consumer
  std::uint64_t below = 0;
};
struct ExchangeDeclaredRecord {
  std::string virtual_host;
  std::string name;
  std::string type;
  bool is_auto_delete = false;
  bool is_internal = false;
  wire::Table arguments;
};
struct ExchangeDeletedRecord {
  std::string virtual_host;
  std::string name;
};
struct BoundRecord {
  std::string virtual_host;
  std::string source;
  std::string destination;
  bool to_queue = true;
  std::string routing_key;
  wire::Table arguments;
};
struct UnboundRecord {
  BoundRecord binding;
};
/// An x-delayed-message exchange, just declared, has this queue for what it delays.
struct DelayedExchangeRecord {
  std::string virtual_host;
  std::string exchange;
  QueueId queue{};
};
/// A queue or an exchange has taken the message with this name, and takes no other of it.
struct DeduplicationRecord {
  QueueId queue{};           ///< 0: the exchange has
  std::string virtual_host;  ///< of the exchange
  std::string exchange;
  std::string id;
  std::int64_t expires_at = 0;  ///< milliseconds since 1970; 0: never
};
/// A message's body lies elsewhere from now on: a body of this unit is its copy.
struct MovedRecord {
  QueueId queue{};
  std::uint64_t sequence = 0;
  std::uint32_t bodies_back = 0;  ///< as in an enqueue record
};

// What only a checkpoint has: it states what the records before it have come to.

struct BrokerStateRecord {
  std::uint64_t last_queue_id = 0;
};
struct QueueStateRecord {
  QueueId queue{};
  std::uint64_t last_sequence = 0;
};
/// Entries of one queue and priority, by sequence.
struct QueuePageRecord {
  struct Entry {
    std::uint64_t sequence = 0;
    BodyRef body;
    std::int64_t expires_at = 0;  ///< milliseconds since 1970; 0: never
  };
  QueueId queue{};
  std::uint8_t priority = 0;
  std::vector<Entry> entries;
};

/// A page of a queue's index that was written out is found there: its entries are not stated.
struct WrittenPage {
  QueueId queue{};
  std::uint8_t priority = 0;
  std::uint64_t first_sequence = 0;
  std::uint64_t last_sequence = 0;
  std::uint32_t count = 0;          ///< of entries
  std::uint64_t body_bytes = 0;     ///< of theirs
  std::int64_t all_expired_at = 0;  ///< milliseconds since 1970; 0: not all of them expire
  PageRef image;
  std::vector<SegmentUse> segments;  ///< where its bodies lie, in their order
};

/// What a page that was written out has, in the log and not in a checkpoint: it says again what the
/// units before it have said.
struct IndexPageRecord {
  QueuePageRecord page;
};

/// What has left queues in one unit: runs, by queue and then by sequence, none next to another.
struct RemoveRunsRecord {
  std::vector<RemoveRecord> runs;
};

/// One record, as value.
using Record =
    std::variant<BodyRecord, EnqueueRecord, RemoveRecord, DeliveryCountRecord, QueueDeclaredRecord,
                 QueueDeletedRecord, QueuePurgedRecord, ExchangeDeclaredRecord,
                 ExchangeDeletedRecord, BoundRecord, UnboundRecord, BrokerStateRecord,
                 QueueStateRecord, QueuePageRecord, DelayedExchangeRecord, DeduplicationRecord,
                 MovedRecord, IndexPageRecord, WrittenPage, RemoveRunsRecord>;

RecordType type_of(const Record& record) noexcept;
/// Whether a crash may take it without harm: the message comes again, marked as such.
bool is_loose(const Record& record) noexcept;

/// Appends the payload to `out`, but not the body's bytes: they follow what was appended, and are
/// `trailing_bytes(record)`, so that a body is copied only where it is written.
void append_payload(Bytes& out, const Record& record);
BytesView trailing_bytes(const Record& record) noexcept;

/// Errors: `Error::malformed` for an unknown type or fields that do not fit. Runs on: any thread.
Result<Record> decode_record(RecordType type, BytesView payload);
/// Reads a body record back. Errors: as `decode_record`.
Result<ContentPtr> decode_body(BytesView payload);

}  // namespace pronto::broker
