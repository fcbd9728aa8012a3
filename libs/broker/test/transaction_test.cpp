#include "fixture.hpp"

namespace pronto::broker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Transactions : public BrokerTest {};

TEST_F(Transactions, NothingHappensBeforeTheCommitAndThenAllAtOnce) {
  Peer peer = open();
  peer.declare("a");
  peer.declare("b");
  peer.declare("in");
  peer.send("in", "order");
  EXPECT_EQ(peer.select(), "tx.select-ok");
  peer.get("in");
  peer.send("a", "1");
  peer.send("b", "2");
  peer.ack(1);
  EXPECT_THAT(ready("a"), IsEmpty());
  is_settling = false;
  outside.appends_of_command = 0;
  const std::uint64_t before = outside.last_sequence();
  EXPECT_EQ(peer.commit(), "") << "it is answered once durable";
  EXPECT_EQ(outside.last_sequence(), before + 1) << "one unit, across queues";
  settle();
  EXPECT_THAT(peer.told(), ElementsAre("basic.get-ok 1 order, 0 left", "tx.commit-ok"));
  EXPECT_THAT(ready("a"), ElementsAre("1"));
  EXPECT_THAT(ready("b"), ElementsAre("2"));
  crash();
  EXPECT_THAT(ready("in"), IsEmpty());
  EXPECT_THAT(ready("a"), ElementsAre("1"));
}

TEST_F(Transactions, ACrashBeforeTheCommitIsDurableLeavesNothingOfIt) {
  Peer peer = open();
  peer.declare("a");
  peer.declare("b");
  peer.declare("in");
  peer.send("in", "order");
  peer.select();
  peer.get("in");
  peer.send("a", "1");
  peer.send("b", "2");
  peer.ack(1);
  is_settling = false;
  peer.commit();
  crash();
  EXPECT_THAT(ready("a"), IsEmpty());
  EXPECT_THAT(ready("b"), IsEmpty());
  EXPECT_THAT(ready("in"), ElementsAre("order"));
}

TEST_F(Transactions, RollbackForgetsPublishesAndTakesAnswersBack) {
  Peer peer = open();
  peer.declare("q");
  peer.send("q", "1");
  peer.select();
  peer.get("q");
  peer.send("q", "2");
  peer.ack(1);
  EXPECT_EQ(peer.rollback(), "tx.rollback-ok");
  EXPECT_EQ(view("q").unacked_count, 1U);
  EXPECT_EQ(peer.ack(1), "");
  EXPECT_EQ(peer.commit(), "tx.commit-ok");
  EXPECT_THAT(ready("q"), IsEmpty());
  EXPECT_EQ(outside.body_count(), 0U);
}

TEST_F(Transactions, AChannelThatGoesRollsBack) {
  Peer peer = open();
  peer.declare("q");
  peer.send("q", "1");
  peer.select();
  peer.get("q");
  peer.send("q", "2");
  peer.ack(1);
  peer.close();
  EXPECT_THAT(ready("q"), ElementsAre("1"));
}

TEST_F(Transactions, AnEmptyCommitIsAnsweredAtOnce) {
  Peer peer = open();
  peer.select();
  is_settling = false;
  EXPECT_EQ(peer.commit(), "tx.commit-ok");
}

TEST_F(Transactions, MandatoryMessagesAreReturnedWithTheCommit) {
  Peer peer = open();
  peer.select();
  peer.send("nowhere", "1", {.mandatory = true});
  EXPECT_THAT(peer.told(), IsEmpty());
  EXPECT_EQ(peer.commit(), "tx.commit-ok");
  EXPECT_THAT(peer.told(), ElementsAre("returned 312 NO_ROUTE 1"));
}

TEST_F(Transactions, TheQueueOfAHeldAnswerMayBeDeletedBeforeTheCommit) {
  Peer peer = open();
  peer.declare("q");
  peer.qos(10, true);
  peer.consume("q");
  peer.send("q", "1");
  peer.select();
  peer.ack(1);
  Peer other = open(2, 1);
  EXPECT_EQ(other.remove("q"), "queue.delete-ok 0");
  EXPECT_EQ(peer.commit(), "tx.commit-ok");
  EXPECT_EQ(outside.body_count(), 0U);
}

TEST_F(Transactions, PrefetchCountsWhatIsAnsweredButNotCommitted) {
  Peer peer = open();
  peer.declare("q");
  peer.qos(1);
  peer.consume("q");
  peer.send("q", "1");
  peer.send("q", "2");
  peer.select();
  peer.ack(1);
  EXPECT_THAT(peer.bodies(), ElementsAre("1"));
  peer.commit();
  EXPECT_THAT(peer.bodies(), ElementsAre("2"));
}

TEST_F(Transactions, WithoutRoomACommitIsRefusedAsAWhole) {
  Peer peer = open();
  peer.declare("q");
  peer.send("q", "1");
  peer.select();
  peer.get("q");
  peer.ack(1);
  peer.send("q", "2");
  outside.journal_has_room = false;
  EXPECT_THAT(peer.commit(), HasSubstr("closed 506 RESOURCE_ERROR - no room on the disk"));
  disconnect(1);
  outside.journal_has_room = true;
  EXPECT_THAT(ready("q"), ElementsAre("1"));
}

