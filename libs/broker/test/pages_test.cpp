// Goal: a backlog may be as long as the disk is large: what the memory has no room for is written
// out, and nobody can tell. Method: pages of four entries, and room for none of them.

#include <fmt/format.h>

#include "fixture.hpp"

namespace pronto::broker {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class Pages : public BrokerTest {
 protected:
  Pages() {
    limits.page_entries_max = 4;
    limits.page_bytes_max = 0;
    start();
    peer.emplace(open());
  }

  /// Publishes `first` to `last`, each as its number.
  void publish(int first, int last, const MessageOptions& options = {}) {
    for (int i = first; i <= last; ++i) peer->send("q", std::to_string(i), options);
  }
  static std::vector<std::string> numbers(int first, int last) {
    std::vector<std::string> all;
    for (int i = first; i <= last; ++i) all.push_back(std::to_string(i));
    return all;
  }
  std::vector<std::string> taken(int count) {
    std::vector<std::string> bodies;
    for (int i = 0; i < count; ++i) peer->get("q", true);
    return peer->bodies();
  }

  std::optional<Peer> peer;
};

TEST_F(Pages, OfABacklogAreOutButForWhatComesNextAndLast) {
  peer->declare("q");
  publish(1, 40);
  // Two where deliveries are, and the one that is being filled.
  EXPECT_EQ(broker->pages().out, 7U);
  EXPECT_EQ(broker->pages().written_total, 7U) << "each is written once";
  EXPECT_EQ(view("q").ready_count, 40U);
  EXPECT_EQ(ready("q"), numbers(1, 40)) << "looking at them leaves them where they are";
  EXPECT_EQ(broker->pages().out, 7U);
}

TEST_F(Pages, StayWhereTheyAreWhenTheJournalHasNoRoom) {
  peer->declare("q");
  publish(1, 20);
  outside.journal_has_room = false;
  publish(21, 40);
  EXPECT_EQ(broker->pages().out, 2U);
  EXPECT_EQ(ready("q"), numbers(1, 40));
}

TEST_F(Pages, ComeBackWhenDeliveriesComeToThemAndNotBefore) {
  peer->declare("q");
  publish(1, 40);
  EXPECT_EQ(taken(3), numbers(1, 3));
  EXPECT_EQ(broker->pages().read_total, 0U);
  EXPECT_EQ(taken(37), numbers(4, 40));
  EXPECT_EQ(broker->pages().read_total, 7U);
  EXPECT_EQ(broker->pages().out, 0U);
  EXPECT_EQ(outside.body_count(), 0U);
  EXPECT_THAT(outside.pages, IsEmpty());
  EXPECT_EQ(peer->get("q"), "basic.get-empty");
}

TEST_F(Pages, ComeBackForAConsumerThatTakesWhatItGets) {
  peer->declare("q");
  publish(1, 40);
  peer->qos(2);
  peer->consume("q");
  EXPECT_EQ(peer->bodies(), numbers(1, 2));
  EXPECT_EQ(broker->pages().read_total, 0U);
  for (std::uint64_t tag = 1; tag <= 40; ++tag) peer->ack(tag);
  EXPECT_EQ(peer->bodies(), numbers(3, 40));
  EXPECT_EQ(broker->pages().read_total, 7U);
}

TEST_F(Pages, AreFetchedOnceHoweverManyAsk) {
  peer->declare("q");
  publish(1, 40);
  taken(8);
  is_settling = false;
  peer->get("q", true);
  peer->get("q", true);
  peer->consume("q", "c", {.no_ack = true});
  EXPECT_LE(outside.page_fetches.size(), 2U) << "the one that is wanted, and the next";
  settle();
  EXPECT_EQ(peer->bodies(), numbers(9, 40));
  EXPECT_EQ(broker->pages().read_total, 7U);
}

TEST_F(Pages, AreNotReadAfterAPurge) {
  peer->declare("q");
  publish(1, 40);
  EXPECT_EQ(peer->purge("q"), "queue.purge-ok 40");
  EXPECT_EQ(broker->pages().read_total, 0U);
  EXPECT_EQ(broker->pages().out, 0U);
  EXPECT_EQ(outside.body_count(), 0U);
  EXPECT_THAT(broker->segments_in_use(), IsEmpty());
  publish(41, 44);
  crash();
  EXPECT_EQ(ready("q"), numbers(41, 44));
}

TEST_F(Pages, GoWithTheirQueueThoughTheyAreOnTheirWay) {
  peer->declare("q");
  publish(1, 40);
  taken(8);
  is_settling = false;
  peer->get("q", true);
  peer->remove("q");
  settle();
  EXPECT_EQ(outside.body_count(), 0U);
  EXPECT_THAT(outside.pages, IsEmpty());
  EXPECT_THAT(broker->segments_in_use(), IsEmpty());
}

TEST_F(Pages, OfAPurgeLeaveWhatIsOut) {
  peer->declare("q");
  publish(1, 40);
  EXPECT_EQ(peer->get("q"), "basic.get-ok 1 1, 39 left");
  take_checkpoint();
  EXPECT_EQ(peer->purge("q"), "queue.purge-ok 39");
  peer->nack(1);
  crash();
  EXPECT_EQ(ready("q"), numbers(1, 1));
}

TEST_F(Pages, AreWhatACheckpointRefersTo) {
  peer->declare("q");
  publish(1, 40);
  take_checkpoint();
  std::size_t stated = 0;
  for (const auto& record : outside.checkpoint) {
    if (record.type == RecordType::written_page) ++stated;
  }
  EXPECT_EQ(stated, 7U);
  crash();
  EXPECT_EQ(broker->pages().out, 7U) << "a restart does not read them";
  EXPECT_EQ(broker->pages().read_total, 0U);
  peer.emplace(open());
  publish(41, 42);
  EXPECT_EQ(ready("q"), numbers(1, 42));
  EXPECT_EQ(taken(42), numbers(1, 42));
  EXPECT_EQ(outside.body_count(), 0U);
}

TEST_F(Pages, KnowWhatHasLeftThemSinceTheCheckpoint) {
  peer->declare("q");
  publish(1, 40);
  take_checkpoint();
  EXPECT_EQ(taken(18), numbers(1, 18));
  crash();
  EXPECT_EQ(ready("q"), numbers(19, 40));
  EXPECT_EQ(outside.body_count(), 22U);
  peer.emplace(open());
  EXPECT_EQ(taken(22), numbers(19, 40));
}

TEST_F(Pages, ThatCannotBeReadKeepNobodyWaiting) {
  peer->declare("q");
  publish(1, 40);
  outside.pages_are_readable = false;
  EXPECT_EQ(taken(40).size(), 12U);
  EXPECT_EQ(view("q").ready_count, 0U);
  EXPECT_EQ(broker->pages().lost_total, 7U);
  // A restart tries again.
  take_checkpoint();
  outside.pages_are_readable = true;
  crash();
  EXPECT_EQ(ready("q"), numbers(9, 36));
}

TEST_F(Pages, ThatCannotBeReadAreTriedAgainThoughYoungerOnesWait) {
  peer->declare("q");
  publish(1, 40);
  outside.pages_are_readable = false;
  taken(9);
  EXPECT_EQ(view("q").ready_count, 3U);
  for (int restart = 0; restart < 2; ++restart) {
    take_checkpoint();
    crash();
    peer.emplace(open());
  }
  outside.pages_are_readable = true;
  take_checkpoint();
  crash();
  EXPECT_EQ(ready("q").size(), 31U);
}

TEST_F(Pages, ThatCannotBeReadForAReplayBringNothingBackLater) {
  peer->declare("q");
  publish(1, 40);
  take_checkpoint();
  taken(10);
  outside.pages_are_readable = false;
  crash();
  peer.emplace(open());
  take_checkpoint();
  crash();
  take_checkpoint();
  outside.pages_are_readable = true;
  crash();
  EXPECT_EQ(ready("q"), numbers(11, 40));
  peer.emplace(open());
  peer->purge("q");
  EXPECT_THAT(broker->segments_in_use(), IsEmpty());
}

TEST_F(Pages, ThatCannotBeReadForAReplayBringNothingBackThatLeftOutOfOrder) {
  peer->declare("q");
  publish(1, 40);
  take_checkpoint();
  for (int i = 1; i <= 14; ++i) peer->get("q");
  peer->ack(10);
  peer->ack(9);
  peer->ack(8, true);
  peer->ack(14, true);  // of two pages
  outside.pages_are_readable = false;
  crash();
  take_checkpoint();
  outside.pages_are_readable = true;
  crash();
  EXPECT_EQ(ready("q"), numbers(15, 40));
}

TEST_F(Pages, ThatCannotBeReadGoWithAPurgeThatIsReplayed) {
  peer->declare("q");
  publish(1, 40);
  take_checkpoint();
  taken(10);
  peer->purge("q");
  outside.pages_are_readable = false;
  crash();
  take_checkpoint();
  outside.pages_are_readable = true;
  crash();
  EXPECT_THAT(ready("q"), IsEmpty());
}

TEST_F(Pages, ThatCannotBeReadGoWithAPurge) {
  peer->declare("q");
  publish(1, 40);
  outside.pages_are_readable = false;
  taken(40);
  EXPECT_FALSE(broker->segments_in_use().empty());
  peer->purge("q");
  EXPECT_THAT(broker->segments_in_use(), IsEmpty());
  outside.pages_are_readable = true;
  crash();
  EXPECT_THAT(ready("q"), IsEmpty());
}

TEST_F(Pages, AreReadForWhatALengthLimitDrops) {
  peer->declare("q", {.arguments = {{"x-max-length", 20}}});
  publish(1, 100);
  EXPECT_EQ(ready("q"), numbers(81, 100));
  EXPECT_EQ(outside.body_count(), 20U);
  EXPECT_GT(broker->pages().read_total, 10U);
}

MessageOptions living(int milliseconds) {
  return {.properties = {.expiration = std::to_string(milliseconds)}};
}

TEST_F(Pages, AreReadWhenAllOfThemHasExpired) {
  peer->declare("q");
  publish(1, 20);
  publish(21, 30, living(100));
  publish(31, 40);
  EXPECT_EQ(broker->pages().out, 7U);
  advance(milliseconds{99});
  EXPECT_EQ(view("q").ready_count, 40U);
  EXPECT_EQ(broker->pages().read_total, 0U);
  advance(milliseconds{1});
  // 29 and 30 share a page with others: they wait, and are not delivered.
  EXPECT_EQ(view("q").ready_count, 32U);
  EXPECT_EQ(outside.body_count(), 32U);
  std::vector<std::string> left = numbers(1, 20);
  for (const std::string& one : numbers(31, 40)) left.push_back(one);
  EXPECT_EQ(taken(40), left);
}

TEST_F(Pages, ExpireAfterARestartThatHasNotReadThem) {
  peer->declare("q");
  publish(1, 20);
  publish(21, 32, living(100));
  publish(33, 40);
  take_checkpoint();
  crash();
  advance(milliseconds{100});
  EXPECT_EQ(view("q").ready_count, 28U);
}

// Goal: a queue whose messages live equally long, and go to another one when they have, is exact
// however long it is: that is how delays are made.
TEST_F(Pages, ComeBackAsTheFrontExpires) {
  peer->declare("q", {.arguments = {{"x-message-ttl", 1000},
                                    {"x-dead-letter-exchange", ""},
                                    {"x-dead-letter-routing-key", "dead"}}});
  peer->declare("dead");
  for (int i = 1; i <= 60; ++i) {
    publish(i, i);
    advance(milliseconds{10});
  }
  EXPECT_GT(broker->pages().out, 8U);
  advance(milliseconds{400});
  for (int i = 1; i <= 60; ++i) {
    EXPECT_EQ(view("dead").ready_count, static_cast<std::size_t>(i));
    advance(milliseconds{10});
  }
  EXPECT_EQ(ready("dead"), numbers(1, 60));
}

TEST_F(Pages, AreReadOnceToExpireTogether) {
  peer->declare("q");
  publish(1, 400, living(100));
  const Broker::PageCounts before = broker->pages();
  advance(milliseconds{100});
  EXPECT_EQ(view("q").ready_count, 0U);
  EXPECT_EQ(broker->pages().read_total, before.out);
  EXPECT_EQ(broker->pages().written_total, before.written_total);
}

TEST_F(Pages, AreReadFewTimesToExpireInNoOrder) {
  limits.page_entries_max = 64;
  crash();
  peer.emplace(open());
  peer->declare("q");
  for (int i = 0; i < 6'400; ++i) {
    peer->send("q", std::to_string(i), living(1 + i * 2741 % 6'400));
  }
  const Broker::PageCounts before = broker->pages();
  advance(milliseconds{6'500});
  EXPECT_EQ(view("q").ready_count, 0U);
  EXPECT_LT(broker->pages().read_total, 2 * before.out);
}

TEST_F(Pages, OnTheirWayKeepNobodyFromExpiring) {
  peer->declare("q");
  publish(1, 8, living(150));
  publish(9, 12, living(100));
  publish(13, 40);
  is_settling = false;
  advance(milliseconds{500});
  peer->consume("q", "c", {.no_ack = true});
  EXPECT_THAT(peer->bodies(), IsEmpty());
  settle();
  EXPECT_EQ(peer->bodies(), numbers(13, 40));
}

TEST_F(Pages, DeliverNothingThatHasExpiredWhileTheProcessWasAway) {
  peer->declare("q");
  publish(1, 8, living(150));
  publish(9, 40, living(100));
  publish(41, 48);
  take_checkpoint();
  wait(milliseconds{1'000});
  crash();
  peer.emplace(open());
  peer->consume("q", "c", {.no_ack = true});
  EXPECT_EQ(peer->bodies(), numbers(41, 48));
}

TEST_F(Pages, WithPrioritiesKeepTheOrder) {
  peer->declare("q", {.arguments = {{"x-max-priority", 2}}});
  for (int i = 1; i <= 60; ++i) {
    MessageOptions options;
    options.properties.priority = static_cast<std::uint8_t>(i % 3);
    peer->send("q", std::to_string(i), options);
  }
  EXPECT_GT(broker->pages().out, 3U);
  take_checkpoint();
  crash();
  peer.emplace(open());
  std::vector<std::string> expected;
  for (const int priority : {2, 1, 0}) {
    for (int i = 1; i <= 60; ++i) {
      if (i % 3 == priority) expected.push_back(std::to_string(i));
    }
  }
  EXPECT_EQ(taken(60), expected);
}

TEST_F(Pages, AreFetchedBeforeTheirSegmentIsCleaned) {
  peer->declare("q");
  publish(1, 40);
  // A segment has one message here, or one page.
  const std::vector<SegmentUse> before = broker->segments_in_use();
  ASSERT_EQ(before.size(), 47U);
  const std::uint32_t with_body = before[20].segment;
  for (int i = 0; i < 5; ++i) {
    run([&](Broker& one) { one.clean(with_body, now); });
  }
  for (const SegmentUse& use : broker->segments_in_use()) EXPECT_NE(use.segment, with_body);
  EXPECT_EQ(ready("q"), numbers(1, 40));
  const std::uint32_t with_page = static_cast<std::uint32_t>(
      static_cast<std::uint64_t>(outside.pages.begin()->position) >> 32U);
  for (int i = 0; i < 5; ++i) {
    run([&](Broker& one) { one.clean(with_page, now); });
  }
  for (const SegmentUse& use : broker->segments_in_use()) EXPECT_NE(use.segment, with_page);
  take_checkpoint();
  crash();
  EXPECT_EQ(ready("q"), numbers(1, 40));
}

}  // namespace
}  // namespace pronto::broker
