#pragma once

#include <array>
#include <cstdint>

#include "pronto/base/bytes.hpp"

namespace pronto::journal {

/// Where a record lies: segment number in the upper 32 bits, offset in the segment below.
enum class Position : std::uint64_t {};
/// Counts units from 1, over all segments and restarts.
enum class Sequence : std::uint64_t {};
/// What a record is; the journal does not know. 0 and 255 are its own.
enum class RecordType : std::uint8_t {};

/// A record to append, its payload in parts that are copied once, into the batch.
struct Record {
  RecordType type{};
  std::array<BytesView, 2> parts{};
};

}  // namespace pronto::journal
