#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pronto/base/time.hpp"

namespace pronto::http {

/// One field of a request that is not as it must be.
struct FieldError {
  std::string field;   ///< "items[0].size", or a header's name
  std::string reason;  ///< for people: "not one of small, medium, large"
};

/// An error as clients read it: what happened, why, and what to do.
///
/// A handler returns one in the place of a `Response`: `co_return not_found("...");`.
/// Runs on: any thread. Source: RFC 9457.
struct Problem {
  int status = 500;
  std::string title;   ///< the same for all of a kind; the status's phrase when empty
  std::string detail;  ///< about this very case
  std::string type = "about:blank";
  std::vector<FieldError> errors;      ///< in the document: `errors: [{field, reason}]`
  std::optional<seconds> retry_after;  ///< in the document, and as `Retry-After`

  /// `{"type", "title", "status", "detail", "errors"?, "retry_after"?}`
  std::string to_json() const;
};

Problem bad_request(std::string detail, std::vector<FieldError> errors = {});
Problem unauthorized(std::string detail);
Problem forbidden(std::string detail);
Problem not_found(std::string detail);
Problem conflict(std::string detail, std::optional<seconds> retry_after = {});
Problem gone(std::string detail);
Problem unprocessable(std::string detail, std::vector<FieldError> errors = {});
Problem too_many_requests(std::string detail, seconds retry_after);
Problem internal_error();
Problem unavailable(std::string detail, seconds retry_after);

/// "Not Found" for 404; empty for a status that has none. Source: RFC 9110 section 15.
std::string_view reason_phrase(int status) noexcept;

}  // namespace pronto::http
