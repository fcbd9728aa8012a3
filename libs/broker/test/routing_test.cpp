#include "fixture.hpp"

namespace pronto::broker {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::StartsWith;

class Routing : public BrokerTest {};

TEST_F(Routing, DefaultExchangeLeadsToTheQueueThatTheKeyNames) {
  Peer peer = open();
  peer.declare("pizza");
  peer.declare("pasta");
  peer.send("pizza", "margherita");
  EXPECT_THAT(ready("pizza"), ElementsAre("margherita"));
  EXPECT_THAT(ready("pasta"), IsEmpty());
}

TEST_F(Routing, DirectExchangeLeadsToAllQueuesThatAreBoundWithTheKey) {
  Peer peer = open();
  for (const char* queue : {"a", "b", "c"}) peer.declare(queue);
  peer.bind("a", "amq.direct", "red");
  peer.bind("b", "amq.direct", "red");
  peer.bind("c", "amq.direct", "blue");
  peer.publish("amq.direct", "red", "1");
  EXPECT_THAT(ready("a"), ElementsAre("1"));
  EXPECT_THAT(ready("b"), ElementsAre("1"));
  EXPECT_THAT(ready("c"), IsEmpty());
}

TEST_F(Routing, FanoutExchangeLeadsToAllBoundQueuesWhateverTheKey) {
  Peer peer = open();
  peer.exchange("news", "fanout");
  for (const char* queue : {"a", "b"}) {
    peer.declare(queue);
    peer.bind(queue, "news", queue);
  }
  peer.publish("news", "whatever", "1");
  EXPECT_THAT(ready("a"), ElementsAre("1"));
  EXPECT_THAT(ready("b"), ElementsAre("1"));
}

TEST_F(Routing, AQueueThatSeveralBindingsLeadToGetsOneCopy) {
  Peer peer = open();
  peer.declare("a");
  peer.exchange("inner", "fanout");
  peer.exchange("outer", "fanout");
  peer.bind("a", "inner", "1");
  peer.bind("a", "inner", "2");
  peer.bind("a", "outer");
  peer.call(wire::ExchangeBind{.destination = "inner", .source = "outer"});
  peer.publish("outer", "", "once");
  EXPECT_THAT(ready("a"), ElementsAre("once"));
}

TEST_F(Routing, ExchangesBoundInACircleEnd) {
  Peer peer = open();
  peer.exchange("one", "fanout");
  peer.exchange("two", "fanout");
  peer.call(wire::ExchangeBind{.destination = "two", .source = "one"});
  peer.call(wire::ExchangeBind{.destination = "one", .source = "two"});
  peer.declare("a");
  peer.bind("a", "two");
  peer.publish("one", "", "round");
  EXPECT_THAT(ready("a"), ElementsAre("round"));
}

TEST_F(Routing, AlternateExchangeTakesWhatIsNotRouted) {
  Peer peer = open();
  peer.exchange("lost", "fanout");
  peer.exchange("main", "direct", {.arguments = {{"alternate-exchange", "lost"}}});
  peer.declare("found");
  peer.bind("found", "lost");
  peer.confirms();
  peer.publish("main", "nobody", "1", {.mandatory = true});
  EXPECT_THAT(ready("found"), ElementsAre("1"));
  EXPECT_THAT(peer.told(), ElementsAre("confirmed 1"));
}

TEST_F(Routing, AlternateExchangesInACircleEndInAReturn) {
  Peer peer = open();
  peer.exchange("one", "direct", {.arguments = {{"alternate-exchange", "two"}}});
  peer.exchange("two", "direct", {.arguments = {{"alternate-exchange", "one"}}});
  peer.publish("one", "x", "1", {.mandatory = true});
  EXPECT_THAT(peer.told(), ElementsAre("returned 312 NO_ROUTE 1"));
}

TEST_F(Routing, CopiesGoToTheKeysOfCcAndBccAndTheLatterIsNotPassedOn) {
  Peer peer = open();
  for (const char* queue : {"a", "b", "c"}) peer.declare(queue);
  wire::Table headers{{"CC", wire::Array{"b", "a"}}, {"BCC", wire::Array{"c"}}};
  peer.send("a", "1", {.properties = with_headers(headers)});
  EXPECT_THAT(ready("a"), ElementsAre("1"));
  EXPECT_THAT(ready("b"), ElementsAre("1"));
  EXPECT_THAT(ready("c"), ElementsAre("1"));
  peer.get("c");
  const wire::BasicProperties seen = peer.last_properties();
  ASSERT_TRUE(seen.headers);
  EXPECT_TRUE(seen.headers->find("CC"));
  EXPECT_FALSE(seen.headers->find("BCC"));
}

TEST_F(Routing, MandatoryMessageThatNoQueueTakesIsReturnedBeforeItIsConfirmed) {
  Peer peer = open();
  peer.confirms();
  peer.publish("amq.fanout", "x", "1", {.mandatory = true});
  peer.publish("amq.fanout", "x", "2");
  EXPECT_THAT(peer.told(), ElementsAre("returned 312 NO_ROUTE 1", "confirmed 1", "confirmed 2"));
}

TEST_F(Routing, TheBodyIsWrittenOnceHoweverManyQueuesTakeIt) {
  Peer peer = open();
  for (int i = 0; i < 10; ++i) {
    peer.declare("q" + std::to_string(i));
    peer.bind("q" + std::to_string(i), "amq.fanout");
  }
  peer.publish("amq.fanout", "", "1");
  const Outside::Unit& unit = outside.units.back();
  EXPECT_EQ(std::ranges::count(unit.records, RecordType::body, &Outside::StoredRecord::type), 1);
  EXPECT_EQ(std::ranges::count(unit.records, RecordType::enqueue, &Outside::StoredRecord::type),
            10);
  EXPECT_EQ(outside.body_count(), 1U);
}

TEST_F(Routing, ABodyGoesWhenTheLastQueueHasLetGoOfIt) {
  Peer peer = open();
  for (const char* queue : {"a", "b"}) {
    peer.declare(queue);
    peer.bind(queue, "amq.fanout");
  }
  peer.publish("amq.fanout", "", "1");
  peer.get("a", true);
  EXPECT_EQ(outside.body_count(), 1U);
  peer.get("b", true);
  EXPECT_EQ(outside.body_count(), 0U);
}

TEST_F(Routing, UnbindingEndsTheWay) {
  Peer peer = open();
  peer.declare("a");
  peer.bind("a", "amq.direct", "k");
  EXPECT_EQ(peer.unbind("a", "amq.direct", "other"), "queue.unbind-ok");
  peer.publish("amq.direct", "k", "1");
  EXPECT_EQ(peer.unbind("a", "amq.direct", "k"), "queue.unbind-ok");
  peer.publish("amq.direct", "k", "2");
  EXPECT_THAT(ready("a"), ElementsAre("1"));
}

TEST_F(Routing, AnAutoDeleteExchangeGoesWithItsLastBinding) {
  Peer peer = open();
  peer.declare("a");
  peer.exchange("x", "direct", {.auto_delete = true});
  peer.bind("a", "x", "1");
  peer.bind("a", "x", "2");
  peer.unbind("a", "x", "1");
  EXPECT_EQ(peer.exchange("x", "direct", {.passive = true}), "exchange.declare-ok");
  peer.remove("a");
  EXPECT_THAT(peer.exchange("x", "direct", {.passive = true}), StartsWith("channel closed 404"));
}

TEST_F(Routing, DeletingAnExchangeEndsItsBindings) {
  Peer peer = open();
  peer.declare("a");
  peer.exchange("x", "fanout");
  peer.bind("a", "x");
  EXPECT_EQ(peer.call(wire::ExchangeDelete{.exchange = "x", .if_unused = true}),
            "channel closed 406 PRECONDITION_FAILED - exchange 'x' in vhost '/' in use");
  peer = open(1, 2);
  EXPECT_EQ(peer.call(wire::ExchangeDelete{.exchange = "x"}), "exchange.delete-ok");
  peer.exchange("x", "fanout");
  peer.publish("x", "", "1");
  EXPECT_THAT(ready("a"), IsEmpty());
}

TEST_F(Routing, AnEmptyQueueNameMeansTheLastDeclaredOne) {
  Peer peer = open();
  peer.declare("a");
  EXPECT_EQ(peer.bind("", "amq.direct", ""), "queue.bind-ok");
  peer.publish("amq.direct", "a", "1");  // an empty key means the queue's name then, too
  EXPECT_EQ(peer.get(""), "basic.get-ok 1 1, 0 left");
  EXPECT_EQ(peer.consume("", "c"), "basic.consume-ok c");
  EXPECT_EQ(peer.purge(""), "queue.purge-ok 0");
  EXPECT_EQ(peer.remove(""), "queue.delete-ok 0");
  Peer other = open(1, 2);
  EXPECT_EQ(other.get(""), "channel closed 404 NOT_FOUND - no previously declared queue");
}

}  // namespace
}  // namespace pronto::broker
