#include "fixture.hpp"

namespace pronto::broker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::StartsWith;

class Queues : public BrokerTest {};

TEST_F(Queues, AnExclusiveQueueIsOfItsConnectionAlone) {
  Peer peer = open(1, 1);
  peer.declare("mine", {.durable = false, .exclusive = true});
  auto other = [this, number = std::uint16_t{1}]() mutable { return open(2, number++); };
  EXPECT_THAT(other().declare("mine", {.passive = true}),
              StartsWith("channel closed 405 RESOURCE_LOCKED - cannot obtain exclusive access to "
                         "locked queue 'mine' in vhost '/'."));
  EXPECT_THAT(other().declare("mine", {.durable = false, .exclusive = true}),
              StartsWith("channel closed 405"));
  EXPECT_THAT(other().consume("mine"), StartsWith("channel closed 405"));
  EXPECT_THAT(other().get("mine"), StartsWith("channel closed 405"));
  EXPECT_THAT(other().bind("mine", "amq.fanout"), StartsWith("channel closed 405"));
  EXPECT_THAT(other().purge("mine"), StartsWith("channel closed 405"));
  EXPECT_THAT(other().remove("mine"), StartsWith("channel closed 405"));
  EXPECT_EQ(peer.declare("mine", {.durable = false, .exclusive = true}),
            "queue.declare-ok mine 0 messages 0 consumers");
  EXPECT_THAT(peer.declare("mine", {.durable = false}), StartsWith("channel closed 405"));
}

// BROKER.md, case 53.
TEST_F(Queues, AnExclusiveQueueIsDeclaredAgainTheMomentItsConnectionIsGone) {
  for (std::uint64_t round = 1; round <= 100; ++round) {
    Peer peer = open(round);
    EXPECT_EQ(peer.declare("mine", {.exclusive = true}),
              "queue.declare-ok mine 0 messages 0 consumers");
    peer.send("mine", "1");
    disconnect(round);
  }
  EXPECT_EQ(outside.body_count(), 0U);
}

TEST_F(Queues, OthersMayPublishToAnExclusiveQueue) {
  Peer peer = open(1, 1);
  Peer other = open(2, 1);
  peer.declare("mine", {.exclusive = true});
  other.send("mine", "1");
  EXPECT_THAT(ready("mine"), ElementsAre("1"));
}

TEST_F(Queues, AnExclusiveQueueEndsWithItsConnection) {
  Peer peer = open(1, 1);
  Peer second = open(1, 2);
  peer.declare("mine", {.exclusive = true});
  peer.send("mine", "1");
  second.consume("mine");
  peer.close();
  EXPECT_TRUE(has_queue("mine"));
  disconnect(1);
  EXPECT_FALSE(has_queue("mine"));
  EXPECT_EQ(outside.body_count(), 0U);
}

TEST_F(Queues, AnAutoDeleteQueueGoesWithItsLastConsumer) {
  Peer peer = open(1, 1);
  Peer other = open(2, 1);
  peer.declare("q", {.auto_delete = true});
  peer.send("q", "1");
  EXPECT_TRUE(has_queue("q")) << "not before it has had a consumer";
  peer.consume("q", "a");
  other.consume("q", "b");
  EXPECT_EQ(peer.cancel("a"), "basic.cancel-ok a");
  EXPECT_TRUE(has_queue("q"));
  disconnect(2);
  EXPECT_FALSE(has_queue("q"));
  EXPECT_EQ(peer.ack(1), "");
  EXPECT_EQ(outside.body_count(), 0U);
}

TEST_F(Queues, AClosedChannelTakesItsAutoDeleteQueuesAlong) {
  Peer peer = open();
  peer.declare("q", {.auto_delete = true});
  peer.consume("q");
  peer.send("q", "1");
  peer.close();
  EXPECT_FALSE(has_queue("q"));
  EXPECT_EQ(outside.body_count(), 0U);
}

TEST_F(Queues, TheBrokerNamesAQueueThatHasNone) {
  Peer peer = open();
  const std::string first = peer.declare("");
  const std::string second = peer.declare("");
  EXPECT_THAT(first, StartsWith("queue.declare-ok amq.gen-"));
  EXPECT_NE(first, second);
  const std::string name = first.substr(17, first.find(' ', 17) - 17);
  EXPECT_THAT(peer.declare(name, {.passive = true}), StartsWith("queue.declare-ok " + name));
  // The prefix is reserved even for who has been given it.
  EXPECT_THAT(peer.declare(name), StartsWith("channel closed 403 ACCESS_REFUSED"));
}

