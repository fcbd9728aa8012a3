#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pronto {

/// Bytes that somebody else owns.
using BytesView = std::span<const std::byte>;
/// Bytes that are owned and may grow.
using Bytes = std::vector<std::byte>;
/// Immutable bytes with several owners: a message body on its way to many consumers.
using SharedBytes = std::shared_ptr<const Bytes>;

/// Runs on: any thread, as everything in this header.
inline BytesView as_bytes(std::string_view text) noexcept {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
inline std::string_view as_text(BytesView bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
Bytes to_bytes(std::string_view text);
std::string to_string(BytesView bytes);
void append(Bytes& to, BytesView what);

/// Lower-case hexadecimal, two digits a byte.
std::string to_hex(BytesView bytes);

}  // namespace pronto
