#pragma once

#include <cstdint>
#include <optional>

#include "pronto/base/bytes.hpp"
#include "pronto/journal/checkpoint.hpp"

namespace pronto::journal {

// Integers are little-endian. Source: docs/formats/journal.md, "Checkpoint".
//
//    0  "PRONTOCP"                24  u64 position of the mark       48  u64 bytes after the header
//    8  u32 format version        32  u64 last batch before it       56  u32 CRC32C of 0..56
//   12  u32 number                40  u64 last unit before it        60  zeros up to 64
//   16  u64 epoch                                                    64  batches, as in a segment
inline constexpr std::uint32_t checkpoint_version = 3;
inline constexpr std::size_t checkpoint_header_bytes = 64;

struct CheckpointHeader {
  std::uint32_t version = checkpoint_version;
  std::uint32_t number = 0;
  std::uint64_t epoch = 0;
  Mark mark;
  std::uint64_t bytes = 0;  ///< after the header
};
Bytes encode(const CheckpointHeader& header);
/// Returns: nothing when it is none or is damaged.
std::optional<CheckpointHeader> decode_checkpoint_header(BytesView bytes);

}  // namespace pronto::journal
