#include "pronto/base/random.hpp"

#include <sys/random.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "pronto/base/assert.hpp"
#include "pronto/base/crypto.hpp"

namespace pronto {

std::uint64_t Random::next() {
  std::uint64_t value = 0;
  fill(std::as_writable_bytes(std::span{&value, 1}));
  return value;
}

std::uint64_t Random::below(std::uint64_t bound) {
  PRONTO_ASSERT(bound > 0);
  const std::uint64_t unfair = -bound % bound;  // the draws that would favour small values
  for (;;) {
    const std::uint64_t value = next();
    if (value >= unfair) return value % bound;
  }
}

double Random::unit() {
  return static_cast<double>(next() >> 11) * 0x1.0p-53;
}

std::string Random::url_safe_id(std::size_t bytes) {
  Bytes raw(bytes);
  fill(raw);
  return to_base64url(raw);
}

void SystemRandom::fill(std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t got = getrandom(out.data(), out.size(), 0);
    if (got < 0) {
      PRONTO_ASSERT(errno == EINTR);
      continue;
    }
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

void SeededRandom::fill(std::span<std::byte> out) {
  while (!out.empty()) {
    const std::uint64_t draw = engine_();
    const std::size_t size = std::min(out.size(), sizeof draw);
    std::memcpy(out.data(), &draw, size);
    out = out.subspan(size);
  }
}

}  // namespace pronto
