#include "pronto/pages/pages.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <regex>
#include <string>

namespace pronto::pizzeria {
namespace {

std::string gunzip(std::string_view packed, std::size_t bytes) {
  std::string out(bytes, '\0');
  z_stream stream{};
  EXPECT_EQ(inflateInit2(&stream, 16 + MAX_WBITS), Z_OK);
  std::string in{packed};
  stream.next_in = reinterpret_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
  inflateEnd(&stream);
  return out;
}

TEST(Pages, AreFoundByTheirExactPathOnly) {
  ASSERT_THAT(pages(), testing::Not(testing::IsEmpty()));
  EXPECT_TRUE(std::ranges::is_sorted(pages(), {}, &Page::path));
  for (const Page& page : pages()) EXPECT_EQ(find_page(page.path), &page) << page.path;
  EXPECT_EQ(find_page(""), nullptr);
  EXPECT_EQ(find_page("/assets/"), nullptr);
  EXPECT_EQ(find_page("customer/index.htm"), nullptr);
  EXPECT_EQ(find_page("zzz"), nullptr);
}

TEST(Pages, CarryTypeTagAndCacheRuleEach) {
  for (const Page& page : pages()) {
    SCOPED_TRACE(page.path);
    EXPECT_THAT(page.content_type, testing::Not(testing::IsEmpty()));
    EXPECT_THAT(std::string{page.etag}, testing::MatchesRegex("\"[0-9a-f]{16}\""));
    EXPECT_THAT(page.cache_control, testing::Not(testing::IsEmpty()));
  }
}

TEST(Pages, UnpackToTheSameBytes) {
  int packed = 0;
  for (const Page& page : pages()) {
    if (page.gzip.empty()) continue;
    ++packed;
    EXPECT_TRUE(page.path.starts_with('/')) << page.path << " is a template";
    EXPECT_EQ(gunzip(page.gzip, page.identity.size()), page.identity) << page.path;
  }
  EXPECT_GT(packed, 3);
}

TEST(Pages, NameOnlyAssetsThatAreThereAndNothingFromElsewhere) {
  const std::regex asset{"/assets/[A-Za-z0-9_.-]+"};
  for (const Page& page : pages()) {
    if (!page.content_type.starts_with("text/html")) continue;
    const std::string text{page.identity};
    for (auto at = std::sregex_iterator{text.begin(), text.end(), asset};
         at != std::sregex_iterator{}; ++at) {
      EXPECT_NE(find_page(at->str()), nullptr) << page.path << " names " << at->str();
    }
    EXPECT_THAT(text, testing::Not(testing::HasSubstr("src=\"http"))) << page.path;
    EXPECT_THAT(text, testing::Not(testing::HasSubstr("{{>"))) << page.path;
  }
}

}  // namespace
}  // namespace pronto::pizzeria
