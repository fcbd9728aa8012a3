#include <gmock/gmock.h>

#include "pronto/async/task_group.hpp"
#include "shop.hpp"

namespace pronto {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

template <class Publisher, class T>
concept CanPublish = requires(Publisher out, T message) { out.publish(message); };
static_assert(CanPublish<Out<Status, Ticket>, Ticket>);
static_assert(!CanPublish<Out<Status>, Ticket>, "what is not declared does not compile");
static_assert(std::convertible_to<Out<Status, Ticket>, Out<Ticket>>);
static_assert(!std::convertible_to<Out<Ticket>, Out<Status, Ticket>>, "a part gives no whole");
static_assert(EventMessage<Placed> && CommandMessage<Ticket> && RequestMessage<Cancel>);
static_assert(!Message<Outcome>, "a reply has no contract of its own");

using Publishing = ShopTest;

TEST_F(Publishing, EveryServiceGetsItsOwnCopyAndItsProcessesCompete) {
  Counter kitchen_one;
  Counter kitchen_two;
  Counter history;
  Process one = process("one.db");
  Process two = process("two.db");
  one->on<&Counter::on>(kitchen_one, "kitchen", {.concurrency = 1});
  one->on<&Counter::on>(history, "history");
  two->on<&Counter::on>(kitchen_two, "kitchen", {.concurrency = 1});
  start(one);
  start(two);
  for (int number = 0; number < 100; ++number) publish(one, {"o" + std::to_string(number), number});
  ASSERT_TRUE(eventually([&] {
    return history.seen.size() == 100 && kitchen_one.seen.size() + kitchen_two.seen.size() == 100;
  }));
  EXPECT_NEAR(static_cast<double>(kitchen_one.seen.size()), 50, 10);
  kitchen_one.seen.insert(kitchen_one.seen.end(), kitchen_two.seen.begin(), kitchen_two.seen.end());
  std::ranges::sort(kitchen_one.seen);
  EXPECT_EQ(std::ranges::unique(kitchen_one.seen).size(), 0U) << "an order went to both";
}

TEST_F(Publishing, AnEventWaitsForAServiceThatIsExpectedAndNotRunning) {
  Process one = process();
  one->expect<Placed>("history");
  start(one);
  publish(one, {"early", 1});
  Counter history;
  Process late = process("late.db");
  late->on<&Counter::on>(history, "history");
  start(late);
  ASSERT_TRUE(eventually([&] { return !history.seen.empty(); }));
  EXPECT_THAT(history.seen, ElementsAre("early"));
}

TEST_F(Publishing, ABusThatIsStillStartingRefusesWhatItCannotDoYet) {
  Process one = process();
  one->expect<Placed>("history");
  TaskGroup tasks{loop, "start"};
  std::optional<bool> has_started;
  tasks.spawn([](Bus& bus, std::optional<bool>& done) -> Task<> {
    done = (co_await bus.start()).has_value();
  }(*one.bus, has_started));
  // In the same turn, while the connection is still being made.
  loop.run([](Bus& bus, std::optional<bool>& done) -> Task<> {
    const auto published = co_await bus.publish(Placed{"early", 1});
    EXPECT_FALSE(published.has_value());
    if (!published) EXPECT_EQ(published.error().kind, BusFailure::Kind::closed);
    EXPECT_FALSE((co_await bus.request(Cancel{"early"}, seconds{1})).has_value());
    EXPECT_FALSE((co_await bus.queue_states()).has_value());
    bool is_refused = false;
    try {
      co_await bus.transact<Placed>([](Transaction&, Out<Placed>) -> Task<> { co_return; });
    } catch (const DatabaseError&) {
      is_refused = true;
    }
    EXPECT_TRUE(is_refused);
    EXPECT_FALSE(done.has_value()) << "the bus had started before it was asked";
  }(*one.bus, has_started));
  ASSERT_TRUE(eventually([&] { return has_started == true; }));
  publish(one, {"late", 2});
}

TEST_F(Publishing, AnUnroutableMessageFailsWithExchangeAndKey) {
  Process one = process();
  start(one);
  const auto event = loop.run(one->publish(Placed{"o", 1}));
  ASSERT_FALSE(event.has_value());
  EXPECT_EQ(event.error().kind, BusFailure::Kind::unroutable);
  EXPECT_THAT(event.error().text, HasSubstr("shop.placed.v1"));
  const auto command = loop.run(one->publish(Ticket{"o", Stage::bake}));
  ASSERT_FALSE(command.has_value());
  EXPECT_THAT(command.error().text, HasSubstr("bake"));
  EXPECT_EQ(one->metrics().publish_failed_total, 2U);
}

TEST_F(Publishing, ThePublisherWaitsABoundedTimeForItsConfirm) {
  Process one = process();
  one->expect<Placed>("history");
  start(one);
  broker.confirms = false;
  const auto published = loop.run(one->publish(Placed{"o", 1}, {.limit = seconds{3}}));
  ASSERT_FALSE(published.has_value());
  EXPECT_EQ(published.error().kind, BusFailure::Kind::timed_out);
}

TEST_F(Publishing, ABlockedBrokerIsATypedErrorAndNotReady) {
  Process one = process();
  one->expect<Placed>("history");
  start(one);
  EXPECT_TRUE(one->is_ready());
  broker.block(true);
  loop.run_until_idle();
  EXPECT_FALSE(one->is_ready());
  const auto published = loop.run(one->publish(Placed{"o", 1}));
  ASSERT_FALSE(published.has_value());
  EXPECT_EQ(published.error().kind, BusFailure::Kind::blocked);
  broker.block(false);
  loop.run_until_idle();
  EXPECT_TRUE(one->is_ready());
  publish(one, {"o", 1});
}

TEST_F(Publishing, BeforeTheStartAndAfterTheDrainItIsClosed) {
  Process one = process();
  const auto early = loop.run(one->publish(Placed{"o", 1}));
  EXPECT_EQ(early.error().kind, BusFailure::Kind::closed);
  start(one);
  EXPECT_TRUE(loop.run(one->drain(seconds{5})));
  const auto late = loop.run(one->publish(Placed{"o", 1}));
  EXPECT_EQ(late.error().kind, BusFailure::Kind::closed);
  EXPECT_EQ(broker.connection_count(), 0U);
}

TEST_F(Publishing, AMessageCarriesItsCloudEventsAttributesAndItsTrace) {
  struct Reader {
    std::optional<Envelope> seen;
    Task<> on(const Placed&, const Envelope& envelope) {
      seen = envelope;
      co_return;
    }
  } reader;
  Process one = process();
  one->on<&Reader::on>(reader, "reader");
  start(one);
  const std::string trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const WallTime now = loop.wall_now();
  ASSERT_TRUE(loop.run(one->publish(Placed{"o7", 1}, {.id = "id-1", .traceparent = trace})));
  ASSERT_TRUE(eventually([&] { return reader.seen.has_value(); }));
  EXPECT_EQ(reader.seen->id, "id-1");
  EXPECT_EQ(reader.seen->type, "shop.placed");
  EXPECT_EQ(reader.seen->version, 1);
  EXPECT_EQ(reader.seen->source, "shop");
  EXPECT_EQ(reader.seen->key, "o7");
  EXPECT_GE(reader.seen->time, now);
  EXPECT_EQ(reader.seen->traceparent.substr(0, 36), trace.substr(0, 36)) << "the same trace";
  EXPECT_NE(reader.seen->traceparent.substr(36, 16), trace.substr(36, 16)) << "another span";
}

TEST_F(Publishing, QueuesAreDeclaredForRabbitMq) {
  Counter kitchen;
  Process one = process();
  one->on<&Counter::on>(kitchen, "kitchen");
  start(one);
  for (const char* queue : {"kitchen", "kitchen.dead", "pronto.delay.1000"}) {
    EXPECT_EQ(broker.arguments_of(queue).find_string("x-queue-type"), "quorum") << queue;
    EXPECT_GT(broker.arguments_of(queue).find_integer("x-delivery-limit"), 1000) << queue;
  }
}

TEST_F(Publishing, AnInstanceHasAQueueOfItsOwnThatGoesWithIt) {
  Counter first;
  Counter second;
  Process one = process("one.db");
  Process two = process("two.db");
  one->on_each_instance<&Counter::on>(first, "notifier");
  two->on_each_instance<&Counter::on>(second, "notifier");
  start(one);
  start(two);
  publish(one, {"o", 1});
  ASSERT_TRUE(eventually([&] { return first.seen.size() == 1 && second.seen.size() == 1; }));
  first.before = [](const Envelope&) { throw std::runtime_error{"no"}; };
  publish(one, {"p", 1});
  ASSERT_TRUE(eventually([&] { return second.seen.size() == 2; }));
  EXPECT_EQ(first.attempts.size(), 2U) << "not tried again";
  kill(one);
  kill(two);
  Process three = process("three.db");
  start(three);
  EXPECT_FALSE(loop.run(three->publish(Placed{"o", 1})).has_value()) << "nobody is left";
}

TEST_F(Publishing, ConnectionTopologyAndConsumersComeBack) {
  Counter kitchen;
  Counter notifier;
  Process one = process();
  one->on<&Counter::on>(kitchen, "kitchen");
  one->on_each_instance<&Counter::on>(notifier, "notifier");
  start(one);
  publish(one, {"before", 1});
  ASSERT_TRUE(eventually([&] { return kitchen.seen.size() == 1 && notifier.seen.size() == 1; }));
  broker.forget_all();
  loop.run_until_idle();
  EXPECT_FALSE(one->is_ready());
  ASSERT_TRUE(eventually([&] { return one->is_ready(); }));
  ASSERT_TRUE(eventually(
      [&] { return loop.run(one->publish(Placed{"after", 1}, {.id = "a"})).has_value(); }));
  ASSERT_TRUE(eventually([&] { return kitchen.seen.size() >= 2 && notifier.seen.size() >= 2; }));
  EXPECT_EQ(kitchen.seen.back(), "after");
  EXPECT_EQ(one->metrics().recoveries_total, 2U);
}

TEST_F(Publishing, ABrokerThatNeverAnswersEndsTheStart) {
  broker.refuses_connections = true;
  Process one = process();
  const auto started = loop.run(one->start());
  ASSERT_FALSE(started.has_value());
  EXPECT_EQ(started.error().kind, BusFailure::Kind::unavailable);
}

struct Owner {
  int asked = 0;
  std::function<Task<>()> wait{};
  Task<Outcome> cancel(const Cancel& request) {
    ++asked;
    if (wait) co_await wait();
    if (request.order == "broken") throw std::runtime_error{"no such thing"};
    co_return Outcome{request.order == "o"};
  }
};

using Requesting = ShopTest;

TEST_F(Requesting, AReplyComesBackToWhoeverAsked) {
  Owner owner;
  Process one = process("one.db");
  Process two = process("two.db");
  one->answer<&Owner::cancel>(owner, "owner.cancel");
  start(one);
  start(two);
  const auto yes = loop.run(two->request(Cancel{"o"}, seconds{2}));
  ASSERT_TRUE(yes.has_value()) << yes.error().text;
  EXPECT_TRUE(yes->is_cancelled);
  EXPECT_FALSE(loop.run(one->request(Cancel{"p"}, seconds{2}))->is_cancelled);
}

TEST_F(Requesting, AFailureIsToldAndNotTriedAgain) {
  Owner owner;
  Process one = process();
  one->answer<&Owner::cancel>(owner, "owner.cancel");
  start(one);
  const auto reply = loop.run(one->request(Cancel{"broken"}, seconds{2}));
  ASSERT_FALSE(reply.has_value());
  EXPECT_EQ(reply.error().kind, BusFailure::Kind::failed);
  EXPECT_EQ(reply.error().text, "no such thing");
  loop.advance(seconds{60});
  EXPECT_EQ(owner.asked, 1);
}

TEST_F(Requesting, WithoutAReplyInTimeItTimesOut) {
  Owner owner;
  owner.wait = []() -> Task<> { co_await sleep_for(seconds{5}); };
  Process one = process();
  one->answer<&Owner::cancel>(owner, "owner.cancel");
  start(one);
  const auto reply = loop.run(one->request(Cancel{"o"}, seconds{2}));
  ASSERT_FALSE(reply.has_value());
  EXPECT_EQ(reply.error().kind, BusFailure::Kind::timed_out);
  EXPECT_EQ(one->metrics().requests_failed_total, 1U);
  loop.advance(seconds{10});  // the late reply finds nobody
}

TEST_F(Requesting, WithoutAnybodyToAnswerItFailsAtOnce) {
  Process one = process();
  start(one);
  const SteadyTime began = loop.now();
  const auto reply = loop.run(one->request(Cancel{"o"}, seconds{2}));
  ASSERT_FALSE(reply.has_value());
  EXPECT_EQ(reply.error().kind, BusFailure::Kind::unroutable);
  EXPECT_LT(loop.now() - began, seconds{1});
}

TEST_F(Requesting, ARequestThatNobodyTookInTimeIsDropped) {
  Owner owner;
  Process waiting = process("one.db");
  waiting->expect_work<Cancel>("owner.cancel");
  start(waiting);
  EXPECT_EQ(loop.run(waiting->request(Cancel{"o"}, seconds{2})).error().kind,
            BusFailure::Kind::timed_out);
  Process late = process("two.db");
  late->answer<&Owner::cancel>(owner, "owner.cancel");
  start(late);
  loop.advance(seconds{5});
  EXPECT_EQ(owner.asked, 0);
}

}  // namespace
TEST_F(Requesting, ARequestThatOutlivesItsLimitIsHandledLater) {
  Owner owner;
  Process waiting = process("one.db");
  waiting->expect_work<Cancel>("owner.cancel");
  start(waiting);
  const RequestOptions options{.limit = seconds{2}, .outlives_limit = true};
  EXPECT_EQ(loop.run(waiting->request(Cancel{"o"}, options)).error().kind,
            BusFailure::Kind::unanswered);
  Process late = process("two.db");
  late->answer<&Owner::cancel>(owner, "owner.cancel");
  start(late);
  loop.advance(seconds{5});
  EXPECT_EQ(owner.asked, 1);
  EXPECT_TRUE(loop.run(waiting->request(Cancel{"o"}, options))->is_cancelled);
}

TEST_F(Requesting, ARequestThatCouldNotBeStoredIsNotSaidToWait) {
  const RequestOptions options{.limit = seconds{2}, .outlives_limit = true};
  Process one = process();
  start(one);
  EXPECT_EQ(loop.run(one->request(Cancel{"o"}, options)).error().kind,
            BusFailure::Kind::unroutable);
  broker.refuses_connections = true;
  broker.drop_connections();
  const auto reply = loop.run(one->request(Cancel{"o"}, options));
  ASSERT_FALSE(reply.has_value());
  EXPECT_NE(reply.error().kind, BusFailure::Kind::unanswered);
}

}  // namespace pronto
