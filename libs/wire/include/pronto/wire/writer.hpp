#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "pronto/base/bytes.hpp"
#include "pronto/wire/table.hpp"
#include "pronto/wire/types.hpp"

namespace pronto::wire {

/// Appends AMQP's types to bytes that somebody else owns. The mirror of `Reader`.
///
/// Takes: bytes that outlive the writer. Runs on: any thread.
/// Source: AMQP 0-9-1 section 4.2.5.
class Writer {
 public:
  explicit Writer(Bytes& out) noexcept : out_{out} {}

  template <std::integral Number>
    requires(!std::same_as<Number, bool>)
  void write(Number number) {
    auto raw = static_cast<std::make_unsigned_t<Number>>(number);
    if constexpr (sizeof raw <= 2) {
      // Most fields of a method are as small as this, and inserting a range costs ten times more.
      bits_used_ = 0;
      if constexpr (sizeof raw == 2) out_.push_back(static_cast<std::byte>(raw >> 8U));
      out_.push_back(static_cast<std::byte>(raw & 0xFFU));
    } else {
      raw = std::byteswap(raw);
      append_raw(&raw, sizeof raw);
    }
  }
  /// Neighbouring flags go into one octet.
  void write(Bit bit);
  void write(float number) { write(std::bit_cast<std::uint32_t>(number)); }
  void write(double number) { write(std::bit_cast<std::uint64_t>(number)); }
  void write(Timestamp time) { write(time.seconds); }
  void write(const ShortString& text) { write_short(text.view()); }
  void write(const LongString& text) { write_long(as_bytes(text)); }
  /// Takes: a table nested at most `table_depth_max` deep with at most `table_element_count_max`
  /// values. Errors: more is a bug of the caller and ends the process; see `fits_the_wire`.
  void write(const Table& table);

  void write_short(std::string_view text);
  void write_long(BytesView bytes);

 private:
  void append_raw(const void* bytes, std::size_t size) {
    bits_used_ = 0;
    const auto* from = static_cast<const std::byte*>(bytes);
    out_.insert(out_.end(), from, from + size);
  }

  Bytes& out_;
  std::uint8_t bits_used_ = 0;
};

/// Writes as `Writer` does, into room that is large enough, and knows no tables.
class RoomWriter {
 public:
  explicit RoomWriter(std::byte* at) noexcept : at_{at} {}

  template <std::integral Number>
    requires(!std::same_as<Number, bool>)
  void write(Number number) noexcept {
    auto raw = static_cast<std::make_unsigned_t<Number>>(number);
    if constexpr (sizeof raw > 1) raw = std::byteswap(raw);
    write_raw(&raw, sizeof raw);
  }
  void write(Bit bit) noexcept {
    if (bits_used_ == 0 || bits_used_ == 8) {
      write(std::uint8_t{0});
    }
    if (bit) at_[-1] |= std::byte{1} << bits_used_;
    ++bits_used_;
  }
  void write(Timestamp time) noexcept { write(time.seconds); }
  void write(std::string_view text) noexcept {
    PRONTO_ASSERT(text.size() <= ShortString::bytes_max);
    write(static_cast<std::uint8_t>(text.size()));
    write_raw(text.data(), text.size());
  }
  void write(const ShortString& text) noexcept { write(text.view()); }
  void write(BytesView bytes) noexcept { write_raw(bytes.data(), bytes.size()); }

  std::byte* at() const noexcept { return at_; }

 private:
  void write_raw(const void* bytes, std::size_t size) noexcept {
    bits_used_ = 0;
    if (size != 0) std::memcpy(at_, bytes, size);
    at_ += size;
  }

  std::byte* at_;
  std::uint8_t bits_used_ = 0;
};

/// The most that a field takes which a `RoomWriter` writes.
template <class Field>
std::size_t room_of(const Field& field) noexcept {
  if constexpr (std::same_as<Field, ShortString> || std::same_as<Field, std::string_view>) {
    return 1 + field.size();
  } else {
    return sizeof(field);
  }
}
template <class Field>
concept has_room =
    std::integral<Field> || std::same_as<Field, Bit> || std::same_as<Field, Timestamp> ||
    std::same_as<Field, ShortString> || std::same_as<Field, std::string_view>;

/// Whether `table` may be written: depth and number of values are within the limits that every
/// reader of ours applies. To be asked of tables that users made. Runs on: any thread.
bool fits_the_wire(const Table& table) noexcept;

}  // namespace pronto::wire
