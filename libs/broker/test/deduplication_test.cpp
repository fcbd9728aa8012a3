#include "fixture.hpp"

namespace pronto::broker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Deduplication : public BrokerTest {
 protected:
  static MessageOptions named(wire::Value name) {
    return {.properties = with_headers({{"x-deduplication-header", std::move(name)}})};
  }
  static QueueOptions deduplicating(wire::Table more = {}) {
    more.set("x-message-deduplication", true);
    return {.arguments = std::move(more)};
  }
};

TEST_F(Deduplication, AQueueTakesAMessageOnce) {
  Peer peer = open();
  peer.declare("q", deduplicating());
  peer.send("q", "1", named("a"));
  peer.send("q", "again", named("a"));
  peer.send("q", "2", named("b"));
  peer.send("q", "without a name");
  peer.send("q", "without a name");
  EXPECT_THAT(ready("q"), ElementsAre("1", "2", "without a name", "without a name"));
  EXPECT_EQ(broker->duplicates_total(), 1U);
  peer.purge("q");
  peer.send("q", "again", named("a"));
  EXPECT_THAT(ready("q"), IsEmpty()) << "it was there, whether or not it still is";
}

TEST_F(Deduplication, NamesAreTextsOctetsOrIntegersAndDifferByType) {
  Peer peer = open();
  peer.declare("q", deduplicating());
  const std::string at_length(1000, 'x');
  for (int i = 0; i < 2; ++i) {
    peer.send("q", "text", named("7"));
    peer.send("q", "octets", named(to_bytes("7")));
    peer.send("q", "number", named(7));
    peer.send("q", "wide number", named(std::int64_t{7}));
    peer.send("q", "long", named(at_length));
    peer.send("q", "long, too", named(at_length + "y"));
  }
  peer.send("q", "no name", named(true));
  peer.send("q", "no name", named(true));
  EXPECT_THAT(ready("q"),
              ElementsAre("text", "octets", "number", "long", "long, too", "no name", "no name"));
}

TEST_F(Deduplication, AnotherHeaderMayNameTheMessage) {
  Peer peer = open();
  peer.declare("q", deduplicating({{"x-deduplication-header", "order"}}));
  peer.send("q", "1", {.properties = with_headers({{"order", 17}})});
  peer.send("q", "2", {.properties = with_headers({{"order", 17}})});
  peer.send("q", "3", named("a"));
  peer.send("q", "4", named("a"));
  EXPECT_THAT(ready("q"), ElementsAre("1", "3", "4"));
}

TEST_F(Deduplication, TheOldestNameIsForgottenWhenThereIsNoRoom) {
  Peer peer = open();
  peer.declare("q", deduplicating({{"x-cache-size", 2}}));
  for (const char* name : {"a", "b", "a", "c", "a", "b"}) peer.send("q", name, named(name));
  EXPECT_THAT(ready("q"), ElementsAre("a", "b", "c", "a", "b"));
  crash();
  peer = open();
  for (const char* name : {"a", "b", "c"}) peer.send("q", name, named(name));
  EXPECT_THAT(ready("q"), ElementsAre("a", "b", "c", "a", "b", "c"));
}

TEST_F(Deduplication, ANameIsForgottenAfterItsTime) {
  Peer peer = open();
  peer.declare("q", deduplicating({{"x-cache-ttl", 1000}}));
  peer.send("q", "1", named("a"));
  MessageOptions longer = named("b");
  longer.properties.headers->set("x-cache-ttl", 5000);
  peer.send("q", "2", longer);
  wait(milliseconds{999});
  peer.send("q", "3", named("a"));
  wait(milliseconds{1});
  peer.send("q", "4", named("a"));
  peer.send("q", "5", named("b"));
  crash();
  peer = open();
  wait(milliseconds{3999});
  peer.send("q", "6", named("b"));
  wait(milliseconds{1});
  peer.send("q", "7", named("b"));
  EXPECT_THAT(ready("q"), ElementsAre("1", "2", "4", "7"));
}

TEST_F(Deduplication, OneNameThatExpiresForeverTakesNoRoom) {
  Peer peer = open();
  peer.declare("q", deduplicating({{"x-cache-ttl", 1}}));
  MessageOptions lasting = named("lasting");
  lasting.properties.headers->set("x-cache-ttl", 1'000'000);
  peer.send("q", "1", lasting);
  peer.purge("q");
  const std::uint64_t before = broker->index_bytes();
  for (int i = 0; i < 1000; ++i) {
    peer.send("q", "2", named("a"));
    peer.purge("q");
    wait(milliseconds{2});
  }
  EXPECT_LT(broker->index_bytes(), before + 1000);
  peer.remove("q");
  EXPECT_EQ(broker->index_bytes(), 0U);
}

