#include "foreign_protocol.hpp"

namespace pronto::http {
namespace {

constexpr char tls_handshake_record = 0x16;
constexpr std::size_t short_string_bytes_max = 255;

void put_16(std::string& out, unsigned value) {
  out += static_cast<char>(value >> 8U & 0xFFU);
  out += static_cast<char>(value & 0xFFU);
}

/// `connection.close` in a frame of its own, which clients show their users.
///
/// ```
/// 1 octet 1 | 2 channel 0 | 4 payload bytes | payload | 1 octet 0xCE
/// payload: 2 class 10 | 2 method 50 | 2 reply code | 1 + n reply text | 2 class 0 | 2 method 0
/// ```
std::string amqp_close(std::string_view text) {
  constexpr unsigned not_allowed = 530;
  text = text.substr(0, short_string_bytes_max);
  std::string payload;
  put_16(payload, 10);
  put_16(payload, 50);
  put_16(payload, not_allowed);
  payload += static_cast<char>(text.size());
  payload += text;
  put_16(payload, 0);
  put_16(payload, 0);
  std::string frame{"\x01", 1};
  put_16(frame, 0);
  put_16(frame, 0);
  put_16(frame, static_cast<unsigned>(payload.size()));
  return frame + payload + '\xCE';
}

}  // namespace

ForeignProtocol recognise(std::string_view first_bytes) {
  if (first_bytes.starts_with(tls_handshake_record)) return ForeignProtocol::tls;
  if (first_bytes.starts_with("AMQP")) return ForeignProtocol::amqp;
  return ForeignProtocol::none;
}

std::string foreign_answer(ForeignProtocol protocol, std::string_view amqp_address) {
  if (protocol == ForeignProtocol::tls) {
    // An alert record: fatal, protocol_version. Source: RFC 8446 section 6.
    return {'\x15', '\x03', '\x01', '\x00', '\x02', '\x02', '\x46'};
  }
  std::string text = "HTTP is spoken at this port";
  if (!amqp_address.empty()) text += "; AMQP is at " + std::string{amqp_address};
  return amqp_close(text);
}

}  // namespace pronto::http
