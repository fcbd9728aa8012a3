#include "fixture.hpp"

namespace pronto::broker {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using testing::StartsWith;

class Consuming : public BrokerTest {
 protected:
  void fill(Peer& peer, int count, int first = 1) {
    for (int i = first; i < first + count; ++i) peer.send("q", std::to_string(i));
  }
};

TEST_F(Consuming, ConsumersTakeTurns) {
  Peer peer = open();
  peer.declare("q");
  for (const char* tag : {"a", "b", "c"}) peer.consume("q", tag);
  fill(peer, 6);
  EXPECT_THAT(peer.told(), ElementsAre("a 1 1", "b 2 2", "c 3 3", "a 4 4", "b 5 5", "c 6 6"));
}

TEST_F(Consuming, TheTurnGoesOnAfterAConsumerIsGone) {
  Peer peer = open();
  peer.declare("q");
  for (const char* tag : {"a", "b", "c"}) peer.consume("q", tag);
  fill(peer, 2);
  EXPECT_EQ(peer.cancel("a"), "basic.cancel-ok a");
  fill(peer, 3, 3);
  EXPECT_THAT(peer.told(), ElementsAre("a 1 1", "b 2 2", "c 3 3", "b 4 4", "c 5 5"));
}

TEST_F(Consuming, AConsumerThatHasItsFillIsPassedOver) {
  Peer peer = open();
  peer.declare("q");
  peer.qos(1);
  peer.consume("q", "one");
  peer.qos(2);
  peer.consume("q", "two");
  fill(peer, 5);
  EXPECT_THAT(peer.told(), ElementsAre("one 1 1", "two 2 2", "two 3 3"));
  peer.ack(1);
  EXPECT_THAT(peer.told(), ElementsAre("one 4 4"));
}

TEST_F(Consuming, PrefetchCountsForConsumersThatComeAfterIt) {
  Peer peer = open();
  peer.declare("q");
  peer.consume("q", "free");
  peer.qos(1);
  fill(peer, 3);
  EXPECT_THAT(peer.told(), ElementsAre("free 1 1", "free 2 2", "free 3 3"));
}

TEST_F(Consuming, TheChannelsPrefetchIsSharedByItsConsumers) {
  Peer peer = open();
  peer.declare("q");
  peer.declare("p");
  peer.qos(2, true);
  peer.consume("q", "a");
  peer.consume("p", "b");
  peer.send("q", "1");
  peer.send("p", "2");
  peer.send("q", "3");
  EXPECT_THAT(peer.told(), ElementsAre("a 1 1", "b 2 2"));
  peer.ack(2);
  EXPECT_THAT(peer.told(), ElementsAre("a 3 3"));
}

TEST_F(Consuming, WhatACancelledConsumerHadCountsForTheChannelUntilItIsAnswered) {
  Peer peer = open();
  peer.declare("q");
  peer.qos(1, true);
  peer.consume("q", "a");
  fill(peer, 2);
  peer.cancel("a");
  peer.consume("q", "b");
  EXPECT_THAT(peer.told(), ElementsAre("a 1 1"));
  peer.ack(1);
  EXPECT_THAT(peer.told(), ElementsAre("b 2 2"));
}

TEST_F(Consuming, WhatADeletedQueueHadGivenCountsForTheChannelUntilItIsAnswered) {
  Peer peer = open();
  peer.declare("gone");
  peer.declare("q");
  peer.qos(1, true);
  peer.consume("gone", "a");
  peer.consume("q", "b");
  peer.send("gone", "1");
  fill(peer, 1, 2);
  EXPECT_EQ(peer.remove("gone"), "queue.delete-ok 0");
  EXPECT_THAT(peer.told(), ElementsAre("a 1 1", "basic.cancel a"));
  peer.ack(1);
  EXPECT_THAT(peer.told(), ElementsAre("b 2 2"));
}

TEST_F(Consuming, WithoutAcksThereIsNoPrefetchAndNothingToAnswer) {
  Peer peer = open();
  peer.declare("q");
  peer.qos(1);
  peer.consume("q", "c", {.no_ack = true});
  fill(peer, 3);
  EXPECT_THAT(peer.bodies(), ElementsAre("1", "2", "3"));
  EXPECT_EQ(outside.body_count(), 0U);
  EXPECT_EQ(peer.ack(1), "channel closed 406 PRECONDITION_FAILED - unknown delivery tag 1");
}

TEST_F(Consuming, APrefetchOfTheLargestCountIsALimitLikeAnyOther) {
  Peer peer = open();
  peer.declare("q");
  peer.qos(65'535);
  peer.consume("q");
  for (int i = 0; i < 65'536; ++i) peer.send("q", "x", {.persistent = false});
  EXPECT_EQ(view("q").unacked_count, 65'535U);
  EXPECT_EQ(view("q").ready_count, 1U);
}

TEST_F(Consuming, RequeuedMessagesGoBackToTheirPlaces) {
  Peer peer = open();
  peer.declare("q");
  peer.qos(3);
  peer.consume("q");
  fill(peer, 5);
  peer.cancel("c");
  peer.nack(3);
  EXPECT_THAT(ready("q"), ElementsAre("3", "4", "5"));
  peer.nack(1);
  EXPECT_THAT(ready("q"), ElementsAre("1", "3", "4", "5"));
  peer.nack(2);
  EXPECT_THAT(ready("q"), ElementsAre("1", "2", "3", "4", "5"));
}

TEST_F(Consuming, WhatComesAgainIsMarkedAndWhatNeverWasOutIsNot) {
  Peer peer = open();
  peer.declare("q");
  fill(peer, 2);
  peer.get("q");
  peer.reject(1, true);
  EXPECT_EQ(peer.get("q"), "basic.get-ok 2 1 redelivered, 1 left");
  EXPECT_EQ(peer.get("q"), "basic.get-ok 3 2, 0 left");
  peer.close();
  Peer again = open(1, 2);
  EXPECT_EQ(again.get("q"), "basic.get-ok 1 1 redelivered, 1 left");
}

TEST_F(Consuming, NackOfSeveralRequeuesAllUpToTheTag) {
  Peer peer = open();
  peer.declare("q");
  peer.consume("q");
  fill(peer, 4);
  peer.cancel("c");
  EXPECT_EQ(peer.nack(3, true), "");
  EXPECT_THAT(ready("q"), ElementsAre("1", "2", "3"));
  EXPECT_EQ(view("q").unacked_count, 1U);
}

TEST_F(Consuming, TagZeroWithMultipleMeansAllAndNothingIsNoError) {
  Peer peer = open();
  peer.declare("q");
  EXPECT_EQ(peer.ack(0, true), "");
  peer.consume("q");
  fill(peer, 3);
  EXPECT_EQ(peer.ack(0, true), "");
  EXPECT_EQ(view("q").unacked_count, 0U);
  EXPECT_EQ(outside.body_count(), 0U);
  EXPECT_EQ(peer.ack(0), "channel closed 406 PRECONDITION_FAILED - unknown delivery tag 0");
}

TEST_F(Consuming, AnAckOfSeveralNamesADeliveryThatIsInHand) {
  Peer peer = open();
  peer.declare("q");
  peer.consume("q");
  fill(peer, 3);
  EXPECT_EQ(peer.ack(4, true), "channel closed 406 PRECONDITION_FAILED - unknown delivery tag 4");
  EXPECT_THAT(ready("q"), ElementsAre("1", "2", "3")) << "nothing was acked";
  Peer again = open(1, 2);
  again.consume("q");
  again.ack(2);
  EXPECT_EQ(again.ack(2, true), "channel closed 406 PRECONDITION_FAILED - unknown delivery tag 2");
}

TEST_F(Consuming, ASecondAnswerToADeliveryClosesTheChannel) {
  Peer peer = open();
  peer.declare("q");
  fill(peer, 1);
  peer.get("q");
  EXPECT_EQ(peer.ack(1), "");
  EXPECT_EQ(peer.nack(1), "channel closed 406 PRECONDITION_FAILED - unknown delivery tag 1");
}

TEST_F(Consuming, ClosingAChannelGivesBackWhatItHadInOrder) {
  Peer peer = open(1, 1);
  Peer other = open(2, 1);
  peer.declare("q");
  peer.consume("q");
  fill(peer, 4);
  peer.ack(2);
  peer.close();
  other.consume("q", "d");
  EXPECT_THAT(other.told(),
              ElementsAre("d 1 1 redelivered", "d 2 3 redelivered", "d 3 4 redelivered"));
}

TEST_F(Consuming, AConnectionThatGoesGivesBackWhatItHadToOthers) {
  Peer peer = open(1, 1);
  Peer other = open(2, 1);
  peer.declare("q");
  peer.qos(2);
  other.qos(2);
  peer.consume("q", "a");
  other.consume("q", "b");
  fill(peer, 4);
  EXPECT_THAT(other.told(), ElementsAre("b 1 2", "b 2 4"));
  disconnect(1);
  EXPECT_THAT(ready("q"), ElementsAre("1", "3"));
  other.ack(2, true);
  EXPECT_THAT(other.told(), ElementsAre("b 3 1 redelivered", "b 4 3 redelivered"));
}

TEST_F(Consuming, RecoverGivesAllInHandAgain) {
  Peer peer = open();
  peer.declare("q");
  peer.consume("q");
  fill(peer, 2);
  peer.told();
  EXPECT_EQ(peer.recover(), "basic.recover-ok");
  EXPECT_THAT(peer.told(), ElementsAre("c 3 1 redelivered", "c 4 2 redelivered"));
}

TEST_F(Consuming, AConnectionWithoutRoomIsPassedOverAndGoesOnWhenItHasSome) {
  Peer slow = open(1, 1);
  Peer quick = open(2, 1);
  slow.declare("q");
  slow.consume("q", "slow");
  quick.consume("q", "quick");
  outside.room[slow.connection()] = 1;
  fill(quick, 4);
  EXPECT_THAT(slow.bodies(), ElementsAre("1"));
  EXPECT_THAT(quick.bodies(), ElementsAre("2", "3", "4"));
  run([&](Broker& one) { one.on_credit(quick.connection(), false, now); });
  fill(quick, 2, 5);
  EXPECT_THAT(slow.bodies(), IsEmpty());
  EXPECT_THAT(quick.bodies(), IsEmpty());
  EXPECT_THAT(ready("q"), ElementsAre("5", "6"));
  run([&](Broker& one) { one.on_credit(quick.connection(), true, now); });
  EXPECT_THAT(quick.bodies(), ElementsAre("5", "6"));
}

TEST_F(Consuming, OfManyConsumersThatWaitForRoomSomeMayGoBeforeThereIsAny) {
  Peer peer = open(1, 1);
  Peer other = open(2, 1);
  std::vector<std::string> names;
  for (int i = 0; i < 6; ++i) names.push_back("q" + std::to_string(i));
  for (const std::string& name : names) {
    peer.declare(name);
    peer.consume(name, "c-" + name);
  }
  run([&](Broker& one) { one.on_credit(peer.connection(), false, now); });
  for (const std::string& name : names) other.send(name, name);
  other.remove("q5");
  peer.cancel("c-q0");
  other.remove("q2");
  other.send("q3", "more");
  peer.told();
  run([&](Broker& one) { one.on_credit(peer.connection(), true, now); });
  std::vector<std::string> bodies = peer.bodies();
  std::ranges::sort(bodies);
  EXPECT_THAT(bodies, ElementsAre("more", "q1", "q3", "q4"));
  EXPECT_THAT(ready("q0"), ElementsAre("q0"));
}

TEST_F(Consuming, UnderTheChannelsLimitAllItsConsumersWaitForEachOthersAcks) {
  Peer peer = open();
  for (const char* queue : {"a", "b"}) peer.declare(queue);
  peer.qos(1, true);
  for (const char* queue : {"a", "b"}) peer.consume(queue, queue);
  for (const char* queue : {"a", "b", "a", "b"}) peer.send(queue, queue);
  for (std::uint64_t tag = 1; tag <= 4; ++tag) {
    EXPECT_EQ(peer.bodies().size(), 1U) << tag;
    peer.ack(tag);
  }
  EXPECT_THAT(ready("a"), IsEmpty());
  EXPECT_THAT(ready("b"), IsEmpty());
}

TEST_F(Consuming, AMessageWhoseBodyCannotBeReadIsSetAsideUntilARestart) {
  for (const bool no_ack : {false, true}) {
    Peer peer = open();
    peer.declare("q");
    peer.qos(1);
    outside.unreadable = {"1"};
    peer.consume("q", "c", {.no_ack = no_ack});
    fill(peer, 2);
    EXPECT_THAT(peer.told(), ElementsAre("c 1 2")) << "the tag is used for what was seen";
    EXPECT_EQ(view("q").unacked_count, no_ack ? 0U : 1U);
    EXPECT_EQ(view("q").ready_count, 0U);
    if (!no_ack) EXPECT_EQ(peer.ack(1), "");
    EXPECT_EQ(outside.body_count(), 1U) << "its place is kept";
    crash();
    EXPECT_THAT(ready("q"), ElementsAre("1")) << "it may have been a moment's failure";
    open(2, 1).remove("q");
  }
}

TEST_F(Consuming, AGetPassesOverAMessageWhoseBodyCannotBeRead) {
  for (const bool no_ack : {false, true}) {
    Peer peer = open();
    peer.declare("q");
    fill(peer, 2);
    outside.unreadable = {"1"};
    EXPECT_EQ(peer.get("q", no_ack), "basic.get-ok 1 2, 0 left");
    EXPECT_EQ(peer.get("q", no_ack), "basic.get-empty");
    if (!no_ack) EXPECT_EQ(peer.ack(1), "");
    EXPECT_EQ(outside.body_count(), 1U) << "its place is kept";
    crash();
    EXPECT_THAT(ready("q"), ElementsAre("1"));
    open(2, 1).remove("q");
  }
}

TEST_F(Consuming, APurgeRemovesWhatWasSetAside) {
  Peer peer = open();
  peer.declare("q");
  outside.unreadable = {"1"};
  peer.consume("q", "c", {.no_ack = true});
  fill(peer, 1);
  EXPECT_EQ(peer.purge("q"), "queue.purge-ok 0") << "what is not ready is not counted";
  outside.unreadable.clear();
  settle();
  crash();
  EXPECT_THAT(ready("q"), IsEmpty());
}

TEST_F(Consuming, WhatIsOnTheDiskIsFetchedAheadOfItsDelivery) {
  limits.load_count_max = 4;
  start();
  Peer peer = open();
  peer.declare("q");
  peer.declare("other");
  fill(peer, 10);
  is_settling = false;
  outside.on_disk = {"1", "2", "3", "5", "6", "7", "8"};
  EXPECT_THAT(outside.fetches, IsEmpty()) << "nobody wants them";
  peer.consume("q", "c", {.no_ack = true});
  EXPECT_THAT(peer.told(), IsEmpty()) << "those behind wait: the order is kept";
  EXPECT_THAT(outside.fetches, SizeIs(3)) << "of the next four, those that are not at hand";
  answer_fetch();
  EXPECT_THAT(peer.bodies(), ElementsAre("1"));
  EXPECT_THAT(outside.fetches, SizeIs(3)) << "the next stride begins before this one ends: 2, 3, 5";
  answer_fetch();
  answer_fetch();
  EXPECT_THAT(peer.bodies(), ElementsAre("2", "3", "4"));
  while (!outside.fetches.empty()) answer_fetch();
  EXPECT_THAT(peer.bodies(), ElementsAre("5", "6", "7", "8", "9", "10"));
  settle();
  EXPECT_EQ(outside.body_count(), 0U);
}

TEST_F(Consuming, WhatIsFetchedAheadIsBoundedInBytes) {
  limits.load_bytes_max = 250;
  start();
  Peer peer = open();
  peer.declare("q");
  for (const char letter : {'a', 'b', 'c', 'd', 'e'}) {
    outside.on_disk.insert(std::string(100, letter));
    peer.send("q", std::string(100, letter));
  }
  is_settling = false;
  peer.consume("q", "c", {.no_ack = true});
  EXPECT_THAT(outside.fetches, SizeIs(3));
  settle();
  EXPECT_THAT(peer.bodies(), SizeIs(5));
}

TEST_F(Consuming, WhatIsFetchedForAConsumerThatLeavesStaysInTheQueue) {
  Peer peer = open();
  peer.declare("q");
  fill(peer, 2);
  is_settling = false;
  outside.on_disk = {"1", "2"};
  peer.consume("q");
  peer.cancel("c");
  answer_fetch();
  answer_fetch();
  EXPECT_THAT(ready("q"), ElementsAre("1", "2"));
  peer.consume("q");
  EXPECT_THAT(peer.bodies(), ElementsAre("1", "2")) << "and is at hand now";
}

TEST_F(Consuming, WhatLeavesTheQueueWhileItIsFetchedIsNotDelivered) {
  Peer peer = open();
  peer.declare("q");
  peer.declare("gone");
  fill(peer, 1);
  peer.send("gone", "2");
  is_settling = false;
  outside.on_disk = {"1", "2"};
  peer.consume("q");
  peer.consume("gone", "d");
  EXPECT_EQ(peer.purge("q"), "queue.purge-ok 1");
  EXPECT_EQ(peer.remove("gone"), "queue.delete-ok 1");
  while (!outside.fetches.empty()) answer_fetch();
  EXPECT_THAT(peer.bodies(), IsEmpty());
  is_settling = true;
  outside.on_disk.clear();
  fill(peer, 1, 3);
  EXPECT_THAT(peer.bodies(), ElementsAre("3"));
}

TEST_F(Consuming, WhatIsRequeuedWhileOthersAreFetchedComesFirst) {
  Peer peer = open();
  peer.declare("q");
  peer.qos(1);
  fill(peer, 3);
  peer.consume("q");
  is_settling = false;
  EXPECT_THAT(peer.bodies(), ElementsAre("1"));
  outside.on_disk = {"2", "3"};
  Peer other = open(2);
  other.consume("q", "d");
  ASSERT_THAT(outside.fetches, SizeIs(2));
  peer.cancel("c");
  peer.nack(1);
  EXPECT_THAT(other.bodies(), ElementsAre("1"));
  while (!outside.fetches.empty()) answer_fetch();
  EXPECT_THAT(other.bodies(), ElementsAre("2", "3"));
}

TEST_F(Consuming, AGetWaitsForWhatIsOnTheDisk) {
  Peer peer = open();
  peer.declare("q");
  fill(peer, 2);
  outside.on_disk = {"1"};
  is_settling = false;
  peer.call(wire::BasicGet{.queue = "q", .no_ack = true});
  peer.call(wire::BasicGet{.queue = "q", .no_ack = true});
  EXPECT_THAT(peer.told(), IsEmpty());
  EXPECT_THAT(outside.fetches, SizeIs(1));
  answer_fetch();
  EXPECT_THAT(peer.told(), ElementsAre("basic.get-ok 1 1, 1 left", "basic.get-ok 2 2, 0 left"));
}

TEST_F(Consuming, ALookShowsWhatIsOutWithConsumers) {
  Peer peer = open();
  peer.declare("q");
  peer.qos(2);
  fill(peer, 3);
  peer.consume("q");
  const auto seen = broker->peek("/", "q", 0, 10);
  ASSERT_THAT(seen, SizeIs(3));
  EXPECT_TRUE(seen[0].is_unacked);
  EXPECT_TRUE(seen[1].is_unacked);
  EXPECT_FALSE(seen[2].is_unacked);
  EXPECT_THAT(broker->peek("/", "q", seen[1].sequence, 1), SizeIs(1));
}

TEST_F(Consuming, AnExclusiveConsumerIsAlone) {
  Peer peer = open();
  peer.declare("q");
  EXPECT_EQ(peer.consume("q", "a", {.exclusive = true}), "basic.consume-ok a");
  EXPECT_EQ(peer.consume("q", "b"),
            "channel closed 403 ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use");
  Peer other = open(1, 2);
  other.consume("q", "c");
  Peer third = open(1, 3);
  EXPECT_EQ(third.consume("q", "d", {.exclusive = true}),
            "channel closed 403 ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use");
}

TEST_F(Consuming, AConsumerTagIsUsedOnceOnAChannel) {
  Peer peer = open();
  peer.declare("q");
  EXPECT_EQ(peer.consume("q", "d"), "basic.consume-ok d");
  EXPECT_EQ(peer.consume("q", "d"),
            "connection closed 530 NOT_ALLOWED - attempt to reuse consumer tag 'd'");
  Peer other = open(1, 2);
  EXPECT_EQ(other.consume("q", "d"), "basic.consume-ok d") << "tags are of a channel";
}

TEST_F(Consuming, TheBrokerMakesUpTagsThatNobodyGuesses) {
  Peer peer = open();
  peer.declare("q");
  const std::string first = peer.consume("q", "");
  const std::string second = peer.consume("q", "");
  EXPECT_THAT(first, StartsWith("basic.consume-ok amq.ctag-"));
  EXPECT_NE(first, second);
}

TEST_F(Consuming, ConsumersOfAChannelAreLimited) {
  limits.consumers_per_channel_max = 2;
  start();
  Peer peer = open();
  peer.declare("q");
  peer.consume("q", "1");
  EXPECT_EQ(peer.consume("q", "2"), "basic.consume-ok 2");
  EXPECT_EQ(peer.consume("q", "3"),
            "connection closed 530 NOT_ALLOWED - reached maximum (2) of consumers per channel");
}

TEST_F(Consuming, DeletingAQueueTellsItsConsumers) {
  Peer peer = open(1, 1);
  Peer other = open(2, 1);
  peer.declare("q");
  other.consume("q", "theirs");
  fill(peer, 1);
  EXPECT_EQ(peer.remove("q"), "queue.delete-ok 0");
  EXPECT_THAT(other.told(), ElementsAre("theirs 1 1", "basic.cancel theirs"));
  EXPECT_EQ(other.ack(1), "") << "an answer to what is gone is no error";
  EXPECT_EQ(outside.body_count(), 0U);
}

TEST_F(Consuming, OfASingleActiveQueueTheNextTakesOverWhenTheFirstIsGone) {
  Peer peer = open();
  peer.declare("q", {.arguments = {{"x-single-active-consumer", true}}});
  peer.consume("q", "a");
  peer.consume("q", "b");
  fill(peer, 2);
  EXPECT_THAT(peer.told(), ElementsAre("a 1 1", "a 2 2"));
  peer.cancel("a");
  fill(peer, 1, 3);
  EXPECT_THAT(peer.told(), ElementsAre("b 3 3"));
}

TEST_F(Consuming, GetSaysHowManyAreLeftAndEmptyWhenThereIsNone) {
  Peer peer = open();
  peer.declare("q");
  fill(peer, 2);
  EXPECT_EQ(peer.get("q", true), "basic.get-ok 1 1, 1 left");
  EXPECT_EQ(peer.get("q"), "basic.get-ok 2 2, 0 left");
  EXPECT_EQ(peer.get("q"), "basic.get-empty");
  EXPECT_EQ(outside.body_count(), 1U);
}

TEST_F(Consuming, AQuorumQueueCountsDeliveriesAndGivesUpAtItsLimit) {
  Peer peer = open();
  peer.declare("dead");
  peer.declare("q", {.arguments = {{"x-queue-type", "quorum"},
                                   {"x-delivery-limit", 2},
                                   {"x-dead-letter-exchange", ""},
                                   {"x-dead-letter-routing-key", "dead"}}});
  fill(peer, 1);
  EXPECT_EQ(peer.get("q"), "basic.get-ok 1 1, 0 left");
  peer.nack(1);
  EXPECT_EQ(peer.get("q"), "basic.get-ok 2 1 redelivered count 1, 0 left");
  peer.nack(2);
  EXPECT_EQ(peer.get("q"), "basic.get-ok 3 1 redelivered count 2, 0 left");
  peer.nack(3);
  EXPECT_EQ(peer.get("q"), "basic.get-empty");
  EXPECT_THAT(ready("dead"), ElementsAre("1"));
}

// BROKER.md, case 36.
TEST_F(Consuming, AHundredThousandInHandAreAnsweredAtOnceAndComeBackInOrder) {
  constexpr int count = 100'000;
  Peer peer = open();
  peer.declare("q");
  is_settling = false;
  for (int i = 0; i < count; ++i) peer.send("q", std::to_string(i), {.persistent = false});
  is_settling = true;
  Peer taker = open(2);
  taker.consume("q");
  EXPECT_EQ(view("q").unacked_count, std::size_t{count});
  taker.cancel("c");
  taker.nack(count - 10, true);
  taker.ack(0, true);
  EXPECT_EQ(view("q").unacked_count, 0U);
  EXPECT_EQ(view("q").ready_count, std::size_t{count - 10});
  taker.consume("q");
  disconnect(2);
  const std::vector<std::string> back = ready("q");
  ASSERT_EQ(back.size(), std::size_t{count - 10});
  for (int i = 0; i < count - 10; ++i)
    ASSERT_EQ(back[static_cast<std::size_t>(i)], std::to_string(i));
}

}  // namespace
}  // namespace pronto::broker