TEST_F(Deduplication, IsAsDurableAsTheMessage) {
  Peer peer = open();
  peer.declare("q", deduplicating());
  is_settling = false;
  peer.send("q", "durable", named("a"));
  const std::uint64_t durable = outside.last_sequence();
  peer.send("q", "lost", named("b"));
  make_durable(durable);
  crash();
  is_settling = true;
  peer = open();
  peer.send("q", "a again", named("a"));
  peer.send("q", "b again", named("b"));
  EXPECT_THAT(ready("q"), ElementsAre("durable", "b again"));
  // A transient message is gone after a restart, and so is its name.
  MessageOptions transient = named("c");
  transient.persistent = false;
  peer.send("q", "transient", transient);
  crash();
  peer = open();
  peer.send("q", "c again", named("c"));
  EXPECT_THAT(ready("q"), ElementsAre("durable", "b again", "c again"));
}

// A publisher whose connection broke before the confirm sends again: what it is told then has to be
// true of the first one.
TEST_F(Deduplication, ADuplicateIsConfirmedOnceTheFirstIsDurable) {
  Peer peer = open();
  peer.declare("q", deduplicating());
  is_settling = false;
  peer.send("q", "1", named("a"));
  Peer again = open(2);
  again.confirms();
  again.send("q", "1", named("a"));
  EXPECT_THAT(again.told(), IsEmpty());
  Peer committing = open(3);
  committing.select();
  committing.send("q", "1", named("a"));
  EXPECT_EQ(committing.commit(), "");
  make_durable(outside.last_sequence());
  EXPECT_THAT(again.told(), ElementsAre("confirmed 1"));
  EXPECT_THAT(committing.told(), ElementsAre("tx.commit-ok"));
  EXPECT_THAT(ready("q"), ElementsAre("1"));
}

TEST_F(Deduplication, WhatAQueueRefusesMayComeAgain) {
  Peer peer = open();
  peer.confirms();
  peer.declare("q", deduplicating({{"x-max-length", 1}, {"x-overflow", "reject-publish"}}));
  peer.send("q", "1", named("a"));
  peer.send("q", "2", named("b"));
  EXPECT_THAT(peer.told(), ElementsAre("confirmed 1", "refused 2"));
  peer.purge("q");
  peer.send("q", "2", named("b"));
  EXPECT_THAT(ready("q"), ElementsAre("2"));
}

TEST_F(Deduplication, AnExchangePassesAMessageOnOnce) {
  Peer peer = open();
  peer.declare("q");
  peer.declare("q2");
  peer.exchange("e", "topic", {.arguments = {{"x-message-deduplication", true}}});
  peer.bind("q", "e", "#");
  peer.publish("e", "k", "1", named("a"));
  peer.bind("q2", "e", "#");
  MessageOptions again = named("a");
  again.mandatory = true;
  peer.publish("e", "k", "again", again);
  EXPECT_THAT(peer.told(), IsEmpty()) << "it is where it belongs";
  crash();
  peer = open();
  peer.publish("e", "k", "again", named("a"));
  peer.publish("e", "k", "2", named("b"));
  EXPECT_THAT(ready("q"), ElementsAre("1", "2"));
  EXPECT_THAT(ready("q2"), ElementsAre("2"));
}

TEST_F(Deduplication, AnExchangeForgetsWhatItCouldNotRoute) {
  Peer peer = open();
  peer.exchange("e", "direct", {.arguments = {{"x-message-deduplication", true}}});
  MessageOptions mandatory = named("a");
  mandatory.mandatory = true;
  peer.publish("e", "k", "1", mandatory);
  EXPECT_THAT(peer.told(), ElementsAre(HasSubstr("NO_ROUTE")));
  peer.declare("q");
  peer.bind("q", "e", "k");
  peer.publish("e", "k", "1", mandatory);
  EXPECT_THAT(ready("q"), ElementsAre("1"));
}

TEST_F(Deduplication, TheTypeOfThePluginIsAFanOut) {
  Peer peer = open();
  peer.declare("q");
  const ExchangeOptions options{.arguments = {{"x-cache-size", 10}}};
  EXPECT_EQ(peer.exchange("e", "x-message-deduplication", options), "exchange.declare-ok");
  EXPECT_EQ(peer.exchange("e", "x-message-deduplication", options), "exchange.declare-ok");
  peer.bind("q", "e");
  peer.publish("e", "any", "1", named("a"));
  crash();
  peer = open();
  peer.publish("e", "any", "1", named("a"));
  EXPECT_THAT(ready("q"), ElementsAre("1"));
  EXPECT_THAT(peer.exchange("e", "fanout"),
              HasSubstr("received 'fanout' but current is 'x-message-deduplication'"));
}

