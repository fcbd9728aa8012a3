#include <fmt/format.h>

#include "fixture.hpp"

namespace pronto::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

class Handshake : public HostTest {
 protected:
  Handshake() { open(); }
};

constexpr const char* start = "0 connection.start 0.9 PLAIN AMQPLAIN";
constexpr const char* tune = "0 connection.tune 2047 131072 60";

TEST_F(Handshake, GoesFromTheGreetingToAnOpenConnection) {
  auto client = connect();
  client->log_in();
  EXPECT_THAT(client->told(),
              ElementsAre(start, tune, "0 connection.open-ok", "1 channel.open-ok"));
  const Overview overview = host->overview();
  ASSERT_EQ(overview.connections.size(), 1U);
  EXPECT_EQ(overview.connections[0].user, "guest");
  EXPECT_EQ(overview.connections[0].state, "running");
  EXPECT_EQ(overview.connections[0].channel_count, 1U);
}

TEST_F(Handshake, TakesItsBytesOneByOne) {
  auto client = connect();
  for (const std::byte one : wire::protocol_header()) client->write(BytesView{&one, 1});
  EXPECT_THAT(client->told(), ElementsAre(start));
  Bytes bytes;
  wire::append_method_frame(
      bytes, 0,
      wire::ConnectionStartOk{.mechanism = "PLAIN", .response = std::string{"\0guest\0guest", 12}});
  for (const std::byte one : bytes) client->write(BytesView{&one, 1});
  EXPECT_THAT(client->told(), ElementsAre(tune));
}

TEST_F(Handshake, TakesTheMechanismAmqplain) {
  const auto answer_to = [this](const wire::Table& table) {
    auto client = connect();
    client->write(wire::protocol_header());
    Bytes encoded;
    wire::Writer{encoded}.write(table);
    client->told();
    return client->call(
        0, wire::ConnectionStartOk{.mechanism = "AMQPLAIN",
                                   .response = to_string(BytesView{encoded}.subspan(4))});
  };
  EXPECT_EQ(answer_to({{"LOGIN", "guest"}, {"PASSWORD", "guest"}}), tune);
  EXPECT_EQ(answer_to({{"LOGIN", "guest"}}),
            "0 connection.close 502 SYNTAX_ERROR - AMQPLAIN auth info is missing LOGIN or PASSWORD "
            "field");
  EXPECT_EQ(answer_to({}),
            "0 connection.close 502 SYNTAX_ERROR - AMQPLAIN auth info is missing LOGIN or PASSWORD "
            "field");
}

TEST_F(Handshake, RefusesAWrongPasswordAndSaysSoToThoseWhoUnderstand) {
  auto client = connect();
  client->greet_and_start({.password = "wrong"});
  EXPECT_THAT(client->told(),
              ElementsAre(start,
                          "0 connection.close 403 ACCESS_REFUSED - Login was refused using "
                          "authentication mechanism PLAIN. For details see the broker "
                          "logfile."));
  client->send(0, wire::ConnectionCloseOk{});
  EXPECT_TRUE(client->has_ended());

  auto nobody = connect();
  nobody->greet_and_start({.user = "nobody"});
  EXPECT_THAT(nobody->told(),
              testing::Contains(HasSubstr("403 ACCESS_REFUSED - Login was refused")));

  auto old = connect();
  old->greet_and_start({.password = "", .is_capable = false});
  EXPECT_THAT(old->told(), ElementsAre(start));
  EXPECT_TRUE(old->has_ended());
  EXPECT_EQ(host->overview().counters.connections_refused_total, 3U);
}

TEST_F(Handshake, RefusesMechanismsItDoesNotOfferAndResponsesThatAreNone) {
  const auto answer_to = [this](const char* mechanism, std::string response) {
    auto client = connect();
    client->write(wire::protocol_header());
    return client->call(
        0, wire::ConnectionStartOk{.mechanism = mechanism, .response = std::move(response)});
  };
  EXPECT_THAT(answer_to("EXTERNAL", ""), HasSubstr("connection.close 503"));
  EXPECT_THAT(answer_to("PLAIN", ""), HasSubstr("connection.close 502"));
  EXPECT_THAT(answer_to("PLAIN", "guest guest"), HasSubstr("connection.close 502"));
  EXPECT_THAT(answer_to("PLAIN", std::string{"\0guest\0guest\0", 13}),
              HasSubstr("connection.close 502"));
  EXPECT_THAT(answer_to("AMQPLAIN", "not a table"), HasSubstr("connection.close 502"));
}

