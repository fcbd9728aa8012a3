#include "pronto/client/uri.hpp"

#include <limits>

#include "pronto/base/text.hpp"

namespace pronto::client {
namespace {

constexpr std::uint16_t port_plain = 5672;
constexpr std::uint16_t port_tls = 5671;

std::string wrong(std::string_view what, std::string_view part) {
  return std::string{what} + ": '" + std::string{part} + "'";
}

template <class Number>
std::optional<Number> parse_number(std::string_view text) {
  const std::optional<std::uint64_t> number = parse_unsigned(text);
  if (!number || *number > std::uint64_t{std::numeric_limits<Number>::max()}) return std::nullopt;
  return static_cast<Number>(*number);
}

/// What is wrong, or nothing.
using Problem = std::optional<std::string>;

Problem read_host(std::string_view text, Address& address) {
  std::string_view host = text;
  std::string_view port;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return wrong("an IPv6 address without its ']'", text);
    host = text.substr(1, end - 1);
    port = text.substr(end + 1);
    if (!port.empty() && !port.starts_with(':')) return wrong("a ':' must follow the ']'", text);
  } else if (const std::size_t colon = text.find(':'); colon != std::string_view::npos) {
    host = text.substr(0, colon);
    port = text.substr(colon);
  }
  if (port.size() > 1) {
    const auto number = parse_number<std::uint16_t>(port.substr(1));
    if (!number || *number == 0) return wrong("not a port", port.substr(1));
    address.port = *number;
  }
  const std::optional<std::string> decoded = percent_decode(host);
  if (!decoded || decoded->empty()) return wrong("no host", text);
  address.host = *decoded;
  return std::nullopt;
}

Problem read_user(std::string_view text, Address& address) {
  const std::size_t colon = text.find(':');
  const std::optional<std::string> user = percent_decode(text.substr(0, colon));
  if (!user) return "the user is not percent-encoded";
  address.user = *user;
  if (colon == std::string_view::npos) return std::nullopt;
  const std::optional<std::string> password = percent_decode(text.substr(colon + 1));
  if (!password) return "the password is not percent-encoded";
  address.password = *password;
  return std::nullopt;
}

Problem read_parameter(std::string_view name, const std::string& value, Address& address) {
  const auto not_a_number = [&] { return wrong(std::string{name} + " is not a number", value); };
  if (name == "heartbeat") {
    const auto number = parse_number<std::uint16_t>(value);
    if (!number) return not_a_number();
    address.heartbeat = std::chrono::seconds{*number};
  } else if (name == "connection_timeout") {
    const auto number = parse_number<std::uint32_t>(value);
    if (!number || *number == 0) return not_a_number();
    address.connect_limit = std::chrono::milliseconds{*number};
  } else if (name == "channel_max") {
    address.channels_max = parse_number<std::uint16_t>(value);
    if (!address.channels_max) return not_a_number();
  } else if (name == "frame_max") {
    address.frame_bytes_max = parse_number<std::uint32_t>(value);
    if (!address.frame_bytes_max) return not_a_number();
  } else if (name == "auth_mechanism") {
    if (!equal_ignoring_case(value, "plain")) return wrong("only plain is known", value);
  } else if (name == "cacertfile" || name == "verify" || name == "server_name_indication") {
    if (!address.tls) return std::string{name} + " is for amqps only";
    if (name == "cacertfile") address.tls->ca_file = value;
    if (name == "server_name_indication") address.tls->server_name = value;
    if (name == "verify") {
      if (value != "verify_peer" && value != "verify_none") {
        return wrong("verify is verify_peer or verify_none, not", value);
      }
      address.tls->verify = value == "verify_peer";
    }
  } else {
    return wrong("unknown parameter", name);
  }
  return std::nullopt;
}

Problem read_query(std::string_view text, Address& address) {
  for (const std::string_view pair : split(text, '&')) {
    if (pair.empty()) continue;
    const std::size_t equals = pair.find('=');
    if (equals == std::string_view::npos) return wrong("a parameter without '='", pair);
    const std::optional<std::string> value = percent_decode(pair.substr(equals + 1));
    if (!value) return wrong("not percent-encoded", pair);
    if (Problem problem = read_parameter(pair.substr(0, equals), *value, address)) return problem;
  }
  return std::nullopt;
}

Problem read(std::string_view uri, Address& address) {
  constexpr std::string_view plain = "amqp://";
  constexpr std::string_view secure = "amqps://";
  std::string_view rest = uri;
  if (equal_ignoring_case(uri.substr(0, plain.size()), plain)) {
    rest.remove_prefix(plain.size());
    address.port = port_plain;
  } else if (equal_ignoring_case(uri.substr(0, secure.size()), secure)) {
    rest.remove_prefix(secure.size());
    address.port = port_tls;
    address.tls.emplace();
  } else {
    return "it must start with amqp:// or amqps://";
  }

  std::string_view query;
  if (const std::size_t mark = rest.find('?'); mark != std::string_view::npos) {
    query = rest.substr(mark + 1);
    rest = rest.substr(0, mark);
  }
  if (const std::size_t slash = rest.find('/'); slash != std::string_view::npos) {
    const std::optional<std::string> name = percent_decode(rest.substr(slash + 1));
    if (!name) return "the virtual host is not percent-encoded";
    if (rest.substr(slash + 1).contains('/')) return "a '/' in the virtual host is written %2F";
    if (!name->empty()) address.virtual_host = *name;
    rest = rest.substr(0, slash);
  }
  if (const std::size_t at = rest.rfind('@'); at != std::string_view::npos) {
    if (Problem problem = read_user(rest.substr(0, at), address)) return problem;
    rest = rest.substr(at + 1);
  }
  if (Problem problem = read_host(rest, address)) return problem;
  if (address.tls) address.tls->server_name = address.host;
  return read_query(query, address);
}

}  // namespace

std::string Address::to_string() const {
  const bool is_v6 = host.contains(':');
  return (tls ? "amqps://" : "amqp://") + percent_encode(user) + "@" +
         (is_v6 ? "[" + host + "]" : host) + ":" + std::to_string(port) + "/" +
         percent_encode(virtual_host);
}

Result<Address, std::string> parse_address(std::string_view uri) {
  Address address;
  if (Problem problem = read(trim(uri), address)) return *std::move(problem);
  return address;
}

Result<std::vector<Address>, std::string> parse_addresses(std::string_view uris) {
  std::vector<Address> addresses;
  for (const std::string_view uri : split(uris, ',')) {
    Result<Address, std::string> address = parse_address(uri);
    if (!address) return address.error();
    addresses.push_back(*std::move(address));
  }
  return addresses;
}

}  // namespace pronto::client
