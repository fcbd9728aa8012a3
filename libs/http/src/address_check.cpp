#include "pronto/http/address_check.hpp"

#include <algorithm>
#include <array>

#include "pronto/base/assert.hpp"
#include "pronto/base/text.hpp"

namespace pronto::http {
namespace {

struct SpecialRange {
  IpRange range;
  std::string_view reason;
};

const std::vector<SpecialRange>& special_ranges() {
  static const std::vector<SpecialRange> ranges = [] {
    // Narrow ranges before the wide ones that they lie in, so that the reason is the precise one.
    constexpr std::array<std::pair<const char*, std::string_view>, 39> table{{
        {"0.0.0.0/8", "this network"},
        {"10.0.0.0/8", "private network"},
        {"100.100.100.200/32", "cloud metadata"},
        {"100.64.0.0/10", "carrier-grade NAT"},
        {"127.0.0.0/8", "loopback"},
        {"168.63.129.16/32", "cloud metadata"},
        {"169.254.169.254/32", "cloud metadata"},
        {"169.254.0.0/16", "link-local"},
        {"172.16.0.0/12", "private network"},
        {"192.0.0.0/24", "protocol assignments"},
        {"192.0.2.0/24", "documentation"},
        {"192.31.196.0/24", "special purpose"},
        {"192.52.193.0/24", "special purpose"},
        {"192.88.99.0/24", "6to4 relay"},
        {"192.168.0.0/16", "private network"},
        {"192.175.48.0/24", "special purpose"},
        {"198.18.0.0/15", "benchmarking"},
        {"198.51.100.0/24", "documentation"},
        {"203.0.113.0/24", "documentation"},
        {"224.0.0.0/4", "multicast"},
        {"255.255.255.255/32", "broadcast"},
        {"240.0.0.0/4", "reserved"},
        {"::1/128", "loopback"},
        {"::/128", "unspecified"},
        {"::ffff:0:0:0/96", "translated IPv4"},
        {"64:ff9b:1::/48", "local NAT64"},
        {"100::/64", "discard"},
        {"2001::/32", "Teredo"},
        {"2001::/23", "protocol assignments"},
        {"2001:db8::/32", "documentation"},
        {"2002::/16", "6to4"},
        {"2620:4f:8000::/48", "special purpose"},
        {"3fff::/20", "documentation"},
        {"5f00::/16", "segment routing"},
        {"fd00:ec2::254/128", "cloud metadata"},
        {"fc00::/7", "private network"},
        {"fe80::/10", "link-local"},
        {"fec0::/10", "site-local"},
        {"ff00::/8", "multicast"},
    }};
    std::vector<SpecialRange> made;
    for (const auto& [text, reason] : table) {
      const auto range = IpRange::parse(text);
      PRONTO_ASSERT(range.has_value());
      made.push_back({*range, reason});
    }
    return made;
  }();
  return ranges;
}

const IpRange& range_of(const char* text) {
  static std::vector<std::pair<std::string, IpRange>> known = [] {
    std::vector<std::pair<std::string, IpRange>> made;
    for (const char* one : {"64:ff9b::/96", "2000::/3", "::/96"}) {
      made.emplace_back(one, IpRange::parse(one).value());
    }
    return made;
  }();
  return std::ranges::find(known, text, &std::pair<std::string, IpRange>::first)->second;
}

/// The IPv4 address in the last four bytes.
IpAddress embedded_v4(const IpAddress& address) {
  std::uint32_t value = 0;
  for (std::size_t i = 12; i < 16; ++i) value = value << 8U | address.bytes()[i];
  return IpAddress::from_v4(value);
}

std::optional<RefusedAddress> refusal_of(const IpAddress& address) {
  for (const SpecialRange& special : special_ranges()) {
    if (!special.range.contains(address)) continue;
    return RefusedAddress{address.to_string(), special.range.to_string(),
                          std::string{special.reason}};
  }
  if (address.is_v4()) return std::nullopt;
  if (range_of("64:ff9b::/96").contains(address)) {
    auto inner = refusal_of(embedded_v4(address));
    if (!inner) return std::nullopt;
    return RefusedAddress{address.to_string(), "64:ff9b::/96",
                          "NAT64 of " + inner->address + ", " + inner->reason};
  }
  if (range_of("::/96").contains(address)) {
    return RefusedAddress{address.to_string(), "::/96", "IPv4-compatible"};
  }
  if (!range_of("2000::/3").contains(address)) {
    return RefusedAddress{address.to_string(), "::/0", "not a public address"};
  }
  return std::nullopt;
}

std::string_view without_last_dot(std::string_view host) {
  return host.ends_with('.') ? host.substr(0, host.size() - 1) : host;
}

bool is_this_machine(std::string_view host) {
  static constexpr std::array<std::string_view, 4> names{"localhost", "localhost.localdomain",
                                                         "ip6-localhost", "ip6-loopback"};
  return std::ranges::find(names, host) != names.end() || host.ends_with(".localhost");
}

std::optional<std::uint64_t> parse_loose_number(std::string_view text) {
  unsigned base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    base = 16;
    text.remove_prefix(2);
  } else if (text.size() > 1 && text.front() == '0') {
    base = 8;
    text.remove_prefix(1);
  } else if (text.empty()) {
    return std::nullopt;
  }
  std::uint64_t value = 0;
  for (const char c : text) {
    unsigned digit = 99;
    if (c >= '0' && c <= '9') digit = static_cast<unsigned>(c - '0');
    if (c >= 'a' && c <= 'f') digit = static_cast<unsigned>(c - 'a') + 10;
    if (c >= 'A' && c <= 'F') digit = static_cast<unsigned>(c - 'A') + 10;
    if (digit >= base) return std::nullopt;
    value = value * base + digit;
    if (value > 0xFFFF'FFFFU) return std::nullopt;
  }
  return value;
}

/// Whether resolvers and browsers take `host` for an address, rightly written or not.
bool ends_in_number(std::string_view host) {
  std::string_view last = host.substr(host.rfind('.') + 1);  // npos + 1 is 0
  if (last.empty()) return false;
  const bool is_hexadecimal = last.starts_with("0x") || last.starts_with("0X");
  if (is_hexadecimal) last.remove_prefix(2);
  return last.find_first_not_of(is_hexadecimal ? "0123456789abcdefABCDEF" : "0123456789") ==
         last.npos;
}

}  // namespace

std::optional<IpAddress> parse_loose_ipv4(std::string_view host) {
  const auto parts = split(without_last_dot(host), '.');
  if (parts.size() > 4) return std::nullopt;
  std::uint64_t address = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto number = parse_loose_number(parts[i]);
    if (!number) return std::nullopt;
    if (i + 1 < parts.size()) {
      if (*number > 255) return std::nullopt;
      address |= *number << (24 - 8 * i);
    } else {
      if (*number >= std::uint64_t{1} << (8 * (5 - parts.size()))) return std::nullopt;
      address |= *number;
    }
  }
  return IpAddress::from_v4(static_cast<std::uint32_t>(address));
}

