#include "fixture.hpp"

namespace pronto::broker {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class Expiry : public BrokerTest {
 protected:
  static MessageOptions lasting(const char* milliseconds_text) {
    wire::BasicProperties properties;
    properties.expiration = milliseconds_text;
    return {.properties = properties};
  }
};

TEST_F(Expiry, MessagesOfAQueueGoWhenItsTimeToLiveHasPassed) {
  Peer peer = open();
  peer.declare("q", {.arguments = {{"x-message-ttl", 1000}}});
  peer.send("q", "1");
  advance(milliseconds{400});
  peer.send("q", "2");
  advance(milliseconds{599});
  EXPECT_THAT(ready("q"), ElementsAre("1", "2"));
  advance(milliseconds{1});
  EXPECT_THAT(ready("q"), ElementsAre("2"));
  advance(milliseconds{400});
  EXPECT_THAT(ready("q"), IsEmpty());
  EXPECT_EQ(outside.body_count(), 0U);
  EXPECT_FALSE(broker->next_due());
  crash();
  EXPECT_THAT(ready("q"), IsEmpty());
}

TEST_F(Expiry, AMessagesOwnTimeCountsWhenItIsShorter) {
  Peer peer = open();
  peer.declare("q", {.arguments = {{"x-message-ttl", 1000}}});
  peer.send("q", "long", lasting("5000"));
  peer.send("q", "short", lasting("10"));
  advance(milliseconds{10});
  EXPECT_THAT(ready("q"), ElementsAre("long")) << "anywhere in the queue, not only at its head";
  advance(milliseconds{990});
  EXPECT_THAT(ready("q"), IsEmpty());
}

TEST_F(Expiry, WhatIsOutWithAConsumerDoesNotExpireAndDoesOnceItIsBack) {
  Peer peer = open();
  peer.declare("q", {.arguments = {{"x-message-ttl", 100}}});
  peer.send("q", "1");
  peer.get("q");
  advance(milliseconds{500});
  EXPECT_EQ(view("q").unacked_count, 1U);
  peer.nack(1);
  EXPECT_EQ(peer.get("q"), "basic.get-empty");
  EXPECT_EQ(outside.body_count(), 0U);
}

TEST_F(Expiry, AConsumerThatComesLateGetsNothingStale) {
  Peer peer = open();
  peer.declare("q");
  peer.send("q", "stale", lasting("10"));
  peer.send("q", "fresh");
  wait(milliseconds{50});  // no timer has told the engine
  peer.consume("q");
  EXPECT_THAT(peer.bodies(), ElementsAre("fresh"));
}

TEST_F(Expiry, ATimeOfZeroMeansNowOrNever) {
  Peer peer = open();
  peer.declare("q", {.arguments = {{"x-message-ttl", 0}}});
  peer.send("q", "nobody is there", {.persistent = false});
  advance(milliseconds{0});
  EXPECT_THAT(ready("q"), IsEmpty());
  peer.consume("q");
  peer.send("q", "somebody is there", {.persistent = false});
  EXPECT_THAT(peer.bodies(), ElementsAre("somebody is there"));
  EXPECT_EQ(peer.get("q"), "basic.get-empty");
}

TEST_F(Expiry, TimesGoOnWhileTheBrokerIsDown) {
  Peer peer = open();
  peer.declare("q");
  peer.send("q", "short", lasting("100"));
  peer.send("q", "long", lasting("1000"));
  wait(milliseconds{500});
  crash();
  advance(milliseconds{0});
  EXPECT_THAT(ready("q"), ElementsAre("long"));
  advance(milliseconds{500});
  EXPECT_THAT(ready("q"), IsEmpty());
}

TEST_F(Expiry, AQueueThatNobodyUsesGoes) {
  Peer peer = open();
  peer.declare("q", {.arguments = {{"x-expires", 1000}}});
  peer.send("q", "1");
  advance(milliseconds{999});
  EXPECT_TRUE(has_queue("q"));
  peer.get("q");
  advance(milliseconds{999});
  EXPECT_TRUE(has_queue("q")) << "a get is a use";
  peer.declare("q", {.passive = true});
  advance(milliseconds{999});
  EXPECT_TRUE(has_queue("q")) << "a declare is a use";
  peer.consume("q");
  advance(milliseconds{5000});
  EXPECT_TRUE(has_queue("q")) << "a consumer is a use";
  peer.cancel("c");
  advance(milliseconds{999});
  EXPECT_TRUE(has_queue("q"));
  advance(milliseconds{1});
  EXPECT_FALSE(has_queue("q"));
  EXPECT_EQ(outside.body_count(), 0U);
  crash();
  EXPECT_FALSE(has_queue("q"));
}

TEST_F(Expiry, ARestartIsAUseOfAQueueThatExpires) {
  Peer peer = open();
  peer.declare("q", {.arguments = {{"x-expires", 1000}}});
  wait(milliseconds{5000});
  crash();
  advance(milliseconds{999});
  EXPECT_TRUE(has_queue("q"));
  advance(milliseconds{1});
  EXPECT_FALSE(has_queue("q"));
}

TEST_F(Expiry, NothingIsDueWhereNothingEndsAndAgainOnceSomethingDoes) {
  Peer peer = open();
  peer.declare("q");
  peer.send("q", "1");
  EXPECT_EQ(broker->next_due(), std::nullopt);
  wire::BasicProperties short_lived;
  short_lived.expiration = "1000";
  for (int round = 0; round < 2; ++round) {
    peer.send("q", "2", {.properties = short_lived});
    EXPECT_EQ(broker->next_due(), now + milliseconds{1000});
    peer.purge("q");
    EXPECT_EQ(broker->next_due(), std::nullopt);
  }
  peer.send("q", "3", {.properties = short_lived});
  peer.get("q");
  const WallTime end = now + milliseconds{1000};
  advance(milliseconds{1000});
  EXPECT_EQ(broker->next_due(), std::nullopt) << "what is in hand does not expire";
  now -= milliseconds{500};  // a clock that was set back
  peer.nack(1);
  EXPECT_EQ(broker->next_due(), end);
  crash();
  EXPECT_EQ(broker->next_due(), end);
  peer = open();
  peer.declare("idle", {.arguments = {{"x-expires", 500}}});
  EXPECT_EQ(broker->next_due(), now + milliseconds{500});
  peer.remove("idle");
  peer.remove("q");
  EXPECT_EQ(broker->next_due(), std::nullopt);
}

TEST_F(Expiry, TheClockMayJump) {
  Peer peer = open();
  peer.declare("q", {.arguments = {{"x-message-ttl", 1000}}});
  peer.send("q", "1");
  now -= std::chrono::days{1};
  run([&](Broker& one) { one.on_time(now); });
  EXPECT_THAT(ready("q"), ElementsAre("1"));
  now += std::chrono::days{2};
  run([&](Broker& one) { one.on_time(now); });
  EXPECT_THAT(ready("q"), IsEmpty());
}

}  // namespace
}  // namespace pronto::broker