TEST_F(Handshake, RefusesAVirtualHostThatIsNotThere) {
  auto client = connect();
  client->log_in({.virtual_host = "nonesuch"});
  EXPECT_THAT(
      client->told(),
      ElementsAre(start, tune, "0 connection.close 530 NOT_ALLOWED - vhost nonesuch not found"));
}

TEST_F(Handshake, AnswersOtherProtocolsInTheirOwnWayAndEnds) {
  const auto answer_to = [this](std::string_view greeting) {
    auto client = connect();
    client->write(greeting);
    EXPECT_TRUE(client->has_ended()) << greeting;
    return client->raw();
  };
  const std::string header{"AMQP\0\0\x9\x1", 8};
  EXPECT_EQ(answer_to({"AMQP\0\1\0\0", 8}), header);
  EXPECT_EQ(answer_to({"AMQP\3\1\0\0", 8}), header);
  EXPECT_EQ(answer_to("SSH-2.0-OpenSSH"), header);
  EXPECT_EQ(answer_to({"\x16\x03\x01\x02\x00\x01\x00\x01", 8}),
            (std::string{"\x15\x03\x03\x00\x02\x02\x28", 7}));
  host->set_management_address("127.0.0.1:15672");
  EXPECT_THAT(answer_to("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
              testing::AllOf(StartsWith("HTTP/1.1 400 Bad Request\r\n"),
                             HasSubstr("http://127.0.0.1:15672/")));
}

TEST_F(Handshake, SpeaksToOlderClients) {
  auto client = connect();
  client->write({"AMQP\1\1\0\x9", 8});
  EXPECT_THAT(client->told(), ElementsAre(start));
  auto older = connect();
  older->write({"AMQP\1\1\x8\0", 8});
  EXPECT_THAT(older->told(), ElementsAre("0 connection.start 8.0 PLAIN AMQPLAIN"));
}

TEST_F(Handshake, TuneTakesWhatIsWithinTheLimitsAndRefusesOnePast) {
  const auto answer_to = [this](wire::ConnectionTuneOk ok) {
    auto client = connect();
    client->greet_and_start({});
    client->told();
    client->send(0, ok);
    return client->call(0, wire::ConnectionOpen{.virtual_host = "/"});
  };
  constexpr const char* opened = "0 connection.open-ok";
  EXPECT_EQ(answer_to({.channel_max = 0, .frame_max = 0, .heartbeat = 0}), opened);
  EXPECT_EQ(answer_to({.channel_max = 2047, .frame_max = 131'072, .heartbeat = 0}), opened);
  EXPECT_EQ(answer_to({.channel_max = 1, .frame_max = 4096, .heartbeat = 0}), opened);
  const auto refusal = [this](wire::ConnectionTuneOk ok) {
    auto client = connect();
    client->greet_and_start({});
    return client->call(0, ok);
  };
  EXPECT_EQ(refusal({.channel_max = 0, .frame_max = 131'073, .heartbeat = 0}),
            "0 connection.close 530 NOT_ALLOWED - negotiated frame_max = 131073 is higher than the "
            "maximum allowed value (131072)");
  EXPECT_EQ(refusal({.channel_max = 0, .frame_max = 4095, .heartbeat = 0}),
            "0 connection.close 530 NOT_ALLOWED - negotiated frame_max = 4095 is lower than the "
            "minimum allowed value (4096)");
  EXPECT_EQ(refusal({.channel_max = 2048, .frame_max = 0, .heartbeat = 0}),
            "0 connection.close 530 NOT_ALLOWED - negotiated channel_max = 2048 is higher than the "
            "maximum allowed value (2047)");
}

TEST_F(Handshake, MethodsOutOfTheirTurnEndTheConnection) {
  auto client = connect();
  client->write(wire::protocol_header());
  EXPECT_THAT(client->call(0, wire::ConnectionOpen{.virtual_host = "/"}),
              StartsWith("0 connection.close 504"));
  auto second = connect();
  second->greet_and_start({});
  EXPECT_THAT(second->call(0, wire::ConnectionStartOk{.mechanism = "PLAIN"}),
              StartsWith("0 connection.close 504"));
  auto early = connect();
  early->greet_and_start({});
  EXPECT_THAT(early->call(1, wire::ChannelOpen{}), StartsWith("0 connection.close 504"));
}

TEST_F(Handshake, IsToBeDoneInTime) {
  auto silent = connect();
  auto half = connect();
  half->greet_and_start({});
  loop.advance(milliseconds{9'990});
  EXPECT_FALSE(silent->has_ended());
  EXPECT_FALSE(half->has_ended());
  loop.advance(milliseconds{20});
  EXPECT_TRUE(silent->has_ended());
  EXPECT_TRUE(half->has_ended());
  EXPECT_EQ(host->connection_count(), 0U);
}

class Sessions : public HostTest {
 protected:
  Sessions() { open(); }
};

/// Guest may do all but one thing with what is called "shut".
class AllButOne final : public broker::Permissions {
 public:
  bool is_allowed(std::string_view user, std::string_view virtual_host, broker::Access access,
                  std::string_view resource) const override {
    EXPECT_EQ(user, "guest");
    EXPECT_EQ(virtual_host, "/");
    return resource != "shut" || access != denied;
  }

  broker::Access denied = broker::Access::read;
};

TEST_F(HostTest, WhoMayNotIsRefusedOnHisChannelAndKeepsHisConnection) {
  using broker::Access;
  AllButOne permissions;
  options.permissions = &permissions;
  open();
  auto client = log_in();
  EXPECT_EQ(client->call(1, wire::QueueDeclare{.queue = "shut"}), "1 queue.declare-ok shut 0 0");
  client->call(1, wire::ExchangeDeclare{.exchange = "shut", .type = "direct"});
  const auto expect_refused = [&](const std::vector<std::string>& told, std::string_view what) {
    EXPECT_THAT(told, ElementsAre(StartsWith(fmt::format(
                          "1 channel.close 403 ACCESS_REFUSED - access to {} 'shut'", what))));
    client->send(1, wire::ChannelCloseOk{});
    EXPECT_EQ(client->call(1, wire::ChannelOpen{}), "1 channel.open-ok");
    EXPECT_EQ(host->connection_count(), 1U);
  };
  const auto is_refused = [&](Access access, const wire::Method& method, std::string_view what) {
    permissions.denied = access;
    expect_refused({client->call(1, method)}, what);
  };
  is_refused(Access::configure, wire::QueueDeclare{.queue = "shut"}, "queue");
  is_refused(Access::configure, wire::QueueDeclare{.queue = "shut", .passive = true}, "queue");
  is_refused(Access::configure, wire::QueueDelete{.queue = "shut"}, "queue");
  is_refused(Access::read, wire::BasicConsume{.queue = "shut"}, "queue");
  is_refused(Access::read, wire::BasicGet{.queue = "shut"}, "queue");
  is_refused(Access::read, wire::QueuePurge{.queue = "shut"}, "queue");
  is_refused(Access::configure, wire::ExchangeDeclare{.exchange = "shut", .type = "direct"},
             "exchange");
  is_refused(Access::write, wire::QueueBind{.queue = "shut", .exchange = "amq.direct"}, "queue");
  is_refused(Access::read, wire::QueueBind{.queue = "shut", .exchange = "shut"}, "exchange");
  permissions.denied = Access::write;
  client->told();
  client->write(RawClient::published(1, "shut", "", "body", {}));
  expect_refused(client->told(), "exchange");
}

TEST_F(Sessions, HeartbeatsAreSentWhileThereIsNothingElseAndSilenceEndsTheConnection) {
  auto client = log_in({.heartbeat_seconds = 10});
  loop.advance(milliseconds{11'000});
  EXPECT_THAT(client->told(), testing::Contains("heartbeat"));
  loop.advance(milliseconds{8'000});
  EXPECT_FALSE(client->has_ended());
  loop.advance(milliseconds{1'100});
  EXPECT_TRUE(client->has_ended());
  EXPECT_EQ(host->connection_count(), 0U);
}

TEST_F(Sessions, AClientThatBeatsStays) {
  auto client = log_in({.heartbeat_seconds = 10});
  for (int i = 0; i < 20; ++i) {
    loop.advance(seconds{8});
    client->frame(wire::FrameType::heartbeat, 0, "");
  }
  EXPECT_FALSE(client->has_ended());
}

TEST_F(Sessions, WithoutHeartbeatsSilenceIsNothing) {
  auto client = log_in();
  loop.advance(std::chrono::hours{5});
  EXPECT_FALSE(client->has_ended());
  EXPECT_THAT(client->told(), IsEmpty());
}

TEST_F(Sessions, FramesThatAreNoneEndTheConnection) {
  const auto answer_to = [this](std::string_view bytes) {
    auto client = log_in();
    client->write(bytes);
    const std::vector<std::string> told = client->told();
    return told.empty() ? std::string{} : told.front();
  };
  EXPECT_THAT(answer_to({"\x04\0\0\0\0\0\0\xce", 8}), StartsWith("0 connection.close 501"));
  EXPECT_THAT(answer_to({"\x08\0\0\0\0\0\0\0", 8}), StartsWith("0 connection.close 501"));
  EXPECT_THAT(answer_to({"\x08\0\1\0\0\0\0\xce", 8}), StartsWith("0 connection.close 501"));
  EXPECT_THAT(answer_to({"\x01\0\1\x7f\xff\xff\xff", 7}), StartsWith("0 connection.close 501"));
  EXPECT_THAT(answer_to({"\x03\0\0\0\0\0\1x\xce", 9}), StartsWith("0 connection.close 505"));
  EXPECT_THAT(answer_to({"\x01\0\1\0\0\0\2\0\x32\xce", 10}), StartsWith("0 connection.close 502"));
  EXPECT_THAT(answer_to({"\x01\0\1\0\0\0\4\0\x99\0\1\xce", 12}),
              StartsWith("0 connection.close 503"));
}

TEST_F(Sessions, AFrameMayBeAsLargeAsWasAgreedAndNoLarger) {
  auto client = log_in({.frame_max = 4096});
  client->send(1, wire::QueueDeclare{.queue = "q"});
  client->told();
  Bytes bytes;
  wire::append_method_frame(bytes, 1, wire::BasicPublish{.routing_key = "q"});
  wire::append_content_header_frame(bytes, 1, wire::encode_properties({}), 4096 - 8);
  wire::append_frame(bytes, wire::FrameType::body, 1, as_bytes(std::string(4096 - 8, 'x')));
  client->write(bytes);
  EXPECT_EQ(queue("q").ready_count, 1U);
  // RabbitMQ lets the payload alone be as large, since some clients count so.
  bytes.clear();
  wire::append_method_frame(bytes, 1, wire::BasicPublish{.routing_key = "q"});
  wire::append_content_header_frame(bytes, 1, wire::encode_properties({}), 4096);
  wire::append_frame(bytes, wire::FrameType::body, 1, as_bytes(std::string(4096, 'x')));
  client->write(bytes);
  EXPECT_EQ(queue("q").ready_count, 2U);
  Bytes larger;
  wire::append_frame(larger, wire::FrameType::body, 1, as_bytes(std::string(4097, 'x')));
  client->write(larger);
  EXPECT_THAT(client->told(), ElementsAre(StartsWith("0 connection.close 501")));
}

TEST_F(Sessions, BeforeTuningAFrameHas8192BytesAtMost) {
  auto client = connect();
  client->write(wire::protocol_header());
  client->told();
  Bytes bytes;
  wire::append_frame(bytes, wire::FrameType::method, 0, as_bytes(std::string(8193, 'x')));
  client->write(bytes);
  EXPECT_THAT(client->told(), ElementsAre(StartsWith("0 connection.close 501")));
}

TEST_F(Sessions, FramesOutOfTheirTurnEndTheConnection) {
  const auto answer_to = [this](auto act) {
    auto client = log_in();
    act(*client);
    const std::vector<std::string> told = client->told();
    return told.empty() ? std::string{} : told.front();
  };
  constexpr const char* unexpected = "0 connection.close 505 UNEXPECTED_FRAME";
  Bytes header;
  wire::append_content_header_frame(header, 1, wire::encode_properties({}), 5);
  const wire::BasicPublish publish{.routing_key = "q"};
  EXPECT_THAT(answer_to([&](RawClient& client) { client.write(header); }), StartsWith(unexpected));
  EXPECT_THAT(answer_to([&](RawClient& client) { client.frame(wire::FrameType::body, 1, "x"); }),
              StartsWith(unexpected));
  EXPECT_THAT(answer_to([&](RawClient& client) {
                client.send(1, publish);
                client.frame(wire::FrameType::body, 1, "x");
              }),
              StartsWith(unexpected));
  EXPECT_THAT(answer_to([&](RawClient& client) {
                client.send(1, publish);
                client.send(1, wire::BasicGet{.queue = "q"});
              }),
              StartsWith(unexpected));
  EXPECT_THAT(answer_to([&](RawClient& client) {
                client.send(1, publish);
                client.write(header);
                client.write(header);
              }),
              StartsWith(unexpected));
  EXPECT_THAT(answer_to([&](RawClient& client) {
                client.send(1, publish);
                client.write(header);
                client.frame(wire::FrameType::body, 1, "longer");
              }),
              StartsWith("0 connection.close 501 FRAME_ERROR"));
  EXPECT_THAT(answer_to([&](RawClient& client) {
                client.send(1, publish);
                client.write(header);
                client.frame(wire::FrameType::body, 1, "");
              }),
              StartsWith("0 connection.close 501 FRAME_ERROR"));
}

TEST_F(Sessions, ChannelsAreOpenedOnceAndBeforeTheyAreUsed) {
  auto client = log_in();
  EXPECT_EQ(client->call(1, wire::ChannelOpen{}),
            "0 connection.close 504 CHANNEL_ERROR - second 'channel.open' seen");
  auto other = log_in();
  EXPECT_EQ(other->call(2, wire::QueueDeclare{.queue = "q"}),
            "0 connection.close 504 CHANNEL_ERROR - expected 'channel.open'");
  auto third = log_in();
  EXPECT_THAT(third->call(0, wire::QueueDeclare{.queue = "q"}),
              StartsWith("0 connection.close 504"));
  auto fourth = log_in();
  EXPECT_THAT(fourth->call(1, wire::ConnectionOpen{}), StartsWith("0 connection.close 503"));
}

TEST_F(Sessions, ChannelsAreAsManyAsWereAgreed) {
  options.session.channels_max = 2;
  crash();
  open();
  auto client = log_in();
  EXPECT_EQ(client->call(7, wire::ChannelOpen{}), "7 channel.open-ok");
  EXPECT_EQ(client->call(8, wire::ChannelOpen{}),
            "0 connection.close 530 NOT_ALLOWED - number of channels opened (2) has reached the "
            "negotiated channel_max (2)");
}

TEST_F(Sessions, AChannelThatWasClosedIgnoresAllUntilItsEndIsAgreedThenServesAgain) {
  auto client = log_in();
  EXPECT_EQ(client->call(1, wire::QueueDeclare{.queue = "nonesuch", .passive = true}),
            "1 channel.close 404 NOT_FOUND - no queue 'nonesuch' in vhost '/'");
  client->publish(1, "nowhere", "ignored");
  EXPECT_EQ(client->call(1, wire::QueueDeclare{.queue = "ignored"}), "");
  EXPECT_EQ(client->call(1, wire::ChannelCloseOk{}), "");
  EXPECT_EQ(client->call(1, wire::ChannelOpen{}), "1 channel.open-ok");
  EXPECT_EQ(client->call(1, wire::QueueDeclare{.queue = "q"}), "1 queue.declare-ok q 0 0");
}

TEST_F(Sessions, BothEndsMayCloseAChannelAtOnce) {
  auto client = log_in();
  client->call(1, wire::QueueDeclare{.queue = "nonesuch", .passive = true});
  EXPECT_EQ(client->call(1, wire::ChannelClose{}), "1 channel.close-ok");
  EXPECT_EQ(client->call(1, wire::ChannelCloseOk{}), "");
  EXPECT_EQ(client->call(1, wire::ChannelOpen{}), "1 channel.open-ok");
}

TEST_F(Sessions, AMessageMayBeAsLargeAsTheLimitAndNoLarger) {
  options.session.message_bytes_max = 1000;
  crash();
  open();
  auto client = log_in();
  client->send(1, wire::QueueDeclare{.queue = "q"});
  client->told();
  client->publish(1, "q", std::string(1000, 'x'));
  EXPECT_THAT(client->told(), IsEmpty());
  EXPECT_EQ(queue("q").ready_count, 1U);
  client->publish(1, "q", std::string(1001, 'x'));
  EXPECT_THAT(client->told(),
              ElementsAre("1 channel.close 406 PRECONDITION_FAILED - message size 1001 is larger "
                          "than configured max size 1000"));
  EXPECT_EQ(queue("q").ready_count, 1U);
  client->send(1, wire::ChannelCloseOk{});
  EXPECT_EQ(client->call(1, wire::ChannelOpen{}), "1 channel.open-ok");
}

TEST_F(Sessions, AnAnnouncedSizeCostsNothing) {
  auto client = log_in();
  Bytes bytes;
  wire::append_method_frame(bytes, 1, wire::BasicPublish{.routing_key = "q"});
  wire::append_content_header_frame(bytes, 1, wire::encode_properties({}), std::uint64_t{1} << 63U);
  client->write(bytes);
  EXPECT_THAT(client->told(), ElementsAre(HasSubstr("1 channel.close 406 PRECONDITION_FAILED - "
                                                    "message size 9223372036854775808")));
}

TEST_F(Sessions, PropertiesThatCannotBeReadEndTheConnection) {
  auto client = log_in();
  client->send(1, wire::BasicPublish{.routing_key = "q"});
  // Flags announce a content type that is not there.
  client->frame(wire::FrameType::header, 1, {"\0\x3c\0\0\0\0\0\0\0\0\0\1\x80\0", 14});
  EXPECT_THAT(client->told(), ElementsAre(StartsWith("0 connection.close 502")));
}

TEST_F(Sessions, BodiesOfAnySizeComeBackAsTheyWent) {
  auto client = log_in({.frame_max = 4096});
  client->send(1, wire::QueueDeclare{.queue = "q"});
  client->send(1, wire::BasicConsume{.queue = "q", .consumer_tag = "c", .no_ack = true});
  std::vector<std::string> sent;
  for (const std::size_t size : {0U, 1U, 4087U, 4088U, 4089U, 8176U, 8177U, 100'000U}) {
    std::string body(size, '.');
    for (std::size_t i = 0; i < size; ++i) body[i] = static_cast<char>(i * 31 % 251);
    sent.push_back(body);
    client->publish(1, "q", body);
  }
  EXPECT_EQ(client->bodies(), sent);
}

TEST_F(Sessions, ClosingAConnectionGivesBackWhatItHadAndIsAnswered) {
  auto client = log_in();
  client->send(1, wire::QueueDeclare{.queue = "q", .durable = true});
  client->publish(1, "q", "1");
  client->send(1, wire::BasicGet{.queue = "q"});
  EXPECT_EQ(queue("q").unacked_count, 1U);
  EXPECT_EQ(client->call(0, wire::ConnectionClose{.reply_code = 200}), "0 connection.close-ok");
  EXPECT_TRUE(client->has_ended());
  EXPECT_EQ(queue("q").ready_count, 1U);
  EXPECT_EQ(host->connection_count(), 0U);
}

TEST_F(Sessions, AClientThatDiesGivesBackWhatItHad) {
  auto client = log_in();
  client->send(1, wire::QueueDeclare{.queue = "q", .durable = true});
  client->publish(1, "q", "1");
  client->send(1, wire::BasicGet{.queue = "q"});
  client->die();
  EXPECT_EQ(queue("q").ready_count, 1U);
  EXPECT_EQ(host->connection_count(), 0U);
}

TEST_F(Sessions, AClientThatDoesNotAnswerAClosingIsLeftAfterAWhile) {
  auto client = log_in();
  client->call(1, wire::ChannelOpen{});
  loop.advance(milliseconds{4'900});
  EXPECT_FALSE(client->has_ended());
  loop.advance(milliseconds{200});
  EXPECT_TRUE(client->has_ended());
  EXPECT_EQ(host->connection_count(), 0U);
}

TEST_F(Sessions, WhatIsSentAfterTheFaultHasNoEffect) {
  auto client = log_in();
  Bytes bytes;
  wire::append_method_frame(bytes, 1, wire::ChannelOpen{});
  wire::append_method_frame(bytes, 1, wire::QueueDeclare{.queue = "after"});
  client->write(bytes);
  EXPECT_THAT(host->overview().queues, IsEmpty());
}

TEST_F(Sessions, CancelsAreToldOnlyToThoseWhoUnderstandThem) {
  auto capable = log_in();
  auto old = log_in({.is_capable = false});
  capable->send(1, wire::QueueDeclare{.queue = "q"});
  for (RawClient* client : {capable.get(), old.get()}) {
    client->send(1, wire::BasicConsume{.queue = "q", .consumer_tag = "c"});
    client->told();
  }
  capable->send(1, wire::QueueDelete{.queue = "q"});
  EXPECT_THAT(capable->told(), ElementsAre("1 queue.delete-ok", "1 basic.cancel"));
  EXPECT_THAT(old->told(), IsEmpty());
}

TEST_F(Sessions, AQuorumQueueSendsItsCountAsAHeader) {
  auto client = log_in();
  client->send(1, wire::QueueDeclare{
                      .queue = "q", .durable = true, .arguments = {{"x-queue-type", "quorum"}}});
  client->publish(1, "q", "1");
  client->send(1, wire::BasicGet{.queue = "q"});
  client->send(1, wire::BasicNack{.delivery_tag = 1, .requeue = true});
  EXPECT_EQ(client->call(1, wire::BasicGet{.queue = "q"}), "1 basic.get-ok 2 redelivered 1");
}

TEST_F(Sessions, AMessageWithAsManyHeadersAsThereMayBeComesWithoutACount) {
  auto client = log_in();
  client->send(1, wire::QueueDeclare{
                      .queue = "q", .durable = true, .arguments = {{"x-queue-type", "quorum"}}});
  wire::BasicProperties properties;
  properties.headers.emplace();
  properties.headers->set("many", wire::Array(wire::table_element_count_max - 1));
  client->write(RawClient::published(1, "", "q", "1", properties));
  client->send(1, wire::BasicGet{.queue = "q"});
  client->send(1, wire::BasicNack{.delivery_tag = 1, .requeue = true});
  EXPECT_EQ(client->call(1, wire::BasicGet{.queue = "q"}), "1 basic.get-ok 2 redelivered 1");
}

TEST(FixedUsersTest, LetsTheGuestInFromThisMachineOnly) {
  const FixedUsers users;
  Login login{.user = "guest", .password = "guest", .mechanism = "PLAIN", .peer = std::nullopt};
  EXPECT_TRUE(users.authenticate(login));
  const auto from = [&](const char* address) {
    login.peer = Endpoint{*IpAddress::parse(address), 1};
    return users.authenticate(login).has_value();
  };
  EXPECT_TRUE(from("127.0.0.1"));
  EXPECT_TRUE(from("::1"));
  EXPECT_TRUE(from("::ffff:127.0.0.1"));
  EXPECT_FALSE(from("192.0.2.1"));
  EXPECT_FALSE(from("::ffff:192.0.2.1"));
}

}  // namespace
}  // namespace pronto::server
