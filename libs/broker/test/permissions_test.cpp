#include "fixture.hpp"

namespace pronto::broker {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// The owner may do all; "u" is denied what a test says.
class AccessControl : public BrokerTest {
 protected:
  AccessControl() {
    Peer owner = open(1, 1, "owner");
    owner.declare("q");
    owner.exchange("x", "fanout");
    owner.exchange("y", "fanout");
    owner.send("q", "1");
  }
  /// A channel of user "u".
  Peer fresh() { return open(2, ++last_channel_, "u"); }
  void deny(Access access, std::string resource) {
    permissions.denied = {{"u", access, std::move(resource)}};
  }
  static std::string queue(std::string_view name) { return text("queue", name); }
  static std::string exchange(std::string_view name) { return text("exchange", name); }
  static wire::ExchangeBind bound(std::string_view destination, std::string_view source) {
    return {.destination = destination, .source = source};
  }
  static wire::ExchangeUnbind unbound(std::string_view destination, std::string_view source) {
    return {.destination = destination, .source = source};
  }

 private:
  static std::string text(std::string_view kind, std::string_view name) {
    std::string line = "channel closed 403 ACCESS_REFUSED - access to ";
    line.append(kind).append(" '").append(name);
    return line + "' in vhost '/' refused for user 'u'";
  }
  std::uint16_t last_channel_ = 0;
};

TEST_F(AccessControl, ToConfigureAQueueIsForDeclaringAndDeletingIt) {
  deny(Access::configure, "q");
  EXPECT_EQ(fresh().declare("q"), queue("q"));
  EXPECT_EQ(fresh().declare("q", {.passive = true}), queue("q"));
  EXPECT_EQ(fresh().remove("q"), queue("q"));
  EXPECT_EQ(open(1, 2).declare("q"), "queue.declare-ok q 1 messages 0 consumers");
  EXPECT_EQ(fresh().declare("other"), "queue.declare-ok other 0 messages 0 consumers");
}

TEST_F(AccessControl, WhoIsRefusedIsNotToldWhetherItExists) {
  for (const Access access : {Access::configure, Access::read, Access::write}) {
    permissions.denied.push_back({"u", access, "nonesuch"});
  }
  EXPECT_EQ(fresh().declare("nonesuch", {.passive = true}), queue("nonesuch"));
  EXPECT_EQ(fresh().exchange("nonesuch", "fanout", {.passive = true}), exchange("nonesuch"));
  EXPECT_EQ(fresh().get("nonesuch"), queue("nonesuch"));
  EXPECT_EQ(fresh().consume("nonesuch"), queue("nonesuch"));
  EXPECT_EQ(fresh().purge("nonesuch"), queue("nonesuch"));
  EXPECT_EQ(fresh().remove("nonesuch"), queue("nonesuch"));
  EXPECT_EQ(fresh().bind("nonesuch", "x"), queue("nonesuch"));
  EXPECT_EQ(fresh().bind("q", "nonesuch"), exchange("nonesuch"));
  EXPECT_EQ(fresh().call(wire::ExchangeDelete{.exchange = "nonesuch"}), exchange("nonesuch"));
}

TEST_F(AccessControl, ADeadLetterExchangeTakesReadingTheQueueAndWritingThere) {
  const QueueOptions leading{.arguments = {{"x-dead-letter-exchange", "x"}}};
  deny(Access::read, "new");
  EXPECT_EQ(fresh().declare("new", leading), queue("new"));
  deny(Access::write, "x");
  EXPECT_EQ(fresh().declare("new", leading), exchange("x"));
  EXPECT_FALSE(has_queue("new"));
  EXPECT_EQ(fresh().declare("new"), "queue.declare-ok new 0 messages 0 consumers");
  deny(Access::write, "amq.default");
  EXPECT_EQ(fresh().declare("newer", {.arguments = {{"x-dead-letter-exchange", ""}}}),
            exchange("amq.default"));
}

TEST_F(AccessControl, BindingAQueueTakesWritingItAndReadingTheExchange) {
  deny(Access::write, "q");
  EXPECT_EQ(fresh().bind("q", "x"), queue("q"));
  EXPECT_EQ(fresh().unbind("q", "x"), queue("q"));
  deny(Access::read, "x");
  EXPECT_EQ(fresh().bind("q", "x"), exchange("x"));
  EXPECT_EQ(fresh().unbind("q", "x"), exchange("x"));
  EXPECT_EQ(fresh().bind("q", "y"), "queue.bind-ok");
}

TEST_F(AccessControl, BindingAnExchangeTakesWritingItAndReadingTheSource) {
  deny(Access::write, "x");
  EXPECT_EQ(fresh().call(bound("x", "y")), exchange("x"));
  EXPECT_EQ(fresh().call(unbound("x", "y")), exchange("x"));
  deny(Access::read, "y");
  EXPECT_EQ(fresh().call(bound("x", "y")), exchange("y"));
  EXPECT_EQ(fresh().call(unbound("x", "y")), exchange("y"));
  EXPECT_EQ(fresh().call(bound("y", "x")), "exchange.bind-ok");
}

TEST_F(AccessControl, ToConfigureAnExchangeIsForDeclaringAndDeletingIt) {
  deny(Access::configure, "x");
  EXPECT_EQ(fresh().exchange("x", "fanout"), exchange("x"));
  EXPECT_EQ(fresh().exchange("x", "fanout", {.passive = true}), exchange("x"));
  EXPECT_EQ(fresh().call(wire::ExchangeDelete{.exchange = "x"}), exchange("x"));
  EXPECT_EQ(fresh().exchange("z", "fanout"), "exchange.declare-ok");
}

TEST_F(AccessControl, AnAlternateExchangeTakesReadingTheOneAndWritingTheOther) {
  const ExchangeOptions leading{.arguments = {{"alternate-exchange", "x"}}};
  deny(Access::read, "new");
  EXPECT_EQ(fresh().exchange("new", "fanout", leading), exchange("new"));
  deny(Access::write, "x");
  EXPECT_EQ(fresh().exchange("new", "fanout", leading), exchange("x"));
  permissions.denied.clear();
  EXPECT_EQ(fresh().exchange("new", "fanout", leading), "exchange.declare-ok");
}

TEST_F(AccessControl, ToReadAQueueIsForTakingMessagesFromIt) {
  deny(Access::read, "q");
  EXPECT_EQ(fresh().get("q"), queue("q"));
  EXPECT_EQ(fresh().consume("q"), queue("q"));
  EXPECT_EQ(fresh().purge("q"), queue("q"));
  EXPECT_THAT(ready("q"), ElementsAre("1"));
}

TEST_F(AccessControl, ToWriteAnExchangeIsForPublishing) {
  deny(Access::write, "x");
  Peer peer = fresh();
  peer.publish("x", "", "2");
  EXPECT_THAT(peer.told(), ElementsAre(exchange("x")));
  peer = fresh();
  peer.publish("y", "", "2");
  peer.send("q", "2");
  EXPECT_THAT(peer.told(), IsEmpty());
  deny(Access::write, "amq.default");
  peer = fresh();
  peer.send("q", "3");
  EXPECT_THAT(peer.told(), ElementsAre(exchange("amq.default")));
  EXPECT_THAT(ready("q"), ElementsAre("1", "2"));
}

TEST_F(AccessControl, ATransactionAsksAtEachPublish) {
  deny(Access::write, "amq.default");
  Peer peer = fresh();
  peer.select();
  peer.send("q", "2");
  EXPECT_THAT(peer.told(), ElementsAre(exchange("amq.default")));
}

}  // namespace
}  // namespace pronto::broker
