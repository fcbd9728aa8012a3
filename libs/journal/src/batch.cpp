#include "batch.hpp"

#include <cstring>

#include "fields.hpp"
#include "pronto/base/crc32c.hpp"

namespace pronto::journal {
namespace {

constexpr std::string_view segment_magic = "PRONTOSG";
constexpr std::uint32_t batch_magic = 0x54414250;  // "PBAT"
constexpr std::size_t checksum_offset = 48;

std::uint32_t checksum_of(BytesView batch) {
  constexpr std::array<std::byte, 4> zero{};
  std::uint32_t sum = crc32c(batch.first(checksum_offset));
  sum = crc32c(zero, sum);
  return crc32c(batch.subspan(checksum_offset + 4), sum);
}

}  // namespace

Bytes encode(const SegmentHeader& header) {
  Bytes bytes(segment_header_bytes);
  std::memcpy(bytes.data(), segment_magic.data(), segment_magic.size());
  store(bytes, 8, header.version);
  store(bytes, 12, header.number);
  store(bytes, 16, header.epoch);
  if (header.version == 1) {
    store(bytes, 24, crc32c(BytesView{bytes}.first(24)));
    return bytes;
  }
  store(bytes, 24, header.made_at);
  store(bytes, 32, crc32c(BytesView{bytes}.first(32)));
  return bytes;
}

std::optional<SegmentHeader> decode_segment_header(BytesView bytes) {
  if (bytes.size() < segment_header_bytes ||
      as_text(bytes.first(segment_magic.size())) != segment_magic) {
    return std::nullopt;
  }
  SegmentHeader header{load<std::uint32_t>(bytes, 8), load<std::uint32_t>(bytes, 12),
                       load<std::uint64_t>(bytes, 16)};
  const std::size_t checked = header.version == 1 ? 24 : 32;
  if (load<std::uint32_t>(bytes, checked) != crc32c(bytes.first(checked))) return std::nullopt;
  if (header.version != 1) header.made_at = load<std::uint64_t>(bytes, 24);
  return header;
}

void seal(Bytes& batch, BatchHeader header) {
  std::memset(batch.data(), 0, batch_header_bytes);
  store(batch, 0, batch_magic);
  store(batch, 4, header.version);
  store(batch, 6, header.goes_on ? goes_on_with_unit : std::uint16_t{0});
  store(batch, 8, header.epoch);
  store(batch, 16, header.sequence);
  store(batch, 24, header.first_unit);
  store(batch, 32, header.durable_upto);
  store(batch, 40, static_cast<std::uint64_t>(batch.size() - batch_header_bytes));
  store(batch, checksum_offset, checksum_of(batch));
}

std::size_t find_batch_start(BytesView bytes) noexcept {
  constexpr int first_octet = batch_magic & 0xFF;
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    // Passes over the zeros of an unused rest at the speed of memory.
    const void* hit = std::memchr(bytes.data() + at, first_octet, bytes.size() - at);
    if (hit == nullptr) break;
    at = static_cast<std::size_t>(static_cast<const std::byte*>(hit) - bytes.data());
    if (at % 8 == 0 && bytes.size() - at >= sizeof batch_magic &&
        load<std::uint32_t>(bytes, at) == batch_magic) {
      return at;
    }
  }
  return bytes.size();
}

std::optional<BatchHeader> decode_batch_header(BytesView bytes) {
  if (bytes.size() < batch_header_bytes || load<std::uint32_t>(bytes, 0) != batch_magic) {
    return std::nullopt;
  }
  return BatchHeader{load<std::uint16_t>(bytes, 4),
                     load<std::uint64_t>(bytes, 8),
                     load<std::uint64_t>(bytes, 16),
                     load<std::uint64_t>(bytes, 24),
                     load<std::uint64_t>(bytes, 32),
                     load<std::uint64_t>(bytes, 40),
                     load<std::uint32_t>(bytes, checksum_offset),
                     (load<std::uint16_t>(bytes, 6) & goes_on_with_unit) != 0};
}

bool is_sound(BytesView batch) {
  return load<std::uint32_t>(batch, checksum_offset) == checksum_of(batch);
}

void append_record(Bytes& batch, const Record& record, bool is_last) {
  std::size_t size = 0;
  std::uint32_t sum = 0;
  for (const BytesView part : record.parts) {
    size += part.size();
    sum = crc32c(part, sum);
  }
  const std::size_t at = batch.size();
  batch.resize(at + record_header_bytes);
  store(batch, at, static_cast<std::uint32_t>(size));
  store(batch, at + 4, static_cast<std::uint8_t>(record.type));
  store(batch, at + 5, static_cast<std::uint8_t>(is_last ? last_of_unit : 0));
  store(batch, at + 8, sum);
  for (const BytesView part : record.parts) append(batch, part);
  batch.resize(padded(batch.size()));
}

std::optional<RecordView> next_record(BytesView batch, std::size_t& offset) {
  if (batch.size() < offset + record_header_bytes) return std::nullopt;
  const auto size = load<std::uint32_t>(batch, offset);
  if (batch.size() - offset - record_header_bytes < size) return std::nullopt;
  RecordView record{static_cast<RecordType>(load<std::uint8_t>(batch, offset + 4)),
                    (load<std::uint8_t>(batch, offset + 5) & last_of_unit) != 0, offset,
                    batch.subspan(offset + record_header_bytes, size)};
  offset += record_header_bytes + padded(size);
  return record;
}

}  // namespace pronto::journal
