#pragma once

#include <cstdint>
#include <optional>

#include "pronto/base/bytes.hpp"
#include "pronto/base/result.hpp"
#include "pronto/wire/reply_code.hpp"
#include "pronto/wire/writer.hpp"

namespace pronto::wire {

/// Type, channel, size before the payload and the end octet behind it.
inline constexpr std::size_t frame_overhead_bytes = 8;
/// No peer may negotiate less. Source: AMQP 0-9-1 section 1.2, frame-min-size.
inline constexpr std::uint32_t frame_bytes_min = 4'096;
/// What RabbitMQ proposes.
inline constexpr std::uint32_t frame_bytes_default = 131'072;
/// The largest frame before tuning is done; RabbitMQ's initial_frame_max.
inline constexpr std::uint32_t frame_bytes_initial = 8'192;
inline constexpr std::byte frame_end{0xCE};

enum class FrameType : std::uint8_t { method = 1, header = 2, body = 3, heartbeat = 8 };

/// One frame, in place:
///
///     +------+---------+------------+~~~~~~~~~+-----+
///     | type | channel | size       | payload | CE  |
///     | u8   | u16     | u32        | size    | u8  |
///     +------+---------+------------+~~~~~~~~~+-----+
struct FrameView {
  FrameType type = FrameType::heartbeat;
  std::uint16_t channel = 0;
  BytesView payload;

  /// Returns: how many bytes of the input the whole frame took.
  std::size_t frame_bytes() const noexcept { return payload.size() + frame_overhead_bytes; }
};

/// Finds the frame at the start of `in`, without copying.
///
/// Takes: `frame_bytes_max`, the negotiated limit for whole frames, overhead included; above 8.
/// Returns: nothing when the frame is not complete yet; it is refused as soon as its first bytes
/// are. Errors: `frame_error` for a type that is none, a frame above the limit, a wrong end octet,
/// a heartbeat with a payload or on a channel; `unexpected_frame` for content on channel 0. Runs
/// on: any thread. Source: AMQP 0-9-1 section 4.2.3.
Result<std::optional<FrameView>, Fault> parse_frame(BytesView in, std::uint32_t frame_bytes_max);

/// Appends what comes before a payload of `payload_bytes`; the caller adds payload and `frame_end`.
/// For writers that gather payloads from elsewhere. Runs on: any thread.
void append_frame_start(Bytes& out, FrameType type, std::uint16_t channel,
                        std::uint32_t payload_bytes);
namespace detail {
/// Writes what comes before the payload that `writer` has written behind `start`, and the end octet
/// behind it. Returns: where the frame ends in `out`.
std::size_t write_frame_around(Bytes& out, std::size_t start, RoomWriter payload_end,
                               FrameType type, std::uint16_t channel) noexcept;
}  // namespace detail

/// Appends a whole frame. Runs on: any thread.
void append_frame(Bytes& out, FrameType type, std::uint16_t channel, BytesView payload);
void append_heartbeat(Bytes& out);

/// Who is calling, by the first bytes of a connection.
enum class Greeting {
  incomplete,  ///< may become a protocol header: read on
  amqp_0_9_1,
  amqp_0_9,
  amqp_0_8,
  amqp_1_0,
  http,       ///< an HTTP request line on the AMQP port
  tls_hello,  ///< TLS on the plain port
  garbage
};

inline constexpr std::size_t protocol_header_bytes = 8;

/// Takes: all bytes received so far; only the first 8 count. Runs on: any thread.
Greeting classify_greeting(BytesView received) noexcept;

/// `AMQP` 0 0 9 1: opens a connection, and answers a header of any other protocol.
BytesView protocol_header() noexcept;

}  // namespace pronto::wire
