#include "pronto/base/bytes.hpp"

#include <cstring>

namespace pronto {

Bytes to_bytes(std::string_view text) {
  const BytesView view = as_bytes(text);
  return {view.begin(), view.end()};
}

std::string to_string(BytesView bytes) {
  return std::string{as_text(bytes)};
}

void append(Bytes& to, BytesView what) {
  // Inserting a range costs more than a few octets do; zeros before them cost more for many.
  constexpr std::size_t few = 256;
  if (what.size() <= few) {
    const std::size_t before = to.size();
    to.resize(before + what.size());
    if (!what.empty()) std::memcpy(to.data() + before, what.data(), what.size());
    return;
  }
  to.insert(to.end(), what.begin(), what.end());
}

std::string to_hex(BytesView bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::byte byte : bytes) {
    text += digits[std::to_integer<unsigned>(byte >> 4)];
    text += digits[std::to_integer<unsigned>(byte & std::byte{15})];
  }
  return text;
}

}  // namespace pronto
