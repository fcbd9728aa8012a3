#include "fixture.hpp"

namespace pronto::broker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class DelayedMessages : public BrokerTest {
 protected:
  static ExchangeOptions behind(const char* type) {
    return {.arguments = {{"x-delayed-type", type}}};
  }
  static MessageOptions in(wire::Value delay) {
    return {.properties = with_headers({{"x-delay", std::move(delay)}})};
  }
  /// A queue "q", bound to the delayed exchange "later" with the key "k".
  Peer set_up() {
    Peer peer = open();
    peer.declare("q");
    peer.exchange("later", "x-delayed-message", behind("direct"));
    peer.bind("q", "later", "k");
    return peer;
  }
};

TEST_F(DelayedMessages, AMessageIsRoutedWhenItsDelayHasPassed) {
  Peer peer = set_up();
  peer.publish("later", "k", "1", in(1000));
  advance(milliseconds{999});
  EXPECT_THAT(ready("q"), IsEmpty());
  EXPECT_EQ(broker->delayed_count(), 1U);
  EXPECT_EQ(broker->next_due(), now + milliseconds{1});
  advance(milliseconds{1});
  EXPECT_THAT(ready("q"), ElementsAre("1"));
  EXPECT_EQ(broker->delayed_count(), 0U);
  EXPECT_FALSE(broker->next_due());
  peer.get("q", true);
  EXPECT_EQ(peer.last_properties().headers->find_integer("x-delay"), -1000);
  EXPECT_EQ(outside.body_count(), 0U);
}

TEST_F(DelayedMessages, WithoutADelayTheyAreRoutedAtOnce) {
  Peer peer = set_up();
  peer.publish("later", "k", "none");
  peer.publish("later", "k", "zero", in(0));
  peer.publish("later", "k", "negative", in(-5));
  peer.publish("later", "k", "a word", in("soon"));
  EXPECT_THAT(ready("q"), ElementsAre("none", "zero", "negative", "a word"));
  EXPECT_EQ(broker->delayed_count(), 0U);
}

TEST_F(DelayedMessages, ADelayOfMoreThanTenYearsIsRefused) {
  Peer peer = set_up();
  peer.publish("later", "k", "1", in(std::numeric_limits<std::int64_t>::max()));
  EXPECT_THAT(peer.told(), ElementsAre(HasSubstr("invalid x-delay '9223372036854775807'")));
  // Beyond 32 bits, which the plugin does not take.
  Peer other = open(1, 2);
  other.publish("later", "k", "1", in(std::int64_t{1} << 32U));
  EXPECT_EQ(broker->delayed_count(), 1U);
  advance(milliseconds{std::int64_t{1} << 32U});
  EXPECT_THAT(ready("q"), ElementsAre("1"));
}

// BROKER.md, case 57.
TEST_F(DelayedMessages, TheyComeInTheOrderInWhichTheyAreDue) {
  Peer peer = set_up();
  peer.publish("later", "k", "third", in(300));
  peer.publish("later", "k", "first", in(100));
  peer.publish("later", "k", "second", in(200));
  peer.publish("later", "k", "with the first", in(100));
  crash();
  advance(milliseconds{300});
  EXPECT_THAT(ready("q"), ElementsAre("first", "with the first", "second", "third"));
}

// BROKER.md, case 57.
TEST_F(DelayedMessages, WhatIsOverdueAfterARestartComesInOrderAPartAtATime) {
  Peer peer = set_up();
  limits.load_count_max = 10;
  constexpr int count = 1000;
  for (int i = 0; i < count; ++i) {
    peer.publish("later", "k", std::to_string(i), in(1 + (i * 7919) % count));
  }
  crash();
  is_settling = false;
  wait(milliseconds{2 * count});
  broker->on_time(now);
  EXPECT_EQ(outside.fetches.size(), 10U);
  EXPECT_FALSE(broker->next_due()) << "goes on when what was fetched is there";
  is_settling = true;
  settle();
  const std::vector<std::string> bodies = ready("q");
  ASSERT_EQ(bodies.size(), std::size_t{count});
  for (int at = 0; at < count; ++at) {
    EXPECT_EQ(1 + (std::stoi(bodies[static_cast<std::size_t>(at)]) * 7919) % count, at + 1);
  }
}

