#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "pronto/base/assert.hpp"

namespace pronto::wire {

/// Text of at most 255 bytes, as names and keys are on the wire.
///
/// Converts from text that is known to fit; what a user or peer gave goes through `make` first.
class ShortString {
 public:
  static constexpr std::size_t bytes_max = 255;

  ShortString() = default;
  /// Takes: at most 255 bytes. Errors: a longer text is a bug of the caller and ends the process.
  ShortString(std::string text) : text_{std::move(text)} {  // NOLINT: implicit
    PRONTO_ASSERT(text_.size() <= bytes_max);
  }
  ShortString(std::string_view text) : text_{text} {  // NOLINT: implicit
    PRONTO_ASSERT(text_.size() <= bytes_max);
  }
  ShortString(const char* text) : ShortString{std::string{text}} {}  // NOLINT: implicit

  /// Returns: nothing when `text` is longer than 255 bytes.
  static std::optional<ShortString> make(std::string_view text) {
    if (text.size() > bytes_max) return std::nullopt;
    return ShortString{text};
  }

  const std::string& text() const& noexcept { return text_; }
  std::string text() && noexcept { return std::move(text_); }
  operator std::string_view() const noexcept { return text_; }  // NOLINT: implicit
  std::string_view view() const noexcept { return text_; }
  std::size_t size() const noexcept { return text_.size(); }
  bool empty() const noexcept { return text_.empty(); }

  friend bool operator==(const ShortString&, const ShortString&) = default;
  friend auto operator<=>(const ShortString&, const ShortString&) = default;
  friend bool operator==(const ShortString& left, std::string_view right) noexcept {
    return left.text_ == right;
  }
  friend bool operator==(const ShortString& left, const char* right) noexcept {
    return left.text_ == right;
  }

 private:
  std::string text_;
};

/// Bytes with a 32-bit length: text mostly, but SASL responses hold zeros.
using LongString = std::string;

/// One flag. Neighbouring flags share an octet on the wire, the first in its lowest bit.
struct Bit {
  bool value = false;

  Bit() = default;
  Bit(bool on) : value{on} {}                       // NOLINT: implicit
  operator bool() const noexcept { return value; }  // NOLINT: implicit

  friend bool operator==(Bit, Bit) = default;
  friend bool operator==(Bit left, bool right) noexcept { return left.value == right; }
};

/// Seconds since 1970, UTC, as the protocol has it.
struct Timestamp {
  std::uint64_t seconds = 0;
  auto operator<=>(const Timestamp&) const = default;
};

}  // namespace pronto::wire

template <>
struct std::hash<pronto::wire::ShortString> {
  std::size_t operator()(const pronto::wire::ShortString& text) const noexcept {
    return std::hash<std::string_view>{}(text.view());
  }
};
