#include "fixture.hpp"

namespace pronto::broker {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class DeadLetters : public BrokerTest {
 protected:
  /// A queue whose dead letters go to `next`.
  static QueueOptions leading_to(const char* next, wire::Table more = {}) {
    wire::Table arguments{{"x-dead-letter-exchange", ""}, {"x-dead-letter-routing-key", next}};
    for (const wire::Entry& entry : more) arguments.append(entry.key, entry.value);
    return {.arguments = arguments};
  }
  /// The entries of x-death: "2 expired from q via x [a,b]".
  static std::vector<std::string> deaths(const wire::BasicProperties& properties) {
    std::vector<std::string> lines;
    if (!properties.headers) return lines;
    const wire::Array* array = properties.headers->find_array("x-death");
    if (!array) return lines;
    for (const wire::Value& value : *array) {
      const wire::Table& death = *value.get_if<wire::Table>();
      std::string line = std::to_string(death.find_integer("count").value_or(-1)) + ' ' +
                         std::string{death.find_string("reason").value_or("?")} + " from " +
                         std::string{death.find_string("queue").value_or("?")} + " via '" +
                         std::string{death.find_string("exchange").value_or("?")} + "' [";
      if (const wire::Array* keys = death.find_array("routing-keys")) {
        for (const wire::Value& key : *keys) line += *key.get_if<wire::LongString>() + ',';
      }
      line += ']';
      if (const auto ttl = death.find_string("original-expiration")) {
        line += " ttl " + std::string{*ttl};
      }
      EXPECT_TRUE(death.find("time") && death.find("time")->get_if<wire::Timestamp>());
      lines.push_back(line);
    }
    return lines;
  }
};

TEST_F(DeadLetters, ARejectedMessageMovesWithItsHistory) {
  Peer peer = open();
  peer.declare("dead");
  peer.declare("q", leading_to("dead"));
  peer.bind("q", "amq.direct", "key");
  peer.publish("amq.direct", "key", "1");
  peer.get("q");
  EXPECT_EQ(peer.reject(1), "");
  EXPECT_THAT(ready("q"), IsEmpty());
  EXPECT_EQ(peer.get("dead"), "basic.get-ok 2 1, 0 left");
  EXPECT_EQ(peer.last_content()->exchange, "");
  EXPECT_EQ(peer.last_content()->routing_key, "dead");
  const wire::BasicProperties seen = peer.last_properties();
  EXPECT_THAT(deaths(seen), ElementsAre("1 rejected from q via 'amq.direct' [key,]"));
  EXPECT_EQ(seen.headers->find_string("x-first-death-reason"), "rejected");
  EXPECT_EQ(seen.headers->find_string("x-first-death-queue"), "q");
  EXPECT_EQ(seen.headers->find_string("x-first-death-exchange"), "amq.direct");
  EXPECT_EQ(seen.delivery_mode, 2);
}

TEST_F(DeadLetters, OfAMessageWithAsManyHeadersAsThereMayBeSayWhyItDied) {
  Peer peer = open();
  peer.declare("dead");
  peer.declare("q", leading_to("dead"));
  std::uint64_t tag = 1;
  for (const char* name : {"many", "CC", "x-death"}) {
    MessageOptions options;
    options.properties.headers.emplace();
    options.properties.headers->set(name, wire::Array(wire::table_element_count_max - 1));
    ASSERT_TRUE(wire::fits_the_wire(*options.properties.headers));
    peer.send("q", "1", options);
    peer.get("q");
    peer.reject(tag);
    peer.get("dead", true);
    tag += 2;
    EXPECT_THAT(deaths(peer.last_properties()), ElementsAre("1 rejected from q via '' [q,]"));
  }
}

TEST_F(DeadLetters, OfAQueueOfAnOlderVersionHaveAKeyThatFits) {
  Peer peer = open();
  peer.declare("dead");
  peer.bind("dead", "amq.fanout");
  const QueueDeclaredRecord record{
      .queue = QueueId{7},
      .virtual_host = "/",
      .name = "q",
      .arguments = {{"x-dead-letter-exchange", "amq.fanout"},
                    {"x-dead-letter-routing-key", std::string(300, 'k')}}};
  outside.append(std::vector<Record>{record}, Awaited::durable);
  settle();
  crash();
  Peer again = open(2, 1);
  again.send("q", "1");
  again.get("q");
  again.reject(1);
  EXPECT_EQ(again.get("dead"), "basic.get-ok 2 1, 0 left");
  EXPECT_EQ(again.last_content()->routing_key, std::string(255, 'k'));
}

TEST_F(DeadLetters, WithoutAKeyOfItsOwnTheMessageKeepsItsKeysAndCopies) {
  Peer peer = open();
  for (const char* queue : {"dead a", "dead b", "q"}) {
    peer.declare(queue, queue == std::string_view{"q"}
                            ? QueueOptions{.arguments = {{"x-dead-letter-exchange", "amq.direct"}}}
                            : QueueOptions{});
  }
  peer.exchange("in", "fanout");
  peer.bind("q", "in");
  peer.bind("dead a", "amq.direct", "a");
  peer.bind("dead b", "amq.direct", "b");
  peer.publish("in", "a", "1", {.properties = with_headers({{"CC", wire::Array{"b"}}})});
  peer.get("q");
  peer.nack(1, false, false);
  EXPECT_THAT(ready("dead a"), ElementsAre("1"));
  EXPECT_THAT(ready("dead b"), ElementsAre("1"));
  peer.get("dead b");
  EXPECT_THAT(deaths(peer.last_properties()), ElementsAre("1 rejected from q via 'in' [a,b,]"));
}

TEST_F(DeadLetters, AKeyOfTheQueuesOwnEndsTheCopies) {
  Peer peer = open();
  for (const char* queue : {"b", "dead"}) peer.declare(queue);
  peer.declare("q", leading_to("dead"));
  peer.bind("q", "amq.fanout");
  peer.publish("amq.fanout", "a", "1", {.properties = with_headers({{"CC", wire::Array{"b"}}})});
  peer.get("q");
  peer.reject(1);
  EXPECT_THAT(ready("b"), IsEmpty());
  peer.get("dead");
  EXPECT_FALSE(peer.last_properties().headers->find("CC"));
}

TEST_F(DeadLetters, ExpiredMessagesMoveAndDoNotExpireAgain) {
  Peer peer = open();
  peer.declare("dead");
  peer.declare("q", leading_to("dead"));
  wire::BasicProperties properties;
  properties.expiration = "100";
  peer.send("q", "1", {.properties = properties});
  advance(milliseconds{100});
  advance(milliseconds{10'000});
  peer.get("dead");
  EXPECT_THAT(deaths(peer.last_properties()), ElementsAre("1 expired from q via '' [q,] ttl 100"));
  EXPECT_FALSE(peer.last_properties().expiration);
}

TEST_F(DeadLetters, EachQueueAndReasonIsCountedAndTheNewestComesFirst) {
  Peer peer = open();
  peer.declare("work", leading_to("wait"));
  peer.declare("wait", leading_to("work", {{"x-message-ttl", 100}}));
  peer.send("work", "1");
  for (std::uint64_t attempt = 1; attempt <= 3; ++attempt) {
    ASSERT_EQ(peer.get("work"), "basic.get-ok " + std::to_string(attempt) + " 1, 0 left");
    peer.reject(attempt);
    advance(milliseconds{100});
  }
  peer.get("work");
  EXPECT_THAT(deaths(peer.last_properties()), ElementsAre("3 expired from wait via '' [wait,]",
                                                          "3 rejected from work via '' [work,]"));
  EXPECT_EQ(peer.last_properties().headers->find_string("x-first-death-reason"), "rejected");
  EXPECT_EQ(outside.body_count(), 1U);
}

TEST_F(DeadLetters, ACircleThatNobodyRejectsInEnds) {
  Peer peer = open();
  peer.declare("a", leading_to("b", {{"x-message-ttl", 10}}));
  peer.declare("b", leading_to("a", {{"x-message-ttl", 10}}));
  peer.send("a", "1");
  for (int i = 0; i < 10; ++i) advance(milliseconds{10});
  EXPECT_THAT(ready("a"), IsEmpty());
  EXPECT_THAT(ready("b"), IsEmpty());
  EXPECT_EQ(outside.body_count(), 0U);
}

TEST_F(DeadLetters, ARejectionLongAgoDoesNotExcuseALaterCircle) {
  Peer peer = open();
  peer.declare("work", leading_to("a"));
  peer.declare("a", leading_to("a", {{"x-message-ttl", 10}}));
  peer.send("work", "1");
  peer.get("work");
  peer.reject(1);  // to a; then from a to a without end, were it not noticed
  for (int i = 0; i < 10; ++i) advance(milliseconds{10});
  EXPECT_THAT(ready("a"), IsEmpty());
  EXPECT_EQ(outside.body_count(), 0U);
}

TEST_F(DeadLetters, ARejectionMayLeadBackToTheQueueItCameFrom) {
  Peer peer = open();
  peer.declare("q", leading_to("q"));
  peer.send("q", "1");
  for (std::uint64_t i = 1; i <= 5; ++i) {
    peer.get("q");
    peer.reject(i);
  }
  peer.get("q");
  EXPECT_THAT(deaths(peer.last_properties()), ElementsAre("5 rejected from q via '' [q,]"));
}

TEST_F(DeadLetters, HeadersOfAClientsMakingAreNoHistory) {
  Peer peer = open();
  peer.declare("dead");
  peer.declare("q", leading_to("dead"));
  wire::Table headers{{"x-death", "a text"}, {"x-first-death-reason", "boredom"}};
  peer.send("q", "1", {.properties = with_headers(headers)});
  peer.send("q", "2", {.properties = with_headers({{"x-death", wire::Array{}}})});
  peer.send("q", "3", {.properties = with_headers({{"x-death", wire::Array{1, "two"}}})});
  for (int i = 0; i < 3; ++i) peer.get("q");
  peer.nack(3, true, false);
  peer.get("dead");
  EXPECT_THAT(deaths(peer.last_properties()), ElementsAre("1 rejected from q via '' [q,]"));
  peer.get("dead");
  EXPECT_THAT(deaths(peer.last_properties()), ElementsAre("1 rejected from q via '' [q,]"));
  peer.get("dead");
  EXPECT_EQ(peer.last_properties().headers->find_array("x-death")->size(), 3U);
}

TEST_F(DeadLetters, WithoutThatExchangeTheyAreDropped) {
  Peer peer = open();
  peer.declare("q", {.arguments = {{"x-dead-letter-exchange", "nowhere"}}});
  peer.send("q", "1");
  peer.get("q");
  peer.reject(1);
  EXPECT_EQ(outside.body_count(), 0U);
  crash();
  EXPECT_THAT(ready("q"), IsEmpty());
}

TEST_F(DeadLetters, TheMoveIsOneUnit) {
  Peer peer = open();
  peer.declare("dead");
  peer.declare("q", leading_to("dead"));
  peer.send("q", "1");
  peer.get("q");
  is_settling = false;
  peer.reject(1);
  crash();  // before the body was fetched
  EXPECT_THAT(ready("q"), ElementsAre("1"));
  EXPECT_THAT(ready("dead"), IsEmpty());
  peer = open();
  is_settling = true;
  peer.get("q");
  peer.reject(1);
  crash();
  EXPECT_THAT(ready("q"), IsEmpty());
  EXPECT_THAT(ready("dead"), ElementsAre("1"));
}

TEST_F(DeadLetters, OneThatCannotBeReadIsSetAsideUntilARestart) {
  Peer peer = open();
  peer.declare("dead");
  peer.declare("q", leading_to("dead"));
  peer.send("q", "1");
  peer.get("q");
  is_settling = false;
  peer.reject(1);
  ASSERT_EQ(outside.fetches.size(), 1U);
  broker->on_fetched(outside.fetches.front().second, nullptr, now);
  broker->on_fetched(outside.fetches.front().second, nullptr, now);  // a second answer is none
  outside.fetches.clear();
  settle();
  EXPECT_EQ(outside.body_count(), 1U) << "its place is kept";
  EXPECT_THAT(ready("q"), IsEmpty());
  crash();
  EXPECT_THAT(ready("q"), ElementsAre("1"));
  EXPECT_THAT(ready("dead"), IsEmpty());
}

TEST_F(DeadLetters, AQueueThatIsDeletedMeanwhileTakesItsLettersAlong) {
  Peer peer = open();
  peer.declare("dead");
  peer.declare("q", leading_to("dead"));
  peer.send("q", "1");
  peer.get("q");
  is_settling = false;
  peer.reject(1);
  peer.remove("q");
  const FetchTicket ticket = outside.fetches.front().second;
  outside.fetches.clear();
  broker->on_fetched(ticket, std::make_shared<Content>(), now);
  settle();
  EXPECT_THAT(ready("dead"), IsEmpty());
  EXPECT_EQ(outside.body_count(), 0U);
}

TEST_F(DeadLetters, WhatIsDroppedFromAFullQueueMovesToo) {
  Peer peer = open();
  peer.declare("dead");
  peer.declare("q", leading_to("dead", {{"x-max-length", 2}}));
  for (const char* body : {"1", "2", "3", "4"}) peer.send("q", body);
  EXPECT_THAT(ready("q"), ElementsAre("3", "4"));
  EXPECT_THAT(ready("dead"), ElementsAre("1", "2"));
  peer.get("dead");
  EXPECT_THAT(deaths(peer.last_properties()), ElementsAre("1 maxlen from q via '' [q,]"));
  peer.declare("none", leading_to("dead", {{"x-max-length", 0}}));
  peer.send("none", "5");  // out again within the command that brought it
  EXPECT_THAT(ready("dead"), ElementsAre("2", "5"));
}

TEST_F(DeadLetters, WhatAFullQueueRefusesMovesWhenItIsToAndIsRefusedAllTheSame) {
  Peer peer = open();
  peer.declare("dead");
  const wire::Table full{{"x-max-length", 1}, {"x-overflow", "reject-publish-dlx"}};
  peer.declare("q", leading_to("dead", full));
  peer.declare("plain",
               leading_to("dead", {{"x-max-length", 0}, {"x-overflow", "reject-publish"}}));
  peer.declare("nowhere", {.arguments = full});
  peer.declare("self",
               leading_to("self", {{"x-max-length", 0}, {"x-overflow", "reject-publish-dlx"}}));
  peer.confirms();
  for (const char* body : {"1", "2", "3"}) peer.send("q", body);
  EXPECT_THAT(peer.told(), ElementsAre("confirmed 1", "refused 2", "refused 3"));
  EXPECT_THAT(ready("q"), ElementsAre("1"));
  EXPECT_THAT(ready("dead"), ElementsAre("2", "3"));
  peer.send("plain", "4");
  peer.send("nowhere", "5");
  peer.send("nowhere", "6");
  peer.send("self", "7");
  EXPECT_THAT(peer.told(), ElementsAre("refused 4", "confirmed 5", "refused 6", "refused 7"));
  EXPECT_THAT(ready("self"), IsEmpty()) << "a circle";
  EXPECT_THAT(ready("dead"), ElementsAre("2", "3"));
  peer.get("dead");
  EXPECT_THAT(deaths(peer.last_properties()), ElementsAre("1 maxlen from q via '' [q,]"));
  EXPECT_EQ(outside.body_count(), 4U);
  crash();
  EXPECT_THAT(ready("dead"), ElementsAre("2", "3"));
}

TEST_F(DeadLetters, WhatATransactionBringsTooMuchMovesAfterItsCommit) {
  Peer peer = open();
  peer.declare("dead");
  peer.declare("q",
               leading_to("dead", {{"x-max-length", 1}, {"x-overflow", "reject-publish-dlx"}}));
  peer.select();
  for (const char* body : {"1", "2"}) peer.send("q", body);
  EXPECT_EQ(peer.commit(), "tx.commit-ok");
  EXPECT_THAT(ready("q"), ElementsAre("1"));
  EXPECT_THAT(ready("dead"), ElementsAre("2"));
}

TEST_F(DeadLetters, OrderIsKeptOnTheWay) {
  Peer peer = open();
  peer.declare("dead");
  peer.declare("q", leading_to("dead", {{"x-message-ttl", 50}}));
  for (int i = 1; i <= 5; ++i) peer.send("q", std::to_string(i));
  advance(milliseconds{50});
  EXPECT_THAT(ready("dead"), ElementsAre("1", "2", "3", "4", "5"));
}

// BROKER.md, case 56.
TEST_F(DeadLetters, OfAQueueThatIsItsOwnDeadLetterQueueAndFullDoNotGoRound) {
  Peer peer = open();
  peer.declare("q", {.arguments = {{"x-max-length", 2},
                                   {"x-dead-letter-exchange", ""},
                                   {"x-dead-letter-routing-key", "q"}}});
  for (const char* body : {"1", "2", "3", "4"}) peer.send("q", body);
  EXPECT_THAT(ready("q"), ElementsAre("3", "4"));
  EXPECT_EQ(outside.body_count(), 2U);
  peer.get("q");
  peer.reject(1);
  EXPECT_THAT(ready("q"), ElementsAre("4", "3")) << "a rejection may lead back";
  crash();
  EXPECT_THAT(ready("q"), ElementsAre("4", "3"));
}

}  // namespace
}  // namespace pronto::broker