std::string RefusedAddress::to_string() const {
  if (range.empty()) return address + " (" + reason + ')';
  return address + " is in " + range + " (" + reason + ')';
}

Result<void, std::string> AddressCheck::allow(std::string_view text) {
  if (const auto range = IpRange::parse(text)) {
    ranges_.push_back(*range);
    return {};
  }
  const std::string name = to_lower(without_last_dot(text));
  const bool is_name = !name.empty() && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
  });
  if (!is_name || ends_in_number(name)) {
    return '"' + std::string{text} + "\" is neither a range of addresses (10.0.0.0/8) nor a name";
  }
  names_.push_back(name);
  return {};
}

bool AddressCheck::is_name_allowed(std::string_view host) const {
  return std::ranges::find(names_, to_lower(without_last_dot(host))) != names_.end();
}

Result<void, RefusedAddress> AddressCheck::check(const IpAddress& address,
                                                 std::string_view host) const {
  if (is_name_allowed(host)) return {};
  if (std::ranges::any_of(ranges_, [&](const IpRange& one) { return one.contains(address); })) {
    return {};
  }
  if (auto refused = refusal_of(address)) return std::move(*refused);
  return {};
}

Result<void, RefusedAddress> AddressCheck::check_all(const std::vector<IpAddress>& addresses,
                                                     std::string_view host) const {
  if (addresses.empty()) return RefusedAddress{std::string{host}, "", "has no address"};
  for (const IpAddress& address : addresses) {
    auto checked = check(address, host);
    if (!checked) return checked.error();
  }
  return {};
}

Result<void, RefusedAddress> AddressCheck::check_host(const Url& url) const {
  const std::string host{without_last_dot(url.host)};
  if (url.is_ipv6) {
    const auto address = IpAddress::parse(host);
    if (!address) return RefusedAddress{host, "", "not an address"};
    return check(*address, host);
  }
  if (ends_in_number(host)) {
    const auto address = parse_loose_ipv4(host);
    if (!address) return RefusedAddress{host, "", "not an address"};
    return check(*address, host);
  }
  if (is_this_machine(host) && !is_name_allowed(host)) {
    // An operator who allowed the loopback addresses has allowed their name.
    if (check(IpAddress::from_v4(0x7F00'0001), host)) return {};
    return RefusedAddress{host, "127.0.0.0/8", "loopback"};
  }
  return {};
}

}  // namespace pronto::http
