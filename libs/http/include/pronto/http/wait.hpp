#pragma once

#include <string>
#include <string_view>

#include "pronto/async/deadline.hpp"
#include "pronto/async/sync.hpp"
#include "pronto/http/request.hpp"
#include "pronto/http/response.hpp"

namespace pronto::http {

namespace detail {
template <class Condition>
Task<> wait_while_not(Signal& changed, Condition& holds) {
  while (!holds()) co_await changed.wait();
}
}  // namespace detail

/// Holds a long poll until `holds()` or until `limit` has passed; asked again at each `changed`.
/// Returns: whether it holds. Errors: throws `Cancelled`. `changed` outlives the await.
template <class Condition>
Task<bool> wait_until(Signal& changed, SteadyTime::duration limit, Condition holds) {
  if (!holds()) {
    (void)co_await with_deadline(limit, detail::wait_while_not(changed, holds));
  }
  co_return holds();
}

/// A strong entity tag made from the bytes themselves, with its quotes.
std::string etag_of(std::string_view content);

/// Gives `response` its `ETag`; becomes 304 without a body when the client has seen that one.
Response conditional(const Request& request, Response response, std::string_view etag);

}  // namespace pronto::http
