// Goal: code and text of every reply are those that RabbitMQ 3.10.8 was seen to send.
#include "fixture.hpp"

namespace pronto::broker {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::StartsWith;

class Replies : public BrokerTest {
 protected:
  /// A fresh channel: most replies here close theirs.
  Peer fresh() { return open(1, ++last_channel_); }
  /// What declaring queue `q` with one argument is answered.
  std::string declared_with(const char* name, wire::Value value, bool durable = true) {
    return fresh().declare("q", {.durable = durable, .arguments = {{name, std::move(value)}}});
  }

 private:
  std::uint16_t last_channel_ = 0;
};

TEST_F(Replies, NamesOfThePrefixAmqAreReserved) {
  EXPECT_EQ(fresh().declare("amq.x"),
            "channel closed 403 ACCESS_REFUSED - queue name 'amq.x' contains reserved prefix "
            "'amq.*'");
  EXPECT_EQ(fresh().exchange("amq.x", "direct"),
            "channel closed 403 ACCESS_REFUSED - exchange name 'amq.x' contains reserved prefix "
            "'amq.*'");
}

TEST_F(Replies, ExchangesThatCannotBeMadeOrDeleted) {
  EXPECT_EQ(fresh().exchange("x", "nosuch"),
            "connection closed 503 COMMAND_INVALID - unknown exchange type 'nosuch'");
  for (const bool passive : {false, true}) {
    EXPECT_EQ(
        fresh().exchange("", "direct", {.passive = passive}),
        "channel closed 403 ACCESS_REFUSED - operation not permitted on the default exchange");
  }
  EXPECT_EQ(fresh().call(wire::ExchangeDelete{.exchange = "amq.direct"}),
            "channel closed 403 ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost "
            "'/' not allowed");
  EXPECT_EQ(fresh().call(wire::ExchangeDelete{.exchange = "nonesuch"}), "exchange.delete-ok");
  EXPECT_EQ(fresh().exchange("nonesuch", "direct", {.passive = true}),
            "channel closed 404 NOT_FOUND - no exchange 'nonesuch' in vhost '/'");
}

TEST_F(Replies, WhatIsMissing) {
  constexpr const char* no_queue =
      "channel closed 404 NOT_FOUND - no queue 'nonesuch' in vhost '/'";
  constexpr const char* no_exchange =
      "channel closed 404 NOT_FOUND - no exchange 'nonesuch' in vhost '/'";
  EXPECT_EQ(fresh().remove("nonesuch"), "queue.delete-ok 0");
  EXPECT_EQ(fresh().purge("nonesuch"), no_queue);
  EXPECT_EQ(fresh().declare("nonesuch", {.passive = true}), no_queue);
  EXPECT_EQ(fresh().consume("nonesuch"), no_queue);
  EXPECT_EQ(fresh().get("nonesuch"), no_queue);
  EXPECT_EQ(fresh().bind("nonesuch", "amq.fanout"), no_queue);
  fresh().declare("q");
  EXPECT_EQ(fresh().bind("q", "nonesuch"), no_exchange);
  EXPECT_EQ(fresh().unbind("q", "amq.direct", "never"), "queue.unbind-ok");
  EXPECT_EQ(fresh().unbind("q", "nonesuch"), "queue.unbind-ok");
  EXPECT_EQ(fresh().unbind("nonesuch", "amq.direct"), "queue.unbind-ok");
  EXPECT_EQ(fresh().bind("q", ""),
            "channel closed 403 ACCESS_REFUSED - operation not permitted on the default exchange");
  Peer peer = fresh();
  peer.publish("nonesuch", "", "1");
  EXPECT_THAT(peer.told(), ElementsAre(no_exchange));
  EXPECT_EQ(fresh().cancel("zz"), "basic.cancel-ok zz");
}

TEST_F(Replies, WhatIsNotImplemented) {
  Peer peer = fresh();
  peer.send("q", "1", {.immediate = true});
  EXPECT_THAT(peer.told(), ElementsAre("connection closed 540 NOT_IMPLEMENTED - immediate=true"));
  EXPECT_EQ(fresh().call(wire::BasicQos{.prefetch_size = 1}),
            "connection closed 540 NOT_IMPLEMENTED - prefetch_size!=0 (1)");
  EXPECT_EQ(fresh().call(wire::BasicRecover{.requeue = false}),
            "connection closed 540 NOT_IMPLEMENTED - requeue=false");
  EXPECT_EQ(fresh().call(wire::BasicRecoverAsync{.requeue = false}),
            "connection closed 540 NOT_IMPLEMENTED - requeue=false");
  EXPECT_EQ(fresh().call(wire::ChannelFlow{.active = false}),
            "connection closed 540 NOT_IMPLEMENTED - active=false");
  EXPECT_EQ(fresh().call(wire::ChannelFlow{.active = true}), "channel.flow-ok");
}

TEST_F(Replies, QueuesThatWereDeclaredOtherwise) {
  fresh().declare("q", {.durable = false});
  EXPECT_EQ(fresh().declare("q", {.durable = true}),
            "channel closed 406 PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in "
            "vhost '/': received 'true' but current is 'false'");
  EXPECT_EQ(fresh().declare("q", {.durable = false, .auto_delete = true}),
            "channel closed 406 PRECONDITION_FAILED - inequivalent arg 'auto_delete' for queue 'q' "
            "in vhost '/': received 'true' but current is 'false'");
  EXPECT_THAT(
      fresh().declare("q", {.durable = true, .exclusive = true}),
      StartsWith("channel closed 405 RESOURCE_LOCKED - cannot obtain exclusive access to "
                 "locked queue 'q' in vhost '/'. It could be originally declared on another "
                 "connection or the exclusive property value does not match that of the "
                 "original decl"));
}

TEST_F(Replies, QueuesThatWereDeclaredWithOtherArguments) {
  fresh().declare("q", {.arguments = {{"x-message-ttl", 1000}, {"x-unknown", "a"}}});
  const auto with = [this](wire::Table arguments) {
    return fresh().declare("q", {.arguments = std::move(arguments)});
  };
  constexpr const char* ok = "queue.declare-ok q 0 messages 0 consumers";
  EXPECT_EQ(with({{"x-message-ttl", std::int64_t{1000}}}), ok) << "of another integer type";
  EXPECT_EQ(with({{"x-message-ttl", std::int8_t{100}}}),
            "channel closed 406 PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue "
            "'q' in vhost '/': received '100' but current is '1000'");
  EXPECT_EQ(with({{"x-message-ttl", 1000}, {"x-unknown", "b"}}), ok) << "unknown ones do not count";
  EXPECT_EQ(with({}),
            "channel closed 406 PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue "
            "'q' in vhost '/': received none but current is the value '1000' of type 'signedint'");
  EXPECT_EQ(
      with({{"x-message-ttl", 1000}, {"x-dead-letter-exchange", "dlx"}}),
      "channel closed 406 PRECONDITION_FAILED - inequivalent arg 'x-dead-letter-exchange' for "
      "queue 'q' in vhost '/': received the value 'dlx' of type 'longstr' but current is "
      "none");
}

TEST_F(Replies, ExchangesThatWereDeclaredOtherwise) {
  fresh().exchange("x", "direct");
  const auto text = [](const char* argument, const char* received, const char* current) {
    return std::string{"channel closed 406 PRECONDITION_FAILED - inequivalent arg '"} + argument +
           "' for exchange 'x' in vhost '/': received " + received + " but current is " + current;
  };
  EXPECT_EQ(fresh().exchange("x", "fanout"), text("type", "'fanout'", "'direct'"));
  EXPECT_EQ(fresh().exchange("x", "direct", {.durable = false}),
            text("durable", "'false'", "'true'"));
  EXPECT_EQ(fresh().exchange("x", "direct", {.auto_delete = true}),
            text("auto_delete", "'true'", "'false'"));
  EXPECT_EQ(fresh().exchange("x", "direct", {.internal = true}),
            text("internal", "'true'", "'false'"));
  EXPECT_EQ(fresh().exchange("x", "direct", {.arguments = {{"alternate-exchange", "ae"}}}),
            text("alternate-exchange", "the value 'ae' of type 'longstr'", "none"));
  fresh().exchange("y", "direct", {.arguments = {{"alternate-exchange", "ae"}}});
  EXPECT_EQ(fresh().exchange("y", "direct", {.arguments = {{"alternate-exchange", "other"}}}),
            "channel closed 406 PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for "
            "exchange 'y' in vhost '/': received 'other' but current is 'ae'");
}

TEST_F(Replies, ArgumentsThatMakeNoSense) {
  const auto text = [](const char* name, const char* reason) {
    return std::string{"channel closed 406 PRECONDITION_FAILED - invalid arg '"} + name +
           "' for queue 'q' in vhost '/': " + reason;
  };
  EXPECT_EQ(declared_with("x-message-ttl", -1), text("x-message-ttl", "{value_negative,-1}"));
  EXPECT_EQ(declared_with("x-message-ttl", "10"),
            text("x-message-ttl", "\"expected integer, got longstr\""));
  EXPECT_EQ(declared_with("x-message-ttl", std::int64_t{315'360'000'001}),
            text("x-message-ttl", "{value_too_large,315360000001}"));
  EXPECT_EQ(declared_with("x-expires", 0), text("x-expires", "{value_zero,0}"));
  EXPECT_EQ(declared_with("x-expires", -5), text("x-expires", "{value_negative,-5}"));
  EXPECT_EQ(declared_with("x-max-priority", 256),
            text("x-max-priority", "{max_value_exceeded,256}"));
  EXPECT_EQ(declared_with("x-max-length", -1), text("x-max-length", "{value_negative,-1}"));
  EXPECT_EQ(declared_with("x-overflow", "bogus"), text("x-overflow", "invalid_overflow"));
  EXPECT_EQ(declared_with("x-dead-letter-exchange", 1),
            "channel closed 406 PRECONDITION_FAILED - invalid type 'signedint' for arg "
            "'x-dead-letter-exchange' in queue 'q' in vhost '/'");
  EXPECT_EQ(declared_with("x-dead-letter-routing-key", "k"),
            text("x-dead-letter-routing-key", "routing_key_but_no_dlx_defined"));
  EXPECT_EQ(
      fresh().declare("q", {.arguments = {{"x-dead-letter-exchange", "x"},
                                          {"x-dead-letter-routing-key", std::string(256, 'k')}}}),
      text("x-dead-letter-routing-key", "{value_too_long,256}"));
  EXPECT_EQ(declared_with("x-queue-type", "bogus"),
            text("x-queue-type", "\"unsupported queue type 'bogus'\""));
  EXPECT_EQ(declared_with("x-queue-type", "quorum", false),
            "channel closed 406 PRECONDITION_FAILED - invalid property 'non-durable' for queue 'q' "
            "in vhost '/'");
  EXPECT_FALSE(has_queue("q"));
}

TEST_F(Replies, ArgumentsAtTheirLimits) {
  int count = 0;
  const auto is_taken = [&](const char* name, wire::Value value) {
    const std::string queue = "q" + std::to_string(++count);
    return fresh().declare(queue, {.arguments = {{name, std::move(value)}}}) ==
           "queue.declare-ok " + queue + " 0 messages 0 consumers";
  };
  EXPECT_TRUE(is_taken("x-message-ttl", 0));
  EXPECT_TRUE(is_taken("x-message-ttl", std::int64_t{315'360'000'000}));
  EXPECT_TRUE(is_taken("x-expires", 1));
  EXPECT_TRUE(is_taken("x-max-priority", 255));
  EXPECT_TRUE(is_taken("x-max-length", 0));
  EXPECT_TRUE(is_taken("x-whatever", "unknown ones are taken"));
  EXPECT_TRUE(is_taken("x-queue-mode", "lazy"));
  EXPECT_TRUE(is_taken("x-queue-type", "classic"));
}

TEST_F(Replies, MessagesThatMakeNoSense) {
  const auto answer_to = [this](wire::BasicProperties properties) {
    Peer peer = fresh();
    peer.send("nobody", "1", {.properties = std::move(properties)});
    const std::vector<std::string> told = peer.told();
    return told.empty() ? std::string{} : told.front();
  };
  const auto expiring = [&](const char* text) {
    wire::BasicProperties properties;
    properties.expiration = text;
    return answer_to(properties);
  };
  constexpr const char* start = "channel closed 406 PRECONDITION_FAILED - invalid expiration ";
  EXPECT_EQ(expiring("abc"), std::string{start} + "'abc': no_integer");
  EXPECT_EQ(expiring(""), std::string{start} + "'': no_integer");
  EXPECT_EQ(expiring("-1"), std::string{start} + "'-1': {value_negative,-1}");
  EXPECT_EQ(expiring("10s"), std::string{start} + "'10s': {leftover_string,\"s\"}");
  EXPECT_EQ(expiring("315360000001"),
            std::string{start} + "'315360000001': {value_too_large,315360000001}");
  EXPECT_EQ(expiring("315360000000"), "");
  EXPECT_EQ(expiring("0"), "");
  wire::BasicProperties properties;
  properties.user_id = "zz";
  EXPECT_EQ(answer_to(properties),
            "channel closed 406 PRECONDITION_FAILED - user_id property set to 'zz' but "
            "authenticated user was 'guest'");
  properties.user_id = "guest";
  EXPECT_EQ(answer_to(properties), "");
}

TEST_F(Replies, AnInternalExchangeTakesNothingFromClients) {
  Peer peer = fresh();
  peer.exchange("probe-int", "fanout", {.internal = true});
  peer.publish("probe-int", "", "1");
  EXPECT_THAT(peer.told(),
              ElementsAre("channel closed 403 ACCESS_REFUSED - cannot publish to internal exchange "
                          "'probe-int' in vhost '/'"));
}

TEST_F(Replies, HeadersBindingsNameAKnownMatch) {
  fresh().declare("q");
  EXPECT_EQ(fresh().bind("q", "amq.headers", "", {{"x-match", "bogus"}}),
            "channel closed 406 PRECONDITION_FAILED - Invalid x-match field value <<\"bogus\">>; "
            "expected all, any, all-with-x, or any-with-x");
}

TEST_F(Replies, WithoutWaitingThereIsNoAnswerButTheFault) {
  Peer peer = fresh();
  EXPECT_EQ(peer.call(wire::QueueDeclare{.queue = "q", .no_wait = true}), "");
  EXPECT_EQ(peer.call(wire::QueueBind{.queue = "q", .exchange = "amq.fanout", .no_wait = true}),
            "");
  EXPECT_EQ(peer.call(wire::QueuePurge{.queue = "q", .no_wait = true}), "");
  EXPECT_EQ(peer.call(wire::ExchangeDeclare{.exchange = "x", .type = "fanout", .no_wait = true}),
            "");
  EXPECT_EQ(peer.call(wire::ExchangeDelete{.exchange = "x", .no_wait = true}), "");
  EXPECT_EQ(peer.call(wire::BasicConsume{.queue = "q", .consumer_tag = "c", .no_wait = true}), "");
  EXPECT_EQ(peer.call(wire::BasicCancel{.consumer_tag = "c", .no_wait = true}), "");
  EXPECT_EQ(peer.call(wire::ConfirmSelect{.no_wait = true}), "");
  EXPECT_EQ(peer.call(wire::QueueDelete{.queue = "q", .no_wait = true}), "");
  EXPECT_THAT(peer.told(), IsEmpty());
  EXPECT_EQ(peer.call(wire::QueuePurge{.queue = "q", .no_wait = true}),
            "channel closed 404 NOT_FOUND - no queue 'q' in vhost '/'");
}

class DirectReply : public BrokerTest {
 protected:
  static constexpr const char* reply_to = "amq.rabbitmq.reply-to";

  static MessageOptions asking() {
    wire::BasicProperties properties;
    properties.reply_to = reply_to;
    return {.properties = properties};
  }
};

TEST_F(DirectReply, AReplyGoesStraightToTheChannelThatAsked) {
  Peer asks = open(1, 1);
  Peer answers = open(2, 1);
  answers.declare("work");
  answers.consume("work", "w");
  EXPECT_EQ(asks.consume(reply_to, "replies", {.no_ack = true}), "basic.consume-ok replies");
  asks.send("work", "2 + 2", asking());
  const wire::BasicProperties request = answers.last_properties();
  ASSERT_TRUE(request.reply_to);
  EXPECT_THAT(request.reply_to->text(), StartsWith("amq.rabbitmq.reply-to."));
  answers.send(request.reply_to->view(), "4", {.mandatory = true});
  EXPECT_THAT(asks.told(), ElementsAre("replies 1 4"));
  EXPECT_EQ(answers.declare(request.reply_to->view(), {.passive = true}),
            "queue.declare-ok " + request.reply_to->text() + " 0 messages 1 consumers");
  asks.close();
  answers.send(request.reply_to->view(), "5", {.mandatory = true});
  EXPECT_THAT(answers.told(), testing::Contains("returned 312 NO_ROUTE 5"));
  EXPECT_THAT(answers.declare(request.reply_to->view(), {.passive = true}),
              StartsWith("channel closed 404 NOT_FOUND - no queue 'amq.rabbitmq.reply-to."));
  EXPECT_EQ(outside.body_count(), 1U) << "the request alone";
}

TEST_F(DirectReply, AReplyThatItsReaderHasNoRoomForIsDropped) {
  Peer asks = open(1, 1);
  Peer answers = open(2, 1);
  answers.declare("work");
  answers.consume("work", "w");
  asks.consume(reply_to, "replies", {.no_ack = true});
  asks.send("work", "?", asking());
  const std::string name = answers.last_properties().reply_to->text();
  outside.room[asks.connection()] = 2;
  answers.confirms();
  for (const char* body : {"1", "2", "3", "4"}) answers.send(name, body, {.mandatory = true});
  EXPECT_THAT(asks.told(), ElementsAre("replies 1 1", "replies 2 2"));
  EXPECT_EQ(broker->replies_dropped_total(), 2U);
  EXPECT_THAT(answers.told(), testing::Not(testing::Contains(testing::HasSubstr("returned"))));
  outside.room.clear();
  answers.send(name, "5");
  EXPECT_THAT(asks.told(), ElementsAre("replies 3 5"));
  EXPECT_EQ(outside.body_count(), 1U) << "the request alone";
}

TEST_F(DirectReply, NobodyElsesChannelIsReachedByAGuess) {
  Peer asks = open(1, 1);
  asks.consume(reply_to, "replies", {.no_ack = true});
  Peer other = open(2, 1);
  other.confirms();
  other.send(reply_to, "1", {.mandatory = true});
  other.send("amq.rabbitmq.reply-to.1", "2");
  EXPECT_THAT(other.told(), ElementsAre("returned 312 NO_ROUTE 1", "confirmed 1", "confirmed 2"));
  EXPECT_THAT(asks.told(), IsEmpty());
}

TEST_F(DirectReply, AskingWithoutAConsumerOfRepliesIsRefused) {
  Peer peer = open();
  peer.send("work", "?", asking());
  EXPECT_THAT(peer.told(),
              ElementsAre("channel closed 406 PRECONDITION_FAILED - fast reply consumer "
                          "does not exist"));
  EXPECT_EQ(open(1, 2).declare(reply_to, {.passive = true}),
            "queue.declare-ok amq.rabbitmq.reply-to 0 messages 1 consumers");
}

TEST_F(DirectReply, TheConsumerOfRepliesIsOneAndWithoutAcks) {
  Peer peer = open();
  EXPECT_EQ(peer.consume(reply_to, "a"),
            "channel closed 406 PRECONDITION_FAILED - reply consumer cannot acknowledge");
  peer = open(1, 2);
  peer.consume(reply_to, "a", {.no_ack = true});
  EXPECT_EQ(peer.consume(reply_to, "b", {.no_ack = true}),
            "channel closed 406 PRECONDITION_FAILED - reply consumer already set");
  peer = open(1, 3);
  peer.consume(reply_to, "a", {.no_ack = true});
  EXPECT_EQ(peer.cancel("a"), "basic.cancel-ok a");
  EXPECT_EQ(peer.consume(reply_to, "b", {.no_ack = true}), "basic.consume-ok b");
}

}  // namespace
}  // namespace pronto::broker
