#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "pronto/http/client.hpp"
#include "pronto/http/request.hpp"
#include "pronto/http/server.hpp"

namespace pronto::http {

/// Reads one request: bytes in, a request or a problem out.
///
/// The head is checked byte by byte before Beast reads it: what another parser might read in
/// another way is refused, not repaired. Runs on: any thread, one at a time.
/// Source: RFC 9112 sections 2 to 7, 11.2.
class RequestParser {
 public:
  explicit RequestParser(const ServerLimits& limits);
  RequestParser(RequestParser&&) noexcept;
  RequestParser& operator=(RequestParser&&) noexcept;
  ~RequestParser();

  /// Takes bytes from the front of `inbox`, which begins where the last call left off.
  /// Returns: how many were used. Errors: what to answer before closing.
  Result<std::size_t, Problem> put(std::string_view inbox);

  bool has_head() const noexcept;
  bool is_done() const noexcept;
  bool expects_continue() const noexcept;
  /// Whether the connection may serve another request after this one.
  bool is_keep_alive() const noexcept;
  bool is_http_1_0() const noexcept;
  /// Returns: the request. To be called once, when it is done.
  Request take();

 private:
  struct Inside;
  std::unique_ptr<Inside> inside_;
};

/// Reads one answer: bytes in, head and body out.
class ResponseParser {
 public:
  /// `is_answer_to_head`: there is no body, whatever the fields say.
  /// Without `body_bytes_max` the body has no limit: take it piece by piece.
  ResponseParser(std::size_t head_bytes_max, std::optional<std::size_t> body_bytes_max,
                 bool is_answer_to_head);
  ResponseParser(ResponseParser&&) noexcept;
  ResponseParser& operator=(ResponseParser&&) noexcept;
  ~ResponseParser();

  /// Returns: how many bytes were used. Errors: `Error::malformed`, `Error::too_large`.
  Result<std::size_t> put(std::string_view inbox);
  /// The peer has closed. Errors: `Error::end_of_stream` when the answer is not whole.
  Result<void> put_end();
  bool has_head() const noexcept;
  bool is_done() const noexcept;
  int status() const;
  Headers headers() const;
  /// Returns: what of the body has come since the last call.
  std::string take_body();

 private:
  struct Inside;
  std::unique_ptr<Inside> inside_;
};

}  // namespace pronto::http
