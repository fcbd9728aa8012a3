#pragma once

#include <cstdint>
#include <deque>
#include <set>

#include "pronto/base/bytes.hpp"
#include "pronto/journal/record.hpp"

namespace pronto::journal {

/// A place in the log between two units: a replay can begin there.
struct Mark {
  Position position{};           ///< the next batch begins here, or at the next segment's start
  std::uint64_t last_batch = 0;  ///< before it
  Sequence last_unit{};          ///< before it
};

/// What all units up to a mark have come to, as records of the owner's: with one a replay begins at
/// its mark. Filled by the owner, then given to `Log::write_checkpoint`.
///
/// Runs on: one thread. Source: docs/formats/journal.md, "Checkpoint"; BROKER.md 7.
class Checkpoint {
 public:
  explicit Checkpoint(const Mark& mark) : mark_{mark} {}

  void add(const Record& record);
  /// A segment holds records that are still read, by their positions. The others may go once they
  /// lie before the checkpoint that precedes this one.
  void need(std::uint32_t segment) { needed_.insert(segment); }

  const Mark& mark() const noexcept { return mark_; }
  const std::set<std::uint32_t>& needed() const noexcept { return needed_; }
  /// The records, in batches that are not sealed.
  std::deque<Bytes>& batches() noexcept { return batches_; }

 private:
  Mark mark_;
  std::set<std::uint32_t> needed_;
  std::deque<Bytes> batches_;
};

}  // namespace pronto::journal
