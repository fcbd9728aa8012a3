#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "pronto/base/result.hpp"

namespace pronto::http {

/// Reads a body in chunks: bytes in, bytes of the body out. Strict: what is not exactly
///
/// ```
/// SIZE-IN-HEX [;extension] CR LF  bytes CR LF  ...  0 CR LF  [trailer CR LF]...  CR LF
/// ```
/// is malformed. Extensions and trailers are passed over.
/// Runs on: any thread, one at a time. Source: RFC 9112 section 7.1.
class ChunkDecoder {
 public:
  /// Beyond `body_bytes_max`, or eight times that much on the wire, the body is too large.
  explicit ChunkDecoder(std::optional<std::size_t> body_bytes_max)
      : body_bytes_max_{body_bytes_max} {}

  /// Appends to `body` what the front of `inbox` holds of it. Returns: how many bytes were used;
  /// the rest is an unfinished line, or comes after the body. Errors: `Error::malformed`,
  /// `Error::too_large`.
  Result<std::size_t> put(std::string_view inbox, std::string& body);
  bool is_done() const noexcept { return state_ == State::done; }

 private:
  enum class State { size, data, data_end, trailer, done };
  Result<void> on_size(std::string_view line);

  State state_ = State::size;
  std::optional<std::size_t> body_bytes_max_;
  std::size_t body_bytes_ = 0;
  std::size_t wire_bytes_ = 0;
  std::uint64_t chunk_bytes_left_ = 0;
  std::size_t trailer_bytes_ = 0;
};

}  // namespace pronto::http
