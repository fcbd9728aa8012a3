#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pronto/async/address.hpp"
#include "pronto/base/result.hpp"
#include "pronto/http/url.hpp"

namespace pronto::http {

/// An address that callbacks may not go to.
struct RefusedAddress {
  std::string address;  ///< as it was understood: "127.0.0.1", or the name
  std::string range;    ///< "127.0.0.0/8", or empty for a name
  std::string reason;   ///< "loopback", "private network", ...
  /// "127.0.0.1 is in 127.0.0.0/8 (loopback)"
  std::string to_string() const;
};

/// Decides which addresses callbacks may go to: public ones, and those the operator allowed.
/// Runs on: any thread. Source: SERVICES.md section 3, IANA special-purpose address registries.
class AddressCheck {
 public:
  AddressCheck() = default;

  /// Allows a range ("10.1.0.0/16"), an address, or a name ("hooks.internal"; then wherever it
  /// leads). Errors: what is wrong with `text`.
  Result<void, std::string> allow(std::string_view text);

  /// Checks where a URL leads as far as it can be known without asking anybody: addresses in every
  /// notation (decimal, octal, hexadecimal, short forms, IPv6 with IPv4 or a zone in it) and
  /// `localhost`. Names pass; they are checked when they are resolved.
  Result<void, RefusedAddress> check_host(const Url& url) const;
  /// Checks one address that `host` led to.
  Result<void, RefusedAddress> check(const IpAddress& address, std::string_view host) const;
  /// Checks all addresses that `host` led to: one refused is all refused. An empty list is refused.
  Result<void, RefusedAddress> check_all(const std::vector<IpAddress>& addresses,
                                         std::string_view host) const;
  bool is_name_allowed(std::string_view host) const;

 private:
  std::vector<IpRange> ranges_;
  std::vector<std::string> names_;
};

/// Reads an IPv4 address as browsers and C libraries do: "127.1", "0x7f000001", "0177.0.0.1",
/// "2130706433". Returns: nothing when `host` is none of these.
/// Source: WHATWG URL section 3.5.
std::optional<IpAddress> parse_loose_ipv4(std::string_view host);

}  // namespace pronto::http
