#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "pronto/base/bytes.hpp"
#include "pronto/wire/reply_code.hpp"
#include "pronto/wire/table.hpp"
#include "pronto/wire/types.hpp"

namespace pronto::wire {

/// Reads AMQP's types from bytes that stay where they are.
///
/// Never reads past the end. The first failure sticks: what is read afterwards is zero or empty, so
/// a caller reads all fields and asks once. Copies what it hands out, except where a view is said.
/// Takes: bytes that outlive the reader. Runs on: any thread.
/// Source: AMQP 0-9-1 section 4.2.5.
class Reader {
 public:
  explicit Reader(BytesView bytes) noexcept
      : next_{bytes.data()}, end_{bytes.data() + bytes.size()} {}

  /// Big-endian integers.
  template <std::integral Number>
    requires(!std::same_as<Number, bool>)
  void read(Number& out) noexcept {
    std::make_unsigned_t<Number> raw = 0;
    if (take(sizeof raw)) {
      std::memcpy(&raw, next_ - sizeof raw, sizeof raw);
      if constexpr (sizeof raw > 1) raw = std::byteswap(raw);
    }
    out = static_cast<Number>(raw);
  }
  void read(Bit& out) noexcept;
  void read(float& out) noexcept;
  void read(double& out) noexcept;
  void read(Timestamp& out) noexcept { read(out.seconds); }
  /// Text that must be UTF-8, as RabbitMQ demands of short strings in methods.
  void read(ShortString& out);
  void read(LongString& out);
  void read(Table& out);

  /// Returns: a view of a short string of any bytes (table keys, properties).
  std::string_view read_short_view() noexcept;
  /// Returns: a view of a long string's bytes.
  BytesView read_long_view() noexcept;
  /// Walks a table without storing it, with the same checks as reading it.
  /// Returns: its bytes with the length in front, ready to be written elsewhere.
  BytesView skip_table() noexcept;

  std::size_t bytes_left() const noexcept { return static_cast<std::size_t>(end_ - next_); }
  bool failed() const noexcept { return reason_ != nullptr; }
  /// Fails when bytes are left over.
  void expect_end() noexcept {
    if (next_ != end_) fail("bytes left over");
  }
  /// Returns: what the peer is told; only after a failure.
  Fault fault() const;

  void fail(const char* reason, ReplyCode code = ReplyCode::syntax_error) noexcept;

 private:
  friend struct TableReader;

  /// Steps over `bytes`. Returns: false, and fails, when fewer are left.
  bool take(std::size_t bytes) noexcept {
    bits_left_ = 0;
    if (bytes_left() < bytes) {
      fail("fewer bytes than announced");
      return false;
    }
    next_ += bytes;
    return true;
  }

  const std::byte* next_;
  const std::byte* end_;
  const char* reason_ = nullptr;
  std::uint32_t elements_left_ = table_element_count_max;
  ReplyCode code_ = ReplyCode::syntax_error;
  std::uint8_t bits_ = 0;
  std::uint8_t bits_left_ = 0;
};

}  // namespace pronto::wire