TEST_F(Transactions, ATransactionHoldsPublishesAndAnswersUpToItsLimit) {
  limits.transaction_count_max = 3;
  start();
  Peer peer = open();
  peer.declare("q");
  for (const char* body : {"1", "2", "3"}) peer.send("q", body);
  peer.consume("q");
  peer.select();
  EXPECT_EQ(peer.ack(1), "");
  peer.send("q", "4");
  peer.send("q", "5");
  EXPECT_THAT(peer.told(), ElementsAre("c 1 1", "c 2 2", "c 3 3"));
  EXPECT_THAT(peer.ack(2), HasSubstr("closed 506 RESOURCE_ERROR"));
  Peer other = open(2, 1);
  other.select();
  for (int i = 0; i < 3; ++i) other.send("q", "x");
  EXPECT_THAT(other.told(), IsEmpty());
  other.send("q", "x");
  EXPECT_THAT(other.told(),
              ElementsAre("channel closed 506 RESOURCE_ERROR - a transaction holds at most 3 "
                          "publishes and answers"));
}

TEST_F(Transactions, ATransactionThatIsTooLargeForOneUnitIsRefusedAndChangesNothing) {
  limits.unit_bytes_max = 10'000;
  start();
  Peer peer = open();
  for (int i = 0; i < 20; ++i) {
    peer.declare("q" + std::to_string(i));
    peer.bind("q" + std::to_string(i), "amq.fanout");
  }
  peer.select();
  peer.publish("amq.fanout", "", "fits");
  EXPECT_EQ(peer.commit(), "tx.commit-ok");
  for (int i = 0; i < 10; ++i) peer.publish("amq.fanout", "", "does not");
  EXPECT_THAT(peer.commit(), HasSubstr("closed 506 RESOURCE_ERROR - the transaction is larger"));
  EXPECT_THAT(ready("q7"), ElementsAre("fits"));
}

TEST_F(Transactions, WhatTheyHoldIsCountedUntilTheyEnd) {
  Peer peer = open();
  peer.declare("q");
  const std::string body(1000, 'x');
  peer.select();
  EXPECT_EQ(broker->held_bytes(), 0U);
  peer.send("q", body);
  peer.send("q", body);
  EXPECT_GT(broker->held_bytes(), 2000U);
  EXPECT_LT(broker->held_bytes(), 2500U);
  peer.rollback();
  EXPECT_EQ(broker->held_bytes(), 0U);
  peer.send("q", body);
  EXPECT_EQ(peer.commit(), "tx.commit-ok");
  EXPECT_EQ(broker->held_bytes(), 0U);
  peer.send("q", body);
  peer.close();
  EXPECT_EQ(broker->held_bytes(), 0U);
  Peer other = open(2, 1);
  other.select();
  other.send("q", body);
  EXPECT_GT(broker->held_bytes(), 1000U);
  disconnect(2);
  EXPECT_EQ(broker->held_bytes(), 0U);
}

TEST_F(Transactions, TheChannelsOfAConnectionHoldNoMoreThanOneMay) {
  limits.unit_bytes_max = 10'000;
  start();
  Peer one = open(1, 1);
  Peer two = open(1, 2);
  Peer elsewhere = open(2, 1);
  for (Peer* peer : {&one, &two, &elsewhere}) peer->select();
  one.send("q", std::string(6000, 'x'));
  elsewhere.send("q", std::string(6000, 'x'));
  two.send("q", std::string(6000, 'x'));
  EXPECT_THAT(two.told(), ElementsAre(HasSubstr("closed 506 RESOURCE_ERROR - the transaction")));
  EXPECT_THAT(one.told(), IsEmpty());
  EXPECT_THAT(elsewhere.told(), IsEmpty());
  EXPECT_EQ(one.rollback(), "tx.rollback-ok");
  one.send("q", std::string(9000, 'x'));
  EXPECT_EQ(one.commit(), "tx.commit-ok");
}

TEST_F(Transactions, ConfirmsAndTransactionsExcludeEachOther) {
  Peer peer = open();
  peer.confirms();
  EXPECT_EQ(peer.select(),
            "channel closed 406 PRECONDITION_FAILED - cannot switch from confirm to tx mode");
  peer = open(1, 2);
  peer.select();
  EXPECT_EQ(peer.confirms(),
            "channel closed 406 PRECONDITION_FAILED - cannot switch from tx to confirm mode");
  peer = open(1, 3);
  EXPECT_EQ(peer.commit(), "channel closed 406 PRECONDITION_FAILED - channel is not transactional");
  peer = open(1, 4);
  EXPECT_EQ(peer.rollback(),
            "channel closed 406 PRECONDITION_FAILED - channel is not transactional");
}

TEST_F(Transactions, AcksAreWaitedForInATransactionAndNotOutsideOfOne) {
  Peer peer = open();
  peer.declare("q");
  for (const char* body : {"1", "2"}) peer.send("q", body);
  Peer taker = open(2);
  taker.get("q");
  const std::size_t awaited = outside.awaited_appends;
  taker.ack(1);
  EXPECT_EQ(outside.awaited_appends, awaited);
  Peer committing = open(3);
  committing.select();
  committing.get("q");
  committing.ack(1);
  EXPECT_EQ(committing.commit(), "tx.commit-ok");
  EXPECT_EQ(outside.awaited_appends, awaited + 1);
}

}  // namespace
}  // namespace pronto::broker
