#include "fixture.hpp"

namespace pronto::broker {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Nothing is durable here before the test says so.
class Confirms : public BrokerTest {
 protected:
  Confirms() { is_settling = false; }
};

TEST_F(Confirms, APersistentMessageIsDeliveredAndConfirmedOnceDurableAndNotBefore) {
  Peer peer = open();
  peer.declare("q");
  peer.confirms();
  peer.consume("q");
  peer.send("q", "1");
  EXPECT_THAT(peer.told(), IsEmpty());
  settle();
  EXPECT_THAT(peer.told(), ElementsAre("c 1 1", "confirmed 1"));
}

TEST_F(Confirms, AMessageThatIsNotPersistentIsDeliveredAndConfirmedAtOnce) {
  Peer peer = open();
  peer.declare("q");
  peer.confirms();
  peer.consume("q");
  peer.send("q", "1", {.persistent = false});
  EXPECT_THAT(peer.told(), ElementsAre("c 1 1", "confirmed 1"));
}

TEST_F(Confirms, APersistentMessageIsNotWrittenForAQueueThatIsNotDurable) {
  Peer peer = open();
  peer.declare("q", {.durable = false});
  peer.declare("mine", {.exclusive = true});
  peer.confirms();
  peer.send("q", "1");
  peer.send("mine", "2");
  EXPECT_THAT(peer.told(), ElementsAre("confirmed 1", "confirmed 2"));
  EXPECT_EQ(outside.last_sequence(), 0U);
}

TEST_F(Confirms, OneAckTellsOfTheLongestDurablePrefix) {
  Peer peer = open();
  peer.declare("q");
  peer.confirms();
  for (const char* body : {"1", "2", "3", "4"}) peer.send("q", body);  // units 2 to 5
  make_durable(4);
  EXPECT_THAT(peer.told(), ElementsAre("confirmed up to 3"));
  make_durable(5);
  EXPECT_THAT(peer.told(), ElementsAre("confirmed 4"));
}

TEST_F(Confirms, ATransientMessageWaitsForThePersistentOnesBeforeIt) {
  Peer peer = open();
  peer.declare("q");
  peer.confirms();
  peer.send("q", "1", {.persistent = false});
  peer.send("q", "2");
  peer.send("q", "3", {.persistent = false});
  EXPECT_THAT(peer.told(), ElementsAre("confirmed 1"));
  settle();
  EXPECT_THAT(peer.told(), ElementsAre("confirmed up to 3"));
}

TEST_F(Confirms, ARefusalPartsTheRunOfAcks) {
  Peer peer = open();
  peer.declare("q");
  peer.declare("full", {.arguments = {{"x-max-length", 0}, {"x-overflow", "reject-publish"}}});
  peer.confirms();
  peer.send("q", "1");
  peer.send("q", "2");
  peer.send("full", "3");
  peer.send("full", "4");
  peer.send("q", "5");
  EXPECT_THAT(peer.told(), IsEmpty());
  settle();
  EXPECT_THAT(peer.told(), ElementsAre("confirmed up to 2", "refused up to 4", "confirmed 5"));
}

TEST_F(Confirms, WhatOneOfSeveralQueuesRefusesIsRefusedThoughOthersKeptIt) {
  Peer peer = open();
  peer.declare("q");
  peer.declare("full", {.arguments = {{"x-max-length", 0}, {"x-overflow", "reject-publish"}}});
  peer.bind("q", "amq.fanout");
  peer.bind("full", "amq.fanout");
  peer.confirms();
  peer.publish("amq.fanout", "", "1");
  settle();
  EXPECT_THAT(peer.told(), ElementsAre("refused 1"));
  EXPECT_THAT(ready("q"), ElementsAre("1"));
}

TEST_F(Confirms, WithoutRoomForItAPersistentMessageIsRefusedAndNowhere) {
  Peer peer = open();
  peer.declare("q");
  peer.confirms();
  settle();
  outside.journal_has_room = false;
  peer.send("q", "1");
  peer.send("q", "2", {.persistent = false});
  outside.journal_has_room = true;
  peer.send("q", "3");
  settle();
  EXPECT_THAT(peer.told(), ElementsAre("refused 1", "confirmed 2", "confirmed 3"));
  EXPECT_THAT(ready("q"), ElementsAre("2", "3"));
}

TEST_F(Confirms, WithoutRoomAMessageThatNobodyCanRefuseIsKept) {
  Peer peer = open();
  peer.declare("q");
  outside.journal_has_room = false;
  peer.send("q", "1");
  settle();
  EXPECT_THAT(ready("q"), ElementsAre("1"));
}

TEST_F(Confirms, ChannelsAreConfirmedEachByItsOwnCount) {
  Peer first = open(1, 1);
  Peer second = open(2, 7);
  first.declare("q");
  first.confirms();
  second.confirms();
  first.send("q", "a");
  second.send("q", "b");
  second.send("q", "c");
  settle();
  EXPECT_THAT(first.told(), ElementsAre("confirmed 1"));
  EXPECT_THAT(second.told(), ElementsAre("confirmed up to 2"));
}

TEST_F(Confirms, NothingIsSaidOnAChannelThatIsGone) {
  Peer peer = open();
  peer.declare("q");
  peer.confirms();
  peer.send("q", "1");
  peer.close();
  settle();
  EXPECT_THAT(peer.told(), IsEmpty());
  EXPECT_THAT(ready("q"), ElementsAre("1"));
}

TEST_F(Confirms, TheOrderIsKeptWhenATransientMessageIsBehindOneThatIsStillWritten) {
  Peer peer = open();
  peer.declare("q");
  peer.consume("q");
  peer.send("q", "1");
  peer.send("q", "2", {.persistent = false});
  EXPECT_THAT(peer.told(), IsEmpty());
  settle();
  EXPECT_THAT(peer.told(), ElementsAre("c 1 1", "c 2 2"));
}

TEST_F(Confirms, BasicGetWaitsForTheMessageThatIsStillWritten) {
  Peer peer = open();
  peer.declare("q");
  peer.send("q", "1");
  EXPECT_EQ(peer.get("q"), "");
  EXPECT_EQ(peer.get("q"), "");
  settle();
  EXPECT_THAT(peer.told(), ElementsAre("basic.get-ok 1 1, 0 left", "basic.get-empty"));
}

TEST_F(Confirms, AGetThatWaitsIsAnsweredWhenItsMessageOrQueueGoes) {
  Peer peer = open(1, 1);
  Peer other = open(2, 1);
  peer.declare("q");
  peer.send("q", "1");
  peer.get("q");
  EXPECT_EQ(other.purge("q"), "queue.purge-ok 1");
  EXPECT_THAT(peer.told(), ElementsAre("basic.get-empty"));
  peer.send("q", "2");
  peer.get("q");
  EXPECT_EQ(other.remove("q"), "queue.delete-ok 1");
  EXPECT_THAT(peer.told(), ElementsAre("basic.get-empty"));
  peer.declare("q");
  peer.send("q", "3");
  peer.get("q");
  peer.close();
  settle();
  EXPECT_THAT(peer.told(), IsEmpty());
  EXPECT_THAT(ready("q"), ElementsAre("3"));
}

TEST_F(Confirms, GetsThatWaitAreLimited) {
  limits.waiting_gets_max = 2;
  start();
  Peer peer = open();
  peer.declare("q");
  peer.send("q", "1");
  peer.get("q");
  EXPECT_EQ(peer.get("q"), "");
  EXPECT_EQ(peer.get("q"),
            "channel closed 506 RESOURCE_ERROR - more than 2 basic.get wait for the disk");
}

TEST_F(Confirms, AQueueWithSyncModeIntervalNeedsNoMoreThanAWrite) {
  Peer peer = open();
  EXPECT_THAT(peer.declare("q", {.arguments = {{"x-sync-mode", "maybe"}}}),
              testing::StartsWith("channel closed 406 PRECONDITION_FAILED - invalid arg "
                                  "'x-sync-mode' for queue 'q' in vhost '/'"));
  peer = open(1, 2);
  peer.declare("q", {.arguments = {{"x-sync-mode", "interval"}}});
  peer.declare("strict");
  peer.exchange("both", "fanout");
  peer.bind("q", "both");
  peer.bind("strict", "both");
  peer.consume("q");
  peer.confirms();
  is_settling = false;
  const std::size_t awaited = outside.awaited_appends;
  peer.publish("", "q", "1");
  EXPECT_THAT(peer.told(), testing::IsEmpty()) << "it is not even written";
  EXPECT_EQ(outside.awaited_appends, awaited) << "nobody waits for a sync";
  broker->on_written(JournalSequence{outside.last_sequence()}, now);
  EXPECT_THAT(peer.told(), testing::UnorderedElementsAre("c 1 1", "confirmed 1"));
  // The strictest of its queues decides.
  peer.publish("both", "", "2");
  EXPECT_EQ(outside.awaited_appends, awaited + 1);
  broker->on_written(JournalSequence{outside.last_sequence()}, now);
  EXPECT_THAT(peer.told(), testing::IsEmpty());
  // Confirms keep their order, and so does the queue.
  peer.publish("", "q", "3");
  broker->on_written(JournalSequence{outside.last_sequence()}, now);
  EXPECT_THAT(peer.told(), testing::UnorderedElementsAre("c 2 2", "c 3 3"));
  settle();
  EXPECT_THAT(peer.told(), testing::ElementsAre("confirmed up to 3"));
}

TEST_F(Confirms, AQueueWithEarlyDeliveryHandsOutBeforeTheConfirm) {
  Peer peer = open();
  EXPECT_THAT(peer.declare("q", {.arguments = {{"x-early-delivery", "yes"}}}),
              testing::StartsWith("channel closed 406 PRECONDITION_FAILED - invalid arg "
                                  "'x-early-delivery' for queue 'q' in vhost '/'"));
  peer = open(1, 2);
  peer.declare("q", {.arguments = {{"x-early-delivery", true}}});
  peer.declare("late");
  peer.exchange("both", "fanout");
  peer.bind("q", "both");
  peer.bind("late", "both");
  peer.consume("q");
  peer.confirms();
  is_settling = false;
  peer.publish("both", "", "1");
  EXPECT_THAT(peer.told(), testing::ElementsAre("c 1 1"));
  peer.ack(1);
  peer.call(wire::BasicGet{.queue = "late", .no_ack = true});
  EXPECT_THAT(peer.told(), testing::IsEmpty()) << "other queues wait as ever";
  settle();
  EXPECT_THAT(peer.told(),
              testing::UnorderedElementsAre("confirmed 1", "basic.get-ok 2 1, 0 left"));
  peer.publish("both", "", "2");
  EXPECT_THAT(peer.told(), testing::ElementsAre("c 3 2"));
  crash();
  EXPECT_THAT(ready("q"), testing::IsEmpty()) << "what a crash may take here, and only here";
}

}  // namespace
}  // namespace pronto::broker
