#include "trace.hpp"

#include <algorithm>
#include <array>

#include "pronto/base/bytes.hpp"

namespace pronto::detail {
namespace {

//   00 - 32 hex digits: trace - 16 hex digits: span - 2 hex digits: flags
constexpr std::size_t traceparent_bytes = 55;
constexpr std::size_t span_begin = 36;

bool is_traceparent(const std::string& text) {
  return text.size() == traceparent_bytes && text.starts_with("00-") && text[35] == '-' &&
         text[52] == '-' && std::ranges::all_of(text, [](char c) {
           return c == '-' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

}  // namespace

std::string next_traceparent(const std::string& parent, Random& random) {
  std::array<std::byte, 24> bytes;
  random.fill(bytes);
  const std::string hex = to_hex(bytes);
  if (!is_traceparent(parent)) return "00-" + hex.substr(0, 32) + "-" + hex.substr(32) + "-01";
  std::string next = parent;
  next.replace(span_begin, 16, hex, 32, 16);
  return next;
}

}  // namespace pronto::detail
