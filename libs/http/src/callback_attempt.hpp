#pragma once

#include <optional>
#include <string>
#include <vector>

#include "pronto/async/stream.hpp"
#include "pronto/base/time.hpp"
#include "pronto/http/address_check.hpp"
#include "pronto/http/client.hpp"

namespace pronto::http {

/// One request of a callback.
struct CallbackRequest {
  std::string webhook_id;
  std::string url;
  std::string body;
  std::vector<std::string> secrets;  ///< "whsec_..."
  WallTime at{};
  std::string user_agent;
  std::string ca_file;
};

/// What became of it.
struct CallbackAnswer {
  int status = 0;  ///< 0: there was no answer
  std::optional<milliseconds> retry_after;
  std::string error;            ///< empty when it was taken
  bool is_refused = false;      ///< by our own check, nothing was sent
  bool is_unreachable = false;  ///< the destination itself is in trouble, not only this request
  bool is_taken() const noexcept { return status >= 200 && status < 300; }
};

/// Resolves the name once, checks all its addresses, connects to those that were checked and to no
/// other, sends the request, reads the answer; all within the limits.
/// `network` and `check` outlive the task. Errors: in the answer; throws `Cancelled`.
Task<CallbackAnswer> attempt_callback(Network& network, const AddressCheck& check,
                                      CallbackRequest request, ClientLimits limits);

/// Reads `Retry-After`: seconds, or a date, from `now` on. Source: RFC 9110 section 10.2.3.
std::optional<milliseconds> parse_retry_after(std::string_view text, WallTime now);

}  // namespace pronto::http
