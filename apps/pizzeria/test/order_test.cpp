#include "order.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "menu.hpp"
#include "order_id.hpp"
#include "order_request.hpp"

namespace pizzeria {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> wrong_fields(std::string_view body) {
  const auto request = parse_order_json(body);
  std::vector<std::string> fields;
  if (!request) {
    for (const FieldError& error : request.error()) fields.push_back(error.field);
  }
  return fields;
}

TEST(OrderRequest, TakesWhatTheDesignShows) {
  const auto request =
      parse_order_json(R"({"items":[{"pizza":"margherita","size":"large","quantity":1}],)"
                       R"("callback_url":"https://example.com/x"})");
  ASSERT_TRUE(request.has_value());
  EXPECT_EQ(request->items, (std::vector<Item>{{"margherita", "large", 1}}));
  EXPECT_EQ(request->callback_url, "https://example.com/x");
}

TEST(OrderRequest, NamesEveryFieldThatIsWrong) {
  EXPECT_THAT(wrong_fields("{"), ElementsAre(""));
  EXPECT_THAT(wrong_fields("[]"), ElementsAre(""));
  EXPECT_THAT(wrong_fields("{}"), ElementsAre("items"));
  EXPECT_THAT(wrong_fields(R"({"items":[]})"), ElementsAre("items"));
  EXPECT_THAT(wrong_fields(R"({"items":[{"pizza":"hawaii","size":"huge","quantity":0}]})"),
              ElementsAre("items[0].pizza", "items[0].size", "items[0].quantity"));
  EXPECT_THAT(wrong_fields(R"({"items":[{"pizza":1,"size":"small","quantity":1.5}]})"),
              ElementsAre("items[0].pizza", "items[0].quantity"));
  EXPECT_THAT(wrong_fields(R"({"items":[{"pizza":"funghi","size":"small"}],"tip":1})"),
              ElementsAre("tip"));
  EXPECT_THAT(wrong_fields(R"({"items":[{"pizza":"funghi","size":"small"}],)"
                           R"("callback_secret":"x"})"),
              ElementsAre("callback_secret", "callback_secret"));
}

TEST(OrderRequest, HoldsItsLimits) {
  const auto body = [](int items, int quantity) {
    std::string text = R"({"items":[)";
    for (int i = 0; i < items; ++i) {
      if (i > 0) text += ',';
      text += R"({"pizza":"funghi","size":"small","quantity":)" + std::to_string(quantity) + '}';
    }
    return text + "]}";
  };
  EXPECT_THAT(wrong_fields(body(20, 20)), ElementsAre());
  EXPECT_THAT(wrong_fields(body(21, 1)), ElementsAre("items"));
  EXPECT_THAT(wrong_fields(body(1, 21)), ElementsAre("items[0].quantity"));
}

TEST(OrderRequest, UnderstandsWords) {
  EXPECT_EQ(parse_order_words("2 margherita")->items,
            (std::vector<Item>{{"margherita", "medium", 2}}));
  EXPECT_EQ(parse_order_words("1 large funghi, 2 small marinara")->items,
            (std::vector<Item>{{"funghi", "large", 1}, {"marinara", "small", 2}}));
  EXPECT_THAT(parse_order_words("2 hawaii").error().front().reason, HasSubstr("margherita"));
  EXPECT_FALSE(parse_order_words(""));
  EXPECT_FALSE(parse_order_words("2"));
}

TEST(OrderId, IsKnownToItsCallerOnly) {
  pronto::SeededRandom random{1};
  OrderIds ids{pronto::to_bytes("a key of the server"), random};
  const std::string id = ids.make("alice");
  EXPECT_TRUE(ids.is_of(id, "alice"));
  EXPECT_FALSE(ids.is_of(id, "bob"));
  EXPECT_FALSE(ids.is_of(id.substr(1), "alice"));
  EXPECT_FALSE(ids.is_of("", "alice"));
  for (std::size_t i = 0; i < id.size(); ++i) {
    std::string forged = id;
    forged[i] = forged[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(ids.is_of(forged, "alice")) << i;
  }
  EXPECT_THAT(id, testing::MatchesRegex("[A-Za-z0-9_-]{30}"));
  EXPECT_NE(ids.make("alice"), id);
}

TEST(OrderId, SecretAndPickupCodeAreStable) {
  pronto::SeededRandom random{1};
  const OrderIds ids{pronto::to_bytes("a key of the server"), random};
  EXPECT_EQ(ids.callback_secret("x"), ids.callback_secret("x"));
  EXPECT_NE(ids.callback_secret("x"), ids.callback_secret("y"));
  EXPECT_THAT(ids.pickup_code("x"), testing::SizeIs(4));
}

TEST(Order, ShowsWhatClientsRelyOn) {
  pronto::SeededRandom random{1};
  const OrderIds ids{pronto::to_bytes("key"), random};
  Order order = to_order({.order = "o1",
                          .customer = "alice",
                          .items = {{"funghi", "small", 2}},
                          .placed_at = "2026-11-24T15:00:00.000Z",
                          .estimated_ready_at = "2026-11-24T15:00:20.000Z",
                          .estimated_ready_latest = "2026-11-24T15:00:26.000Z",
                          .callback_url = std::nullopt});
  EXPECT_EQ(boost::json::serialize(to_json(order, ids)),
            R"({"id":"o1","items":[{"pizza":"funghi","size":"small","quantity":2}],)"
            R"("status":"placed","estimated_ready_at":"2026-11-24T15:00:20.000Z",)"
            R"("estimated_ready_latest":"2026-11-24T15:00:26.000Z",)"
            R"("journey":[{"status":"placed","at":"2026-11-24T15:00:00.000Z","sequence":1}],)"
            R"("links":{"self":"/orders/o1","events":"/orders/o1/events"}})");
  order.journey.push_back({"ready", "2026-11-24T15:00:20.000Z", 2});
  EXPECT_TRUE(to_json(order, ids).contains("pickup_code"));
  EXPECT_EQ(summary(order.items), "2 \u00D7 funghi, small");
}

TEST(Menu, FormatsMoney) {
  EXPECT_EQ(format_cents(850), "\u20AC8.50");
  EXPECT_EQ(format_cents(1005), "\u20AC10.05");
}

}  // namespace
}  // namespace pizzeria
