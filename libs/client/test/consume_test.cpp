#include "fixture.hpp"

namespace pronto::client {
namespace {

using testing::ElementsAre;

class ConsumeTest : public ClientTest {
 protected:
  std::string consume(Channel& channel, ConsumeOptions given = {.queue = "q", .tag = "tag"}) {
    given.on_lost = [this](const Failure& failure) { losses.push_back(failure.text); };
    return kind_of(loop.run(channel.consume(std::move(given), [this](Delivery delivery) {
      deliveries.push_back(std::move(delivery));
    })));
  }
  std::vector<std::string> bodies() {
    loop.run_until_idle();
    std::vector<std::string> all;
    for (const Delivery& one : deliveries) all.push_back(to_string(one.body));
    return all;
  }

  std::unique_ptr<Connection> connection = connect();
  std::vector<Delivery> deliveries;
  std::vector<std::string> losses;
};

TEST_F(ConsumeTest, HandsOutDeliveriesInOrderWithAllTheyCarry) {
  Channel channel = open_channel(*connection, {.prefetch_count = 7});
  EXPECT_EQ(consume(channel, {.queue = "q",
                              .tag = "tag",
                              .exclusive = true,
                              .arguments = wire::Table{{"x-priority", 1}}}),
            "ok");
  const auto asked = broker.all<wire::BasicConsume>().at(0);
  EXPECT_EQ(asked.queue, "q");
  EXPECT_TRUE(asked.exclusive);
  EXPECT_EQ(asked.arguments.find_integer("x-priority"), 1);
  EXPECT_EQ(broker.all<wire::BasicQos>().at(0).prefetch_count, 7);
  broker.deliver(2, "tag", 1, "one");
  broker.deliver(2, "tag", 2, "", true);
  broker.deliver(2, "tag", 3, std::string(20'000, 'x'));
  EXPECT_THAT(bodies(), ElementsAre("one", "", std::string(20'000, 'x')));
  EXPECT_EQ(deliveries[0].exchange, "ex");
  EXPECT_EQ(deliveries[0].routing_key, "key");
  EXPECT_EQ(deliveries[0].consumer_tag, "tag");
  EXPECT_EQ(deliveries[0].properties.message_id, "id");
  EXPECT_FALSE(deliveries[0].redelivered);
  EXPECT_TRUE(deliveries[1].redelivered);
}

TEST_F(ConsumeTest, AnswersEachDeliveryOnceWithItsTag) {
  Channel channel = open_channel(*connection);
  (void)consume(channel);
  for (std::uint64_t tag = 1; tag <= 3; ++tag) broker.deliver(2, "tag", tag, "x");
  loop.run_until_idle();
  deliveries[2].ack();
  deliveries[2].ack();
  deliveries[0].reject(Requeue::yes);
  deliveries[1].reject(Requeue::no);
  deliveries[1].ack();
  loop.run_until_idle();
  ASSERT_EQ(broker.count<wire::BasicAck>(), 1U);
  EXPECT_EQ(broker.all<wire::BasicAck>()[0].delivery_tag, 3U);
  const auto rejected = broker.all<wire::BasicReject>();
  ASSERT_EQ(rejected.size(), 2U);
  EXPECT_EQ(rejected[0].delivery_tag, 1U);
  EXPECT_TRUE(rejected[0].requeue);
  EXPECT_FALSE(rejected[1].requeue);
  EXPECT_EQ(connection->statistics().answered_total, 3U);
}

TEST_F(ConsumeTest, WithoutAcksNothingIsAnswered) {
  Channel channel = open_channel(*connection);
  (void)consume(channel, {.queue = "q", .tag = "tag", .no_ack = true});
  broker.deliver(2, "tag", 1, "x");
  loop.run_until_idle();
  EXPECT_TRUE(deliveries.at(0).is_answered());
  deliveries[0].ack();
  loop.run_until_idle();
  EXPECT_EQ(broker.count<wire::BasicAck>(), 0U);
}

TEST_F(ConsumeTest, ComesBackAfterAReconnectAndDropsAnswersOfTheOldConnection) {
  Channel channel = open_channel(*connection, {.prefetch_count = 7});
  (void)consume(channel);
  broker.deliver(2, "tag", 1, "old");
  loop.run_until_idle();
  EXPECT_TRUE(deliveries.at(0).is_current());
  broker.received.clear();
  broker.drop();
  loop.advance(5s);
  EXPECT_THAT(broker.names(2), ElementsAre("connection.start-ok", "connection.tune-ok",
                                           "connection.open", "channel.open", "channel.open",
                                           "basic.qos", "confirm.select", "basic.consume"));
  EXPECT_FALSE(deliveries[0].is_current());
  deliveries[0].ack();
  broker.deliver(2, "tag", 1, "new");
  EXPECT_THAT(bodies(), ElementsAre("old", "new"));
  EXPECT_EQ(broker.count<wire::BasicAck>(), 0U);
  EXPECT_EQ(connection->statistics().answers_dropped_total, 1U);
  deliveries[1].ack();
  loop.run_until_idle();
  EXPECT_EQ(broker.count<wire::BasicAck>(), 1U);
  EXPECT_THAT(events, ElementsAre(Event::Kind::connected, Event::Kind::disconnected,
                                  Event::Kind::recovered, Event::Kind::channel_recovered));
}

TEST_F(ConsumeTest, AMissingQueueIsRefusedAndTheChannelWorksOn) {
  broker.missing_queues = {"none"};
  Channel channel = open_channel(*connection);
  (void)consume(channel);
  EXPECT_EQ(consume(channel, {.queue = "none", .tag = "other"}), "refused");
  loop.advance(5s);
  broker.deliver(2, "tag", 1, "x");
  EXPECT_THAT(bodies(), ElementsAre("x"));
}

TEST_F(ConsumeTest, ATagIsUsedOnce) {
  Channel channel = open_channel(*connection);
  EXPECT_EQ(consume(channel), "ok");
  EXPECT_EQ(consume(channel), "refused");
  EXPECT_TRUE(channel.is_open());
  const auto made_up = loop.run(channel.consume({.queue = "q"}, [](Delivery) {}));
  ASSERT_TRUE(made_up.has_value());
  EXPECT_FALSE(made_up->empty());
}

TEST_F(ConsumeTest, CancelEndsDeliveriesAndThoseInHandCanStillBeAnswered) {
  Channel channel = open_channel(*connection);
  (void)consume(channel);
  broker.deliver(2, "tag", 1, "x");
  loop.run_until_idle();
  EXPECT_EQ(kind_of(loop.run(channel.cancel("tag"))), "ok");
  EXPECT_EQ(kind_of(loop.run(channel.cancel("tag"))), "ok");
  EXPECT_EQ(broker.count<wire::BasicCancel>(), 1U);
  deliveries.at(0).ack();
  loop.run_until_idle();
  EXPECT_EQ(broker.count<wire::BasicAck>(), 1U);
  broker.drop();
  loop.advance(5s);
  EXPECT_EQ(broker.count<wire::BasicConsume>(), 1U);
}

TEST_F(ConsumeTest, ADeliveryForNobodyGoesBackAndItsConsumerEnds) {
  Channel channel = open_channel(*connection);
  broker.deliver(2, "ghost", 1, "x");
  loop.run_until_idle();
  ASSERT_EQ(broker.count<wire::BasicCancel>(), 1U);
  EXPECT_EQ(broker.all<wire::BasicCancel>()[0].consumer_tag, "ghost");
  ASSERT_EQ(broker.count<wire::BasicReject>(), 1U);
  EXPECT_TRUE(broker.all<wire::BasicReject>()[0].requeue);
}

TEST_F(ConsumeTest, CancelledByTheBrokerItComesBackWhenTheQueueDoesAndDisturbsNobodyMeanwhile) {
  Channel channel = open_channel(*connection);
  (void)consume(channel);
  (void)consume(channel, {.queue = "other", .tag = "other"});
  broker.missing_queues = {"q"};
  broker.send(2, wire::BasicCancel{.consumer_tag = "tag", .no_wait = true});
  loop.advance(30s);
  EXPECT_THAT(losses, ElementsAre(testing::HasSubstr("queue 'q'")));
  EXPECT_EQ(broker.count<wire::BasicConsume>(), 2U);
  EXPECT_GT(broker.count<wire::QueueDeclare>(), 2U);
  EXPECT_LT(broker.count<wire::QueueDeclare>(), 15U);
  EXPECT_TRUE(channel.is_open());
  broker.deliver(2, "other", 1, "undisturbed");
  EXPECT_THAT(bodies(), ElementsAre("undisturbed"));

  broker.missing_queues.clear();
  loop.advance(30s);
  EXPECT_EQ(broker.count<wire::BasicConsume>(), 3U);
  broker.deliver(2, "tag", 2, "back");
  EXPECT_THAT(bodies(), ElementsAre("undisturbed", "back"));
}

TEST_F(ConsumeTest, WhenTheBrokerClosesTheChannelItsConsumersComeBackAndAreTold) {
  Channel channel = open_channel(*connection);
  (void)consume(channel);
  broker.deliver(2, "tag", 1, "old");
  loop.run_until_idle();
  broker.send(2, wire::channel_close({wire::ReplyCode::precondition_failed,
                                      "delivery acknowledgement on channel 2 timed out"}));
  loop.advance(5s);
  EXPECT_THAT(losses, ElementsAre(testing::HasSubstr("acknowledgement on channel 2 timed out")));
  EXPECT_EQ(broker.count<wire::ChannelCloseOk>(), 1U);
  EXPECT_EQ(broker.connection_count(), 1);
  deliveries.at(0).ack();
  broker.deliver(2, "tag", 1, "new");
  EXPECT_THAT(bodies(), ElementsAre("old", "new"));
  EXPECT_EQ(broker.count<wire::BasicAck>(), 0U);
}

TEST_F(ConsumeTest, AQueueThatIsGoneAtTheReconnectDoesNotKeepTheOthersDown) {
  Channel channel = open_channel(*connection);
  (void)consume(channel);
  (void)consume(channel, {.queue = "other", .tag = "other"});
  broker.missing_queues = {"q"};
  broker.drop();
  loop.advance(20s);
  EXPECT_TRUE(channel.is_open());
  broker.deliver(2, "other", 1, "still here");
  EXPECT_THAT(bodies(), ElementsAre("still here"));
  EXPECT_THAT(losses, testing::Contains(testing::HasSubstr("no queue 'q'")));
}

TEST_F(ConsumeTest, GetTakesOneOrNothing) {
  Channel channel = open_channel(*connection);
  broker.messages["q"] = {"first"};
  auto first = loop.run(channel.get("q"));
  ASSERT_TRUE(first.has_value() && first->has_value());
  EXPECT_EQ(to_string((*first)->body), "first");
  (*first)->ack();
  const auto none = loop.run(channel.get("q"));
  ASSERT_TRUE(none.has_value());
  EXPECT_FALSE(none->has_value());
  EXPECT_EQ(broker.count<wire::BasicAck>(), 1U);
  broker.missing_queues = {"none"};
  EXPECT_EQ(kind_of(loop.run(channel.get("none"))), "refused");
}

TEST_F(ConsumeTest, BodiesThatLieAboutTheirSizeEndTheConnection) {
  Channel channel = open_channel(*connection);
  (void)consume(channel);
  Bytes lie;
  wire::append_method_frame(lie, 2, wire::BasicDeliver{.consumer_tag = "tag", .delivery_tag = 1});
  wire::append_content_header_frame(lie, 2, wire::encode_properties({}), 3);
  wire::append_frame(lie, wire::FrameType::body, 2, as_bytes("four"));
  broker.send_bytes(lie);
  loop.advance(5s);
  EXPECT_EQ(broker.connection_count(), 2);
  EXPECT_TRUE(deliveries.empty());
}

TEST_F(ConsumeTest, BodiesAboveTheLimitAreRefusedAtTheirHeader) {
  ConnectionOptions given = options();
  given.body_bytes_max = 1000;
  const auto careful = connect(std::move(given));
  Channel channel = open_channel(*careful);
  (void)consume(channel);
  broker.deliver(2, "tag", 1, std::string(1000, 'x'));
  loop.run_until_idle();
  EXPECT_EQ(deliveries.size(), 1U);
  Bytes large;
  wire::append_method_frame(large, 2, wire::BasicDeliver{.consumer_tag = "tag", .delivery_tag = 2});
  wire::append_content_header_frame(large, 2, wire::encode_properties({}), 1ULL << 63);
  broker.send_bytes(large);
  loop.advance(5s);
  EXPECT_EQ(deliveries.size(), 1U);
  EXPECT_EQ(broker.all<wire::ConnectionClose>().at(0).reply_code, 311);
}

TEST_F(ConsumeTest, AHandlerThatThrowsCostsOneLogLine) {
  Channel channel = open_channel(*connection);
  int calls = 0;
  ASSERT_TRUE(loop.run(channel.consume({.queue = "q", .tag = "tag"}, [&](Delivery) {
    ++calls;
    throw std::runtime_error{"a bug of the user"};
  })));
  broker.deliver(2, "tag", 1, "a");
  broker.deliver(2, "tag", 2, "b");
  loop.run_until_idle();
  EXPECT_EQ(calls, 2);
  EXPECT_TRUE(connection->is_connected());
}

TEST_F(ConsumeTest, AChannelHandleMayGoInsideItsOwnHandler) {
  std::optional<Channel> channel = open_channel(*connection);
  ASSERT_TRUE(loop.run(channel->consume({.queue = "q", .tag = "tag"}, [&](Delivery delivery) {
    delivery.ack();
    channel.reset();
  })));
  broker.deliver(2, "tag", 1, "a");
  broker.deliver(2, "tag", 2, "b");
  loop.run_until_idle();
  EXPECT_EQ(broker.count<wire::ChannelClose>(), 1U);
  EXPECT_TRUE(connection->is_connected());
}

TEST_F(ConsumeTest, TransactionalAcksAndPublishesAreLostTogether) {
  Channel channel = open_channel(*connection, {.mode = PublishMode::transactional});
  (void)consume(channel);
  broker.deliver(2, "tag", 1, "x");
  loop.run_until_idle();
  broker.drop();
  loop.advance(5s);
  deliveries.at(0).ack();  // of the old connection: the message comes again
  EXPECT_EQ(kind_of(loop.run(channel.publish(message("result")))), "disconnected");
  EXPECT_EQ(kind_of(loop.run(channel.commit())), "disconnected");
}

}  // namespace
}  // namespace pronto::client
