#include "pronto/client/connection.hpp"

#include "fixture.hpp"

namespace pronto::client {
namespace {

using testing::ElementsAre;

using ConnectionTest = ClientTest;

TEST_F(ConnectionTest, OpensTellsWhoItIsAndSaysGoodbye) {
  ConnectionOptions given = options();
  given.addresses = {*parse_address("amqp://alice:secret@unused/kitchen")};
  given.client_properties = wire::Table{{"version", "1"}};
  const auto connection = connect(std::move(given));
  EXPECT_TRUE(connection->is_connected());
  EXPECT_EQ(connection->server_properties().find_string("product"), "Fake");
  EXPECT_TRUE(loop.run(connection->close()).has_value());
  EXPECT_FALSE(connection->is_connected());
  EXPECT_THAT(broker.names(1), ElementsAre("connection.start-ok", "connection.tune-ok",
                                           "connection.open", "channel.open", "connection.close"));
  const auto start = broker.all<wire::ConnectionStartOk>().at(0);
  EXPECT_EQ(start.mechanism, "PLAIN");
  EXPECT_EQ(start.response, std::string("\0alice\0secret", 13));
  EXPECT_EQ(start.client_properties.find_string("connection_name"), "test");
  EXPECT_EQ(start.client_properties.find_string("version"), "1");
  const wire::Table* capabilities = start.client_properties.find_table("capabilities");
  ASSERT_NE(capabilities, nullptr);
  EXPECT_EQ(capabilities->find_bool("connection.blocked"), true);
  EXPECT_EQ(broker.all<wire::ConnectionOpen>().at(0).virtual_host, "kitchen");
  EXPECT_THAT(events, ElementsAre(Event::Kind::connected));
}

TEST_F(ConnectionTest, AWrongPasswordFailsAtOnceWithTheBrokersWords) {
  broker.login_refused = wire::connection_close(
      {wire::ReplyCode::access_refused, "Login was refused using authentication mechanism PLAIN."});
  Connection connection{loop, options()};
  const Result<void, Failure> opened = loop.run(connection.open());
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().kind, Failure::Kind::refused);
  EXPECT_EQ(opened.error().code, wire::ReplyCode::access_refused);
  EXPECT_THAT(opened.error().text, testing::HasSubstr("Login was refused"));
  EXPECT_EQ(broker.connection_count(), 1);
}

TEST_F(ConnectionTest, AnUnknownVirtualHostFailsAtOnce) {
  broker.open_refused =
      wire::connection_close({wire::ReplyCode::not_allowed, "vhost nonesuch not found"});
  Connection connection{loop, options()};
  EXPECT_EQ(kind_of(loop.run(connection.open())), "refused");
  EXPECT_EQ(broker.connection_count(), 1);
  EXPECT_EQ(kind_of(loop.run(connection.declare_queue({.name = "q"}))), "refused");
}

TEST_F(ConnectionTest, WithoutPlainItDoesNotLogIn) {
  broker.mechanisms = "EXTERNAL";
  Connection connection{loop, options()};
  EXPECT_EQ(kind_of(loop.run(connection.open())), "refused");
  EXPECT_EQ(broker.count<wire::ConnectionStartOk>(), 0U);
}

TEST_F(ConnectionTest, TriesAgainUntilTheBrokerIsThere) {
  broker.connects_refused = 5;
  const auto connection = connect();
  EXPECT_EQ(broker.connection_count(), 6);
}

TEST_F(ConnectionTest, GivesUpAtTheLimitWithTheLastCause) {
  broker.connects_refused = 1'000'000;
  Connection connection{loop, options()};
  const SteadyTime began = loop.now();
  const Result<void, Failure> opened = loop.run(connection.open(20s));
  EXPECT_EQ(kind_of(opened), "unreachable");
  EXPECT_EQ(opened.error().cause, std::errc::connection_refused);
  EXPECT_EQ(loop.now() - began, 20s);
}

TEST_F(ConnectionTest, WaitsLongerBetweenAttemptsUpToALimitAndNeverInStep) {
  broker.connects_refused = 1'000'000;
  ConnectionOptions given = options();
  given.backoff_min = 100ms;
  given.backoff_max = 2s;
  Connection connection{loop, std::move(given)};
  (void)loop.run(connection.open(60s));
  ASSERT_GT(broker.connect_times.size(), 30U);
  SteadyTime::duration full = 100ms;
  for (std::size_t i = 1; i < broker.connect_times.size(); ++i) {
    const auto pause = broker.connect_times[i] - broker.connect_times[i - 1];
    EXPECT_LE(pause, full);
    EXPECT_GE(pause, full / 2 - 1ms);
    full = std::min<SteadyTime::duration>(2 * full, 2s);
  }
}

TEST_F(ConnectionTest, ABrokerThatNeverAnswersTakesNoLongerThanTheLimit) {
  broker.is_silent = true;
  ConnectionOptions given = options();
  given.connect_limit = 3s;
  Connection connection{loop, std::move(given)};
  const SteadyTime began = loop.now();
  EXPECT_EQ(kind_of(loop.run(connection.open(10s))), "unreachable");
  EXPECT_EQ(loop.now() - began, 10s);
  EXPECT_GE(broker.connection_count(), 3);
}

TEST_F(ConnectionTest, ARabbitOfAnotherProtocolIsRecognised) {
  broker.greeting = std::string("AMQP\0\x01\0\0", 8);
  Connection connection{loop, options()};
  const Result<void, Failure> opened = loop.run(connection.open(1s));
  ASSERT_FALSE(opened.has_value());
  EXPECT_THAT(opened.error().text, testing::HasSubstr("does not speak AMQP 0-9-1"));
}

TEST_F(ConnectionTest, TriesTheNextAddressWhenOneDoesNotAnswer) {
  auto acceptor = loop.network().listen({IpAddress::from_v4(0x7F000001), 0});
  ASSERT_TRUE(acceptor.has_value());
  ConnectionOptions given;
  given.addresses = {
      *parse_address("amqp://127.0.0.1:1"),
      *parse_address("amqp://127.0.0.1:" + std::to_string((*acceptor)->local().port))};
  given.connect_limit = 1s;
  Connection connection{loop, std::move(given)};
  TaskGroup group{loop, "test"};
  bool was_reached = false;
  group.spawn([&]() -> Task<> {
    const auto stream = co_await (*acceptor)->accept();
    was_reached = stream.has_value();
  });
  (void)loop.run(connection.open(1s));
  EXPECT_TRUE(was_reached);
}

TEST_F(ConnectionTest, TheSmallerLimitsOfBothSidesAreAgreedOn) {
  broker.tune = {.channel_max = 5, .frame_max = 4096, .heartbeat = 20};
  const auto connection = connect();
  const auto agreed = broker.all<wire::ConnectionTuneOk>().at(0);
  EXPECT_EQ(agreed.channel_max, 5);
  EXPECT_EQ(agreed.frame_max, 4096U);
  EXPECT_EQ(agreed.heartbeat, 20);
  std::vector<Channel> channels;
  for (int i = 0; i < 4; ++i) channels.push_back(open_channel(*connection));
  EXPECT_EQ(kind_of(loop.run(connection->open_channel())), "too_large");
  channels.pop_back();
  loop.run_until_idle();
  channels.push_back(open_channel(*connection));
}

TEST_F(ConnectionTest, ZeroInTuneMeansNoLimitOfTheBroker) {
  broker.tune = {.channel_max = 0, .frame_max = 0, .heartbeat = 0};
  const auto connection = connect();
  const auto agreed = broker.all<wire::ConnectionTuneOk>().at(0);
  EXPECT_EQ(agreed.channel_max, 2047);
  EXPECT_EQ(agreed.frame_max, 131'072U);
  EXPECT_EQ(agreed.heartbeat, 60);
}

TEST_F(ConnectionTest, FramesBelowTheProtocolsMinimumAreRefused) {
  broker.tune.frame_max = 4095;
  Connection connection{loop, options()};
  EXPECT_EQ(kind_of(loop.run(connection.open(1s))), "broken_peer");
}

TEST_F(ConnectionTest, SendsHeartbeatsWhileThereIsNothingElseToSay) {
  broker.tune.heartbeat = 10;
  broker.sends_heartbeats = true;
  const auto connection = connect();
  loop.advance(60s);
  EXPECT_GE(broker.heartbeat_count, 10U);
  EXPECT_EQ(broker.connection_count(), 1);
}

TEST_F(ConnectionTest, NoticesWithinTwoHeartbeatsThatTheBrokerIsGone) {
  broker.tune.heartbeat = 10;
  const auto connection = connect();
  loop.advance(19s);
  EXPECT_TRUE(connection->is_connected());
  loop.advance(2s);
  EXPECT_EQ(broker.connection_count(), 2);
  EXPECT_TRUE(connection->is_connected());
  EXPECT_THAT(events, ElementsAre(Event::Kind::connected, Event::Kind::disconnected,
                                  Event::Kind::recovered));
}

TEST_F(ConnectionTest, DeclaresAgainWhatIsDeclaredAndNothingElse) {
  const auto connection = connect();
  const auto ok = [&](auto task) {
    const auto result = loop.run(std::move(task));
    EXPECT_TRUE(result.has_value());
  };
  ok(connection->declare_exchange({.name = "ex", .type = "fanout"}));
  ok(connection->declare_exchange({.name = "gone"}));
  ok(connection->declare_queue({.name = "q", .arguments = wire::Table{{"x-expires", 5}}}));
  ok(connection->declare_queue({.name = "gone-q"}));
  ok(connection->bind_queue({.source = "ex", .destination = "q", .routing_key = "a"}));
  ok(connection->bind_queue({.source = "ex", .destination = "q", .routing_key = "gone"}));
  ok(connection->bind_queue({.source = "ex", .destination = "gone-q", .routing_key = "a"}));
  ok(connection->bind_exchange({.source = "ex", .destination = "gone", .routing_key = "a"}));
  ok(connection->bind_exchange({.source = "ex", .destination = "ex2", .routing_key = "b"}));
  ok(connection->unbind_queue({.source = "ex", .destination = "q", .routing_key = "gone"}));
  ok(connection->delete_queue("gone-q"));
  ok(connection->delete_exchange("gone"));
  ok(connection->find_queue("q"));
  EXPECT_EQ(*loop.run(connection->purge_queue("q")), 7U);
  broker.received.clear();
  broker.drop();
  loop.advance(5s);
  EXPECT_THAT(broker.names(2), ElementsAre("connection.start-ok", "connection.tune-ok",
                                           "connection.open", "channel.open", "exchange.declare",
                                           "queue.declare", "exchange.bind", "queue.bind"));
  EXPECT_EQ(broker.all<wire::ExchangeDeclare>().at(0).type, "fanout");
  EXPECT_EQ(broker.all<wire::QueueDeclare>().at(0).arguments.find_integer("x-expires"), 5);
  EXPECT_EQ(broker.all<wire::QueueBind>().at(0).routing_key, "a");
  EXPECT_EQ(broker.all<wire::ExchangeBind>().at(0).destination, "ex2");
}

TEST_F(ConnectionTest, AQueueNamedByTheBrokerGetsItsNewNameEverywhere) {
  const auto connection = connect();
  const auto queue = loop.run(connection->declare_queue({.exclusive = true}));
  ASSERT_TRUE(queue.has_value());
  EXPECT_EQ(queue->name, "amq.gen-1");
  ASSERT_TRUE(loop.run(connection->bind_queue({.source = "ex", .destination = queue->name})));
  Channel channel = open_channel(*connection);
  ASSERT_TRUE(loop.run(channel.consume({.queue = queue->name}, [](Delivery) {})));
  broker.received.clear();
  broker.drop();
  loop.advance(5s);
  EXPECT_EQ(broker.all<wire::QueueDeclare>().at(0).queue, "");
  EXPECT_EQ(broker.all<wire::QueueBind>().at(0).queue, "amq.gen-2");
  EXPECT_EQ(broker.all<wire::BasicConsume>().at(0).queue, "amq.gen-2");
}

TEST_F(ConnectionTest, WaitsForAnExclusiveQueueThatTheLastConnectionStillHolds) {
  const auto connection = connect();
  ASSERT_TRUE(loop.run(connection->declare_queue({.name = "mine", .exclusive = true})));
  broker.locked_queue_declares = 2;
  broker.drop();
  loop.advance(10s);
  EXPECT_EQ(broker.count<wire::QueueDeclare>(), 4U);
  EXPECT_TRUE(connection->is_connected());
}

TEST_F(ConnectionTest, ARefusedDeclareDisturbsNobody) {
  const auto connection = connect();
  Channel channel = open_channel(*connection);
  broker.missing_queues = {"none"};
  const auto found = loop.run(connection->find_queue("none"));
  ASSERT_FALSE(found.has_value());
  EXPECT_EQ(found.error().kind, Failure::Kind::refused);
  EXPECT_EQ(found.error().code, wire::ReplyCode::not_found);
  EXPECT_EQ(found.error().text, "NOT_FOUND - no queue 'none' in vhost '/'");
  EXPECT_TRUE(channel.is_open());
  EXPECT_TRUE(loop.run(connection->find_queue("some")).has_value());
  EXPECT_EQ(loop.run(connection->declare_queue({.name = "q"}))->message_count, 3U);
}

TEST_F(ConnectionTest, AQuestionWithoutAnAnswerTimesOutAndTheLateAnswerIsNotTakenForTheNext) {
  ConnectionOptions given = options();
  given.answer_limit = 5s;
  const auto connection = connect(std::move(given));
  broker.is_silent = true;
  EXPECT_EQ(kind_of(loop.run(connection->purge_queue("q"))), "timed_out");
  broker.is_silent = false;
  broker.send(1, wire::QueuePurgeOk{.message_count = 1});
  EXPECT_EQ(*loop.run(connection->delete_queue("q")), 9U);
}

TEST_F(ConnectionTest, WhenTheBrokerClosesItIsAnsweredAndComesBack) {
  const auto connection = connect();
  broker.send(0, wire::connection_close(
                     {wire::ReplyCode::connection_forced, "broker forced connection closure"}));
  loop.advance(5s);
  EXPECT_EQ(broker.count<wire::ConnectionCloseOk>(), 1U);
  EXPECT_TRUE(connection->is_connected());
  EXPECT_EQ(connection->statistics().recoveries_total, 1U);
}

TEST_F(ConnectionTest, ARefusalThatClosesTheConnectionReachesWhoAsked) {
  const auto connection = connect();
  broker.is_silent = true;
  std::string outcome;
  TaskGroup group{loop, "test"};
  group.spawn([&]() -> Task<> {
    outcome = kind_of(co_await connection->declare_exchange({.name = "x", .type = "nosuch"}));
  });
  loop.run_until_idle();
  broker.send(
      0, wire::connection_close({wire::ReplyCode::command_invalid, "unknown exchange type 'nosuch'",
                                 wire::ExchangeDeclare::id}));
  loop.run_until_idle();
  EXPECT_EQ(outcome, "refused");
}

TEST_F(ConnectionTest, BytesThatMakeNoSenseEndTheConnectionWithAReasonAndItComesBack) {
  const wire::Fault fault{wire::ReplyCode::not_found, "x"};
  const std::vector<std::function<void()>> nonsense{
      [&] { broker.send_bytes(as_bytes("garbage!")); },
      [&] { broker.send(0, wire::BasicAck{}); },
      [&] { broker.send(1, wire::ConnectionBlocked{}); },
      [&] { broker.send(0, wire::ConnectionTune{}); },
      [&] { broker.send(77, wire::ChannelOpenOk{}); },
      [&] { broker.send(1, wire::QueueDeclareOk{}); },
      [&] { broker.send(1, wire::BasicPublish{}); },
      [&] { broker.send(1, wire::BasicAck{.delivery_tag = 1}); },
      [&] {
        Bytes body;
        wire::append_frame(body, wire::FrameType::body, 1, as_bytes("body"));
        broker.send_bytes(body);
      },
      [&] {
        broker.send(1, wire::BasicDeliver{});
        broker.send(1, wire::QueueDeclareOk{});
      },
      [&] {
        Bytes unknown;
        wire::append_frame(unknown, wire::FrameType::method, 1, Bytes(4));
        broker.send_bytes(unknown);
      },
  };
  const auto connection = connect();
  int expected = 1;
  for (const auto& speak : nonsense) {
    SCOPED_TRACE(expected);
    broker.received.clear();
    speak();
    loop.advance(60s);
    EXPECT_EQ(broker.connection_count(), ++expected);
    EXPECT_TRUE(connection->is_connected());
    EXPECT_EQ(broker.count<wire::ConnectionClose>(), 1U);
  }
}

TEST_F(ConnectionTest, CloseThatIsNotAnsweredEndsAtItsLimit) {
  const auto connection = connect();
  broker.ends_after_close = false;
  const SteadyTime began = loop.now();
  EXPECT_TRUE(loop.run(connection->close(3s)).has_value());
  EXPECT_EQ(loop.now() - began, 3s);
  EXPECT_EQ(kind_of(loop.run(connection->find_queue("q"))), "closed");
  EXPECT_EQ(kind_of(loop.run(connection->open_channel())), "closed");
  loop.advance(60s);
  EXPECT_EQ(broker.connection_count(), 1);
}

TEST_F(ConnectionTest, CloseWaitsForConfirms) {
  const auto connection = connect();
  Channel channel = open_channel(*connection);
  broker.confirms_publishes = false;
  const Confirmation first = send(channel, message("a"));
  TaskGroup group{loop, "test"};
  std::string closed;
  group.spawn([&]() -> Task<> { closed = kind_of(co_await connection->close(10s)); });
  loop.advance(1s);
  EXPECT_EQ(closed, "");
  EXPECT_EQ(kind_of(loop.run(channel.send(message("late")))), "closed");
  broker.confirm(2, 1);
  loop.advance(1s);
  EXPECT_EQ(closed, "ok");
  EXPECT_EQ(outcome(first), "ok");
}

TEST_F(ConnectionTest, CloseSaysHowManyConfirmsAreMissing) {
  const auto connection = connect();
  Channel channel = open_channel(*connection);
  broker.confirms_publishes = false;
  const Confirmation first = send(channel, message("a"));
  const Result<void, Failure> closed = loop.run(connection->close(2s));
  EXPECT_EQ(kind_of(closed), "timed_out");
  EXPECT_THAT(closed.error().text, testing::HasSubstr("1 publishes"));
  EXPECT_EQ(outcome(first), "closed");
}

TEST_F(ConnectionTest, IsDroppedWithoutAWordWhenItGoes) {
  {
    const auto connection = connect();
    const Channel channel = open_channel(*connection);
  }
  loop.advance(60s);
  EXPECT_EQ(broker.connection_count(), 1);
  EXPECT_FALSE(broker.is_connected());
}

TEST_F(ConnectionTest, ChannelsMayOutliveTheConnection) {
  auto connection = connect();
  Channel channel = open_channel(*connection);
  connection.reset();
  EXPECT_FALSE(channel.is_open());
  EXPECT_EQ(kind_of(loop.run(channel.publish(message("a")))), "closed");
  EXPECT_EQ(kind_of(loop.run(channel.get("q"))), "closed");
  EXPECT_EQ(kind_of(loop.run(channel.consume({.queue = "q"}, [](Delivery) {}))), "closed");
}

TEST_F(ConnectionTest, NamesAndTablesThatDoNotFitAreRefusedBeforeTheyAreSent) {
  const auto connection = connect();
  Channel channel = open_channel(*connection);
  broker.received.clear();
  const std::string name(256, 'x');
  EXPECT_EQ(kind_of(loop.run(connection->declare_queue({.name = name}))), "too_large");
  EXPECT_EQ(kind_of(loop.run(connection->declare_exchange({.name = name}))), "too_large");
  EXPECT_EQ(kind_of(loop.run(connection->bind_queue({.routing_key = name}))), "too_large");
  EXPECT_EQ(kind_of(loop.run(channel.publish(message(name)))), "too_large");
  EXPECT_EQ(kind_of(loop.run(channel.get(name))), "too_large");
  EXPECT_EQ(kind_of(loop.run(channel.consume({.queue = name}, {}))), "too_large");
  wire::Array many(wire::table_element_count_max + 1);
  EXPECT_EQ(kind_of(loop.run(connection->declare_queue(
                {.name = "q", .arguments = wire::Table{{"many", many}}}))),
            "too_large");
  const wire::Table large{{"text", std::string(140'000, 'x')}};
  EXPECT_EQ(kind_of(loop.run(connection->declare_queue({.name = "q", .arguments = large}))),
            "too_large");
  Message with_headers = message("a");
  with_headers.properties.headers = large;
  EXPECT_EQ(kind_of(loop.run(channel.publish(std::move(with_headers)))), "too_large");
  EXPECT_TRUE(broker.received.empty());
  EXPECT_TRUE(loop.run(connection->declare_queue({.name = std::string(255, 'x')})).has_value());
  EXPECT_TRUE(loop.run(channel.publish(message(std::string(255, 'x')))).has_value());
}

// Goal: no disconnect, at whatever moment, leaves anything hanging or half done.
// Method: drop the connection after the n-th method the broker reads, for each n; every step then
// ends with a result or a transient failure, and all of it works again after the reconnect.
TEST_F(ConnectionTest, SurvivesADropAfterAnyMethod) {
  for (int drop_after = 0;; ++drop_after) {
    SCOPED_TRACE(testing::Message() << "dropped after method " << drop_after);
    FakeBroker fresh{loop};
    fresh.methods_until_drop = drop_after;
    ConnectionOptions given = options();
    given.stream_factory = fresh.stream_factory();
    given.on_event = {};
    Connection connection{loop, std::move(given)};
    ASSERT_TRUE(loop.run(connection.open()).has_value());
    const auto acceptable = [&](const auto& result) {
      EXPECT_TRUE(result.has_value() || is_transient(result.error().kind))
          << name_of(result.error().kind) << ": " << result.error().text;
    };
    int deliveries = 0;
    for (int round = 0; round < 2; ++round) {
      acceptable(loop.run(connection.declare_queue({.name = "q"})));
      acceptable(loop.run(connection.bind_queue({.source = "ex", .destination = "q"})));
      auto channel = loop.run(connection.open_channel());
      acceptable(channel);
      if (!channel) continue;
      acceptable(loop.run(channel->consume({.queue = "q"}, [&](Delivery got) {
        got.ack();
        ++deliveries;
      })));
      acceptable(loop.run(channel->publish(message("a"))));
      acceptable(loop.run(channel->get("q")));
      acceptable(loop.run(channel->close()));
    }
    const bool was_dropped = fresh.methods_until_drop < 0;
    Channel channel = open_channel(connection);
    EXPECT_TRUE(loop.run(channel.publish(message("a"))).has_value());
    EXPECT_TRUE(loop.run(connection.close()).has_value());
    if (!was_dropped) break;
    ASSERT_LT(drop_after, 100);
  }
}

}  // namespace
}  // namespace pronto::client
