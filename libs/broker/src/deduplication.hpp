#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "pronto/base/result.hpp"
#include "pronto/wire/reply_code.hpp"
#include "pronto/wire/table.hpp"

namespace pronto::broker {

inline constexpr std::string_view deduplicating_type_name = "x-message-deduplication";

/// How a queue or an exchange tells that a message was there before.
struct DeduplicationArguments {
  std::string header = "x-deduplication-header";  ///< whose value names the message
  std::size_t count_max = 10'000;                 ///< how many names are known, the newest
  std::optional<std::int64_t> ttl_ms;             ///< how long; nothing: until there is no room
};

/// Reads `x-message-deduplication` (true), `x-cache-size`, `x-cache-ttl` (milliseconds),
/// `x-deduplication-header`. Returns: nothing unless deduplication is on, which it is without being
/// asked for when `is_on`. Errors: `precondition_failed`.
/// Source: LavinMQ, message deduplication; the plugin rabbitmq-message-deduplication, README.
Result<std::optional<DeduplicationArguments>, wire::Fault> parse_deduplication(
    const wire::Table& table, const std::string& subject, bool is_on = false);

/// What the headers of one message call it: looked up, and a long name hashed, once for all who
/// ask.
class MessageNames {
 public:
  /// Takes: the message's headers, which outlive it; null: none.
  explicit MessageNames(const wire::Table* headers) : headers_{headers} {}

  /// Returns: nothing for one that has no name, of the types text, octets and integer; then it is
  /// never a duplicate. Good until the next call.
  const std::optional<std::string>& by(const std::string& header);

 private:
  const wire::Table* headers_;
  std::vector<std::pair<std::string, std::optional<std::string>>> known_;  // few
};

/// The names of the messages that have come of late. A bounded number of them: the oldest go first.
/// Runs on: the engine's thread.
class DeduplicationWindow {
 public:
  /// Takes: where to count the memory that it takes, which outlives it.
  DeduplicationWindow(DeduplicationArguments arguments, std::uint64_t& memory_bytes);
  ~DeduplicationWindow();
  DeduplicationWindow(const DeduplicationWindow&) = delete;
  DeduplicationWindow& operator=(const DeduplicationWindow&) = delete;

  /// The header that has a message's name.
  const std::string& header() const noexcept { return arguments_.header; }
  /// When it may be forgotten; 0: when there is no room. A message's own `x-cache-ttl` counts.
  std::int64_t expires_at(const wire::Table& headers, std::int64_t now) const;

  /// Takes: whether the message that asks is persistent: one that came transient, and goes with the
  /// process, does not stand for it.
  bool has(const std::string& id, std::int64_t now, bool is_persistent) const;
  /// Takes: whether the message is persistent, and whether the journal knows its name.
  void add(std::string id, std::int64_t expires_at, bool is_persistent, bool is_journaled);
  std::size_t count() const noexcept { return known_.size(); }

  /// Shows what the journal knows, the oldest first, as (id, expires_at).
  template <class See>
  void for_each_journaled(See see) const {
    for (const Arrival& arrival : arrivals_) {
      const Known& known = arrival.known->second;
      if (known.number == arrival.number && known.is_journaled) {
        see(arrival.known->first, known.expires_at);
      }
    }
  }

 private:
  struct Known {
    std::uint64_t number = 0;
    std::int64_t expires_at = 0;
    bool is_persistent = false;
    bool is_journaled = false;
  };
  using KnownById = std::unordered_map<std::string, Known>;
  struct Arrival {
    std::uint64_t number = 0;
    KnownById::const_pointer known = nullptr;
  };
  void forget_oldest();
  void count_memory();

  const DeduplicationArguments arguments_;
  std::uint64_t& memory_bytes_;
  std::uint64_t counted_bytes_ = 0;
  std::uint64_t id_bytes_ = 0;
  std::uint64_t last_number_ = 0;
  KnownById known_;
  std::deque<Arrival> arrivals_;  // in their order; of an id that came again, the last is valid
};

}  // namespace pronto::broker
