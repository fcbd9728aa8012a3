#include "pronto/wire/methods.hpp"

#include <gtest/gtest.h>

#include <set>

#include "samples.hpp"

namespace pronto::wire {
namespace {

Bytes payload_of(const Method& method) {
  Bytes out;
  std::visit([&](const auto& known) { append_method(out, known); }, method);
  return out;
}

Bytes from_hex(std::string_view hex) {
  Bytes out;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    out.push_back(static_cast<std::byte>(std::stoi(std::string{hex.substr(i, 2)}, nullptr, 16)));
  }
  return out;
}

TEST(Methods, AllComeBackAsTheyWent) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    SeededRandom random{seed};
    for (const Method& method : random_methods(random)) {
      SCOPED_TRACE(testing::Message() << name_of(method) << " seed " << seed);
      const Result<Method, Fault> read = decode_method(payload_of(method));
      ASSERT_TRUE(read.has_value()) << read.error().text;
      EXPECT_EQ(*read, method);
    }
  }
}

TEST(Methods, FramesHoldTheMethodAndNothingElse) {
  SeededRandom random{1};
  for (const Method& method : random_methods(random)) {
    SCOPED_TRACE(name_of(method));
    Bytes out = to_bytes("before");
    append_method_frame(out, 9, method);
    const auto frame = parse_frame(BytesView{out}.subspan(6), 1 << 20);
    ASSERT_TRUE(frame && *frame);
    EXPECT_EQ((*frame)->channel, 9);
    EXPECT_EQ((*frame)->frame_bytes(), out.size() - 6);
    EXPECT_EQ(to_hex((*frame)->payload), to_hex(payload_of(method)));
  }
}

TEST(Methods, ADeliveryIsWrittenFromViewsAsFromTexts) {
  const std::string longest(255, 'x');
  for (const std::string& text : {std::string{}, std::string{"orders"}, longest}) {
    const BasicDeliver whole{.consumer_tag = text,
                             .delivery_tag = 0x0102'0304'0506'0708,
                             .redelivered = true,
                             .exchange = text,
                             .routing_key = longest};
    const BasicDeliverView view{.consumer_tag = text,
                                .delivery_tag = whole.delivery_tag,
                                .redelivered = true,
                                .exchange = text,
                                .routing_key = longest};
    Bytes payload;
    append_method(payload, whole);
    Bytes expected = to_bytes("before");
    append_frame(expected, FrameType::method, 7, payload);
    Bytes frames = to_bytes("before");
    append_method_frame(frames, 7, view);
    EXPECT_EQ(frames, expected);
  }
}

TEST(Methods, CutAnywhereAreRefusedWithTheirId) {
  SeededRandom random{2};
  for (const Method& method : random_methods(random)) {
    const Bytes whole = payload_of(method);
    for (std::size_t size = 0; size < whole.size(); size += 1 + size / 50) {
      SCOPED_TRACE(testing::Message() << name_of(method) << " cut at " << size);
      const Result<Method, Fault> read = decode_method(BytesView{whole}.first(size));
      ASSERT_FALSE(read.has_value());
      EXPECT_TRUE(read.error().is_connection_error);
      if (size >= 4) EXPECT_EQ(read.error().method, id_of(method));
    }
  }
}

TEST(Methods, WithBytesLeftOverAreRefused) {
  SeededRandom random{3};
  for (const Method& method : random_methods(random)) {
    Bytes payload = payload_of(method);
    payload.push_back(std::byte{0});
    const Result<Method, Fault> read = decode_method(payload);
    ASSERT_FALSE(read.has_value()) << name_of(method);
    EXPECT_EQ(read.error().code, ReplyCode::syntax_error);
  }
}

