#include "fixture.hpp"

namespace pronto::broker {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::StartsWith;

class Recovery : public BrokerTest {};

TEST_F(Recovery, MessagesComeBackInOrderMarkedAsPerhapsSeen) {
  Peer peer = open();
  peer.declare("q");
  for (const char* body : {"1", "2", "3", "4"}) peer.send("q", body);
  peer.send("q", "not persistent", {.persistent = false});
  peer.get("q");
  peer.get("q");
  peer.ack(2);
  crash();
  EXPECT_THAT(ready("q"), ElementsAre("1", "3", "4"));
  Peer again = open(2, 1);
  again.consume("q");
  EXPECT_THAT(again.told(),
              ElementsAre("c 1 1 redelivered", "c 2 3 redelivered", "c 3 4 redelivered"));
}

TEST_F(Recovery, TopologyComesBackAsItWasDeclared) {
  Peer peer = open();
  peer.exchange("x", "direct", {.internal = false, .arguments = {{"alternate-exchange", "lost"}}});
  peer.exchange("lost", "fanout");
  peer.exchange("gone with the process", "fanout", {.durable = false});
  peer.declare("q", {.arguments = {{"x-max-priority", 3}}});
  peer.declare("transient", {.durable = false});
  peer.declare("mine", {.exclusive = true});
  peer.bind("q", "x", "key");
  peer.bind("q", "lost");
  peer.bind("transient", "x", "key");
  peer.call(wire::ExchangeBind{.destination = "lost", .source = "x", .routing_key = "both"});
  crash();
  Peer again = open(2, 1);
  EXPECT_EQ(again.declare("q", {.arguments = {{"x-max-priority", 3}}}),
            "queue.declare-ok q 0 messages 0 consumers");
  EXPECT_EQ(again.exchange("x", "direct", {.arguments = {{"alternate-exchange", "lost"}}}),
            "exchange.declare-ok");
  again.publish("x", "key", "routed");
  again.publish("x", "both", "by the other exchange");
  again.publish("x", "nowhere", "by the alternate");
  EXPECT_THAT(ready("q"), ElementsAre("routed", "by the other exchange", "by the alternate"));
  EXPECT_FALSE(has_queue("transient"));
  EXPECT_FALSE(has_queue("mine"));
  EXPECT_THAT(again.exchange("gone with the process", "fanout", {.passive = true}),
              StartsWith("channel closed 404"));
}

TEST_F(Recovery, WhatWasUnboundOrDeletedStaysSo) {
  Peer peer = open();
  peer.exchange("x", "direct");
  peer.exchange("y", "fanout");
  peer.declare("q");
  peer.bind("q", "x", "1");
  peer.bind("q", "x", "2");
  peer.bind("q", "y");
  peer.unbind("q", "x", "1");
  peer.call(wire::ExchangeDelete{.exchange = "y"});
  crash();
  Peer again = open(2, 1);
  again.publish("x", "1", "unbound");
  again.publish("x", "2", "bound");
  EXPECT_THAT(ready("q"), ElementsAre("bound"));
  EXPECT_THAT(again.exchange("y", "fanout", {.passive = true}), StartsWith("channel closed 404"));
}

TEST_F(Recovery, AQueueOfADeletedOnesNameIsEmpty) {
  Peer peer = open();
  peer.declare("q");
  peer.bind("q", "amq.fanout");
  peer.send("q", "old");
  peer.remove("q");
  peer.declare("q");
  crash();
  EXPECT_THAT(ready("q"), IsEmpty());
  Peer again = open(2, 1);
  again.publish("amq.fanout", "", "nor is it bound");
  EXPECT_THAT(ready("q"), IsEmpty());
  again.send("q", "new");
  again.remove("q");
  again.declare("q");
  crash();
  EXPECT_THAT(ready("q"), IsEmpty());
}

TEST_F(Recovery, QueueNumbersAreNeverUsedAgain) {
  Peer peer = open();
  peer.declare("a");
  peer.send("a", "1");
  peer.remove("a");
  crash();
  Peer again = open(2, 1);
  again.declare("b");
  again.send("b", "2");
  crash();
  EXPECT_THAT(ready("b"), ElementsAre("2"));
  std::vector<std::uint64_t> ids;
  for (const Outside::Unit& unit : outside.units) {
    for (const Outside::StoredRecord& stored : unit.records) {
      const auto record = decode_record(stored.type, stored.payload);
      ASSERT_TRUE(record);
      if (const auto* declared = std::get_if<QueueDeclaredRecord>(&*record)) {
        ids.push_back(static_cast<std::uint64_t>(declared->queue));
      }
    }
  }
  ASSERT_EQ(ids.size(), 2U);
  EXPECT_LT(ids[0], ids[1]);
}

TEST_F(Recovery, DeliveryCountsSurvive) {
  Peer peer = open();
  peer.declare("q", {.arguments = {{"x-queue-type", "quorum"}, {"x-delivery-limit", 2}}});
  peer.send("q", "1");
  peer.get("q");
  peer.nack(1);
  peer.get("q");
  peer.nack(2);
  crash();
  Peer again = open(2, 1);
  EXPECT_EQ(again.get("q"), "basic.get-ok 1 1 redelivered count 2, 0 left");
  again.nack(1);
  EXPECT_EQ(again.get("q"), "basic.get-empty");
}

TEST_F(Recovery, TheHistoryOfADeadLetterSurvives) {
  Peer peer = open();
  peer.declare("dead");
  peer.declare(
      "q", {.arguments = {{"x-dead-letter-exchange", ""}, {"x-dead-letter-routing-key", "dead"}}});
  peer.send("q", "1");
  peer.get("q");
  peer.reject(1);
  crash();
  Peer again = open(2, 1);
  again.get("dead");
  const wire::BasicProperties seen = again.last_properties();
  ASSERT_TRUE(seen.headers && seen.headers->find_array("x-death"));
  EXPECT_EQ(seen.headers->find_array("x-death")->size(), 1U);
}

TEST_F(Recovery, OrderHoldsOverSeveralRestartsWithNewMessagesBetween) {
  for (int round = 0; round < 5; ++round) {
    Peer peer = open(static_cast<std::uint64_t>(round) + 1, 1);
    peer.declare("q");
    peer.send("q", std::to_string(2 * round));
    peer.send("q", "passing", {.persistent = false});
    peer.send("q", std::to_string(2 * round + 1));
    peer.get("q");
    peer.nack(1);
    crash();
  }
  EXPECT_THAT(ready("q"), ElementsAre("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"));
}

TEST_F(Recovery, AMessageInSeveralQueuesLeavesEachForItself) {
  Peer peer = open();
  for (const char* queue : {"a", "b", "c"}) {
    peer.declare(queue);
    peer.bind(queue, "amq.fanout");
  }
  peer.publish("amq.fanout", "", "1");
  peer.publish("amq.fanout", "", "2");
  peer.get("a", true);
  peer.purge("b");
  crash();
  EXPECT_THAT(ready("a"), ElementsAre("2"));
  EXPECT_THAT(ready("b"), IsEmpty());
  EXPECT_THAT(ready("c"), ElementsAre("1", "2"));
  EXPECT_EQ(outside.body_count(), 2U);
  Peer again = open(2, 1);
  for (const char* queue : {"a", "c"}) again.purge(queue);
  EXPECT_EQ(outside.body_count(), 0U);
}

TEST_F(Recovery, AnAutoDeleteExchangeThatATransientQueueKeptIsKeptInTheReplayToo) {
  Peer peer = open();
  peer.exchange("x", "fanout", {.auto_delete = true});
  peer.declare("first");
  peer.declare("transient", {.durable = false});
  peer.declare("second");
  peer.bind("first", "x");
  peer.bind("transient", "x");
  peer.remove("first");  // x is still bound, though the journal does not know of it
  peer.bind("second", "x");
  crash();
  Peer again = open(2, 1);
  again.publish("x", "", "1");
  EXPECT_THAT(ready("second"), ElementsAre("1"));
}

TEST_F(Recovery, ACommandIsOneUnit) {
  Peer peer = open();
  for (const char* queue : {"a", "b"}) {
    peer.declare(queue);
    peer.bind(queue, "amq.fanout");
  }
  for (int i = 0; i < 5; ++i) peer.publish("amq.fanout", "", "x");
  peer.consume("a");
  is_settling = false;
  const std::uint64_t before = outside.last_sequence();
  outside.appends_of_command = 0;
  peer.nack(3, true);
  EXPECT_EQ(outside.last_sequence(), before + 1);
  peer.ack(0, true);
  EXPECT_EQ(outside.last_sequence(), before + 2);
  EXPECT_EQ(outside.units.back().records.size(), 1U) << "acks are one record";
  peer.purge("b");
  EXPECT_EQ(outside.last_sequence(), before + 3);
  EXPECT_EQ(outside.units.back().records.size(), 1U);
}

TEST_F(Recovery, WhatAnAckTakesFromManyQueuesIsOneRecordOfTheirRuns) {
  Peer peer = open();
  for (const char* queue : {"a", "b", "c"}) peer.declare(queue);
  for (int i = 0; i < 4; ++i) {
    for (const char* queue : {"c", "a", "b"}) peer.send(queue, std::to_string(i));
  }
  for (const char* queue : {"c", "b", "a"}) peer.consume(queue, queue);
  is_settling = false;
  peer.ack(5, true);  // all of c, and the first of b
  const auto& records = outside.units.back().records;
  ASSERT_EQ(records.size(), 1U);
  const auto read = decode_record(RecordType::remove_runs, records.front().payload);
  ASSERT_TRUE(read);
  std::vector<std::tuple<int, int, int>> runs;
  for (const RemoveRecord& run : std::get<RemoveRunsRecord>(*read).runs) {
    runs.emplace_back(static_cast<int>(run.queue), run.first, run.last);
  }
  EXPECT_THAT(runs, ElementsAre(std::tuple{2, 1, 1}, std::tuple{3, 1, 4}));
  settle();
  crash();
  EXPECT_THAT(ready("a"), ElementsAre("0", "1", "2", "3"));
  EXPECT_THAT(ready("b"), ElementsAre("1", "2", "3"));
  EXPECT_THAT(ready("c"), IsEmpty());
}

TEST_F(Recovery, ARemoveRecordOfAnOlderProgramIsTaken) {
  Peer peer = open();
  peer.declare("q");
  for (const char* body : {"1", "2", "3", "4"}) peer.send("q", body);
  outside.append(std::vector<Record>{RemoveRecord{QueueId{1}, 2, 3}}, Awaited::durable);
  settle();
  crash();
  EXPECT_THAT(ready("q"), ElementsAre("1", "4"));
}

TEST(Records, RunsThatDoNotFitInANumberAreRefused) {
  const auto read = [](std::vector<std::uint8_t> octets) {
    return decode_record(RecordType::remove_runs, std::as_bytes(std::span{octets}));
  };
  EXPECT_TRUE(read({1, 1, 0, 0, 2, 3}));
  std::vector<std::uint8_t> most(9, 0xFF);
  most.push_back(0x01);
  for (const std::size_t number : {0U, 1U, 2U}) {
    std::vector<std::uint8_t> octets{1, 1, 1};  // and then a number that leads over the end
    for (std::size_t i = 0; i < 3; ++i) {
      if (i == number) {
        octets.insert(octets.end(), most.begin(), most.end());
      } else {
        octets.push_back(number == 0 ? 1 : 0);
      }
    }
    EXPECT_FALSE(read(octets)) << number;
  }
}

TEST_F(Recovery, WhatAManyMessagesConsumerHadIsGivenBackInUnitsThatFitTheJournal) {
  limits.unit_bytes_max = 64 * 1024;
  start();
  Peer peer = open(1, 1);
  peer.declare("q");
  peer.declare("p");
  constexpr int count = 2'000;
  for (int i = 0; i < count; ++i) peer.send(i % 2 == 0 ? "q" : "p", std::to_string(i));
  peer.consume("q", "a");
  peer.consume("p", "b");
  const std::size_t before = outside.units.size();
  disconnect(1);
  const auto largest = [&] {
    std::size_t most = 0;
    for (std::size_t i = before; i < outside.units.size(); ++i) {
      most = std::max(most, outside.units[i].records.size());
    }
    return most;
  };
  EXPECT_LE(largest() * unit_overhead_bytes, limits.unit_bytes_max);
  Peer again = open(2, 1);
  // Answers alternate between the queues, so that no two of them make a run.
  for (int i = 0; i < count; ++i) again.get(i % 2 == 0 ? "q" : "p");
  again.ack(0, true);
  EXPECT_LE(largest() * unit_overhead_bytes, limits.unit_bytes_max);
  crash();
  EXPECT_THAT(ready("q"), IsEmpty());
  EXPECT_THAT(ready("p"), IsEmpty());
}

TEST_F(Recovery, RecordsThatContradictAreToldAndPassedOver) {
  Peer peer = open();
  peer.declare("q");
  peer.send("q", "1");
  broker.reset();
  outside.crash(outside.last_sequence());
  start();
  const auto give = [&](const Record& record) {
    Bytes payload;
    append_payload(payload, record);
    append(payload, trailing_bytes(record));
    return broker->on_record(type_of(record), BodyPosition{1'000'000}, payload);
  };
  EXPECT_EQ(give(EnqueueRecord{.queue = QueueId{1}}).error(), Error::damaged) << "of no queue";
  EXPECT_TRUE(give(QueueDeclaredRecord{.queue = QueueId{1}, .virtual_host = "/", .name = "q"}));
  EXPECT_EQ(
      give(QueueDeclaredRecord{.queue = QueueId{2}, .virtual_host = "/", .name = "q"}).error(),
      Error::damaged);
  EXPECT_EQ(give(EnqueueRecord{.queue = QueueId{1}, .sequence = 1}).error(), Error::damaged)
      << "without a body";
  EXPECT_TRUE(give(RemoveRecord{QueueId{7}, 1, 2})) << "the queue was deleted since";
  EXPECT_TRUE(give(RemoveRecord{QueueId{1}, 1, ~std::uint64_t{0}})) << "it ends";
  EXPECT_TRUE(give(RemoveRunsRecord{{{QueueId{1}, 1, ~std::uint64_t{0}}, {QueueId{7}, 1, 2}}}));
  EXPECT_EQ(give(QueueDeletedRecord{QueueId{7}}).error(), Error::damaged);
  EXPECT_EQ(give(BoundRecord{.virtual_host = "/", .source = "nowhere", .destination = "q"}).error(),
            Error::damaged);
  EXPECT_EQ(broker->on_record(RecordType{99}, BodyPosition{1}, {}).error(), Error::malformed);
  broker->finish_recovery(now);
  EXPECT_THAT(ready("q"), IsEmpty());
}

TEST_F(Recovery, AnEnqueueAfterABodyThatCannotBeReadDoesNotTakeAnother) {
  const auto give = [&](const Record& record) {
    Bytes payload;
    append_payload(payload, record);
    append(payload, trailing_bytes(record));
    return broker->on_record(type_of(record), BodyPosition{8}, payload);
  };
  auto content = std::make_shared<Content>();
  content->body = to_bytes("another message");
  ASSERT_TRUE(give(QueueDeclaredRecord{.queue = QueueId{1}, .virtual_host = "/", .name = "q"}));
  ASSERT_TRUE(give(BodyRecord{content}));
  EXPECT_EQ(broker->on_record(RecordType::body, BodyPosition{16}, {}).error(), Error::malformed);
  EXPECT_EQ(give(EnqueueRecord{.queue = QueueId{1}, .sequence = 1}).error(), Error::damaged);
  EXPECT_EQ(view("q").ready_count, 0U);
}

TEST_F(Recovery, APurgeRecordTakesAllBelowItsPlaceButWhatWasOut) {
  Peer peer = open();
  peer.declare("q");
  for (const char* body : {"1", "2", "3", "4"}) peer.send("q", body);
  const QueuePurgedRecord record{.queue = QueueId{1}, .kept = {2}, .below = 4};
  outside.append(std::vector<Record>{record}, Awaited::durable);
  settle();
  crash();
  EXPECT_THAT(ready("q"), ElementsAre("2", "4"));
}

TEST(Records, ReadBackAsTheyWereWritten) {
  auto content = std::make_shared<Content>();
  content->exchange = "x";
  content->routing_key = std::string(255, 'k');
  content->properties = wire::encode_properties(with_headers({{"a", 1}}));
  content->body = to_bytes("body");
  const BoundRecord bound{"/", "source", "destination", false, "key", {{"x-match", "all"}}};
  const std::vector<Record> records{
      BodyRecord{content},
      EnqueueRecord{QueueId{1}, 2, 3, 4, 5, 6},
      RemoveRecord{QueueId{1}, 2, 2},
      DeliveryCountRecord{QueueId{1}, 2, 3},
      QueueDeclaredRecord{QueueId{1}, "/", "name", true, {{"x-max-priority", 3}}},
      QueueDeletedRecord{QueueId{1}},
      QueuePurgedRecord{QueueId{1}, {7, 9}, 12},
      ExchangeDeclaredRecord{"/", "name", "fanout", true, true, {}},
      ExchangeDeletedRecord{"/", "name"},
      bound,
      UnboundRecord{bound},
      RemoveRunsRecord{{{QueueId{300}, 70'000, 70'001}}}};
  for (const Record& record : records) {
    SCOPED_TRACE(testing::Message() << "type " << static_cast<int>(type_of(record)));
    Bytes payload;
    append_payload(payload, record);
    append(payload, trailing_bytes(record));
    const auto read = decode_record(type_of(record), payload);
    ASSERT_TRUE(read);
    Bytes again;
    append_payload(again, *read);
    append(again, trailing_bytes(*read));
    EXPECT_EQ(payload, again);
    // Cut anywhere, or with a byte too many, it is not taken for a whole one. A body's end and the
    // list of a purge are what is left, whatever there is.
    const bool is_open =
        type_of(record) == RecordType::body || type_of(record) == RecordType::queue_purged;
    if (is_open) continue;
    for (std::size_t size = 0; size < payload.size(); ++size) {
      EXPECT_FALSE(decode_record(type_of(record), BytesView{payload}.first(size))) << size;
    }
    payload.push_back(std::byte{0});
    EXPECT_FALSE(decode_record(type_of(record), payload));
  }
}

}  // namespace
}  // namespace pronto::broker
