#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <deque>

#include "pronto/broker/types.hpp"

namespace pronto::server {

/// The contents that are in memory, by where their bodies lie.
///
/// Those that the journal holds may leave when there is no room, oldest first, and are read from it
/// again; those that are in memory only stay until they are released.
/// Runs on: the engine's thread.
class ContentStore {
 public:
  /// Takes: how many bytes of journaled contents to keep.
  explicit ContentStore(std::uint64_t cached_bytes_max) : cached_bytes_max_{cached_bytes_max} {}
  ContentStore(const ContentStore&) = delete;
  ContentStore& operator=(const ContentStore&) = delete;

  /// Keeps a content that is in memory only, for `holders` releases. Returns: a reference of its
  /// own kind.
  broker::BodyRef keep(broker::ContentPtr content, std::uint32_t holders);
  /// Keeps a content that the journal holds at `position`, if it is not here, until `holders`
  /// releases or until there is no room. It is the last of the present ones to leave.
  void cache(broker::BodyPosition position, broker::ContentPtr content, std::uint32_t holders = 1);
  /// Returns: the content, or null when it is not in memory.
  broker::ContentPtr find(broker::BodyPosition position) const;
  bool has(broker::BodyPosition position) const;
  void release(broker::BodyPosition position);

  /// Where nothing lies.
  static constexpr broker::BodyPosition nowhere{std::uint64_t{1} << 63U};
  static bool is_in_memory_only(broker::BodyPosition position) noexcept {
    return (static_cast<std::uint64_t>(position) & in_memory_bit) != 0;
  }

  /// Bytes that cannot leave: of contents in memory only.
  std::uint64_t kept_bytes() const noexcept { return kept_bytes_; }
  std::uint64_t cached_bytes() const noexcept { return cached_bytes_; }
  std::size_t count() const noexcept { return entries_.size(); }
  std::uint64_t evicted_total() const noexcept { return evicted_total_; }

 private:
  static constexpr std::uint64_t in_memory_bit = std::uint64_t{1} << 63U;

  struct Entry {
    broker::ContentPtr content;
    std::uint32_t holders = 0;
    std::uint64_t arrival = 0;  // of one that may leave
  };
  using Entries = boost::unordered_flat_map<std::uint64_t, Entry>;
  struct Arrival {
    std::uint64_t position = 0;
    std::uint64_t number = 0;
  };
  void erase(Entries::iterator entry);
  void evict();
  bool is_here(const Arrival& arrival) const;
  void forget_arrivals();

  const std::uint64_t cached_bytes_max_;
  Entries entries_;
  std::deque<Arrival> arrivals_;  // of those that may leave, oldest first; some have left since
  std::uint64_t last_arrival_ = 0;
  std::size_t cached_count_ = 0;
  std::uint64_t kept_bytes_ = 0;
  std::uint64_t cached_bytes_ = 0;
  std::uint64_t evicted_total_ = 0;
  std::uint64_t last_kept_ = 0;
};

/// What a content costs in memory, as the budgets count it.
std::uint64_t bytes_of(const broker::Content& content) noexcept;

}  // namespace pronto::server
