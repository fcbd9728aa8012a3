#include <fmt/format.h>

#include "pronto/base/log.hpp"
#include "pronto/server/session.hpp"
#include "pronto/wire/properties.hpp"

namespace pronto::server {

using wire::Fault;
using wire::ReplyCode;

namespace {

constexpr std::string_view mechanisms = "PLAIN AMQPLAIN";

struct Credentials {
  std::string user;
  std::string password;
};

/// authzid NUL user NUL password. Source: RFC 4616.
Result<Credentials, Fault> read_plain(std::string_view response) {
  const std::size_t first = response.find('\0');
  const std::size_t second =
      first == std::string_view::npos ? first : response.find('\0', first + 1);
  if (second == std::string_view::npos ||
      response.find('\0', second + 1) != std::string_view::npos) {
    return Fault{ReplyCode::syntax_error, "response of mechanism PLAIN is malformed"};
  }
  return Credentials{std::string{response.substr(first + 1, second - first - 1)},
                     std::string{response.substr(second + 1)}};
}

/// The inside of a table with LOGIN and PASSWORD, without its length.
Result<Credentials, Fault> read_amqplain(std::string_view response) {
  Bytes encoded;
  wire::Writer{encoded}.write_long(as_bytes(response));
  const auto table = wire::decode_table(encoded);
  if (!table) return Fault{ReplyCode::syntax_error, "response of AMQPLAIN is not a table"};
  const auto user = table->find_string("LOGIN");
  const auto password = table->find_string("PASSWORD");
  if (!user || !password) {
    return Fault{ReplyCode::syntax_error, "AMQPLAIN auth info is missing LOGIN or PASSWORD field"};
  }
  return Credentials{std::string{*user}, std::string{*password}};
}

wire::Table capabilities() {
  // Honestly: what is false here is not there yet.
  return {{"publisher_confirms", true},
          {"exchange_exchange_bindings", true},
          {"basic.nack", true},
          {"consumer_cancel_notify", true},
          {"connection.blocked", true},
          {"consumer_priorities", false},
          {"authentication_failure_close", true},
          {"per_consumer_qos", true},
          {"direct_reply_to", true}};
}

std::string name_of_client(const wire::Table& properties) {
  if (const auto name = properties.find_string("connection_name")) return std::string{*name};
  std::string name{properties.find_string("product").value_or("")};
  if (const auto version = properties.find_string("version")) {
    name += ' ';
    name += *version;
  }
  return name;
}

}  // namespace

std::size_t Session::greet(BytesView received) {
  if (received.empty()) return 0;
  const wire::Greeting greeting = wire::classify_greeting(received);
  switch (greeting) {
    case wire::Greeting::incomplete:
      return 0;
    case wire::Greeting::amqp_0_9_1:
    case wire::Greeting::amqp_0_9:
      start(0, 9);
      return wire::protocol_header_bytes;
    case wire::Greeting::amqp_0_8:
      is_0_8_ = true;
      start(8, 0);
      return wire::protocol_header_bytes;
    default:
      refuse_greeting(greeting);
      return received.size();
  }
}

/// Answers in the protocol that was spoken, and says where it is at home.
void Session::refuse_greeting(wire::Greeting greeting) {
  std::string_view spoken = "garbage";
  const SessionOptions& options = shared_.options;
  if (greeting == wire::Greeting::http) {
    spoken = "HTTP";
    const std::string body =
        options.management_address.empty()
            ? std::string{"This port speaks AMQP 0-9-1, not HTTP.\n"}
            : fmt::format("This port speaks AMQP 0-9-1, not HTTP: go to http://{}/ instead.\n",
                          options.management_address);
    const std::string answer = fmt::format(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
        "Content-Length: {}\r\nConnection: close\r\n\r\n{}",
        body.size(), body);
    outbox_.append([&](Bytes& out) { pronto::append(out, as_bytes(answer)); });
  } else if (greeting == wire::Greeting::tls_hello) {
    spoken = "TLS";
    // A fatal alert: handshake_failure. Source: RFC 8446 section 6.
    constexpr std::string_view alert{"\x15\x03\x03\x00\x02\x02\x28", 7};
    outbox_.append([&](Bytes& out) { pronto::append(out, as_bytes(alert)); });
  } else {
    if (greeting == wire::Greeting::amqp_1_0) spoken = "AMQP 1.0";
    outbox_.append([&](Bytes& out) { pronto::append(out, wire::protocol_header()); });
  }
  log::warning("client does not speak AMQP 0-9-1 here",
               {{"peer", peer_.name},
                {"spoken", spoken},
                {"http", options.management_address},
                {"tls", options.tls_address.empty() ? "not served" : options.tls_address}});
  ++shared_.counters.connections_refused_total;
  is_deaf_ = true;
  state_ = State::over;
}

void Session::start(std::uint8_t major, std::uint8_t minor) {
  const SessionOptions& options = shared_.options;
  wire::ConnectionStart start;
  start.version_major = major;
  start.version_minor = minor;
  start.server_properties = {
      {"capabilities", is_0_8_ ? wire::Table{} : capabilities()},
      {"cluster_name", options.cluster_name},
      {"copyright", "The Pronto authors"},
      {"information", "Licensed under the Apache License 2.0"},
      {"platform", options.platform},
      {"product", options.product},
      {"version", options.version},
  };
  start.mechanisms = mechanisms;
  start.locales = "en_US";
  append(0, start);
  state_ = State::start;
}

Session::Outcome Session::on_start_ok(const wire::ConnectionStartOk& method) {
  client_ = name_of_client(method.client_properties);
  if (const wire::Table* can = method.client_properties.find_table("capabilities")) {
    can_be_blocked_ = can->find_bool("connection.blocked").value_or(false);
    can_be_cancelled_ = can->find_bool("consumer_cancel_notify").value_or(false);
    can_be_refused_ = can->find_bool("authentication_failure_close").value_or(false);
  }
  const bool is_plain = method.mechanism == "PLAIN";
  if (!is_plain && !(method.mechanism == "AMQPLAIN")) {
    return Fault{ReplyCode::command_invalid,
                 fmt::format("unknown authentication mechanism '{}'", method.mechanism.view())};
  }
  auto credentials = is_plain ? read_plain(method.response) : read_amqplain(method.response);
  if (!credentials) return credentials.error();
  const Login login{.user = std::move(credentials->user),
                    .password = std::move(credentials->password),
                    .mechanism = method.mechanism.text(),
                    .peer = peer_.from};
  const auto admitted = shared_.users.authenticate(login);
  if (!admitted) {
    ++shared_.counters.connections_refused_total;
    log::warning("login refused", {{"connection", static_cast<std::uint64_t>(id_)},
                                   {"peer", peer_.name},
                                   {"user", login.user},
                                   {"text", admitted.error().text}});
    if (can_be_refused_) {
      say_goodbye(admitted.error());
    } else {
      state_ = State::over;
    }
    return Taken::yes;
  }
  user_ = login.user;
  append(0, wire::ConnectionTune{
                .channel_max = shared_.options.channels_max,
                .frame_max = shared_.options.frame_bytes_max,
                .heartbeat = static_cast<std::uint16_t>(shared_.options.heartbeat.count())});
  state_ = State::tune;
  return Taken::yes;
}

Session::Outcome Session::on_tune_ok(const wire::ConnectionTuneOk& method) {
  // 0 asks for no limit: ours stands, since what the peer sends has to fit it.
  const auto check = [](std::string_view what, std::uint32_t value, std::uint32_t min,
                        std::uint32_t max) -> Outcome {
    if (value == 0 || (value >= min && value <= max)) return Taken::yes;
    const bool is_low = value < min;
    return Fault{ReplyCode::not_allowed,
                 fmt::format("negotiated {} = {} is {} than the {} allowed value ({})", what, value,
                             is_low ? "lower" : "higher", is_low ? "minimum" : "maximum",
                             is_low ? min : max),
                 wire::ConnectionTune::id};
  };
  const SessionOptions& options = shared_.options;
  if (auto frame =
          check("frame_max", method.frame_max, wire::frame_bytes_min, options.frame_bytes_max);
      !frame) {
    return frame;
  }
  if (auto channel = check("channel_max", method.channel_max, 1, options.channels_max); !channel) {
    return channel;
  }
  frame_bytes_max_ = method.frame_max == 0 ? options.frame_bytes_max : method.frame_max;
  channels_max_ = method.channel_max == 0 ? options.channels_max : method.channel_max;
  heartbeat_ = seconds{method.heartbeat};
  last_beat_ = last_received_;
  sent_at_beat_ = outbox_.bytes_total();
  state_ = State::open;
  return Taken::yes;
}

Session::Outcome Session::on_open(const wire::ConnectionOpen& method) {
  const std::string_view host = method.virtual_host;
  if (!shared_.engine.has_virtual_host(host)) {
    return Fault{ReplyCode::not_allowed, fmt::format("vhost {} not found", host)};
  }
  if (!shared_.users.may_open(user_, host)) {
    return Fault{ReplyCode::not_allowed,
                 fmt::format("access to vhost '{}' refused for user '{}'", host, user_)};
  }
  virtual_host_ = host;
  shared_.engine.connection_opened(id_, virtual_host_, user_);
  is_known_to_engine_ = true;
  append(0, wire::ConnectionOpenOk{});
  state_ = State::running;
  log::write(peer_.from ? log::Level::info : log::Level::debug, "connection opened",
             {{"connection", static_cast<std::uint64_t>(id_)},
              {"peer", peer_.name},
              {"user", user_},
              {"client", client_}});
  return Taken::yes;
}

}  // namespace pronto::server
