#pragma once

#include <boost/json/fwd.hpp>
#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pronto/async/address.hpp"
#include "pronto/base/result.hpp"
#include "pronto/base/time.hpp"
#include "pronto/http/headers.hpp"
#include "pronto/http/problem.hpp"

namespace pronto::http {

/// Names and decoded values of a query or a form, in their order.
class Fields {
 public:
  /// Reads "a=1&b=two+words". Returns: nothing when an escape is broken.
  static std::optional<Fields> parse(std::string_view text);

  /// Returns: the first value of `name`.
  std::optional<std::string> find(std::string_view name) const;
  auto begin() const noexcept { return fields_.begin(); }
  auto end() const noexcept { return fields_.end(); }
  std::size_t size() const noexcept { return fields_.size(); }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

/// A request that has arrived as a whole. Runs on: the loop's thread.
struct Request {
  std::string method;  ///< "GET", in the case it came in
  std::string target;  ///< as it came: "/orders/7?cursor=x"
  std::string path;    ///< of the target, still escaped: "/orders/7"
  Fields query;
  Headers headers;
  std::string body;
  std::optional<Endpoint> peer;  ///< nothing when the client is in this process
  WallTime received_at{};
  /// What stood in the place of `{name}` in the route's template, decoded.
  std::map<std::string, std::string, std::less<>> parameters;

  /// Returns: the value of the route's `{name}`. Not to be asked for a name that the route has not.
  const std::string& parameter(std::string_view name) const;

  /// Returns: a cookie's value. Source: RFC 6265 section 4.2.
  std::optional<std::string> cookie(std::string_view name) const;
  /// Returns: the token of `Authorization: Bearer`. Source: RFC 6750 section 2.1.
  std::optional<std::string> bearer_token() const;

  /// Reads the body as JSON (`application/json` or `+json`; without a type it is taken for JSON).
  /// Whoever calls it includes <boost/json/value.hpp>.
  /// Errors: 415 for another type, 400 with the place where it does not parse; nesting beyond 32.
  Result<boost::json::value, Problem> json() const;
  /// Reads the body as a form. Errors: 415 for another type, 400 for a broken escape.
  Result<Fields, Problem> form() const;
  bool has_form() const;

  /// Returns: the one of `offers` that `Accept` likes best, the earlier one when it likes several
  /// the same; empty when it accepts none. Without `Accept`: the first.
  /// Source: RFC 9110 section 12.5.1.
  std::string_view preferred_type(std::initializer_list<std::string_view> offers) const;
  /// Whether a browser asks for a page: `Accept` names `text/html` itself.
  bool wants_html() const;
  bool accepts_gzip() const;

  /// Returns: N of `Prefer: wait=N`, at most `wait_max`. Source: RFC 7240 section 4.3.
  std::optional<seconds> prefer_wait(seconds wait_max) const;
  /// Whether `If-None-Match` names `etag` (or `*`), by weak comparison.
  bool has_seen(std::string_view etag) const;
  /// Returns: `Last-Event-ID`, as a header or as the query's `last_event_id`, when it is a number.
  std::optional<std::uint64_t> last_event_id() const;
};

}  // namespace pronto::http
