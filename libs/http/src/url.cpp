#include "pronto/http/url.hpp"

#include <algorithm>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include "pronto/base/text.hpp"

namespace pronto::http {
namespace {

constexpr std::size_t url_bytes_max = 2048;
constexpr std::size_t host_bytes_max = 253;

bool is_host_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

/// Whether the address in brackets has a zone ("fe80::1%25eth0"), which Boost.URL does not read.
bool has_zone(std::string_view text) {
  const std::size_t open = text.find("://");
  if (open == text.npos) return false;
  const std::string_view authority =
      text.substr(open + 3, text.find_first_of("/?#", open + 3) - open - 3);
  const std::size_t bracket = authority.find('[');
  return bracket != authority.npos &&
         authority.substr(bracket, authority.find(']', bracket) - bracket).contains('%');
}

}  // namespace

std::string Url::authority() const {
  std::string text = is_ipv6 ? '[' + host + ']' : host;
  if (port != (is_https ? 443 : 80)) text += ':' + std::to_string(port);
  return text;
}

Result<Url, std::string> Url::parse(std::string_view text) {
  if (text.size() > url_bytes_max) {
    return "is longer than " + std::to_string(url_bytes_max) + " bytes";
  }
  if (has_zone(text))
    return std::string{"has an address with a zone, which is of one machine only"};
  const auto parsed = boost::urls::parse_uri(text);
  if (!parsed) return std::string{"is not an absolute URL"};
  const boost::urls::url_view& view = *parsed;

  Url url;
  const std::string scheme = to_lower(view.scheme());
  if (scheme != "http" && scheme != "https") {
    return "must begin with http:// or https://, not " + scheme + ':';
  }
  url.is_https = scheme == "https";
  if (!view.has_authority()) return std::string{"has no host"};
  if (view.has_userinfo()) return std::string{"has a user or password in it"};
  url.is_ipv6 = view.host_type() == boost::urls::host_type::ipv6;
  if (view.host_type() == boost::urls::host_type::ipvfuture) {
    return std::string{"has an address of an unknown kind"};
  }
  url.host = to_lower(view.host_address());
  if (url.host.empty()) return std::string{"has no host"};
  if (url.host.size() > host_bytes_max) return std::string{"has a host name that is too long"};
  if (!url.is_ipv6 && !std::ranges::all_of(url.host, is_host_character)) {
    return std::string{"has characters in its host that no host name has"};
  }
  url.port = url.is_https ? 443 : 80;
  if (view.has_port() && !view.port().empty()) {
    const auto port = parse_unsigned(std::string{view.port()});
    if (!port || *port == 0 || *port > 65'535) return std::string{"has a port that is none"};
    url.port = static_cast<std::uint16_t>(*port);
  }
  url.target = std::string{view.encoded_path()};
  if (url.target.empty()) url.target = "/";
  // Boost.URL 1.81 takes "http://1.2.3.4.5/" for the host 1.2.3.4 and the path ".5/".
  if (!url.target.starts_with('/')) return std::string{"has a host that is none"};
  if (view.has_query()) url.target += '?' + std::string{view.encoded_query()};
  return url;
}

}  // namespace pronto::http