TEST(Methods, UnknownNumbersAreRefused) {
  std::set<std::pair<int, int>> known;
  SeededRandom random{4};
  for (const Method& method : random_methods(random)) {
    const MethodId id = id_of(method);
    EXPECT_TRUE(known.insert({id.class_id, id.method_id}).second) << name_of(method);
    EXPECT_EQ(name_of(id), name_of(method));
  }
  for (int class_id : {0, 1, 10, 20, 30, 40, 50, 60, 61, 85, 90, 91, 255, 256, 65'535}) {
    for (int method_id = 0; method_id < 400; ++method_id) {
      if (known.contains({class_id, method_id})) continue;
      Bytes payload;
      Writer writer{payload};
      writer.write(static_cast<std::uint16_t>(class_id));
      writer.write(static_cast<std::uint16_t>(method_id));
      const Result<Method, Fault> read = decode_method(payload);
      ASSERT_FALSE(read.has_value()) << class_id << "." << method_id;
      ASSERT_EQ(read.error().code, ReplyCode::command_invalid);
    }
  }
}

// Bytes as the specification has them, written down by hand, so that writer and reader cannot be
// wrong together.
TEST(Methods, HaveTheBytesOfTheSpecification) {
  const std::pair<Method, std::string_view> cases[] = {
      {BasicPublish{.exchange = "ex", .routing_key = "key", .mandatory = true},
       "003c0028"
       "0000"
       "026578"
       "036b6579"
       "01"},
      {BasicDeliver{.consumer_tag = "c",
                    .delivery_tag = 0x0102030405060708,
                    .redelivered = true,
                    .exchange = "",
                    .routing_key = "q"},
       "003c003c"
       "0163"
       "0102030405060708"
       "01"
       "00"
       "0171"},
      {BasicNack{.delivery_tag = 1, .multiple = false, .requeue = true},
       "003c0078"
       "0000000000000001"
       "02"},
      {QueueDeclare{.queue = "q",
                    .passive = true,
                    .durable = false,
                    .exclusive = true,
                    .auto_delete = false,
                    .no_wait = true,
                    .arguments = Table{{"x-expires", 1000}}},
       "0032000a"
       "0000"
       "0171"
       "15"
       "0000000f"
       "09782d65787069726573"
       "49000003e8"},
      {ConnectionTune{.channel_max = 2047, .frame_max = 131'072, .heartbeat = 60},
       "000a001e"
       "07ff"
       "00020000"
       "003c"},
      {ExchangeUnbindOk{}, "00280033"},
      {ConnectionUpdateSecret{.new_secret = "s", .reason = "r"},
       "000a0046"
       "0000000173"
       "0172"},
  };
  for (const auto& [method, hex] : cases) {
    EXPECT_EQ(to_hex(payload_of(method)), hex) << name_of(method);
    const Result<Method, Fault> read = decode_method(from_hex(hex));
    ASSERT_TRUE(read.has_value()) << name_of(method);
    EXPECT_EQ(*read, method);
  }
}

TEST(Methods, NineFlagsTakeTwoOctets) {
  Bytes out;
  Writer writer{out};
  for (int i = 0; i < 9; ++i) writer.write(Bit{i % 2 == 0});
  writer.write(std::uint8_t{0xAB});
  writer.write(Bit{true});
  EXPECT_EQ(to_hex(out), "5501ab01");
  Reader reader{out};
  for (int i = 0; i < 9; ++i) {
    Bit bit;
    reader.read(bit);
    EXPECT_EQ(bool{bit}, i % 2 == 0) << i;
  }
  std::uint8_t octet = 0;
  Bit last;
  reader.read(octet);
  reader.read(last);
  reader.expect_end();
  EXPECT_EQ(octet, 0xAB);
  EXPECT_TRUE(bool{last});
  EXPECT_FALSE(reader.failed());
}

TEST(Methods, ShortStringsThatAreNotUtf8AreRefusedAsRabbitMqDoes) {
  Bytes payload = payload_of(QueuePurge{.queue = "ab"});
  payload[7] = std::byte{0xFF};
  const Result<Method, Fault> read = decode_method(payload);
  ASSERT_FALSE(read.has_value());
  EXPECT_EQ(read.error().reply_text(), "FRAME_ERROR - Malformed UTF-8 in shortstr");
}

TEST(Methods, NamesMayHoldZerosAndLineFeedsAnd255Bytes) {
  using namespace std::string_literals;
  for (const std::string& name : {"a\0b"s, "a\nb"s, std::string(255, 'x')}) {
    const Method method = QueueDeclare{.queue = name};
    EXPECT_EQ(*decode_method(payload_of(method)), method);
  }
  EXPECT_FALSE(ShortString::make(std::string(256, 'x')).has_value());
  EXPECT_TRUE(ShortString::make(std::string(255, 'x')).has_value());
}

TEST(MethodsDeathTest, AShortStringAbove255BytesIsABugOfOurs) {
  EXPECT_DEATH(ShortString{std::string(256, 'x')}, "bytes_max");
}

TEST(Methods, OnlyFourAreFollowedByContent) {
  std::set<std::string_view> with_content;
  SeededRandom random{5};
  for (const Method& method : random_methods(random)) {
    if (is_followed_by_content(method)) with_content.insert(name_of(method));
  }
  EXPECT_EQ(with_content, (std::set<std::string_view>{"basic.publish", "basic.return",
                                                      "basic.deliver", "basic.get-ok"}));
}

TEST(Methods, CloseCarriesAFaultThereAndBack) {
  const Fault fault{ReplyCode::precondition_failed, "unknown delivery tag 99", BasicAck::id};
  const ChannelClose close = channel_close(fault);
  EXPECT_EQ(close.reply_code, 406);
  EXPECT_EQ(close.reply_text, "PRECONDITION_FAILED - unknown delivery tag 99");
  EXPECT_EQ(close.class_id, 60);
  EXPECT_EQ(close.method_id, 80);
  EXPECT_EQ(fault_of(close), fault);
  EXPECT_TRUE(fault_of(connection_close(fault)).is_connection_error);
}

}  // namespace
}  // namespace pronto::wire
