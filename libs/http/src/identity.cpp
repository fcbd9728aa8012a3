#include "pronto/http/identity.hpp"

#include "pronto/base/assert.hpp"
#include "pronto/base/crypto.hpp"
#include "pronto/base/text.hpp"

namespace pronto::http {
namespace {

constexpr std::size_t key_bytes_min = 16;
constexpr std::size_t token_bytes_max = 1024;

std::uint64_t seconds_of(WallTime time) {
  return static_cast<std::uint64_t>(std::chrono::floor<seconds>(time).time_since_epoch().count());
}

}  // namespace

TokenSigner::TokenSigner(Bytes key, std::string purpose)
    : key_{std::move(key)}, purpose_{std::move(purpose)} {
  PRONTO_ASSERT(key_.size() >= key_bytes_min);
  PRONTO_ASSERT(purpose_.find('\0') == purpose_.npos);
}

std::string TokenSigner::mac_of(std::string_view name, std::string_view expiry) const {
  // A purpose has no zero byte and an expiry is decimal, so the parts cannot run into each other.
  std::string message = "pronto token 1";
  message += '\0';
  message += purpose_;
  message += '\0';
  message += expiry;
  message += '\0';
  message += name;
  return to_base64url(hmac_sha256(key_, as_bytes(message)));
}

std::string TokenSigner::issue(std::string_view name, WallTime expires_at) const {
  const std::string expiry = std::to_string(seconds_of(expires_at));
  return to_base64url(as_bytes(name)) + '.' + expiry + '.' + mac_of(name, expiry);
}

std::optional<std::string> TokenSigner::verify(std::string_view token, WallTime now) const {
  if (token.size() > token_bytes_max) return std::nullopt;
  const auto parts = split(token, '.');
  if (parts.size() != 3) return std::nullopt;
  const auto name_bytes = from_base64url(parts[0]);
  const auto expiry = parse_unsigned(parts[1]);
  if (!name_bytes || !expiry) return std::nullopt;
  const std::string name = to_string(*name_bytes);
  const std::string mac = mac_of(name, parts[1]);
  if (!equal_in_constant_time(as_bytes(mac), as_bytes(parts[2]))) return std::nullopt;
  if (seconds_of(now) >= *expiry) return std::nullopt;
  return name;
}

std::string set_cookie(std::string_view name, std::string_view value,
                       const CookieOptions& options) {
  std::string text{name};
  text += '=';
  text += value;
  text += "; Path=" + options.path;
  if (options.max_age) text += "; Max-Age=" + std::to_string(options.max_age->count());
  text += "; HttpOnly; SameSite=" + options.same_site;
  if (options.is_secure) text += "; Secure";
  return text;
}

Sessions::Sessions(TokenSigner signer, Options options)
    : signer_{std::move(signer)}, options_{std::move(options)} {}

std::optional<Caller> Sessions::find(const Request& request) const {
  if (request.headers.find("authorization")) {
    const auto token = request.bearer_token();
    auto name = token ? signer_.verify(*token, request.received_at) : std::nullopt;
    if (!name) return std::nullopt;
    return Caller{std::move(*name), Caller::By::bearer};
  }
  const auto cookie = request.cookie(options_.cookie_name);
  auto name = cookie ? signer_.verify(*cookie, request.received_at) : std::nullopt;
  if (!name) return std::nullopt;
  return Caller{std::move(*name), Caller::By::cookie};
}

bool Sessions::has_credentials(const Request& request) const {
  return request.headers.find("authorization") || request.cookie(options_.cookie_name);
}

void Sessions::start(Response& response, std::string_view name, WallTime now) const {
  CookieOptions cookie = options_.cookie;
  cookie.max_age = options_.session_time_max;
  const std::string token = signer_.issue(name, now + options_.session_time_max);
  response.headers.add("Set-Cookie", set_cookie(options_.cookie_name, token, cookie));
}

void Sessions::end(Response& response) const {
  CookieOptions cookie = options_.cookie;
  cookie.max_age = seconds{0};
  response.headers.add("Set-Cookie", set_cookie(options_.cookie_name, "", cookie));
}

}  // namespace pronto::http
