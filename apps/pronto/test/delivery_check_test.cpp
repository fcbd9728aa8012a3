#include "bench/delivery_check.hpp"

#include <gtest/gtest.h>

#include <set>

#include "pronto/base/random.hpp"

namespace pronto::bench {
namespace {

class DeliveryCheckTest : public testing::Test {
 protected:
  void send(int count) {
    for (int i = 0; i < count; ++i) check.on_sent(0, 0);
  }
  void deliver(std::uint64_t sequence, std::size_t consumer = 0) {
    check.on_delivered(0, consumer, 0, sequence);
  }
  DeliveryCheck check{{.queue_count = 2, .publisher_count = 2, .consumers_of_queue = 2}};
};

TEST_F(DeliveryCheckTest, IsCleanWhenAllComesOnceAndInOrder) {
  send(3);
  for (const std::uint64_t sequence : {0U, 1U, 2U}) deliver(sequence);
  EXPECT_EQ(check.missing_count(), 0U);
  EXPECT_TRUE(check.totals().is_clean());
}

TEST_F(DeliveryCheckTest, CountsWhatNeverCame) {
  send(3);
  deliver(0);
  deliver(2);
  EXPECT_EQ(check.missing_count(), 1U);
  EXPECT_EQ(check.totals(), (CheckTotals{.lost = 1}));
}

TEST_F(DeliveryCheckTest, CountsEachRepetition) {
  send(1);
  deliver(0);
  deliver(0);
  deliver(0);
  EXPECT_EQ(check.totals(), (CheckTotals{.duplicates = 2}));
}

TEST_F(DeliveryCheckTest, CountsAMessageThatComesAfterALaterOne) {
  send(2);
  deliver(1);
  deliver(0);
  EXPECT_EQ(check.totals(), (CheckTotals{.out_of_order = 1}));
}

TEST_F(DeliveryCheckTest, KeepsTheOrderOfEachConsumerOnly) {
  send(4);
  deliver(1, 1);
  deliver(3, 1);
  deliver(0, 0);
  deliver(2, 0);
  EXPECT_TRUE(check.totals().is_clean());
}

TEST_F(DeliveryCheckTest, KeepsStreamsApart) {
  EXPECT_EQ(check.on_sent(0, 0), 0U);
  EXPECT_EQ(check.on_sent(1, 0), 0U);
  EXPECT_EQ(check.on_sent(0, 1), 0U);
  EXPECT_EQ(check.on_sent(0, 0), 1U);
  check.on_delivered(0, 0, 1, 0);
  check.on_delivered(1, 0, 0, 0);
  check.on_delivered(0, 0, 0, 0);
  EXPECT_EQ(check.missing_count(), 1U);
}

TEST_F(DeliveryCheckTest, KnowsWhatWasNeverSent) {
  send(1);
  deliver(1);
  check.on_delivered(0, 0, 2, 0);
  EXPECT_EQ(check.totals(), (CheckTotals{.lost = 1, .foreign = 2}));
}

TEST_F(DeliveryCheckTest, DoesNotExpectWhatTheBrokerRefused) {
  send(3);
  deliver(0);
  check.on_refused(0, 0, 0);
  check.on_refused(0, 0, 1);
  deliver(1);
  deliver(2);
  EXPECT_TRUE(check.totals().is_clean());
}

TEST(SequenceSetTest, AgreesWithASet) {
  SeededRandom random{7};
  for (int round = 0; round < 50; ++round) {
    SCOPED_TRACE(round);
    SequenceSet tested;
    std::set<std::uint64_t> model;
    for (int step = 0; step < 200; ++step) {
      const std::uint64_t sequence = random.below(100);
      ASSERT_EQ(tested.contains(sequence), model.contains(sequence));
      ASSERT_EQ(tested.add(sequence), model.insert(sequence).second) << sequence;
      ASSERT_EQ(tested.size(), model.size());
    }
  }
}

}  // namespace
}  // namespace pronto::bench
