#include "pronto/async/address.hpp"

#include <arpa/inet.h>

#include <algorithm>

#include "pronto/base/text.hpp"

namespace pronto {
namespace {

constexpr std::array<std::uint8_t, 12> v4_prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

}  // namespace

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  const std::string terminated{text};
  std::array<std::uint8_t, 16> bytes{};
  in_addr v4{};
  if (inet_pton(AF_INET, terminated.c_str(), &v4) == 1) return from_v4(ntohl(v4.s_addr));
  if (inet_pton(AF_INET6, terminated.c_str(), bytes.data()) == 1) return IpAddress{bytes};
  return std::nullopt;
}

IpAddress IpAddress::from_v4(std::uint32_t value) {
  std::array<std::uint8_t, 16> bytes{};
  std::ranges::copy(v4_prefix, bytes.begin());
  for (unsigned i = 0; i < 4; ++i) bytes[12 + i] = static_cast<std::uint8_t>(value >> (24 - 8 * i));
  return IpAddress{bytes};
}

bool IpAddress::is_v4() const noexcept {
  return std::equal(v4_prefix.begin(), v4_prefix.end(), bytes_.begin());
}

bool IpAddress::is_loopback() const noexcept {
  if (is_v4()) return bytes_[12] == 127;
  return std::all_of(bytes_.begin(), bytes_.end() - 1, [](auto b) { return b == 0; }) &&
         bytes_[15] == 1;
}

std::string IpAddress::to_string() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (is_v4()) {
    inet_ntop(AF_INET, bytes_.data() + 12, text.data(), text.size());
  } else {
    inet_ntop(AF_INET6, bytes_.data(), text.data(), text.size());
  }
  return text.data();
}

std::optional<IpRange> IpRange::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  const auto base = IpAddress::parse(text.substr(0, slash));
  if (!base) return std::nullopt;
  const bool is_v4 = text.substr(0, slash).find(':') == text.npos;
  if (slash == text.npos) return IpRange{*base, 128};
  const auto bits = parse_unsigned(text.substr(slash + 1));
  if (!bits || *bits > (is_v4 ? 32U : 128U)) return std::nullopt;
  return IpRange{*base, static_cast<unsigned>(*bits) + (is_v4 ? 96U : 0U)};
}

bool IpRange::contains(const IpAddress& address) const noexcept {
  for (unsigned bit = 0; bit < bits_; ++bit) {
    const unsigned mask = 0x80U >> (bit % 8);
    if ((base_.bytes()[bit / 8] & mask) != (address.bytes()[bit / 8] & mask)) return false;
  }
  return true;
}

std::string IpRange::to_string() const {
  const unsigned shown = base_.is_v4() && bits_ >= 96 ? bits_ - 96 : bits_;
  return base_.to_string() + '/' + std::to_string(shown);
}

std::string Endpoint::to_string() const {
  const std::string host = address.to_string();
  return (address.is_v4() ? host : '[' + host + ']') + ':' + std::to_string(port);
}

std::optional<Endpoint> Endpoint::parse(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == text.npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != host.npos) {
    return std::nullopt;
  }
  const auto address = host == "localhost" ? IpAddress::parse("127.0.0.1") : IpAddress::parse(host);
  const auto port = parse_unsigned(text.substr(colon + 1));
  if (!address || !port || *port > 65535) return std::nullopt;
  return Endpoint{*address, static_cast<std::uint16_t>(*port)};
}

}  // namespace pronto
