#include "pronto/wire/properties.hpp"

#include <gtest/gtest.h>

#include "pronto/wire/frame.hpp"
#include "pronto/wire/writer.hpp"
#include "samples.hpp"

namespace pronto::wire {
namespace {

TEST(Properties, ComeBackAsTheyWent) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    SeededRandom random{seed};
    const BasicProperties properties = random_properties(random);
    const Bytes encoded = encode_properties(properties);
    const auto read = decode_properties(encoded);
    ASSERT_TRUE(read.has_value()) << "seed " << seed;
    EXPECT_EQ(*read, properties) << "seed " << seed;
    const auto peeked = peek_properties(encoded);
    ASSERT_TRUE(peeked.has_value()) << "seed " << seed;
    EXPECT_EQ(peeked->delivery_mode, properties.delivery_mode);
    EXPECT_EQ(peeked->priority, properties.priority);
    EXPECT_EQ(peeked->headers.has_value(), properties.headers.has_value());
    if (peeked->headers) EXPECT_EQ(*decode_table(*peeked->headers), *properties.headers);
    EXPECT_EQ(peeked->user_id.has_value(), properties.user_id.has_value());
    if (peeked->user_id) EXPECT_EQ(*properties.user_id, *peeked->user_id);
  }
}

TEST(Properties, HaveTheBytesOfTheSpecification) {
  const BasicProperties properties{
      .content_type = "a", .delivery_mode = 2, .expiration = "60", .timestamp = Timestamp{1}};
  EXPECT_EQ(to_hex(encode_properties(properties)),
            "9140"
            "0161"
            "02"
            "023630"
            "0000000000000001");
  EXPECT_EQ(to_hex(encode_properties({})), "0000");
}

TEST(Properties, WithUnknownFlagsOrMoreFlagsToComeAreRefused) {
  for (const int flags : {1, 2, 3, 0x8001}) {
    Bytes bytes;
    Writer{bytes}.write(static_cast<std::uint16_t>(flags));
    append(bytes, to_bytes(std::string(20, '\0')));
    EXPECT_FALSE(decode_properties(bytes).has_value()) << flags;
    EXPECT_FALSE(peek_properties(bytes).has_value()) << flags;
  }
}

TEST(Properties, CutOrWithBytesLeftOverAreRefused) {
  SeededRandom random{7};
  BasicProperties properties = random_properties(random);
  properties.headers = random_table(random);
  properties.message_id = "id";
  Bytes bytes = encode_properties(properties);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode_properties(BytesView{bytes}.first(size)).has_value()) << size;
    EXPECT_FALSE(peek_properties(BytesView{bytes}.first(size)).has_value()) << size;
  }
  bytes.push_back(std::byte{0});
  EXPECT_FALSE(decode_properties(bytes).has_value());
  EXPECT_FALSE(peek_properties(bytes).has_value());
}

TEST(ContentHeader, ComesBackAsItWent) {
  SeededRandom random{8};
  const ContentHeader header{.body_bytes = 0x8000'0000'0000'0000,
                             .properties = random_properties(random)};
  Bytes payload;
  append_content_header(payload, header);
  EXPECT_EQ(*decode_content_header(payload), header);
  const auto view = parse_content_header(payload);
  ASSERT_TRUE(view.has_value());
  EXPECT_EQ(view->class_id, 60);
  EXPECT_EQ(view->body_bytes, header.body_bytes);
  EXPECT_EQ(to_hex(view->encoded_properties), to_hex(encode_properties(header.properties)));
}

TEST(ContentHeader, OfAnyWeightButZeroIsRefused) {
  Bytes payload;
  append_content_header(payload, {});
  payload[3] = std::byte{1};
  const auto header = decode_content_header(payload);
  ASSERT_FALSE(header.has_value());
  EXPECT_EQ(header.error().code, ReplyCode::syntax_error);
  for (std::size_t size = 0; size < 12; ++size) {
    EXPECT_FALSE(parse_content_header(BytesView{payload}.first(size)).has_value()) << size;
  }
}

/// The frames that follow one another in `bytes`.
std::vector<FrameView> frames_in(BytesView bytes, std::uint32_t frame_bytes_max) {
  std::vector<FrameView> frames;
  while (!bytes.empty()) {
    const auto frame = parse_frame(bytes, frame_bytes_max);
    EXPECT_TRUE(frame && *frame);
    if (!frame || !*frame) break;
    frames.push_back(**frame);
    bytes = bytes.subspan((*frame)->frame_bytes());
  }
  return frames;
}

TEST(Content, IsCutAtTheFrameLimitAndNowhereElse) {
  constexpr std::uint32_t limit = 100;
  constexpr std::size_t part = limit - frame_overhead_bytes;
  const Bytes properties = encode_properties({.delivery_mode = 2});
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, part - 1, part, part + 1, 2 * part,
                                 2 * part + 1, 50 * part}) {
    SCOPED_TRACE(size);
    Bytes body(size);
    SeededRandom{size}.fill(body);
    Bytes out;
    append_content_frames(out, 4, properties, body, limit);
    const std::vector<FrameView> frames = frames_in(out, limit);
    ASSERT_EQ(frames.size(), 1 + (size + part - 1) / part);
    EXPECT_EQ(frames[0].type, FrameType::header);
    EXPECT_EQ(parse_content_header(frames[0].payload)->body_bytes, size);
    Bytes joined;
    for (std::size_t i = 1; i < frames.size(); ++i) {
      EXPECT_EQ(frames[i].type, FrameType::body);
      EXPECT_EQ(frames[i].channel, 4);
      EXPECT_FALSE(frames[i].payload.empty());
      append(joined, frames[i].payload);
    }
    EXPECT_EQ(joined, body);
  }
}

}  // namespace
}  // namespace pronto::wire
