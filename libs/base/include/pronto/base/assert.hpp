#pragma once

namespace pronto::detail {
/// Writes what was broken and where to standard error, then aborts. Runs on: any thread.
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line) noexcept;
}  // namespace pronto::detail

/// Ends the process when an invariant of ours is broken; on in release builds too.
#define PRONTO_ASSERT(condition) \
  ((condition) ? void() : ::pronto::detail::assertion_failed(#condition, __FILE__, __LINE__))

/// As PRONTO_ASSERT, for checks too slow for production: on in debug and sanitizer builds.
#if !defined(NDEBUG) || defined(PRONTO_SLOW_CHECKS)
#define PRONTO_ASSERT_SLOW(condition) PRONTO_ASSERT(condition)
#else
#define PRONTO_ASSERT_SLOW(condition) void(0)
#endif
