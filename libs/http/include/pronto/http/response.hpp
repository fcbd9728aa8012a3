#pragma once

#include <boost/json/fwd.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

#include "pronto/base/bytes.hpp"
#include "pronto/http/event_stream.hpp"
#include "pronto/http/headers.hpp"
#include "pronto/http/problem.hpp"

namespace pronto::http {

/// What a handler answers. The server adds `Date`, `Content-Length` and what the connection needs.
/// Runs on: the loop's thread.
struct Response {
  /// A view must stay alive for ever: bytes that are linked into the program.
  using Body = std::variant<std::string, SharedBytes, BytesView>;

  int status = 200;
  Headers headers;
  Body body;
  EventSource events;  ///< when set, the answer is what this sends, and `body` is not used
  /// What the answer tells, if it is a problem: for who renders it otherwise, as a page.
  std::shared_ptr<const Problem> problem;

  Response() = default;
  /// `application/problem+json`, `Cache-Control: no-store`, and `Retry-After` when there is one.
  Response(const Problem& problem);  // NOLINT: implicit

  static Response empty(int status = 204);
  static Response text(int status, std::string body);
  static Response html(int status, std::string body);
  static Response json(int status, const boost::json::value& body);
  /// `body` is JSON text already.
  static Response json_text(int status, std::string body);
  /// 303: see `location` with GET.
  static Response see_other(std::string_view location);
  static Response not_modified(std::string_view etag);
  /// `text/event-stream`, not to be stored.
  static Response stream(EventSource events);

  /// `return Response::text(200, "x").with("ETag", tag);`
  Response& with(std::string_view name, std::string_view value) &;
  Response&& with(std::string_view name, std::string_view value) &&;

  BytesView body_bytes() const;
};

}  // namespace pronto::http
