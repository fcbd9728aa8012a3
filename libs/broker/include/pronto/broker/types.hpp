#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <string>

#include "pronto/base/bytes.hpp"

namespace pronto::broker {

enum class ConnectionId : std::uint64_t {};
enum class ChannelId : std::uint16_t {};
/// A queue's number: never used again, so what was written for a deleted queue cannot reach its
/// successor.
enum class QueueId : std::uint64_t {};
/// Where a body lies: the journal's segment in the upper 32 bits, the offset in it below. The
/// highest bit says that it is in memory only; the one below it is the engine's own.
enum class BodyPosition : std::uint64_t {};
/// Of a position in the journal.
constexpr std::uint32_t segment_of(BodyPosition position) noexcept {
  return static_cast<std::uint32_t>(static_cast<std::uint64_t>(position) >> 32U);
}
/// A count of units in the journal; `on_durable` tells up to where they are on stable storage.
enum class JournalSequence : std::uint64_t {};
/// A fetch under way.
enum class FetchTicket : std::uint64_t {};

/// What the engine holds of a message instead of its bytes.
struct BodyRef {
  BodyPosition position{};
  std::uint32_t bytes = 0;  ///< of the body alone
  auto operator<=>(const BodyRef&) const = default;
};

/// Where a page of a queue's index lies that was written out, and its size there.
using PageRef = BodyRef;

/// What of a segment of the journal is still needed.
struct SegmentUse {
  std::uint32_t segment = 0;
  std::uint64_t entry_count = 0;  ///< of queues, and pages of theirs; a body may be of several
  std::uint64_t body_bytes = 0;   ///< of theirs
  bool operator==(const SegmentUse&) const = default;
};

/// A message as it was published; immutable, shared by all who still need its bytes.
struct Content {
  std::string exchange;
  std::string routing_key;
  Bytes properties;  ///< encoded, as in a content header: flags and fields
  Bytes body;
};
using ContentPtr = std::shared_ptr<const Content>;

/// What a basic.publish asks for beside its exchange and routing key.
struct PublishFlags {
  bool mandatory = false;
  bool immediate = false;
};

}  // namespace pronto::broker
