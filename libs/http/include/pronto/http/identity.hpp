#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "pronto/base/bytes.hpp"
#include "pronto/base/time.hpp"
#include "pronto/http/request.hpp"
#include "pronto/http/response.hpp"

namespace pronto::http {

/// Signs and checks tokens that say who the caller is, until when.
///
/// ```
/// base64url(name) "." expiry in seconds since 1970, decimal "." base64url(HMAC-SHA256)
/// ```
/// The MAC covers the purpose, the name and the expiry, so a token for one purpose is none for
/// another. It is compared in constant time. Runs on: any thread.
class TokenSigner {
 public:
  /// `key`: secret, at least 16 bytes. `purpose`: "caller", "operator", ...
  TokenSigner(Bytes key, std::string purpose);

  std::string issue(std::string_view name, WallTime expires_at) const;
  /// Returns: the name, or nothing when the token was not made by `issue` under this key and
  /// purpose, or has expired.
  std::optional<std::string> verify(std::string_view token, WallTime now) const;

 private:
  std::string mac_of(std::string_view name, std::string_view expiry) const;
  Bytes key_;
  std::string purpose_;
};

struct CookieOptions {
  std::string path = "/";
  std::optional<seconds> max_age = {};  ///< nothing: until the browser ends; 0 removes the cookie
  std::string same_site = "Lax";
  bool is_secure = false;  ///< true where the site is reached by https only
};

/// The value of a `Set-Cookie` field, always http-only. Source: RFC 6265 section 4.1.
std::string set_cookie(std::string_view name, std::string_view value, const CookieOptions& options);

/// Who calls: the bearer token's name, else the session cookie's.
struct Caller {
  std::string name;
  enum class By { bearer, cookie } by;
};

/// Knows callers by a bearer token or a session cookie, and makes sessions for new ones.
class Sessions {
 public:
  struct Options {
    std::string cookie_name = "pronto_session";
    seconds session_time_max{365 * 24 * 3600};
    CookieOptions cookie = {};
  };
  Sessions(TokenSigner signer, Options options);

  /// Returns: the caller; nothing when there is no valid token. A bearer token that is wrong is
  /// not made up for by a cookie.
  std::optional<Caller> find(const Request& request) const;
  /// Whether `request` names a caller at all, rightly or not: a token or a session cookie is there.
  bool has_credentials(const Request& request) const;
  /// Gives `response` the cookie of a session for `name`.
  void start(Response& response, std::string_view name, WallTime now) const;
  void end(Response& response) const;

 private:
  TokenSigner signer_;
  Options options_;
};

}  // namespace pronto::http
