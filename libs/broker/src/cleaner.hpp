#pragma once

#include <cstdint>
#include <deque>
#include <unordered_map>
#include <vector>

#include "pronto/broker/types.hpp"
#include "queue_index.hpp"

namespace pronto::broker {

/// A body on its way to the journal's end, with the entries that refer to it.
struct Move {
  struct Holder {
    QueueId queue{};
    EntryId id;
  };
  BodyRef from;
  BodyRef to;
  std::vector<Holder> holders;
  JournalSequence sequence{};  ///< of the unit that has the copy
};

/// What is still needed of one segment of the journal, and is to be needed there no longer.
///
///     left --fetch--> reading --append--> appended --durable--> the entries refer to the copy
///
/// Pages that refer to the segment, or lie in it, are fetched before that, and stay until it is
/// done.
/// Until the copy is durable, entries refer to where the body was. Runs on: the engine's thread.
struct Cleaning {
  std::uint32_t segment = 0;
  bool is_gathered = false;  ///< what is left is known
  std::vector<Move> left;    ///< the last comes first
  std::unordered_map<FetchTicket, Move> reading;
  std::vector<Move> new_ones;  ///< of the unit under way
  std::deque<Move> appended;

  bool is_done() const {
    return is_gathered && left.empty() && reading.empty() && new_ones.empty() && appended.empty();
  }
};

}  // namespace pronto::broker
