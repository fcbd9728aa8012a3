#pragma once

#include <cstdint>
#include <optional>

#include "pronto/base/bytes.hpp"
#include "pronto/journal/log.hpp"

namespace pronto::journal {

// Integers are little-endian. Everything is aligned to 8 bytes. Source: docs/formats/journal.md.
//
//   segment header               batch header                        record
//    0  "PRONTOSG"                0  u32 "PBAT"                       0  u32 payload bytes
//    8  u32 format version        4  u16 format version, u16 flags    4  u8 type, u8 flags, u16 0
//   12  u32 segment number        8  u64 epoch                        8  u32 CRC32C of the payload
//   16  u64 epoch                16  u64 batch sequence              12  u32 0
//   24  u64 ms since 1970        24  u64 first unit sequence         16  payload, zero-padded to 8
//   32  u32 CRC32C of 0..32      32  u64 durable batch sequence
//   36  zeros up to 64
//                                40  u64 bytes after the header
//                                48  u32 CRC32C of it all, this field as 0
//                                52  zeros up to 64
inline constexpr std::uint16_t format_version = 3;
inline constexpr std::uint64_t segment_bytes_max = 1024 * 1024 * 1024;
inline constexpr std::size_t segment_header_bytes = 64;
inline constexpr std::size_t batch_header_bytes = 64;
inline constexpr std::size_t record_header_bytes = 16;
inline constexpr std::uint8_t last_of_unit = 1;
inline constexpr std::uint16_t goes_on_with_unit = 1;  // a batch's flag

inline std::uint64_t padded(std::uint64_t bytes) noexcept {
  return (bytes + 7) & ~std::uint64_t{7};
}

struct SegmentHeader {
  std::uint32_t version = format_version;
  std::uint32_t number = 0;
  std::uint64_t epoch = 0;
  std::uint64_t made_at = 0;  ///< milliseconds since 1970; 0: version 1 does not say
};
Bytes encode(const SegmentHeader& header);
/// Returns: nothing when it is no segment header or is damaged. Of a newer version only that is
/// sure.
std::optional<SegmentHeader> decode_segment_header(BytesView bytes);

struct BatchHeader {
  std::uint16_t version = format_version;
  std::uint64_t epoch = 0;
  std::uint64_t sequence = 0;
  std::uint64_t first_unit = 0;
  std::uint64_t durable_upto = 0;
  std::uint64_t bytes = 0;  ///< after the header
  std::uint32_t checksum = 0;
  bool goes_on = false;  ///< its first record is of a unit that began in a batch before it
};
/// Writes header and checksum into the first bytes of `batch`, which holds the records behind them.
void seal(Bytes& batch, BatchHeader header);
/// Returns: the first multiple of 8 where a batch's magic stands; the size of `bytes` when there is
/// none.
std::size_t find_batch_start(BytesView bytes) noexcept;
/// Returns: the header as it stands there, its checksum not yet compared; nothing when it cannot be
/// one.
std::optional<BatchHeader> decode_batch_header(BytesView bytes);
/// Whether the checksum over header and records is right. Takes: a whole batch.
bool is_sound(BytesView batch);

struct RecordView {
  RecordType type{};
  bool is_last = false;
  std::size_t offset = 0;  ///< of the record header, in the batch
  BytesView payload;
};
/// Appends a record to a batch.
void append_record(Bytes& batch, const Record& record, bool is_last);
/// The record at `offset` of a sound batch; nothing at its end. Steps `offset` to the next.
std::optional<RecordView> next_record(BytesView batch, std::size_t& offset);
/// The payload of the record at `offset` of a segment.
/// Errors: `Error::damaged`, the disk's. Blocks: on the disk.
Result<Bytes> read_record(File& file, std::uint64_t offset);

}  // namespace pronto::journal