TEST_F(Queues, DeclaringSaysHowManyMessagesAndConsumersThereAre) {
  Peer peer = open();
  peer.declare("q");
  peer.send("q", "1");
  peer.send("q", "2");
  peer.get("q");
  EXPECT_EQ(peer.declare("q"), "queue.declare-ok q 1 messages 0 consumers");
  EXPECT_EQ(peer.declare("q", {.passive = true, .durable = false}),
            "queue.declare-ok q 1 messages 0 consumers");
}

TEST_F(Queues, DeleteRefusesAQueueInUseOrNotEmptyWhenAskedTo) {
  Peer peer = open();
  peer.declare("q");
  peer.send("q", "1");
  EXPECT_EQ(peer.remove("q", false, true),
            "channel closed 406 PRECONDITION_FAILED - queue 'q' in vhost '/' not empty");
  peer = open(1, 2);
  peer.consume("q");
  peer.ack(1);
  EXPECT_EQ(peer.remove("q", true, false),
            "channel closed 406 PRECONDITION_FAILED - queue 'q' in vhost '/' in use");
  peer = open(1, 3);
  EXPECT_EQ(peer.remove("q", true, true), "queue.delete-ok 0");
  EXPECT_EQ(peer.remove("q"), "queue.delete-ok 0") << "one that is not there is deleted already";
}

TEST_F(Queues, DeleteTellsHowManyMessagesWentWithIt) {
  Peer peer = open();
  peer.declare("q");
  for (const char* body : {"1", "2", "3"}) peer.send("q", body);
  EXPECT_EQ(peer.remove("q"), "queue.delete-ok 3");
  EXPECT_EQ(outside.body_count(), 0U);
}

TEST_F(Queues, PurgeTakesWhatIsReadyAndLeavesWhatIsOut) {
  Peer peer = open();
  peer.declare("q");
  for (const char* body : {"1", "2", "3"}) peer.send("q", body);
  peer.get("q");
  EXPECT_EQ(peer.purge("q"), "queue.purge-ok 2");
  EXPECT_EQ(view("q").unacked_count, 1U);
  peer.nack(1);
  EXPECT_THAT(ready("q"), ElementsAre("1"));
  crash();
  EXPECT_THAT(ready("q"), ElementsAre("1"));
}

TEST_F(Queues, QueuesExchangesAndBindingsOfAVirtualHostAreLimited) {
  limits.queues_max = 2;
  limits.exchanges_max = 8;  // of which six are there from the start
  limits.bindings_max = 2;
  start();
  Peer peer = open();
  peer.declare("a");
  EXPECT_EQ(peer.declare("b"), "queue.declare-ok b 0 messages 0 consumers");
  EXPECT_EQ(peer.declare("a"), "queue.declare-ok a 0 messages 0 consumers");
  EXPECT_THAT(peer.declare("c"), HasSubstr("queue limit in vhost '/' (2) is reached"));
  peer = open(1, 2);
  peer.exchange("x", "fanout");
  EXPECT_EQ(peer.exchange("y", "fanout"), "exchange.declare-ok");
  EXPECT_THAT(peer.exchange("z", "fanout"), HasSubstr("limit of 8 exchanges"));
  peer = open(1, 3);
  peer.bind("a", "x", "1");
  EXPECT_EQ(peer.bind("a", "x", "2"), "queue.bind-ok");
  EXPECT_EQ(peer.bind("a", "x", "2"), "queue.bind-ok") << "one that is there is no new one";
  EXPECT_THAT(peer.bind("a", "x", "3"), HasSubstr("limit of bindings"));
  peer = open(1, 4);
  peer.unbind("a", "x", "1");
  EXPECT_EQ(peer.bind("a", "x", "3"), "queue.bind-ok");
}

TEST_F(Queues, ASegmentIsInUseWhileAnyEntryOfItIsReadyOutOrOnItsWay) {
  Peer peer = open();
  peer.exchange("all", "fanout");
  peer.declare("dead");
  peer.declare(
      "q", {.arguments = {{"x-dead-letter-exchange", ""}, {"x-dead-letter-routing-key", "dead"}}});
  peer.declare("other");
  peer.bind("q", "all");
  peer.bind("other", "all");
  EXPECT_THAT(broker->segments_in_use(), IsEmpty());
  peer.publish("all", "", "message");
  const auto segment = static_cast<std::uint32_t>(outside.last_sequence());
  const auto use_of = [this](std::uint32_t number) {
    for (const SegmentUse& use : broker->segments_in_use()) {
      if (use.segment == number) return std::pair{use.entry_count, use.body_bytes};
    }
    return std::pair{std::uint64_t{0}, std::uint64_t{0}};
  };
  EXPECT_EQ(use_of(segment), std::pair(2UL, 14UL));
  peer.purge("other");
  EXPECT_EQ(use_of(segment), std::pair(1UL, 7UL));
  peer.get("q");
  EXPECT_EQ(use_of(segment), std::pair(1UL, 7UL));
  is_settling = false;
  peer.reject(1);
  EXPECT_EQ(use_of(segment), std::pair(1UL, 7UL)) << "it is still to be fetched";
  settle();
  EXPECT_EQ(use_of(segment), std::pair(0UL, 0UL));
  ASSERT_THAT(broker->segments_in_use(), SizeIs(1)) << "that of the letter";
  crash();
  EXPECT_THAT(broker->segments_in_use(), SizeIs(1));
  open(2).remove("dead");
  EXPECT_THAT(broker->segments_in_use(), IsEmpty());
}

