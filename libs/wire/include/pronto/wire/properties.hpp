#pragma once

#include <boost/describe/class.hpp>
#include <cstdint>
#include <optional>
#include <string_view>

#include "pronto/base/bytes.hpp"
#include "pronto/base/result.hpp"
#include "pronto/wire/reply_code.hpp"
#include "pronto/wire/table.hpp"
#include "pronto/wire/types.hpp"

namespace pronto::wire {

inline constexpr std::uint16_t basic_class_id = 60;

/// What travels beside a body, in the order of its flags (bit 15 downwards).
/// Source: AMQP 0-9-1 specification, class basic.
struct BasicProperties {
  std::optional<ShortString> content_type;
  std::optional<ShortString> content_encoding;
  std::optional<Table> headers;
  std::optional<std::uint8_t> delivery_mode;  ///< 2: persistent
  std::optional<std::uint8_t> priority;
  std::optional<ShortString> correlation_id;
  std::optional<ShortString> reply_to;
  std::optional<ShortString> expiration;  ///< milliseconds, in decimal
  std::optional<ShortString> message_id;
  std::optional<Timestamp> timestamp;
  std::optional<ShortString> type;
  std::optional<ShortString> user_id;
  std::optional<ShortString> app_id;
  std::optional<ShortString> cluster_id;

  bool operator==(const BasicProperties&) const = default;
};
BOOST_DESCRIBE_STRUCT(BasicProperties, (),
                      (content_type, content_encoding, headers, delivery_mode, priority,
                       correlation_id, reply_to, expiration, message_id, timestamp, type, user_id,
                       app_id, cluster_id))

/// The same without a single allocation: views into the encoded bytes.
struct PropertiesView {
  std::optional<std::string_view> content_type;
  std::optional<std::string_view> content_encoding;
  std::optional<BytesView>
      headers;  ///< the encoded table with its length in front, walked and sound
  std::optional<std::uint8_t> delivery_mode;
  std::optional<std::uint8_t> priority;
  std::optional<std::string_view> correlation_id;
  std::optional<std::string_view> reply_to;
  std::optional<std::string_view> expiration;
  std::optional<std::string_view> message_id;
  std::optional<Timestamp> timestamp;
  std::optional<std::string_view> type;
  std::optional<std::string_view> user_id;
  std::optional<std::string_view> app_id;
  std::optional<std::string_view> cluster_id;

  bool is_persistent() const noexcept { return delivery_mode == 2; }
};
BOOST_DESCRIBE_STRUCT(PropertiesView, (),
                      (content_type, content_encoding, headers, delivery_mode, priority,
                       correlation_id, reply_to, expiration, message_id, timestamp, type, user_id,
                       app_id, cluster_id))

/// Encoded properties are the flags and the fields, as they stand in a content header behind the
/// body size. A broker keeps and passes on these bytes and never encodes them again.
///
/// Errors, of the three readers: `syntax_error` for unknown flags (bits 1 and 0, the latter
/// announcing more flags, which class basic never has), for fields that do not fit, and for bytes
/// left over. Runs on: any thread.
Result<BasicProperties, Fault> decode_properties(BytesView encoded);
/// As `decode_properties`, with every check, but nothing is copied.
/// Takes: bytes that outlive the view.
Result<PropertiesView, Fault> peek_properties(BytesView encoded);
/// Reads one encoded table, length in front, as `PropertiesView::headers` has it.
Result<Table, Fault> decode_table(BytesView encoded);

void append_properties(Bytes& out, const BasicProperties& properties);
Bytes encode_properties(const BasicProperties& properties);

/// A content header, decoded.
///
///     +----------+--------+-----------+-------+~~~~~~~~+
///     | class id | weight | body size | flags | fields |
///     | u16      | u16 =0 | u64       | u16   |        |
///     +----------+--------+-----------+-------+~~~~~~~~+
struct ContentHeader {
  std::uint16_t class_id = basic_class_id;
  std::uint64_t body_bytes = 0;
  BasicProperties properties;

  bool operator==(const ContentHeader&) const = default;
};

/// A content header in place; the properties are not looked at yet.
struct ContentHeaderView {
  std::uint16_t class_id = basic_class_id;
  std::uint64_t body_bytes = 0;
  BytesView encoded_properties;
};

/// Takes: the payload of a header frame. The body size may be anything: the caller limits it.
/// Errors: `syntax_error` when it is too short or its weight is not zero; and those of the
/// properties. Runs on: any thread. Source: AMQP 0-9-1 section 4.2.6.1.
Result<ContentHeader, Fault> decode_content_header(BytesView payload);
/// As above, reading only the fixed part.
Result<ContentHeaderView, Fault> parse_content_header(BytesView payload);
/// Appends the payload of a header frame.
void append_content_header(Bytes& out, const ContentHeader& header);

/// Appends a whole header frame of class basic. Takes: properties as `encode_properties` returns
/// them. A header cannot be split: above the peer's frame limit, the caller must not send it.
void append_content_header_frame(Bytes& out, std::uint16_t channel, BytesView encoded_properties,
                                 std::uint64_t body_bytes);
/// Appends header frame and body frames, the body cut at `frame_bytes_max` (a whole frame, above
/// 8). An empty body has no body frame.
void append_content_frames(Bytes& out, std::uint16_t channel, BytesView encoded_properties,
                           BytesView body, std::uint32_t frame_bytes_max);

}  // namespace pronto::wire
