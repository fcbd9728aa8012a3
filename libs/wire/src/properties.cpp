#include "pronto/wire/properties.hpp"

#include <algorithm>
#include <boost/describe/members.hpp>
#include <boost/mp11/algorithm.hpp>
#include <cstring>

#include "pronto/wire/frame.hpp"
#include "pronto/wire/reader.hpp"
#include "pronto/wire/writer.hpp"

namespace pronto::wire {
namespace {

template <class Properties>
using Members = boost::describe::describe_members<Properties, boost::describe::mod_public>;

constexpr std::uint16_t first_flag = 0x8000;
// Bit 0 announces another word of flags and bit 1 is unused: class basic has 14 properties.
constexpr std::uint16_t unknown_flags = 0x0003;

void read_field(Reader& in, std::uint8_t& out) {
  in.read(out);
}
void read_field(Reader& in, Timestamp& out) {
  in.read(out);
}
void read_field(Reader& in, Table& out) {
  in.read(out);
}
void read_field(Reader& in, ShortString& out) {
  out = ShortString{in.read_short_view()};
}
void read_field(Reader& in, std::string_view& out) {
  out = in.read_short_view();
}
void read_field(Reader& in, BytesView& out) {
  out = in.skip_table();
}

template <class Properties>
Result<Properties, Fault> read_properties(Reader in) {
  std::uint16_t flags = 0;
  in.read(flags);
  if ((flags & unknown_flags) != 0) in.fail("unknown property flags");
  // Made where it is returned: it is some hundred bytes, and read several times for each message.
  Result<Properties, Fault> read{Properties{}};
  Properties& properties = *read;
  std::uint16_t flag = first_flag;
  boost::mp11::mp_for_each<Members<Properties>>([&](auto field) {
    if ((flags & flag) != 0) read_field(in, (properties.*field.pointer).emplace());
    flag = static_cast<std::uint16_t>(flag >> 1U);
  });
  in.expect_end();
  if (in.failed()) read = in.fault();
  return read;
}

}  // namespace

Result<BasicProperties, Fault> decode_properties(BytesView encoded) {
  return read_properties<BasicProperties>(Reader{encoded});
}

Result<PropertiesView, Fault> peek_properties(BytesView encoded) {
  return read_properties<PropertiesView>(Reader{encoded});
}

Result<Table, Fault> decode_table(BytesView encoded) {
  Reader in{encoded};
  Table table;
  in.read(table);
  in.expect_end();
  if (in.failed()) return in.fault();
  return table;
}

void append_properties(Bytes& out, const BasicProperties& properties) {
  const std::size_t flags_at = out.size();
  Writer writer{out};
  writer.write(std::uint16_t{0});
  std::uint16_t flags = 0;
  std::uint16_t flag = first_flag;
  boost::mp11::mp_for_each<Members<BasicProperties>>([&](auto field) {
    if (const auto& value = properties.*field.pointer) {
      flags |= flag;
      writer.write(*value);
    }
    flag = static_cast<std::uint16_t>(flag >> 1U);
  });
  flags = std::byteswap(flags);
  std::memcpy(out.data() + flags_at, &flags, sizeof flags);
}

Bytes encode_properties(const BasicProperties& properties) {
  Bytes out;
  append_properties(out, properties);
  return out;
}

Result<ContentHeaderView, Fault> parse_content_header(BytesView payload) {
  Reader in{payload};
  ContentHeaderView header;
  std::uint16_t weight = 0;
  in.read(header.class_id);
  in.read(weight);
  in.read(header.body_bytes);
  if (in.failed()) return in.fault();
  if (weight != 0) {
    return Fault{ReplyCode::syntax_error,
                 "content header of weight " + std::to_string(weight) + ", which must be 0"};
  }
  header.encoded_properties = payload.last(in.bytes_left());
  return header;
}

Result<ContentHeader, Fault> decode_content_header(BytesView payload) {
  const Result<ContentHeaderView, Fault> header = parse_content_header(payload);
  if (!header) return header.error();
  Result<BasicProperties, Fault> properties = decode_properties(header->encoded_properties);
  if (!properties) return properties.error();
  return ContentHeader{header->class_id, header->body_bytes, std::move(*properties)};
}

namespace {

void write_fixed_part(auto& writer, std::uint16_t class_id, std::uint64_t body_bytes) {
  writer.write(class_id);
  writer.write(std::uint16_t{0});
  writer.write(body_bytes);
}

constexpr std::size_t fixed_part_bytes = 12;

}  // namespace

void append_content_header(Bytes& out, const ContentHeader& header) {
  Writer writer{out};
  write_fixed_part(writer, header.class_id, header.body_bytes);
  append_properties(out, header.properties);
}

void append_content_header_frame(Bytes& out, std::uint16_t channel, BytesView encoded_properties,
                                 std::uint64_t body_bytes) {
  const std::size_t start = out.size();
  out.resize(start + frame_overhead_bytes + fixed_part_bytes + encoded_properties.size());
  RoomWriter writer{out.data() + start + frame_overhead_bytes - 1};
  write_fixed_part(writer, basic_class_id, body_bytes);
  writer.write(encoded_properties);
  detail::write_frame_around(out, start, writer, FrameType::header, channel);
}

void append_content_frames(Bytes& out, std::uint16_t channel, BytesView encoded_properties,
                           BytesView body, std::uint32_t frame_bytes_max) {
  PRONTO_ASSERT(frame_bytes_max > frame_overhead_bytes);
  append_content_header_frame(out, channel, encoded_properties, body.size());
  const std::size_t payload_bytes_max = frame_bytes_max - frame_overhead_bytes;
  while (!body.empty()) {
    const BytesView part = body.first(std::min(body.size(), payload_bytes_max));
    append_frame(out, FrameType::body, channel, part);
    body = body.subspan(part.size());
  }
}

}  // namespace pronto::wire
