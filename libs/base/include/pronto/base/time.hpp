#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace pronto {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// Time of day, UTC, in milliseconds since 1970: what is stored and shown.
using WallTime = std::chrono::sys_time<std::chrono::milliseconds>;

/// Milliseconds since 1970, as records, rows and JSON have it.
constexpr std::int64_t millis_of(WallTime time) noexcept {
  return time.time_since_epoch().count();
}
/// Time that never jumps: what timeouts are measured with.
using SteadyTime = std::chrono::time_point<std::chrono::steady_clock, std::chrono::nanoseconds>;

/// "2026-11-24T15:04:05.678Z". Source: RFC 3339.
std::string to_rfc3339(WallTime time);
/// Reads what `to_rfc3339` writes, and any other RFC 3339 time with an offset.
/// Returns: nothing when `text` is not one.
std::optional<WallTime> from_rfc3339(std::string_view text);
/// "Tue, 24 Nov 2026 15:04:05 GMT". Source: RFC 9110 section 5.6.7.
std::string to_http_date(WallTime time);

}  // namespace pronto
