#include "pronto/wire/frame.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "pronto/base/assert.hpp"
#include "pronto/wire/reader.hpp"
#include "pronto/wire/writer.hpp"

namespace pronto::wire {
namespace {

constexpr std::size_t frame_start_bytes = 7;

constexpr std::array<std::byte, protocol_header_bytes> header_0_9_1{
    std::byte{'A'}, std::byte{'M'}, std::byte{'Q'}, std::byte{'P'},
    std::byte{0},   std::byte{0},   std::byte{9},   std::byte{1}};

bool is_frame_type(std::uint8_t type) noexcept {
  return (type >= 1 && type <= 3) || type == static_cast<std::uint8_t>(FrameType::heartbeat);
}

}  // namespace

Result<std::optional<FrameView>, Fault> parse_frame(BytesView in, std::uint32_t frame_bytes_max) {
  PRONTO_ASSERT(frame_bytes_max > frame_overhead_bytes);
  if (in.empty()) return std::optional<FrameView>{};
  const auto type_number = std::to_integer<std::uint8_t>(in[0]);
  if (!is_frame_type(type_number)) {
    return Fault{ReplyCode::frame_error, "unknown frame type " + std::to_string(type_number)};
  }
  if (in.size() < frame_start_bytes) return std::optional<FrameView>{};

  Reader reader{in.subspan(1, frame_start_bytes - 1)};
  FrameView frame{.type = FrameType{type_number}};
  std::uint32_t payload_bytes = 0;
  reader.read(frame.channel);
  reader.read(payload_bytes);
  if (payload_bytes > frame_bytes_max - frame_overhead_bytes) {
    return Fault{ReplyCode::frame_error, "frame of " + std::to_string(payload_bytes) +
                                             " payload bytes is above the limit of " +
                                             std::to_string(frame_bytes_max) + " for the whole"};
  }
  if (frame.type == FrameType::heartbeat && (frame.channel != 0 || payload_bytes != 0)) {
    return Fault{ReplyCode::frame_error, "heartbeat with a channel or a payload"};
  }
  if (frame.channel == 0 && (frame.type == FrameType::header || frame.type == FrameType::body)) {
    return Fault{ReplyCode::unexpected_frame, "content on channel 0"};
  }
  if (in.size() < frame_overhead_bytes + payload_bytes) return std::optional<FrameView>{};
  if (in[frame_start_bytes + payload_bytes] != frame_end) {
    return Fault{ReplyCode::frame_error, "frame does not end in its end octet"};
  }
  frame.payload = in.subspan(frame_start_bytes, payload_bytes);
  return std::optional{frame};
}

namespace {

void write_frame_start(RoomWriter& writer, FrameType type, std::uint16_t channel,
                       std::uint32_t payload_bytes) noexcept {
  writer.write(static_cast<std::uint8_t>(type));
  writer.write(channel);
  writer.write(payload_bytes);
}

}  // namespace

std::size_t detail::write_frame_around(Bytes& out, std::size_t start, RoomWriter payload_end,
                                       FrameType type, std::uint16_t channel) noexcept {
  RoomWriter writer{out.data() + start};
  const std::byte* payload = out.data() + start + frame_start_bytes;
  write_frame_start(writer, type, channel, static_cast<std::uint32_t>(payload_end.at() - payload));
  payload_end.write(static_cast<std::uint8_t>(frame_end));
  return static_cast<std::size_t>(payload_end.at() - out.data());
}

void append_frame_start(Bytes& out, FrameType type, std::uint16_t channel,
                        std::uint32_t payload_bytes) {
  out.resize(out.size() + frame_start_bytes);
  RoomWriter writer{out.data() + out.size() - frame_start_bytes};
  write_frame_start(writer, type, channel, payload_bytes);
}

void append_frame(Bytes& out, FrameType type, std::uint16_t channel, BytesView payload) {
  append_frame_start(out, type, channel, static_cast<std::uint32_t>(payload.size()));
  append(out, payload);
  out.push_back(frame_end);
}

void append_heartbeat(Bytes& out) {
  append_frame(out, FrameType::heartbeat, 0, {});
}

Greeting classify_greeting(BytesView received) noexcept {
  const BytesView start = received.first(std::min(received.size(), protocol_header_bytes));
  const std::string_view text = as_text(start);
  const auto octet = [&](std::size_t index) { return std::to_integer<unsigned>(start[index]); };

  constexpr std::string_view amqp = "AMQP";
  if (text.substr(0, amqp.size()) == amqp.substr(0, text.size())) {
    if (start.size() < protocol_header_bytes) return Greeting::incomplete;
    const std::array version{octet(4), octet(5), octet(6), octet(7)};
    if (version == std::array{0U, 0U, 9U, 1U}) return Greeting::amqp_0_9_1;
    if (version == std::array{1U, 1U, 0U, 9U}) return Greeting::amqp_0_9;
    if (version == std::array{1U, 1U, 8U, 0U} || version == std::array{1U, 1U, 9U, 1U}) {
      return Greeting::amqp_0_8;
    }
    // AMQP 1.0 puts its security layer (0 none, 2 TLS, 3 SASL) before the version.
    if (version[1] == 1 && version[2] == 0 && version[3] == 0) return Greeting::amqp_1_0;
    return Greeting::garbage;
  }
  if (octet(0) == 0x16 && (start.size() < 2 || octet(1) == 0x03)) return Greeting::tls_hello;
  for (const std::string_view method : {"GET ", "POST ", "PUT ", "HEAD ", "DELETE ", "OPTIONS ",
                                        "PATCH ", "CONNECT ", "TRACE ", "PRI * "}) {
    const std::size_t compared = std::min(text.size(), method.size());
    if (text.substr(0, compared) == method.substr(0, compared)) {
      return text.size() >= std::min(method.size(), protocol_header_bytes) ? Greeting::http
                                                                           : Greeting::incomplete;
    }
  }
  return Greeting::garbage;
}

BytesView protocol_header() noexcept {
  return header_0_9_1;
}

}  // namespace pronto::wire
