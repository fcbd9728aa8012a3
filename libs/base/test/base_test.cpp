#include <gtest/gtest.h>

#include <map>
#include <string>

#include "pronto/base/crc32c.hpp"
#include "pronto/base/crypto.hpp"
#include "pronto/base/random.hpp"
#include "pronto/base/result.hpp"
#include "pronto/base/text.hpp"
#include "pronto/base/time.hpp"

namespace pronto {
namespace {

Result<int> half(int number) {
  if (number % 2 != 0) return Error::malformed;
  return number / 2;
}

TEST(Result, CarriesAValueOrAnError) {
  EXPECT_EQ(half(4).value(), 2);
  EXPECT_EQ(half(3).error(), make_error_code(Error::malformed));
  EXPECT_EQ(half(3).value_or(7), 7);
}

TEST(Result, OfAStringTakesTextAsTheValue) {
  const Result<std::string, std::string> result = std::string{"margherita"};
  EXPECT_TRUE(result.has_value());
}

// Source: RFC 3720 appendix B.4.
TEST(Crc32c, MatchesTheVectorsOfItsRfc) {
  EXPECT_EQ(crc32c(Bytes(32, std::byte{0})), 0x8A9136AAU);
  EXPECT_EQ(crc32c(Bytes(32, std::byte{0xFF})), 0x62A8AB43U);
  EXPECT_EQ(crc32c(as_bytes("123456789")), 0xE3069283U);
}

TEST(Crc32c, BothWaysAgreeAndCanGoOn) {
  SeededRandom random{1};
  for (std::size_t size = 0; size < 100; ++size) {
    Bytes bytes(size);
    random.fill(bytes);
    EXPECT_EQ(crc32c(bytes), detail::crc32c_portable(bytes, 0));
    const BytesView view{bytes};
    EXPECT_EQ(crc32c(view.subspan(size / 3), crc32c(view.first(size / 3))), crc32c(bytes));
  }
}

// Source: RFC 4231 test case 2.
TEST(Hmac, MatchesItsRfc) {
  EXPECT_EQ(to_hex(hmac_sha256(as_bytes("Jefe"), as_bytes("what do ya want for nothing?"))),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(Base64, RoundTripsEveryLength) {
  SeededRandom random{2};
  for (std::size_t size = 0; size < 40; ++size) {
    Bytes bytes(size);
    random.fill(bytes);
    EXPECT_EQ(from_base64(to_base64(bytes)), bytes);
    EXPECT_EQ(from_base64url(to_base64url(bytes)), bytes);
  }
}

TEST(Base64, RefusesWhatIsNotBase64) {
  EXPECT_FALSE(from_base64("abc"));
  EXPECT_FALSE(from_base64("ab c"));
  EXPECT_FALSE(from_base64("a===") && from_base64("===="));
  EXPECT_FALSE(from_base64url("a+b/"));
}

TEST(Random, DrawsBelowItsBoundEvenly) {
  SeededRandom random{3};
  std::map<std::uint64_t, int> seen;
  for (int i = 0; i < 3000; ++i) ++seen[random.below(3)];
  EXPECT_EQ(seen.size(), 3U);
  for (const auto& [value, count] : seen) EXPECT_NEAR(count, 1000, 120) << value;
}

TEST(Time, WritesAndReadsRfc3339) {
  const WallTime time{milliseconds{1'795'532'645'678}};
  EXPECT_EQ(to_rfc3339(time), "2026-11-24T15:04:05.678Z");
  EXPECT_EQ(from_rfc3339(to_rfc3339(time)), time);
  EXPECT_EQ(from_rfc3339("2026-11-24T16:04:05.678+01:00"), time);
  EXPECT_EQ(to_http_date(time), "Tue, 24 Nov 2026 15:04:05 GMT");
}

TEST(Time, RefusesWhatIsNotATime) {
  for (const char* text : {"", "2026-13-01T00:00:00Z", "2026-11-24T25:00:00Z", "2026-11-24",
                           "2026-11-24T15:04:05", "2026-11-24T15:04:05.Z"}) {
    EXPECT_FALSE(from_rfc3339(text)) << text;
  }
}

TEST(Text, KnowsUtf8) {
  EXPECT_TRUE(is_utf8("Quattro Stagioni \xC3\xA8 \xE2\x82\xAC \xF0\x9F\x8D\x95"));
  for (std::size_t at = 0; at < 40; ++at) {
    std::string text(40, 'a');
    EXPECT_TRUE(is_utf8(text));
    text[at] = '\x80';
    EXPECT_FALSE(is_utf8(text)) << at;
    EXPECT_TRUE(is_utf8(text.replace(at, 1, "\xC3\xA8"))) << at;
  }
  EXPECT_FALSE(is_utf8("\xC0\xAF"));
  EXPECT_FALSE(is_utf8("\xED\xA0\x80"));
  EXPECT_FALSE(is_utf8("\xF4\x90\x80\x80"));
  EXPECT_FALSE(is_utf8("\xE2\x82"));
}

TEST(Text, PercentDecodingUndoesEncoding) {
  const std::string text = "a b&c=/\xC3\xA8%";
  EXPECT_EQ(percent_decode(percent_encode(text)), text);
  EXPECT_EQ(percent_decode("a+b", true), "a b");
  EXPECT_FALSE(percent_decode("%4"));
  EXPECT_FALSE(percent_decode("%zz"));
}

TEST(Text, FindsTheNearestName) {
  EXPECT_EQ(nearest_name("workes", {"workers", "broker", "data"}), "workers");
  EXPECT_FALSE(nearest_name("zzzzzz", {"workers", "broker"}));
}

}  // namespace
}  // namespace pronto
