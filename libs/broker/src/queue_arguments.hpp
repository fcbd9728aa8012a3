#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "deduplication.hpp"
#include "pronto/base/result.hpp"
#include "pronto/wire/reply_code.hpp"
#include "pronto/wire/table.hpp"

namespace pronto::broker {

inline constexpr std::int64_t milliseconds_max = 315'360'000'000;  // ten years, as RabbitMQ has it

// What is read out of the arguments of a declaration. Errors: `precondition_failed`, RabbitMQ's
// texts; `subject` is "queue 'q' in vhost '/'".

wire::Fault invalid_argument(std::string_view argument, const std::string& subject,
                             const std::string& reason);
struct NumberRule {
  std::int64_t min = 0;
  std::int64_t max = std::numeric_limits<std::int64_t>::max();
};
Result<std::optional<std::int64_t>, wire::Fault> read_number(const wire::Table& table,
                                                             std::string_view name, NumberRule rule,
                                                             const std::string& subject);
Result<std::optional<std::string>, wire::Fault> read_text(const wire::Table& table,
                                                          std::string_view name,
                                                          const std::string& subject);

/// `x-sync-mode`: when a persistent message counts as stored. Of several queues that a message goes
/// to, the strictest decides.
enum class QueueSyncMode {
  sync,    ///< once it is on stable storage
  written  ///< once the system has it; on stable storage soon after
};

enum class Overflow { drop_head, reject_publish, reject_publish_dlx };

/// What a queue's x-arguments say.
struct QueueArguments {
  std::optional<std::int64_t> message_ttl_ms;
  std::optional<std::int64_t> expires_ms;
  std::optional<std::uint64_t> length_max;
  std::optional<std::uint64_t> bytes_max;
  std::optional<std::int64_t> delivery_limit;
  std::optional<std::string> dead_letter_exchange;
  std::optional<std::string> dead_letter_routing_key;
  std::optional<DeduplicationArguments> deduplication;
  Overflow overflow = Overflow::drop_head;
  std::uint8_t priority_max = 0;
  bool is_quorum = false;
  bool is_single_active = false;
  QueueSyncMode sync_mode = QueueSyncMode::sync;
  bool is_early = false;  ///< messages are delivered before they are durable, as RabbitMQ does
};

/// Checks and reads the arguments of queue.declare.
/// Errors: `precondition_failed` with RabbitMQ's text; `subject` is "queue 'q' in vhost '/'".
Result<QueueArguments, wire::Fault> parse_queue_arguments(const wire::Table& table,
                                                          const std::string& subject);

/// Whether a declare with `received` means the queue that was made with `current`.
/// Errors: `precondition_failed`, RabbitMQ's text for the first difference, then all others.
Result<void, wire::Fault> check_equivalent(const wire::Table& received, const wire::Table& current,
                                           const std::string& subject);

}  // namespace pronto::broker
