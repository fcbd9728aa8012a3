#include "fixture.hpp"

namespace pronto::client {
namespace {

using testing::ElementsAre;

class PublishTest : public ClientTest {
 protected:
  /// Starts a publish whose outcome is asked for later.
  struct Pending {
    std::string outcome;
    std::string text;
  };
  std::shared_ptr<Pending> start(Channel& channel, Message what) {
    auto pending = std::make_shared<Pending>();
    group.spawn([pending, &channel, what = std::move(what)]() mutable -> Task<> {
      const Result<void, Failure> result = co_await channel.publish(std::move(what));
      pending->outcome = kind_of(result);
      if (!result) pending->text = result.error().text;
    });
    loop.run_until_idle();
    return pending;
  }
  std::vector<std::string> published_keys() const {
    std::vector<std::string> keys;
    for (const auto& one : broker.published) keys.push_back(one.routing_key);
    return keys;
  }

  TaskGroup group{loop, "test"};
  std::unique_ptr<Connection> connection = connect();
};

TEST_F(PublishTest, IsPersistentMandatoryAndConfirmedByDefault) {
  Channel channel = open_channel(*connection);
  EXPECT_EQ(kind_of(loop.run(channel.publish(message("a", "body")))), "ok");
  ASSERT_EQ(broker.published.size(), 1U);
  EXPECT_EQ(broker.published[0].body, "body");
  EXPECT_EQ(broker.published[0].properties.delivery_mode, 2);
  EXPECT_TRUE(broker.all<wire::BasicPublish>().at(0).mandatory);
  EXPECT_EQ(broker.count<wire::ConfirmSelect>(), 1U);
  EXPECT_EQ(connection->statistics().confirmed_total, 1U);
}

TEST_F(PublishTest, CompletesOnItsOwnConfirmInWhateverOrderTheyCome) {
  broker.confirms_publishes = false;
  Channel channel = open_channel(*connection);
  std::vector<Confirmation> sent;
  for (int i = 0; i < 6; ++i) sent.push_back(send(channel, message("a")));
  const auto settled = [&] {
    loop.run_until_idle();
    std::string marks;
    for (const Confirmation& one : sent) marks += one.is_settled() ? 'x' : '.';
    return marks;
  };
  EXPECT_EQ(settled(), "......");
  broker.confirm(2, 3);
  EXPECT_EQ(settled(), "..x...");
  broker.confirm(2, 2, true);
  EXPECT_EQ(settled(), "xxx...");
  broker.confirm(2, 2);  // again: ignored
  broker.send(2, wire::BasicNack{.delivery_tag = 5});
  EXPECT_EQ(settled(), "xxx.x.");
  EXPECT_EQ(outcome(sent[4]), "nacked");
  broker.confirm(2, 0, true);
  EXPECT_EQ(settled(), "xxxxxx");
  EXPECT_EQ(outcome(sent[5]), "ok");
  EXPECT_EQ(channel.unconfirmed_count(), 0U);
}

TEST_F(PublishTest, AConfirmOfWhatWasNeverSentEndsTheConnection) {
  Channel channel = open_channel(*connection);
  (void)send(channel, message("a"));
  broker.confirm(2, 2);
  loop.advance(5s);
  EXPECT_EQ(broker.connection_count(), 2);
}

TEST_F(PublishTest, UnroutableFailsWithExchangeAndKeyAndOnlyTheOneThatCameBack) {
  Channel channel = open_channel(*connection);
  broker.unroutable_keys = {"nowhere"};
  const Result<void, Failure> lost = loop.run(channel.publish(message("nowhere")));
  ASSERT_EQ(kind_of(lost), "unroutable");
  EXPECT_EQ(lost.error().code, wire::ReplyCode::no_route);
  EXPECT_THAT(lost.error().text, testing::HasSubstr("exchange 'ex', routing key 'nowhere'"));
  EXPECT_EQ(kind_of(loop.run(channel.publish(message("somewhere")))), "ok");

  // The same exchange and key three times; the broker returns the second only.
  broker.unroutable_keys.clear();
  broker.confirms_publishes = false;
  std::vector<Confirmation> sent;
  for (int i = 0; i < 3; ++i) sent.push_back(send(channel, message("same")));
  loop.run_until_idle();
  broker.give_back(2, broker.published[3]);
  broker.confirm(2, 5, true);
  EXPECT_EQ(outcome(sent[0]), "ok");
  EXPECT_EQ(outcome(sent[1]), "unroutable");
  EXPECT_EQ(outcome(sent[2]), "ok");
}

TEST_F(PublishTest, WaitsForRoomInTheWindowAndKeepsItsPlace) {
  broker.confirms_publishes = false;
  Channel channel = open_channel(*connection, {.unconfirmed_count_max = 2});
  std::vector<std::shared_ptr<Pending>> pending;
  for (const char* key : {"a", "b", "c", "d", "e"}) {
    pending.push_back(start(channel, message(key)));
  }
  EXPECT_THAT(published_keys(), ElementsAre("a", "b"));
  broker.confirm(2, 1);
  loop.run_until_idle();
  EXPECT_THAT(published_keys(), ElementsAre("a", "b", "c"));
  broker.confirm(2, 3, true);
  loop.run_until_idle();
  EXPECT_THAT(published_keys(), ElementsAre("a", "b", "c", "d", "e"));
  broker.confirm(2, 5, true);
  loop.run_until_idle();
  for (const auto& one : pending) EXPECT_EQ(one->outcome, "ok");
}

TEST_F(PublishTest, TheWindowAlsoCountsBytesButLetsOneLargeMessagePass) {
  broker.confirms_publishes = false;
  Channel channel = open_channel(*connection, {.unconfirmed_bytes_max = 100});
  const auto large = start(channel, message("large", std::string(1000, 'x')));
  const auto small = start(channel, message("small"));
  EXPECT_THAT(published_keys(), ElementsAre("large"));
  broker.confirm(2, 1);
  loop.run_until_idle();
  EXPECT_THAT(published_keys(), ElementsAre("large", "small"));
}

TEST_F(PublishTest, OneThatIsCancelledInTheQueueLetsTheNextPass) {
  broker.confirms_publishes = false;
  Channel channel = open_channel(*connection, {.unconfirmed_count_max = 1});
  const auto first = start(channel, message("a"));
  group.spawn(
      [&]() -> Task<> { (void)co_await with_deadline(1s, channel.publish(message("cancelled"))); });
  loop.run_until_idle();
  const auto third = start(channel, message("c"));
  loop.advance(2s);
  broker.confirm(2, 1);
  loop.run_until_idle();
  EXPECT_THAT(published_keys(), ElementsAre("a", "c"));
}

TEST_F(PublishTest, TimesOutWithoutAConfirmAndIgnoresALateOne) {
  broker.confirms_publishes = false;
  Channel channel = open_channel(*connection, {.publish_limit = 5s});
  const SteadyTime began = loop.now();
  EXPECT_EQ(kind_of(loop.run(channel.publish(message("a")))), "timed_out");
  EXPECT_EQ(loop.now() - began, 5s);
  EXPECT_EQ(channel.unconfirmed_count(), 0U);
  const auto second = start(channel, message("b"));
  broker.confirm(2, 1);
  loop.run_until_idle();
  EXPECT_EQ(second->outcome, "");
  broker.confirm(2, 2);
  loop.run_until_idle();
  EXPECT_EQ(second->outcome, "ok");
}

TEST_F(PublishTest, WhatIsUnconfirmedAtADisconnectFailsAndLaterOnesWaitForTheReconnect) {
  broker.confirms_publishes = false;
  Channel channel = open_channel(*connection);
  const auto before = start(channel, message("before"));
  broker.drop();
  broker.confirms_publishes = true;
  const auto after = start(channel, message("after"));
  EXPECT_EQ(before->outcome, "disconnected");
  EXPECT_EQ(after->outcome, "");
  loop.advance(5s);
  EXPECT_EQ(after->outcome, "ok");
  EXPECT_THAT(published_keys(), ElementsAre("before", "after"));
}

TEST_F(PublishTest, WhatIsUnconfirmedAtADisconnectIsSentAgainInOrderWhenAskedFor) {
  broker.confirms_publishes = false;
  Channel channel = open_channel(*connection, {.republish = true});
  std::vector<std::shared_ptr<Pending>> pending;
  for (const char* key : {"a", "b", "c"}) pending.push_back(start(channel, message(key)));
  broker.confirm(2, 2);
  loop.run_until_idle();
  broker.drop();
  loop.run_until_idle();
  broker.published.clear();
  broker.confirms_publishes = true;
  const auto later = start(channel, message("d"));
  loop.advance(5s);
  EXPECT_THAT(published_keys(), ElementsAre("a", "c", "d"));
  for (const auto& one : pending) EXPECT_EQ(one->outcome, "ok");
  EXPECT_EQ(later->outcome, "ok");
}

TEST_F(PublishTest, SentAgainStillEndsAtItsLimit) {
  broker.confirms_publishes = false;
  Channel channel = open_channel(*connection, {.publish_limit = 10s, .republish = true});
  const auto lost = start(channel, message("a"));
  broker.connects_refused = 1'000'000;
  broker.drop();
  loop.advance(9s);
  EXPECT_EQ(lost->outcome, "");
  loop.advance(2s);
  EXPECT_EQ(lost->outcome, "timed_out");
}

TEST_F(PublishTest, WaitsWhileBlockedAndGoesOnAfterwards) {
  Channel channel = open_channel(*connection);
  broker.send(0, wire::ConnectionBlocked{.reason = "low on memory"});
  loop.run_until_idle();
  EXPECT_TRUE(connection->is_blocked());
  const auto held = start(channel, message("held"));
  loop.advance(10s);
  EXPECT_TRUE(broker.published.empty());
  broker.send(0, wire::ConnectionUnblocked{});
  loop.run_until_idle();
  EXPECT_EQ(held->outcome, "ok");
  EXPECT_FALSE(connection->is_blocked());
  EXPECT_THAT(events,
              ElementsAre(Event::Kind::connected, Event::Kind::blocked, Event::Kind::unblocked));
}

TEST_F(PublishTest, FailsWhenBlockedForTooLongCountedFromItsOwnStart) {
  Channel channel = open_channel(*connection, {.blocked_limit = 5s});
  broker.send(0, wire::ConnectionBlocked{.reason = "low on disk"});
  loop.advance(60s);
  const auto held = start(channel, message("held"));
  loop.advance(4s);
  EXPECT_EQ(held->outcome, "");
  loop.advance(2s);
  EXPECT_EQ(held->outcome, "blocked");
  EXPECT_TRUE(broker.published.empty());
}

TEST_F(PublishTest, ADisconnectEndsTheBlock) {
  Channel channel = open_channel(*connection);
  broker.send(0, wire::ConnectionBlocked{.reason = "low on memory"});
  loop.run_until_idle();
  broker.drop();
  loop.advance(5s);
  EXPECT_FALSE(connection->is_blocked());
  EXPECT_EQ(kind_of(loop.run(channel.publish(message("a")))), "ok");
}

TEST_F(PublishTest, StopsWhileTheBrokerStopsTheFlow) {
  Channel channel = open_channel(*connection);
  broker.send(2, wire::ChannelFlow{.active = false});
  loop.run_until_idle();
  const auto held = start(channel, message("held"));
  EXPECT_EQ(held->outcome, "");
  broker.send(2, wire::ChannelFlow{.active = true});
  loop.run_until_idle();
  EXPECT_EQ(held->outcome, "ok");
  EXPECT_EQ(broker.count<wire::ChannelFlowOk>(), 2U);
}

TEST_F(PublishTest, AMissingExchangeIsBlamedOnThoseWhoNamedItAndTheChannelComesBack) {
  broker.confirms_publishes = false;
  broker.missing_exchanges = {"none"};
  Channel channel = open_channel(*connection);
  const auto neighbour = start(channel, message("a"));
  Message wrong = message("b");
  wrong.exchange = "none";
  const auto culprit = start(channel, std::move(wrong));
  loop.run_until_idle();
  EXPECT_EQ(culprit->outcome, "refused");
  EXPECT_EQ(culprit->text, "NOT_FOUND - no exchange 'none' in vhost '/'");
  EXPECT_EQ(neighbour->outcome, "disconnected");
  broker.confirms_publishes = true;
  EXPECT_EQ(kind_of(loop.run(channel.publish(message("c")))), "ok");
  EXPECT_EQ(broker.connection_count(), 1);
  EXPECT_EQ(connection->statistics().channel_recoveries_total, 1U);
}

TEST_F(PublishTest, WhatIsInvalidInItselfIsRefused) {
  broker.confirms_publishes = false;
  Channel channel = open_channel(*connection);
  const auto wrong = start(channel, message("a"));
  broker.send(
      2, wire::channel_close({wire::ReplyCode::precondition_failed,
                              "invalid expiration 'abc': no_integer", wire::BasicPublish::id}));
  loop.run_until_idle();
  EXPECT_EQ(wrong->outcome, "refused");
}

TEST_F(PublishTest, AChannelThatTheBrokerKeepsClosingIsOpenedLessAndLessOften) {
  broker.missing_exchanges = {"ex"};
  Channel channel = open_channel(*connection);
  const SteadyTime began = loop.now();
  for (int i = 0; i < 8; ++i)
    EXPECT_EQ(kind_of(loop.run(channel.publish(message("a")))), "refused");
  EXPECT_GT(loop.now() - began, 5s);
}

TEST_F(PublishTest, LargeBodiesAreCutToTheAgreedFrames) {
  broker.tune.frame_max = 4096;
  const auto narrow = connect();
  Channel channel = open_channel(*narrow);
  const std::string body(20'000, 'x');
  EXPECT_EQ(kind_of(loop.run(channel.publish(message("a", body)))), "ok");
  EXPECT_EQ(broker.published.at(0).body, body);
  EXPECT_LE(broker.frame_bytes_seen, 4096U);
}

TEST_F(PublishTest, WaitsWhenTheBrokerDoesNotReadAndMemoryStaysBounded) {
  ConnectionOptions given = options();
  given.outbox_bytes_max = 100'000;
  const auto slow = connect(std::move(given));
  Channel channel = open_channel(*slow, {.mode = PublishMode::unconfirmed});
  broker.is_reading = false;
  std::vector<std::shared_ptr<Pending>> pending;
  const auto done = [&] {
    return std::ranges::count_if(pending, [](const auto& one) { return one->outcome == "ok"; });
  };
  for (int i = 0; i < 40; ++i) {
    pending.push_back(start(channel, message("a", std::string(60'000, 'x'))));
  }
  // What the stream holds, what is being written, and the outbox.
  EXPECT_GE(done(), 5);
  EXPECT_LE(done(), 12);
  broker.read_again();
  loop.run_until_idle();
  EXPECT_EQ(done(), 40);
  EXPECT_EQ(broker.published.size(), 40U);
}

TEST_F(PublishTest, UnconfirmedIsDoneWhenHandedOver) {
  Channel channel = open_channel(*connection, {.mode = PublishMode::unconfirmed});
  EXPECT_EQ(broker.count<wire::ConfirmSelect>(), 0U);
  Message transient = message("a");
  transient.persistent = false;
  transient.mandatory = false;
  EXPECT_EQ(kind_of(loop.run(channel.publish(std::move(transient)))), "ok");
  loop.run_until_idle();
  EXPECT_FALSE(broker.published.at(0).properties.delivery_mode.has_value());
  EXPECT_FALSE(broker.published.at(0).properties.message_id.has_value());
}

TEST_F(PublishTest, DrainWaitsForAllConfirms) {
  broker.confirms_publishes = false;
  Channel channel = open_channel(*connection);
  (void)send(channel, message("a"));
  EXPECT_EQ(kind_of(loop.run(channel.drain(1s))), "timed_out");
  broker.confirm(2, 1);
  EXPECT_EQ(kind_of(loop.run(channel.drain(1s))), "ok");
}

TEST_F(PublishTest, ClosingTheChannelFailsWhatIsUnconfirmedAndFreesItsNumber) {
  broker.confirms_publishes = false;
  Channel channel = open_channel(*connection, {.unconfirmed_count_max = 1});
  const auto sent = start(channel, message("a"));
  const auto waiting = start(channel, message("b"));
  EXPECT_EQ(kind_of(loop.run(channel.close())), "ok");
  loop.run_until_idle();
  EXPECT_EQ(sent->outcome, "closed");
  EXPECT_EQ(waiting->outcome, "closed");
  EXPECT_EQ(kind_of(loop.run(channel.publish(message("c")))), "closed");
  EXPECT_EQ(kind_of(loop.run(channel.close())), "ok");
  Channel another = open_channel(*connection);
  broker.confirms_publishes = true;
  EXPECT_EQ(kind_of(loop.run(another.publish(message("d")))), "ok");
  EXPECT_EQ(broker.published.back().channel, 2);
}

class TransactionTest : public PublishTest {
 protected:
  Channel channel = open_channel(*connection, {.mode = PublishMode::transactional});
};

TEST_F(TransactionTest, CommitsAndRollsBack) {
  EXPECT_EQ(broker.count<wire::TxSelect>(), 1U);
  EXPECT_EQ(kind_of(loop.run(channel.publish(message("a")))), "ok");
  EXPECT_EQ(kind_of(loop.run(channel.commit())), "ok");
  EXPECT_EQ(kind_of(loop.run(channel.publish(message("b")))), "ok");
  EXPECT_EQ(kind_of(loop.run(channel.rollback())), "ok");
  EXPECT_EQ(broker.count<wire::TxCommit>(), 1U);
  EXPECT_EQ(broker.count<wire::TxRollback>(), 1U);
}

TEST_F(TransactionTest, CommitTellsOfWhatWasUnroutable) {
  broker.unroutable_keys = {"nowhere"};
  EXPECT_EQ(kind_of(loop.run(channel.publish(message("nowhere")))), "ok");
  EXPECT_EQ(kind_of(loop.run(channel.commit())), "unroutable");
  EXPECT_EQ(kind_of(loop.run(channel.commit())), "ok");
}

TEST_F(TransactionTest, WhatWasBegunBeforeADisconnectIsNeverCommittedByHalves) {
  EXPECT_EQ(kind_of(loop.run(channel.publish(message("first half")))), "ok");
  broker.drop();
  loop.advance(5s);
  ASSERT_TRUE(channel.is_open());
  EXPECT_EQ(kind_of(loop.run(channel.publish(message("second half")))), "disconnected");
  EXPECT_EQ(kind_of(loop.run(channel.commit())), "disconnected");
  EXPECT_EQ(broker.count<wire::TxCommit>(), 0U);
  EXPECT_EQ(broker.count<wire::TxRollback>(), 1U);
  EXPECT_EQ(kind_of(loop.run(channel.publish(message("again")))), "ok");
  EXPECT_EQ(kind_of(loop.run(channel.commit())), "ok");
}

TEST_F(TransactionTest, AnEmptyOneSurvivesADisconnect) {
  broker.drop();
  loop.advance(5s);
  EXPECT_EQ(kind_of(loop.run(channel.publish(message("a")))), "ok");
  EXPECT_EQ(kind_of(loop.run(channel.commit())), "ok");
  EXPECT_EQ(broker.count<wire::TxSelect>(), 2U);
}

}  // namespace
}  // namespace pronto::client