TEST_F(DelayedMessages, AreRoutedInOrderHoweverTheirContentsCome) {
  Peer peer = set_up();
  peer.publish("later", "k", "1", in(1));
  peer.publish("later", "k", "2", in(2));
  is_settling = false;
  wait(milliseconds{5});
  broker->on_time(now);
  ASSERT_EQ(outside.fetches.size(), 2U);
  std::swap(outside.fetches[0], outside.fetches[1]);
  answer_fetch();
  EXPECT_THAT(ready("q"), IsEmpty());
  answer_fetch();
  is_settling = true;
  settle();
  EXPECT_THAT(ready("q"), ElementsAre("1", "2"));
}

// BROKER.md, case 49.
TEST_F(DelayedMessages, TheClockMayJump) {
  Peer peer = set_up();
  constexpr std::int64_t hour = 3'600'000;
  peer.publish("later", "k", "in an hour", in(hour));
  wait(milliseconds{-24 * hour});
  advance(milliseconds{24 * hour});
  EXPECT_THAT(ready("q"), IsEmpty()) << "it is due when the clock says so";
  wait(milliseconds{24 * hour});
  advance(milliseconds{0});
  EXPECT_THAT(ready("q"), ElementsAre("in an hour"));
}

TEST_F(DelayedMessages, ASurvivingExchangeHoldsThePersistentOnesOverARestart) {
  Peer peer = set_up();
  peer.confirms();
  peer.publish("later", "k", "stays", in(500));
  peer.publish("later", "k", "goes",
               {.persistent = false, .properties = with_headers({{"x-delay", 500}})});
  EXPECT_THAT(peer.told(), ElementsAre("confirmed 1", "confirmed 2"));
  crash();
  EXPECT_EQ(broker->delayed_count(), 1U);
  advance(milliseconds{500});
  EXPECT_THAT(ready("q"), ElementsAre("stays"));
  crash();
  advance(milliseconds{500});
  EXPECT_THAT(ready("q"), ElementsAre("stays")) << "was routed once";
}

TEST_F(DelayedMessages, ACrashBeforeTheMoveIsDurableRoutesTheMessageOnce) {
  Peer peer = set_up();
  peer.publish("later", "k", "1", in(10));
  is_settling = false;
  wait(milliseconds{10});
  broker->on_time(now);
  answer_fetch();
  is_settling = true;
  crash();
  EXPECT_THAT(ready("q"), IsEmpty());
  EXPECT_EQ(broker->delayed_count(), 1U);
  advance(milliseconds{0});
  EXPECT_THAT(ready("q"), ElementsAre("1"));
}

TEST_F(DelayedMessages, AnUnreadableOneIsSetAsideAndTheOthersGoOn) {
  Peer peer = set_up();
  peer.publish("later", "k", "rotten", in(1));
  peer.publish("later", "k", "sound", in(2));
  outside.unreadable.insert("rotten");
  advance(milliseconds{5});
  EXPECT_THAT(ready("q"), ElementsAre("sound"));
  EXPECT_EQ(broker->delayed_count(), 1U);
  EXPECT_FALSE(broker->next_due());
  outside.unreadable.clear();
  crash();
  advance(milliseconds{0});
  EXPECT_THAT(ready("q"), ElementsAre("sound", "rotten"));
}

TEST_F(DelayedMessages, OneThatIsDueBeforeItIsDurableIsRouted) {
  Peer peer = set_up();
  is_settling = false;
  peer.publish("later", "k", "1", in(10));
  wait(milliseconds{20});
  make_durable(outside.last_sequence());
  EXPECT_EQ(broker->delayed_count(), 1U);
  is_settling = true;
  advance(milliseconds{0});
  EXPECT_THAT(ready("q"), ElementsAre("1"));
}

TEST_F(DelayedMessages, TheTypeBehindRoutesThem) {
  Peer peer = open();
  peer.declare("q");
  peer.exchange("later", "x-delayed-message", behind("topic"));
  peer.bind("q", "later", "orders.#");
  peer.publish("later", "orders.1.paid", "1", in(5));
  peer.publish("later", "bills.1", "2", in(5));
  advance(milliseconds{5});
  EXPECT_THAT(ready("q"), ElementsAre("1"));
  EXPECT_EQ(outside.body_count(), 1U);
}

TEST_F(DelayedMessages, BindingsCountAsTheyAreWhenItIsDue) {
  Peer peer = set_up();
  peer.declare("other");
  peer.publish("later", "k", "1", in(5));
  peer.unbind("q", "later", "k");
  peer.bind("other", "later", "k");
  advance(milliseconds{5});
  EXPECT_THAT(ready("q"), IsEmpty());
  EXPECT_THAT(ready("other"), ElementsAre("1"));
}

