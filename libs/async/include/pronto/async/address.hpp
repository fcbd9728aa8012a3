#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pronto {

/// An IPv4 or IPv6 address; IPv4 is kept in its IPv4-mapped form. Runs on: any thread.
class IpAddress {
 public:
  /// Reads the usual notations (dotted quad, RFC 4291). Returns: nothing when `text` is neither.
  static std::optional<IpAddress> parse(std::string_view text);
  static IpAddress from_v4(std::uint32_t value);
  static IpAddress from_bytes(const std::array<std::uint8_t, 16>& bytes) {
    return IpAddress{bytes};
  }

  /// Whether it is IPv4, or IPv6 that holds an IPv4-mapped address.
  bool is_v4() const noexcept;
  /// Network byte order.
  const std::array<std::uint8_t, 16>& bytes() const noexcept { return bytes_; }
  bool is_loopback() const noexcept;
  std::string to_string() const;

  auto operator<=>(const IpAddress&) const = default;

 private:
  explicit IpAddress(const std::array<std::uint8_t, 16>& bytes) : bytes_{bytes} {}
  std::array<std::uint8_t, 16> bytes_;
};

/// A range of addresses, "10.0.0.0/8" or "fd00::/8"; an address alone is a range of one.
class IpRange {
 public:
  static std::optional<IpRange> parse(std::string_view text);
  bool contains(const IpAddress& address) const noexcept;
  std::string to_string() const;

 private:
  IpRange(const IpAddress& base, unsigned bits) : base_{base}, bits_{bits} {}
  IpAddress base_;
  unsigned bits_;  // of the 128
};

/// Where to connect to or to listen on.
struct Endpoint {
  IpAddress address;
  std::uint16_t port = 0;

  /// "127.0.0.1:8080", "[::1]:8080".
  std::string to_string() const;
  static std::optional<Endpoint> parse(std::string_view text);
  bool operator==(const Endpoint&) const = default;
};

}  // namespace pronto
