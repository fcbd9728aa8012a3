#include "pronto/bus/json.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/describe/class.hpp>
#include <boost/describe/enum.hpp>

#include "pronto/bus/handler.hpp"
#include "trace.hpp"

namespace pronto {
namespace {

enum class Size { small, large };
BOOST_DESCRIBE_ENUM(Size, small, large)
struct Item {
  std::string pizza;
  Size size = Size::small;
  std::uint8_t quantity = 0;
  bool operator==(const Item&) const = default;
};
BOOST_DESCRIBE_STRUCT(Item, (), (pizza, size, quantity))
struct Order {
  std::string id;
  std::vector<Item> items;
  std::optional<std::string> note;
  std::map<std::string, std::int64_t> prices;
  WallTime at{};
  milliseconds took{};
  double rate = 0;
  bool is_new = false;
  bool operator==(const Order&) const = default;
};
BOOST_DESCRIBE_STRUCT(Order, (), (id, items, note, prices, at, took, rate, is_new))

Order sample() {
  return {.id = "a\"b\\ü\n",
          .items = {{"margherita", Size::large, 255}, {"funghi", Size::small, 1}},
          .note = "ring",
          .prices = {{"EUR", 1250}, {"CHF", -1}},
          .at = *from_rfc3339("2026-11-24T15:04:05.678Z"),
          .took = milliseconds{1500},
          .rate = 0.25,
          .is_new = true};
}

std::string error_of(std::string_view text) {
  const auto read = from_json<Order>(text);
  return read ? "no error" : read.error();
}

TEST(Json, WhatWasWrittenIsReadBack) {
  const auto read = from_json<Order>(to_json(sample()));
  ASSERT_TRUE(read.has_value()) << read.error();
  EXPECT_EQ(*read, sample());
}

TEST(Json, TheTextIsWhatPeopleExpect) {
  EXPECT_EQ(to_json(sample().items), R"([{"pizza":"margherita","size":"large","quantity":255},)"
                                     R"({"pizza":"funghi","size":"small","quantity":1}])");
  EXPECT_EQ(to_json(WallTime{}), R"("1970-01-01T00:00:00.000Z")");
  EXPECT_EQ(to_json(seconds{2}), "2000");
}

TEST(Json, AnAbsentOptionalIsLeftOutAndMayBeNull) {
  Order order = sample();
  order.note.reset();
  EXPECT_THAT(to_json(order), testing::Not(testing::HasSubstr("note")));
  EXPECT_FALSE(from_json<std::optional<int>>("null").value().has_value());
  ASSERT_TRUE(from_json<Order>(to_json(order)));
}

TEST(Json, UnknownMembersArePassedOver) {
  EXPECT_TRUE(from_json<Item>(R"({"pizza":"a","size":"small","quantity":1,"new":{"x":[1]}})"));
}

TEST(Json, DisagreementsNameTheirPlace) {
  EXPECT_EQ(error_of("[]"), "not an object");
  EXPECT_EQ(error_of("{}"), "id: missing");
  EXPECT_EQ(error_of(R"({"id":7})"), "id: not a text");
  EXPECT_EQ(error_of(R"({"id":"a","items":[{"pizza":"a","size":"huge"}]})"),
            "items[0].size: not one of small, large");
  EXPECT_EQ(error_of(R"({"id":"a","items":[{"pizza":"a","size":"small","quantity":256}]})"),
            "items[0].quantity: not a whole number in range");
  EXPECT_EQ(error_of(R"({"id":"a","items":[{"pizza":"a","size":"small","quantity":-1}]})"),
            "items[0].quantity: not a whole number in range");
  EXPECT_EQ(error_of(R"({"id":"a","items":[],"prices":{"EUR":1.5}})"),
            "prices.EUR: not a whole number in range");
  EXPECT_THAT(error_of("{"), testing::StartsWith("not JSON: "));
  EXPECT_THAT(error_of(""), testing::StartsWith("not JSON: "));
}

TEST(Json, DeepNestingIsRefused) {
  EXPECT_THAT(error_of(std::string(10'000, '[') + std::string(10'000, ']')),
              testing::StartsWith("not JSON: "));
}

TEST(Names, OfHandlersAreReadable) {
  EXPECT_EQ(detail::name_in("Handler make_handler(S &) [function = &shop::History::on, S = X]"),
            "shop::History::on");
  EXPECT_EQ(detail::name_in("[function = &(anonymous namespace)::H::on, Service = H]"), "H::on");
  EXPECT_EQ(detail::name_in("something else"), "a handler");
}

TEST(Traces, GoOnAndBeginAnewWhenThereIsNone) {
  SeededRandom random{7};
  const std::string first = detail::next_traceparent("", random);
  EXPECT_THAT(first, testing::MatchesRegex("00-[0-9a-f]{32}-[0-9a-f]{16}-01"));
  const std::string second = detail::next_traceparent(first, random);
  EXPECT_EQ(second.substr(0, 36), first.substr(0, 36));
  EXPECT_NE(second, first);
  const std::string broken = "00-XYZ";
  EXPECT_EQ(detail::next_traceparent(broken, random).size(), first.size());
}

}  // namespace
}  // namespace pronto