TEST_F(DelayedMessages, AMandatoryOneIsNotReturnedWhileItIsHeld) {
  Peer peer = set_up();
  MessageOptions options = in(5);
  options.mandatory = true;
  peer.publish("later", "k", "1", options);
  EXPECT_THAT(peer.told(), IsEmpty());
}

TEST_F(DelayedMessages, ItsTimeToLiveBeginsWhenItIsDue) {
  Peer peer = set_up();
  MessageOptions options = in(100);
  options.properties.expiration = "50";
  peer.publish("later", "k", "1", options);
  advance(milliseconds{100});
  EXPECT_THAT(ready("q"), ElementsAre("1"));
  advance(milliseconds{50});
  EXPECT_THAT(ready("q"), IsEmpty());
  EXPECT_EQ(outside.body_count(), 0U);
}

TEST_F(DelayedMessages, AnExchangeBehindAnotherDelaysTooAndOnceOnly) {
  Peer peer = set_up();
  peer.exchange("first", "fanout");
  peer.call(wire::ExchangeBind{.destination = "later", .source = "first", .routing_key = ""});
  peer.exchange("last", "x-delayed-message", behind("fanout"));
  peer.call(wire::ExchangeBind{.destination = "last", .source = "later", .routing_key = "k"});
  peer.declare("q2");
  peer.bind("q2", "last");
  peer.publish("first", "k", "1", in(100));
  EXPECT_EQ(broker->delayed_count(), 1U);
  advance(milliseconds{100});
  EXPECT_THAT(ready("q"), ElementsAre("1"));
  EXPECT_THAT(ready("q2"), ElementsAre("1"));
}

TEST_F(DelayedMessages, BlindCopiesAreMadeAndToldToNobody) {
  Peer peer = set_up();
  peer.declare("q2");
  peer.bind("q2", "later", "hidden");
  peer.publish(
      "later", "k", "1",
      {.properties = with_headers({{"x-delay", 5}, {"BCC", wire::Array{wire::Value{"hidden"}}}})});
  advance(milliseconds{5});
  EXPECT_THAT(ready("q"), ElementsAre("1"));
  EXPECT_THAT(ready("q2"), ElementsAre("1"));
  peer.get("q2", true);
  EXPECT_FALSE(peer.last_properties().headers->find("BCC"));
}

TEST_F(DelayedMessages, GoWithTheirExchange) {
  Peer peer = set_up();
  peer.publish("later", "k", "1", in(5));
  peer.publish("later", "k", "2", in(50));
  is_settling = false;
  wait(milliseconds{5});
  broker->on_time(now);
  peer.call(wire::ExchangeDelete{.exchange = "later"});
  is_settling = true;
  settle();
  EXPECT_EQ(broker->delayed_count(), 0U);
  EXPECT_EQ(outside.body_count(), 0U);
  EXPECT_FALSE(broker->next_due());
  crash();
  peer = open();
  peer.exchange("later", "x-delayed-message", behind("direct"));
  peer.bind("q", "later", "k");
  advance(milliseconds{100});
  EXPECT_THAT(ready("q"), IsEmpty());
  EXPECT_EQ(outside.body_count(), 0U);
}

TEST_F(DelayedMessages, OnesOfATransactionAreHeldWhenItIsCommitted) {
  Peer peer = set_up();
  peer.select();
  peer.publish("later", "k", "1", in(5));
  EXPECT_EQ(broker->delayed_count(), 0U);
  EXPECT_EQ(peer.commit(), "tx.commit-ok");
  EXPECT_EQ(broker->delayed_count(), 1U);
}

TEST_F(DelayedMessages, ADeclareSaysWhatIsWrongWithIt) {
  Peer peer = set_up();
  EXPECT_EQ(peer.exchange("later", "x-delayed-message", behind("direct")), "exchange.declare-ok");
  EXPECT_THAT(peer.exchange("later", "direct"),
              HasSubstr("received 'direct' but current is 'x-delayed-message'"));
  EXPECT_THAT(open(1, 2).exchange("later", "x-delayed-message", behind("topic")),
              HasSubstr("inequivalent arg 'x-delayed-type'"));
  EXPECT_THAT(open(1, 3).exchange("x", "x-delayed-message"),
              HasSubstr("'x-delayed-type' must be an existing exchange type"));
  EXPECT_THAT(open(1, 4).exchange("x", "x-delayed-message", behind("x-delayed-message")),
              HasSubstr("can't be used for 'x-delayed-type'"));
  EXPECT_THAT(open(2, 1).exchange("x", "x-delayed-message", behind("moon")),
              HasSubstr("unknown exchange type 'moon'"));
}

}  // namespace
}  // namespace pronto::broker
