#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "fixture.hpp"

// Goal: whatever is published, taken, answered, requeued, purged and expired, in whatever order, a
// queue is what a sorted list would be.
// Method: random operations on a broker and on that list; compare after each. A failing seed
// repeats with PRONTO_BROKER_SEED=n; PRONTO_TEST_ALL=1 runs many more.

namespace pronto::broker {
namespace {

struct ModelMessage {
  int number = 0;  // in the order of publishing
  bool persistent = true;
  bool was_out = false;
  std::optional<std::int64_t> expires_at;
  auto operator<=>(const ModelMessage& other) const { return number <=> other.number; }
  bool operator==(const ModelMessage& other) const { return number == other.number; }
};

class QueueModel : public BrokerTest {
 protected:
  void begin(std::uint64_t seed) {
    is_deep_ = limits.page_bytes_max == 0;
    chance_ = std::make_unique<SeededRandom>(seed);
    peer_.emplace(open(1, 1));
    peer_->declare("q");
  }

  void step() {
    switch (chance_->below(14)) {
      case 0:
      case 1:
      case 2:
      case 3:
        return publish();
      case 4:
      case 5:
      case 6:
        return take();
      case 7:
      case 8:
        return answer();
      case 9:
        return answer_several();
      case 10:
        return pass_time();
      case 11:
        if (chance_->below(8) == 0) return purge();
        return give_back();
      case 12:
        if (chance_->below(10) == 0) return reopen();
        return publish();
      default:
        if (chance_->below(10) == 0) return restart();
        if (chance_->below(4) == 0) return take_checkpoint();
        return take();
    }
  }

  void check() {
    std::vector<std::string> expected;
    for (const ModelMessage& message : ready_) expected.push_back(std::to_string(message.number));
    ASSERT_EQ(ready("q"), expected);
    ASSERT_EQ(view("q").unacked_count, out_.size());
    ASSERT_EQ(outside.body_count(), ready_.size() + out_.size()) << "bodies leak";
    std::uint64_t bytes = 0;
    for (const std::string& body : expected) bytes += body.size();
    ASSERT_EQ(view("q").body_bytes, bytes);
  }

  std::string last_;