// A retry by way of a dead-letter exchange brings the same message back, with its name.
TEST_F(Deduplication, ADeadLetterIsNoDuplicate) {
  Peer peer = open();
  peer.declare("q", deduplicating({{"x-dead-letter-exchange", "retry"}}));
  peer.exchange("retry", "fanout", {.arguments = {{"x-message-deduplication", true}}});
  peer.declare("later", {.arguments = {{"x-message-ttl", 100},
                                       {"x-dead-letter-exchange", ""},
                                       {"x-dead-letter-routing-key", "q"}}});
  peer.bind("later", "retry");
  peer.send("q", "1", named("a"));
  for (std::uint64_t round = 1; round <= 3; ++round) {
    peer.get("q");
    peer.reject(round);
    EXPECT_THAT(ready("later"), ElementsAre("1"));
    advance(milliseconds{100});
    EXPECT_THAT(ready("q"), ElementsAre("1"));
  }
}

TEST_F(Deduplication, ADelayedDuplicateIsSeenWhenItComesAndWhenItIsDue) {
  Peer peer = open();
  peer.declare("q", deduplicating());
  peer.declare("q2");
  for (const char* exchange : {"later", "once"}) {
    wire::Table arguments{{"x-delayed-type", "fanout"}};
    if (exchange == std::string_view{"once"}) arguments.set("x-message-deduplication", true);
    peer.exchange(exchange, "x-delayed-message", {.arguments = arguments});
  }
  peer.bind("q", "later");
  peer.bind("q2", "once");
  MessageOptions options = named("a");
  options.properties.headers->set("x-delay", 100);
  for (int i = 0; i < 2; ++i) peer.publish("later", "", "1", options);
  for (int i = 0; i < 2; ++i) peer.publish("once", "", "1", options);
  EXPECT_EQ(broker->delayed_count(), 3U);
  advance(milliseconds{100});
  EXPECT_THAT(ready("q"), ElementsAre("1"));
  EXPECT_THAT(ready("q2"), ElementsAre("1"));
  EXPECT_EQ(broker->delayed_count(), 0U);
  EXPECT_EQ(outside.body_count(), 2U);
}

// A unit that the journal cannot take would end it: what names take counts, too.
TEST_F(Deduplication, ATransactionIsRefusedWhenItsNamesMakeItTooLarge) {
  limits.unit_bytes_max = 100'000;
  start();
  Peer peer = open();
  const std::string long_name(200, 'n');
  peer.declare("q", deduplicating());
  peer.exchange(long_name, "fanout", {.arguments = {{"x-message-deduplication", true}}});
  peer.bind("q", long_name);
  peer.select();
  for (int i = 0; i < 150; ++i) {
    peer.publish(long_name, "", "", named(long_name + std::to_string(i)));
  }
  EXPECT_THAT(peer.commit(), HasSubstr("the transaction is larger than 100000 bytes"));
  EXPECT_THAT(ready("q"), IsEmpty());
  Peer other = open(2);
  other.select();
  for (int i = 0; i < 20; ++i) {
    other.publish(long_name, "", "", named(long_name + std::to_string(i)));
  }
  EXPECT_EQ(other.commit(), "tx.commit-ok");
  EXPECT_EQ(view("q").ready_count, 20U);
}

TEST_F(Deduplication, ADeclareSaysWhatIsWrongWithIt) {
  Peer peer = open();
  peer.declare("q", deduplicating({{"x-cache-size", 10}}));
  EXPECT_THAT(peer.declare("q", deduplicating({{"x-cache-size", 11}})),
              HasSubstr("inequivalent arg 'x-cache-size' for queue 'q' in vhost '/'"));
  EXPECT_THAT(open(1, 2).declare("x", deduplicating({{"x-cache-size", 0}})),
              HasSubstr("invalid arg 'x-cache-size' for queue 'x' in vhost '/': {value_zero,0}"));
  EXPECT_THAT(open(1, 3).declare("x", deduplicating({{"x-cache-size", std::int64_t{1} << 40U}})),
              HasSubstr("{value_too_large,1099511627776}"));
  EXPECT_THAT(open(1, 4).declare("x", {.arguments = {{"x-message-deduplication", "yes"}}}),
              HasSubstr("invalid arg 'x-message-deduplication'"));
  EXPECT_THAT(
      open(1, 5).exchange("e", "fanout",
                          {.arguments = {{"x-message-deduplication", true}, {"x-cache-ttl", -1}}}),
      HasSubstr("invalid arg 'x-cache-ttl' for exchange 'e' in vhost '/'"));
}

}  // namespace
}  // namespace pronto::broker
