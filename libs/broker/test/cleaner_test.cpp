#include "fixture.hpp"

namespace pronto::broker {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// On the outside of these tests each unit is a segment of its own.
class Cleaner : public BrokerTest {
 protected:
  std::uint32_t segment_of(std::string_view queue, std::size_t place = 0) const {
    const auto seen = broker->peek("/", queue, 0, 1'000'000);
    return static_cast<std::uint32_t>(static_cast<std::uint64_t>(seen.at(place).body.position) >>
                                      32U);
  }
  bool is_needed(std::uint32_t segment) const {
    for (const SegmentUse& use : broker->segments_in_use()) {
      if (use.segment == segment) return true;
    }
    return false;
  }
  /// Runs to its end. Returns: how many parts it took.
  int clean(std::uint32_t segment) {
    int parts = 0;
    for (bool goes_on = true; goes_on; ++parts) {
      run([&](Broker& one) { goes_on = one.clean(segment, now); });
    }
    return parts;
  }
};

TEST_F(Cleaner, WhatIsNeededOfASegmentMovesAndTheSegmentIsNot) {
  Peer peer = open();
  peer.declare("q");
  peer.send("q", "1");
  peer.send("q", "2");
  const std::uint32_t segment = segment_of("q");
  clean(segment);
  EXPECT_FALSE(is_needed(segment));
  EXPECT_EQ(view("q").segment_count, 2U);
  EXPECT_THAT(ready("q"), ElementsAre("1", "2")) << "at their places";
  crash();
  EXPECT_FALSE(is_needed(segment));
  peer = open();
  EXPECT_EQ(peer.get("q", true), "basic.get-ok 1 1 redelivered, 1 left");
  EXPECT_EQ(peer.get("q", true), "basic.get-ok 2 2 redelivered, 0 left");
  EXPECT_TRUE(broker->segments_in_use().empty());
}

TEST_F(Cleaner, ABodyOfManyQueuesIsCopiedOnce) {
  Peer peer = open();
  peer.exchange("fan", "fanout");
  for (const char* queue : {"a", "b", "c"}) {
    peer.declare(queue);
    peer.bind(queue, "fan");
  }
  peer.publish("fan", "", "1");
  peer.get("b");  // out with a consumer
  const std::uint32_t segment = segment_of("a");
  clean(segment);
  EXPECT_FALSE(is_needed(segment));
  EXPECT_EQ(segment_of("a"), segment_of("b"));
  EXPECT_EQ(segment_of("a"), segment_of("c"));
  ASSERT_EQ(broker->segments_in_use().size(), 1U);
  EXPECT_EQ(broker->segments_in_use()[0].entry_count, 3U);
  peer.nack(1);
  EXPECT_THAT(ready("b"), ElementsAre("1"));
  crash();
  for (const char* queue : {"a", "b", "c"}) EXPECT_THAT(ready(queue), ElementsAre("1"));
  EXPECT_FALSE(is_needed(segment));
}

TEST_F(Cleaner, WhatLeavesMeanwhileStaysAway) {
  Peer peer = open();
  peer.declare("q");
  peer.declare("deleted");
  peer.select();
  for (const char* body : {"read", "appended", "stays"}) peer.send("q", body);
  peer.send("deleted", "goes");
  peer.commit();  // one unit, so one segment
  const std::uint32_t segment = segment_of("q");
  Peer taker = open(2);
  is_settling = false;
  broker->clean(segment, now);
  ASSERT_EQ(outside.fetches.size(), 4U);
  taker.get("q", true);
  taker.remove("deleted");
  while (!outside.fetches.empty()) answer_fetch();
  taker.get("q", true);
  EXPECT_TRUE(broker->is_moving());
  EXPECT_TRUE(is_needed(segment)) << "the copy is not durable yet";
  is_settling = true;
  settle();
  EXPECT_FALSE(broker->is_moving());
  EXPECT_FALSE(is_needed(segment));
  EXPECT_THAT(ready("q"), ElementsAre("stays"));
  crash();
  EXPECT_THAT(ready("q"), ElementsAre("stays"));
}

TEST_F(Cleaner, ACrashBeforeTheCopyIsDurableLeavesTheMessageWhereItWas) {
  Peer peer = open();
  peer.declare("q");
  peer.send("q", "1");
  const std::uint32_t segment = segment_of("q");
  is_settling = false;
  broker->clean(segment, now);
  answer_fetch();
  EXPECT_EQ(segment_of("q"), segment);
  crash();
  is_settling = true;
  EXPECT_EQ(segment_of("q"), segment);
  EXPECT_THAT(ready("q"), ElementsAre("1"));
}

TEST_F(Cleaner, MovesABoundedPartAtATime) {
  limits.load_count_max = 10;
  start();
  Peer peer = open();
  peer.declare("q");
  peer.select();
  for (int i = 0; i < 95; ++i) peer.send("q", std::to_string(i));
  peer.commit();
  const std::vector<std::string> before = ready("q");
  const std::uint32_t segment = segment_of("q");
  is_settling = false;
  EXPECT_TRUE(broker->clean(segment, now));
  EXPECT_EQ(outside.fetches.size(), 10U);
  EXPECT_TRUE(broker->clean(segment, now));
  EXPECT_EQ(outside.fetches.size(), 10U);
  is_settling = true;
  settle();
  EXPECT_GE(clean(segment), 8);
  EXPECT_FALSE(is_needed(segment));
  EXPECT_EQ(ready("q"), before);
}

TEST_F(Cleaner, WhatCannotBeReadStaysAndKeepsItsSegment) {
  Peer peer = open();
  peer.declare("q");
  peer.select();
  peer.send("q", "rotten");
  peer.send("q", "sound");
  peer.commit();
  const std::uint32_t segment = segment_of("q");
  outside.unreadable.insert("rotten");
  clean(segment);
  EXPECT_TRUE(is_needed(segment));
  EXPECT_EQ(segment_of("q", 0), segment);
  EXPECT_NE(segment_of("q", 1), segment);
  outside.unreadable.clear();
  crash();
  EXPECT_THAT(ready("q"), ElementsAre("rotten", "sound"));
}

TEST_F(Cleaner, MovesPrioritiesAndWhatIsDelayed) {
  Peer peer = open();
  peer.declare("q", {.arguments = {{"x-max-priority", 5}}});
  peer.exchange("late", "x-delayed-message", {.arguments = {{"x-delayed-type", "fanout"}}});
  peer.bind("q", "late");
  peer.select();
  MessageOptions urgent;
  urgent.properties.priority = 5;
  peer.send("q", "low");
  peer.send("q", "high", urgent);
  peer.publish("late", "", "later", {.properties = with_headers({{"x-delay", 10}})});
  peer.commit();
  const std::uint32_t segment = segment_of("q");
  clean(segment);
  EXPECT_FALSE(is_needed(segment));
  crash();
  EXPECT_FALSE(is_needed(segment));
  advance(milliseconds{10});
  peer = open();
  for (const char* body : {"high", "low", "later"}) {
    EXPECT_THAT(peer.get("q", true), testing::HasSubstr(std::string{" "} + body));
  }
}

// What was asked for where it was is asked for again where it is.
TEST_F(Cleaner, AFetchThatComesTooLateForTheOldSegmentFindsTheCopy) {
  Peer peer = open();
  peer.declare("dead");
  peer.declare(
      "q", {.arguments = {{"x-dead-letter-exchange", ""}, {"x-dead-letter-routing-key", "dead"}}});
  peer.declare("read");
  peer.exchange("late", "x-delayed-message", {.arguments = {{"x-delayed-type", "fanout"}}});
  peer.bind("read", "late");
  outside.on_disk.insert("delivered");
  peer.select();
  peer.send("q", "rejected");
  peer.send("read", "delivered");
  peer.publish("late", "", "delayed", {.properties = with_headers({{"x-delay", 10}})});
  peer.commit();
  const std::uint32_t segment = segment_of("q");
  Peer taker = open(2);
  taker.get("q");
  is_settling = false;
  taker.reject(1);
  taker.consume("read", "c", {.no_ack = true});
  wait(milliseconds{10});
  broker->on_time(now);
  const auto asked = std::exchange(outside.fetches, {});
  ASSERT_EQ(asked.size(), 3U);
  is_settling = true;
  clean(segment);
  EXPECT_FALSE(is_needed(segment));
  for (const auto& [body, ticket] : asked) broker->on_fetched(ticket, nullptr, now);
  settle();
  EXPECT_THAT(ready("dead"), ElementsAre("rejected"));
  EXPECT_THAT(taker.bodies(), ElementsAre("rejected", "delivered", "delayed"));
}

TEST_F(Cleaner, ASegmentThatNobodyNeedsIsCleanAtOnce) {
  EXPECT_FALSE(broker->clean(17, now));
  EXPECT_THAT(outside.fetches, IsEmpty());
}

}  // namespace
}  // namespace pronto::broker
