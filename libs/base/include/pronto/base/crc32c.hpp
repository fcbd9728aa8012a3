#pragma once

#include <cstdint>

#include "pronto/base/bytes.hpp"

namespace pronto {

/// CRC32C (Castagnoli) of `bytes`, going on from `seed` (the checksum of what came before, 0 at
/// first).
///
/// Uses SSE 4.2 where the processor has it. Runs on: any thread.
/// Source: RFC 3720 appendix B.4 (polynomial and test vectors).
std::uint32_t crc32c(BytesView bytes, std::uint32_t seed = 0) noexcept;

namespace detail {
/// The table-driven way, for processors without the instruction and for the tests.
std::uint32_t crc32c_portable(BytesView bytes, std::uint32_t seed) noexcept;
}  // namespace detail

}  // namespace pronto
