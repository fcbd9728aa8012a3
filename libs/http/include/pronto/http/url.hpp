#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "pronto/base/result.hpp"

namespace pronto::http {

/// An http or https address, taken apart. Runs on: any thread.
struct Url {
  bool is_https = false;
  std::string host;  ///< decoded, lower case; of IPv6 without brackets
  bool is_ipv6 = false;
  std::uint16_t port = 80;
  std::string target = "/";  ///< path and query, escaped, as a request line has it

  /// "example.com:8443", "[2001:db8::1]": the port left out when it is the scheme's.
  std::string authority() const;

  /// Errors: what is wrong, for people: not http(s), a user and password in it, no host, port 0 or
  /// beyond 65535, a fragment is dropped. Source: RFC 3986.
  static Result<Url, std::string> parse(std::string_view text);
};

}  // namespace pronto::http