TEST_F(Queues, HigherPrioritiesGoFirstAndEqualOnesInOrder) {
  Peer peer = open();
  peer.declare("q", {.arguments = {{"x-max-priority", 3}}});
  for (const auto& [body, priority] : std::vector<std::pair<const char*, int>>{
           {"a0", 0}, {"b3", 3}, {"c1", 1}, {"d9", 9}, {"e0", 0}}) {
    wire::BasicProperties properties;
    properties.priority = static_cast<std::uint8_t>(priority);
    peer.send("q", body, {.properties = properties});
  }
  for (int i = 0; i < 5; ++i) peer.get("q");
  EXPECT_THAT(peer.bodies(), ElementsAre("b3", "d9", "c1", "a0", "e0"));
  peer.nack(0, true);
  crash();
  Peer again = open(2, 1);
  for (int i = 0; i < 5; ++i) again.get("q");
  EXPECT_THAT(again.bodies(), ElementsAre("b3", "d9", "c1", "a0", "e0"));
}

// BROKER.md, case 55.
TEST_F(Queues, WhatIsNotStoredYetHoldsUpNoneOfALowerPriority) {
  const auto prior = [](std::uint8_t priority) {
    MessageOptions options;
    options.properties.priority = priority;
    return options;
  };
  Peer peer = open();
  peer.declare("q", {.arguments = {{"x-max-priority", 3}}});
  for (const char* body : {"a", "b"}) peer.send("q", body, prior(1));
  is_settling = false;
  peer.send("q", "c", prior(3));
  peer.send("q", "d", prior(1));
  Peer taker = open(2);
  taker.qos(1);
  taker.consume("q");
  EXPECT_THAT(taker.bodies(), ElementsAre("a"));
  Peer getter = open(3);
  EXPECT_EQ(getter.get("q"), "basic.get-ok 1 b, 2 left");
  taker.ack(1);
  EXPECT_THAT(taker.bodies(), IsEmpty());
  settle();
  EXPECT_THAT(taker.bodies(), ElementsAre("c"));
}

TEST_F(Queues, WhatIsNotStoredYetDoesNotKeepALowerPriorityFromBeingRead) {
  MessageOptions prior;
  prior.properties.priority = 3;
  Peer peer = open();
  peer.declare("q", {.arguments = {{"x-max-priority", 3}}});
  for (const char* body : {"a", "b"}) peer.send("q", body);
  is_settling = false;
  outside.on_disk = {"a", "b"};
  peer.send("q", "c", prior);
  Peer taker = open(2);
  taker.consume("q");
  EXPECT_THAT(taker.bodies(), IsEmpty());
  while (!outside.fetches.empty()) answer_fetch();
  EXPECT_THAT(taker.bodies(), ElementsAre("a", "b"));
}

TEST_F(Queues, PrioritiesThatExpireAndComeBackAreAllDeliveredAndEnd) {
  Peer peer = open();
  peer.declare("q", {.arguments = {{"x-max-priority", 10}}});
  std::vector<std::string> lasting;
  for (int i = 0; i < 300; ++i) {
    MessageOptions options;
    options.properties.priority = static_cast<std::uint8_t>(i * 7 % 13);
    if (i % 3 == 0) options.properties.expiration = std::to_string(10 + i % 50);
    peer.send("q", std::to_string(i), options);
    if (i % 3 != 0) lasting.push_back(std::to_string(i));
  }
  Peer taker = open(2);
  taker.qos(40);
  for (int round = 0; round < 5; ++round) {
    taker.consume("q");
    advance(milliseconds{15});
    taker.cancel("c");
    taker.nack(0, true);
    advance(milliseconds{15});
  }
  EXPECT_EQ(view("q").ready_count, lasting.size());
  EXPECT_FALSE(broker->next_due());
  taker.bodies();
  taker.consume("q", "last", {.no_ack = true});
  std::vector<std::string> bodies = taker.bodies();
  std::ranges::sort(bodies);
  std::ranges::sort(lasting);
  EXPECT_EQ(bodies, lasting);
  EXPECT_EQ(outside.body_count(), 0U);
}

}  // namespace
}  // namespace pronto::broker
