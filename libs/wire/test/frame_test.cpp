#include "pronto/wire/frame.hpp"

#include <gtest/gtest.h>

namespace pronto::wire {
namespace {

constexpr std::uint32_t limit = frame_bytes_min;

Bytes frame_of(FrameType type, std::uint16_t channel, std::size_t payload_bytes) {
  Bytes out;
  append_frame(out, type, channel, Bytes(payload_bytes, std::byte{7}));
  return out;
}

ReplyCode code_of(const Result<std::optional<FrameView>, Fault>& parsed) {
  return parsed ? ReplyCode::reply_success : parsed.error().code;
}

TEST(Frame, IsFoundInPlaceAndTellsWhatItTook) {
  Bytes in = frame_of(FrameType::method, 0x0102, 5);
  append(in, frame_of(FrameType::body, 3, 0));
  const auto first = parse_frame(in, limit);
  ASSERT_TRUE(first && *first);
  EXPECT_EQ((*first)->type, FrameType::method);
  EXPECT_EQ((*first)->channel, 0x0102);
  EXPECT_EQ((*first)->payload.data(), in.data() + 7);
  EXPECT_EQ((*first)->payload.size(), 5U);
  EXPECT_EQ((*first)->frame_bytes(), 13U);
  const auto second = parse_frame(BytesView{in}.subspan(13), limit);
  ASSERT_TRUE(second && *second);
  EXPECT_EQ((*second)->type, FrameType::body);
  EXPECT_TRUE((*second)->payload.empty());
}

TEST(Frame, NeedsMoreAfterEachProperPrefix) {
  const Bytes in = frame_of(FrameType::header, 1, 20);
  for (std::size_t size = 0; size < in.size(); ++size) {
    SCOPED_TRACE(size);
    const auto parsed = parse_frame(BytesView{in}.first(size), limit);
    ASSERT_TRUE(parsed.has_value());
    EXPECT_FALSE(parsed->has_value());
  }
}

TEST(Frame, IsTakenAtTheLimitAndRefusedOnePastItBeforeItsPayloadArrives) {
  EXPECT_EQ(code_of(parse_frame(frame_of(FrameType::body, 1, limit - 8), limit)),
            ReplyCode::reply_success);
  const Bytes above = frame_of(FrameType::body, 1, limit - 7);
  EXPECT_EQ(code_of(parse_frame(BytesView{above}.first(7), limit)), ReplyCode::frame_error);
  Bytes largest;
  append_frame_start(largest, FrameType::body, 1, 0xFFFF'FFFF);
  EXPECT_EQ(code_of(parse_frame(largest, 0xFFFF'FFFF)), ReplyCode::frame_error);
}

TEST(Frame, WithAWrongEndOctetIsRefused) {
  Bytes in = frame_of(FrameType::method, 0, 4);
  in.back() = std::byte{0xCD};
  EXPECT_EQ(code_of(parse_frame(in, limit)), ReplyCode::frame_error);
}

TEST(Frame, OfAnUnknownTypeIsRefusedAtItsFirstByte) {
  for (int type = 0; type < 256; ++type) {
    if ((type >= 1 && type <= 3) || type == 8) continue;
    const Bytes in{static_cast<std::byte>(type)};
    EXPECT_EQ(code_of(parse_frame(in, limit)), ReplyCode::frame_error) << type;
  }
}

TEST(Frame, HeartbeatIsEmptyAndOnChannelZero) {
  Bytes beat;
  append_heartbeat(beat);
  EXPECT_EQ(to_hex(beat), "08000000000000ce");
  EXPECT_EQ(code_of(parse_frame(beat, limit)), ReplyCode::reply_success);
  EXPECT_EQ(code_of(parse_frame(frame_of(FrameType::heartbeat, 1, 0), limit)),
            ReplyCode::frame_error);
  EXPECT_EQ(code_of(parse_frame(frame_of(FrameType::heartbeat, 0, 1), limit)),
            ReplyCode::frame_error);
}

TEST(Frame, ContentOnChannelZeroIsUnexpected) {
  EXPECT_EQ(code_of(parse_frame(frame_of(FrameType::header, 0, 14), limit)),
            ReplyCode::unexpected_frame);
  EXPECT_EQ(code_of(parse_frame(frame_of(FrameType::body, 0, 1), limit)),
            ReplyCode::unexpected_frame);
}

TEST(Greeting, TellsProtocolsApart) {
  using namespace std::string_view_literals;
  const std::pair<std::string_view, Greeting> cases[] = {
      {"AMQP\0\0\x09\x01"sv, Greeting::amqp_0_9_1},
      {"AMQP\x01\x01\0\x09"sv, Greeting::amqp_0_9},
      {"AMQP\x01\x01\x08\0"sv, Greeting::amqp_0_8},
      {"AMQP\x01\x01\x09\x01"sv, Greeting::amqp_0_8},
      {"AMQP\0\x01\0\0"sv, Greeting::amqp_1_0},
      {"AMQP\x03\x01\0\0"sv, Greeting::amqp_1_0},
      {"AMQP\0\0\x09\x02"sv, Greeting::garbage},
      {"GET / HTTP/1.1\r\n"sv, Greeting::http},
      {"POST /orders"sv, Greeting::http},
      {"\x16\x03\x01\x02\0\x01\0\x01"sv, Greeting::tls_hello},
      {"hello broker"sv, Greeting::garbage},
      {"\xFF"sv, Greeting::garbage},
      {""sv, Greeting::incomplete},
      {"AMQP\0\0\x09"sv, Greeting::incomplete},
      {"A"sv, Greeting::incomplete},
      {"GE"sv, Greeting::incomplete},
  };
  for (const auto& [bytes, expected] : cases) {
    EXPECT_EQ(classify_greeting(as_bytes(bytes)), expected) << to_hex(as_bytes(bytes));
  }
  EXPECT_EQ(classify_greeting(protocol_header()), Greeting::amqp_0_9_1);
}

TEST(Fault, SpeaksAsRabbitMqDoes) {
  const Fault fault{ReplyCode::not_found, "no queue 'x' in vhost '/'"};
  EXPECT_EQ(fault.reply_text(), "NOT_FOUND - no queue 'x' in vhost '/'");
  EXPECT_FALSE(fault.is_connection_error);
  EXPECT_TRUE((Fault{ReplyCode::not_allowed, "x"}).is_connection_error);
  EXPECT_TRUE(
      (Fault{.code = ReplyCode::access_refused, .is_connection_error = true}).is_connection_error);
}

TEST(Fault, TextIsCutToAShortStringAndNeverInsideACharacter) {
  const std::string_view start = "NOT_FOUND - ";
  const std::string fits(255 - start.size(), 'x');
  EXPECT_EQ((Fault{ReplyCode::not_found, fits}).reply_text().size(), 255U);
  const std::string cut = Fault{ReplyCode::not_found, fits + "x"}.reply_text();
  EXPECT_EQ(cut.size(), 255U);
  EXPECT_TRUE(cut.ends_with("x..."));
  const std::string odd = "x";
  std::string euros;
  for (int i = 0; i < 100; ++i) euros += "€";
  for (const std::string& text : {euros, odd + euros, odd + odd + euros}) {
    const std::string reply = Fault{ReplyCode::not_found, text}.reply_text();
    EXPECT_LE(reply.size(), 255U);
    EXPECT_TRUE(reply.ends_with("€..."));
  }
}

}  // namespace
}  // namespace pronto::wire