 private:
  void publish() {
    const std::uint64_t count = is_deep_ ? 1 + chance_->below(8) : 1;
    for (std::uint64_t i = 0; i < count; ++i) publish_one();
  }
  void publish_one() {
    last_ = "publish";
    ModelMessage message{.number = ++count_, .persistent = is_deep_ || chance_->below(3) > 0};
    MessageOptions options{.persistent = message.persistent};
    // What expires in a page that is written out may wait until all of it has.
    if (!is_deep_ && chance_->below(4) == 0) {
      const std::uint64_t ttl = 1 + chance_->below(200);
      options.properties.expiration = std::to_string(ttl);
      message.expires_at = now.time_since_epoch().count() + static_cast<std::int64_t>(ttl);
    }
    peer_->send("q", std::to_string(message.number), options);
    ready_.push_back(message);
  }
  void take() {
    last_ = "take";
    expire();
    const std::string answer = peer_->get("q");
    if (ready_.empty()) {
      ASSERT_EQ(answer, "basic.get-empty");
      return;
    }
    ModelMessage message = ready_.front();
    ready_.erase(ready_.begin());
    ASSERT_EQ(answer, fmt::format("basic.get-ok {} {}{}, {} left", ++last_tag_, message.number,
                                  message.was_out ? " redelivered" : "", ready_.size()));
    out_.emplace_back(last_tag_, message);
  }
  void answer() {
    if (out_.empty()) return;
    const std::size_t index = chance_->below(out_.size());
    const auto [tag, message] = out_[index];
    out_.erase(out_.begin() + static_cast<long>(index));
    switch (chance_->below(3)) {
      case 0:
        last_ = "ack";
        return void(peer_->ack(tag));
      case 1:
        last_ = "reject";
        return void(peer_->reject(tag, false));
      default:
        last_ = "requeue";
        peer_->nack(tag);
        put_back(message);
    }
  }
  void answer_several() {
    if (out_.empty()) return;
    const std::size_t count = 1 + chance_->below(out_.size());
    const std::uint64_t tag = out_[count - 1].first;
    const bool requeue = chance_->below(2) == 0;
    last_ = requeue ? "requeue several" : "ack several";
    if (requeue) {
      peer_->nack(tag, true);
      for (std::size_t i = 0; i < count; ++i) put_back(out_[i].second);
    } else {
      peer_->ack(tag, true);
    }
    out_.erase(out_.begin(), out_.begin() + static_cast<long>(count));
  }
  void give_back() {
    last_ = "recover";
    peer_->recover();
    for (const auto& [tag, message] : out_) put_back(message);
    out_.clear();
  }
  void reopen() {
    last_ = "close the channel";
    peer_->close();
    peer_.emplace(open(1, 1));
    last_tag_ = 0;
    for (const auto& [tag, message] : out_) put_back(message);
    out_.clear();
  }
  void restart() {
    last_ = "restart";
    crash();
    for (const auto& [tag, message] : out_) put_back(message);
    out_.clear();
    std::erase_if(ready_, [](const ModelMessage& message) { return !message.persistent; });
    for (ModelMessage& message : ready_) message.was_out = true;
    run([this](Broker& one) { one.on_time(now); });
    expire();
    peer_.emplace(open(1, 1));
    last_tag_ = 0;
  }
  void purge() {
    last_ = "purge";
    EXPECT_EQ(peer_->purge("q"), fmt::format("queue.purge-ok {}", ready_.size()));
    ready_.clear();
  }
  void pass_time() {
    last_ = "pass time";
    advance(milliseconds{chance_->below(60)});
    expire();
  }
  void put_back(ModelMessage message) {
    message.was_out = true;
    // It goes at the first look at the queue, which is now.
    if (message.expires_at && *message.expires_at < now.time_since_epoch().count()) return;
    ready_.insert(std::ranges::lower_bound(ready_, message), message);
  }
  void expire() {
    std::erase_if(ready_, [this](const ModelMessage& message) {
      return message.expires_at && *message.expires_at <= now.time_since_epoch().count();
    });
  }

  bool is_deep_ = false;  // a backlog whose pages are written out
  std::unique_ptr<SeededRandom> chance_;
  std::optional<Peer> peer_;
  std::vector<ModelMessage> ready_;
  std::vector<std::pair<std::uint64_t, ModelMessage>> out_;  // by tag
  std::uint64_t last_tag_ = 0;
  int count_ = 0;
};

/// Runs one seed in a broker of its own.
class Play final : public QueueModel {
 public:
  void TestBody() override {}
  void go(std::uint64_t seed, int steps) {
    limits.page_entries_max = seed % 2 == 0 ? 3 : 4096;
    if (seed % 4 == 0) limits.page_bytes_max = 0;
    start();
    begin(seed);
    for (int i = 0; i < steps; ++i) {
      step();
      if (!HasFatalFailure()) check();
      if (HasFailure()) {
        ADD_FAILURE() << "after step " << i << " (" << last_
                      << "); repeat with PRONTO_BROKER_SEED=" << seed;
        return;
      }
    }
  }
};

TEST(QueueOrder, IsThatOfASortedListWhateverIsDone) {
  if (const char* text = std::getenv("PRONTO_BROKER_SEED")) {
    Play{}.go(std::strtoull(text, nullptr, 10), 500);
    return;
  }
  const std::uint64_t seeds = std::getenv("PRONTO_TEST_ALL") ? 2'000 : 60;
  for (std::uint64_t seed = 1; seed <= seeds && !testing::Test::HasFailure(); ++seed) {
    Play{}.go(seed, 500);
  }
}

}  // namespace
}  // namespace pronto::broker
