#pragma once

#include <system_error>

namespace pronto {

/// What can go wrong beside the system's own errors (which travel as std::errc or system codes).
enum class Error {
  end_of_stream = 1,  ///< the peer closed in good order
  timed_out,          ///< a deadline passed
  closed,             ///< the object was closed by us
  too_large,          ///< a limit of ours was exceeded
  malformed,          ///< bytes that do not parse
  damaged,            ///< stored bytes that fail their checksum or contradict each other
  not_found,
  exists,
  locked,     ///< another process holds it
  too_new,    ///< written by a newer version of Pronto
  refused,    ///< a peer said no
  unroutable  ///< a mandatory message reached no queue
};

/// Runs on: any thread.
const std::error_category& error_category() noexcept;
std::error_code make_error_code(Error error) noexcept;

/// The calling thread's `errno` as an error code.
std::error_code last_system_error() noexcept;

}  // namespace pronto

template <>
struct std::is_error_code_enum<pronto::Error> : std::true_type {};
