// Goal: a loss of power after any write, with what was not synced torn, lost or reordered, takes
// nothing that was confirmed or delivered, brings nothing back whose end is durable, keeps every
// queue's order and every unit whole: a fan-out, a transaction, the move of a dead letter.
// Method: a random workload of one client on a broker whose disk is cut after the n-th write, for
// each n in turn; recover; compare all queues with what the client was told. Then the same with
// several cuts one after the other. A failing seed repeats with PRONTO_POWER_SEED=n;
// PRONTO_POWER_SEEDS=first:count runs those; PRONTO_TEST_ALL=1 many more. tools/power_cuts.py runs
// a million of them.

#include <fmt/format.h>
#include <gtest/gtest-spi.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "fixture.hpp"
#include "pronto/base/log.hpp"

namespace pronto::server {
namespace {

constexpr std::uint16_t confirms = 1;      // channels of the one client: publishing with confirms,
constexpr std::uint16_t transactions = 2;  // transactions,
constexpr std::uint16_t consuming = 3;     // taking and answering

/// A message in a queue, as far as its client knows.
struct Copy {
  std::pair<int, int> order;     ///< its place among those of its queue
  bool must_be_there = false;    ///< confirmed or delivered, or read by a recovery
  std::optional<int> gone_at;    ///< the operation that ended it
  std::optional<int> gone_with;  ///< the transaction that did
  std::optional<int> came_with;  ///< the transaction that published it
  bool is_fanned_out = false;
  int generation = 0;  ///< of a queue that is deleted and made again
  bool is_out = false;
};
using Place = std::pair<std::string, int>;  // queue and message

class Workload {
 public:
  Workload(HostTest& test, std::uint64_t seed) : test_{test}, chance_{seed} {}

  /// Works until the power is cut or `steps` are done. Returns: whether it was not cut.
  bool work(int steps) {
    client_ = test_.connect();
    client_->log_in();
    send(confirms, wire::ConfirmSelect{});
    send(transactions, wire::ChannelOpen{});
    send(transactions, wire::TxSelect{});
    send(consuming, wire::ChannelOpen{});
    send(consuming, wire::ExchangeDeclare{.exchange = "fan", .type = "fanout", .durable = true});
    for (const char* queue : {"a", "b", "dead", "r"}) {
      send(consuming, wire::QueueDeclare{.queue = queue, .durable = true});
    }
    send(consuming, wire::QueueDeclare{.queue = "d",
                                       .durable = true,
                                       .arguments = {{"x-dead-letter-exchange", ""},
                                                     {"x-dead-letter-routing-key", "dead"}}});
    for (const char* queue : {"a", "b"}) {
      send(consuming, wire::QueueBind{.queue = queue, .exchange = "fan"});
    }
    finish_step();
    // A step more after the cut: nothing that is told then may be wrong.
    int steps_after_cut = 0;
    for (int i = 0; i < steps && steps_after_cut < 2; ++i) {
      step();
      if (test_.disk.was_cut() || test_.disk.has_failed()) ++steps_after_cut;
    }
    const bool is_whole = !test_.disk.was_cut() && !test_.disk.has_failed();
    client_->die();
    client_.reset();
    return is_whole;
  }

  /// Compares the recovered queues with what is known; goes on from what is there.
  void check() {
    std::map<std::string, std::vector<int>> found;
    for (const broker::QueueView& view : test_.host->overview().queues) {
      std::vector<int>& numbers = found[view.name];
      for (const PeekedMessage& one : test_.host->peek("/", view.name, 0, 1'000'000)) {
        const std::string body = to_string(one.body);
        const int number = std::stoi(body);
        EXPECT_EQ(body, body_of(number)) << "a body is not what was published";
        numbers.push_back(number);
      }
      EXPECT_EQ(numbers.size(), view.ready_count);
    }
    std::set<Place> there;
    for (const auto& [queue, numbers] : found) {
      std::pair<int, int> last{-1, -1};
      std::optional<int> generation;
      for (const int number : numbers) {
        const auto known = copies_.find({queue, number});
        if (known == copies_.end()) {
          ADD_FAILURE() << number << " is in " << queue << " and should never be";
          continue;
        }
        const Copy& copy = known->second;
        EXPECT_TRUE(there.insert(known->first).second) << number << " twice in " << queue;
        // What could not be read was set aside: a letter that has not moved.
        const bool has_not_moved = queue == "d" && letters_.contains(number) &&
                                   std::ranges::find(found["dead"], number) == found["dead"].end();
        const bool may_be_unread = test_.disk.has_failed() && has_not_moved;
        EXPECT_FALSE(copy.gone_at && *copy.gone_at < durable_op_ && !may_be_unread)
            << number << " is back in " << queue << ", though its end is durable";
        EXPECT_EQ(copy.generation, generation.value_or(copy.generation))
            << "messages of a deleted queue in " << queue;
        generation = copy.generation;
        if (queue == "dead") continue;  // in the order of their rejection
        EXPECT_LT(last, copy.order) << number << " is out of order in " << queue;
        last = copy.order;
      }
    }
    for (const auto& [place, copy] : copies_) {
      const auto& [queue, number] = place;
      const bool is_there = there.contains(place);
      if (copy.must_be_there && !copy.gone_at) {
        EXPECT_TRUE(is_there) << number << " is lost from " << queue;
      }
      if (copy.is_fanned_out && queue == "a" && !copy.gone_at) {
        const auto other = copies_.find({"b", number});
        if (other != copies_.end() && !other->second.gone_at) {
          EXPECT_EQ(is_there, there.contains({"b", number})) << "half a fan-out: " << number;
        }
      }
      if (queue == "d" && copy.gone_at && !copy.gone_with) check_move(number, is_there, there);
    }
    check_transactions(there);
    std::erase_if(copies_, [&](const auto& one) { return !there.contains(one.first); });
    for (auto& [place, copy] : copies_) {
      copy = {.order = copy.order,
              .must_be_there = true,
              .is_fanned_out = copy.is_fanned_out,
              .generation = copy.generation};
      if (place.first == "r") generation_ = copy.generation;
    }
    commits_.clear();
    published_.clear();
    gets_.clear();
    deliveries_.clear();
    letters_.clear();
  }

  const std::string& last_step() const { return last_step_; }
  /// Publishes and transactions may be refused for lack of room.
  bool is_disk_small = false;

 private:
  bool is_broken() const {
    return test_.disk.was_cut() || test_.disk.has_failed() || is_disk_small;
  }

  struct Get {
    std::string queue;
  };
  struct Commit {
    int transaction;
    int op;
    bool is_written;
  };
  struct Delivery {
    std::uint16_t channel;
    std::uint64_t tag;
    Place place;
  };

  void step() {
    last_step_.clear();
    if (chance_.below(12) == 0) {
      purge_or_delete();
      finish_step();
    }
    // Several operations in one write become one batch of the journal.
    const std::uint64_t count = 1 + chance_.below(4);
    for (std::uint64_t i = 0; i < count; ++i) {
      switch (chance_.below(10)) {
        case 0:
        case 1:
        case 2:
          publish();
          break;
        case 3:
          publish_to_all();
          break;
        case 4:
        case 5:
          get(consuming);
          break;
        case 6:
        case 7:
          answer();
          break;
        default:
          if (i == 0 && has_transactions_) transaction();
      }
    }
    finish_step();
  }

  /// Sends what was gathered and takes in what comes back.
  void finish_step() {
    client_->write("");
    for (const auto& [number, place] : letters_now_) {
      // The move comes after all of the step.
      if (auto copy = copies_.find(place); copy != copies_.end()) copy->second.gone_at = op_;
      copies_[{"dead", number}] = {.order = {op_, 0}};
      letters_[number] = true;
    }
    letters_now_.clear();
    for (const std::string& line : client_->told()) on_line(line);
    ++op_;
  }

  void on_line(const std::string& line) {
    const auto starts = [&](std::string_view start) { return line.starts_with(start); };
    if (starts("1 basic.ack ") || starts("1 basic.nack ")) {
      // A disk that fails or has no room refuses; it promises nothing then.
      const bool is_confirmed = starts("1 basic.ack ");
      EXPECT_TRUE(is_confirmed || is_broken()) << line;
      const std::uint64_t tag = std::stoull(line.substr(line.rfind(' ')));
      while (!published_.empty() && published_.begin()->first <= tag) {
        const auto& [number, op] = published_.begin()->second;
        if (is_confirmed) on_published(number, op);
        published_.erase(published_.begin());
      }
    } else if (starts("2 tx.commit-ok")) {
      ASSERT_FALSE(commits_.empty());
      const Commit commit = commits_.front();
      commits_.pop_front();
      for (auto& [place, copy] : copies_) {
        if (copy.came_with == commit.transaction) copy.must_be_there = true;
      }
      // One that changes nothing writes nothing, and says nothing of what was before it.
      if (commit.is_written) durable_op_ = std::max(durable_op_, commit.op);
    } else if (starts("2 basic.get-") || starts("3 basic.get-")) {
      const auto channel = static_cast<std::uint16_t>(line[0] - '0');
      ASSERT_FALSE(gets_[channel].empty());
      const Get get = gets_[channel].front();
      gets_[channel].pop_front();
      if (!starts("2 basic.get-ok") && !starts("3 basic.get-ok")) return;
      const std::size_t colon = line.find(':');
      const std::size_t begin = line.rfind(' ', colon) + 1;
      const int number = std::stoi(line.substr(begin));
      const std::uint64_t tag = std::stoull(line.substr(line.find("-ok ") + 4));
      const Place place{get.queue, number};
      const auto copy = copies_.find(place);
      ASSERT_NE(copy, copies_.end()) << number << " was delivered from " << get.queue;
      EXPECT_FALSE(copy->second.gone_at) << number << " was delivered after its end";
      copy->second.must_be_there = true;
      copy->second.is_out = true;
      durable_op_ = std::max(durable_op_, copy->second.order.first);
      deliveries_.push_back({channel, tag, place});
    } else if (line.find(".close ") != std::string::npos) {
      // A journal that has failed or has no room takes no transaction, and says so.
      EXPECT_TRUE(is_broken() && starts("2 channel.close 506 ")) << line;
      on_refused();
    }
  }

  /// The last transaction is refused, and its channel gone with what it had in hand. Those before
  /// it are on their way to the disk, though nobody will be told.
  void on_refused() {
    has_transactions_ = false;
    ASSERT_FALSE(commits_.empty());
    const int refused = commits_.back().transaction;
    commits_.clear();
    std::erase_if(copies_, [&](const auto& one) { return one.second.came_with == refused; });
    for (auto& [place, copy] : copies_) {
      if (copy.gone_with != refused) continue;
      copy.gone_at.reset();
      copy.gone_with.reset();
    }
    std::erase_if(deliveries_, [this](const Delivery& delivery) {
      if (delivery.channel != transactions) return false;
      copies_.at(delivery.place).is_out = false;
      return true;
    });
  }

  void on_published(int number, int op) {
    for (const char* queue : {"a", "b", "d", "r"}) {
      const auto copy = copies_.find({queue, number});
      if (copy != copies_.end()) copy->second.must_be_there = true;
    }
    durable_op_ = std::max(durable_op_, op);
  }

  std::string body_of(int number) {
    std::string body = std::to_string(number) + ':';
    SeededRandom size{static_cast<std::uint64_t>(number)};
    body.resize(body.size() + size.below(size.below(8) == 0 ? 5'000 : 300),
                static_cast<char>('a' + number % 26));
    return body;
  }

  void send(std::uint16_t channel, const wire::Method& method) {
    Bytes bytes;
    wire::append_method_frame(bytes, channel, method);
    client_->hold(bytes);
  }
  void send_message(std::uint16_t channel, std::string_view exchange, std::string_view queue,
                    int number) {
    wire::BasicProperties properties;
    properties.delivery_mode = 2;
    client_->hold(RawClient::published(channel, exchange, queue, body_of(number), properties));
  }
  std::string some_queue() {
    constexpr std::array queues{"a", "b", "d", "r"};
    return queues[chance_.below(queues.size())];
  }

  void publish() {
    const std::string queue = some_queue();
    const int number = ++last_number_;
    last_step_ += fmt::format(" publish {} to {}", number, queue);
    send_message(confirms, "", queue, number);
    published_[++published_count_] = {number, ++op_};
    copies_[{queue, number}] = {.order = {op_, 0}, .generation = queue == "r" ? generation_ : 0};
  }
  void publish_to_all() {
    const int number = ++last_number_;
    last_step_ += fmt::format(" fan out {}", number);
    send_message(confirms, "fan", "", number);
    published_[++published_count_] = {number, ++op_};
    for (const char* queue : {"a", "b"}) {
      copies_[{queue, number}] = {.order = {op_, 0}, .is_fanned_out = true};
    }
  }
  void get(std::uint16_t channel) {
    const std::string queue = chance_.below(5) == 0 ? "dead" : some_queue();
    last_step_ += fmt::format(" get from {}", queue);
    send(channel, wire::BasicGet{.queue = queue});
    gets_[channel].push_back({queue});
  }
  void answer() {
    const auto found = std::ranges::find(deliveries_, consuming, &Delivery::channel);
    if (found == deliveries_.end()) return;
    const Delivery delivery = *found;
    deliveries_.erase(found);
    Copy& copy = copies_.at(delivery.place);
    copy.is_out = false;
    ++op_;
    switch (chance_.below(3)) {
      case 0:
        last_step_ += fmt::format(" requeue {}", delivery.place.second);
        return send(consuming, wire::BasicNack{.delivery_tag = delivery.tag, .requeue = true});
      case 1:
        last_step_ += fmt::format(" reject {}", delivery.place.second);
        send(consuming, wire::BasicReject{.delivery_tag = delivery.tag, .requeue = false});
        // A queue that was deleted meanwhile has no dead letters.
        if (delivery.place.first == "d" && !copy.gone_at) {
          letters_now_.emplace_back(delivery.place.second, delivery.place);
        } else if (!copy.gone_at) {
          copy.gone_at = op_;
        }
        return;
      default:
        last_step_ += fmt::format(" ack {}", delivery.place.second);
        send(consuming, wire::BasicAck{.delivery_tag = delivery.tag});
        if (!copy.gone_at) copy.gone_at = op_;
    }
  }
  void transaction() {
    last_step_ += " transaction (";
    if (chance_.below(2) == 0) {
      get(transactions);
      finish_step();
    }
    const int transaction = ++last_transaction_;
    std::vector<Place> publishes;
    for (std::uint64_t i = chance_.below(4); i > 0; --i) {
      publishes.emplace_back(some_queue(), ++last_number_);
      send_message(transactions, "", publishes.back().first, publishes.back().second);
      last_step_ += fmt::format(" {} to {}", publishes.back().second, publishes.back().first);
    }
    std::vector<Place> acked;
    std::erase_if(deliveries_, [&](const Delivery& delivery) {
      if (delivery.channel != transactions) return false;
      send(transactions, wire::BasicAck{.delivery_tag = delivery.tag});
      acked.push_back(delivery.place);
      last_step_ += fmt::format(" ack {}", delivery.place.second);
      return true;
    });
    ++op_;
    const bool is_ack_written = std::ranges::any_of(
        acked, [this](const Place& place) { return !copies_.at(place).gone_at; });
    if (chance_.below(5) == 0) {
      last_step_ += " rolled back)";
      send(transactions, wire::TxRollback{});
      send(transactions, wire::BasicNack{.delivery_tag = 0, .multiple = true, .requeue = true});
      send(transactions, wire::TxCommit{});
      commits_.push_back({transaction, op_, is_ack_written});
      for (const Place& place : acked) copies_.at(place).is_out = false;
      return;
    }
    last_step_ += ')';
    send(transactions, wire::TxCommit{});
    commits_.push_back({transaction, op_, is_ack_written || !publishes.empty()});
    int index = 0;
    for (const Place& place : publishes) {
      copies_[place] = {.order = {op_, ++index},
                        .came_with = transaction,
                        .generation = place.first == "r" ? generation_ : 0};
    }
    for (const Place& place : acked) {
      Copy& copy = copies_.at(place);
      copy.is_out = false;
      if (copy.gone_at) continue;
      copy.gone_at = op_;
      copy.gone_with = transaction;
    }
  }
  void purge_or_delete() {
    ++op_;
    const bool is_purge = chance_.below(3) == 0;
    const std::string queue = is_purge ? some_queue() : "r";
    last_step_ += fmt::format(" {} {}", is_purge ? "purge" : "delete and declare", queue);
    for (auto& [place, copy] : copies_) {
      if (place.first != queue || copy.gone_at || (is_purge && copy.is_out)) continue;
      copy.gone_at = op_;
    }
    if (is_purge) return send(consuming, wire::QueuePurge{.queue = queue});
    send(consuming, wire::QueueDelete{.queue = queue});
    send(consuming, wire::QueueDeclare{.queue = queue, .durable = true});
    ++generation_;
  }

  void check_move(int number, bool is_in_queue, const std::set<Place>& there) {
    const auto letter = copies_.find({"dead", number});
    if (!letters_.contains(number) || letter == copies_.end() || letter->second.gone_at) return;
    EXPECT_NE(is_in_queue, there.contains({"dead", number}))
        << "the move of dead letter " << number << " is torn";
  }
  void check_transactions(const std::set<Place>& there) {
    for (int transaction = 1; transaction <= last_transaction_; ++transaction) {
      std::optional<bool> is_there;
      for (const auto& [place, copy] : copies_) {
        if (copy.came_with != transaction || copy.gone_at) continue;
        const bool is_this = there.contains(place);
        EXPECT_EQ(is_this, is_there.value_or(is_this))
            << "transaction " << transaction << " is torn at " << place.second;
        is_there = is_this;
      }
      if (!is_there) continue;
      for (const auto& [place, copy] : copies_) {
        if (copy.gone_with != transaction) continue;
        EXPECT_NE(*is_there, there.contains(place))
            << "publishes and acks of transaction " << transaction << " are torn apart";
      }
    }
  }

  HostTest& test_;
  SeededRandom chance_;
  std::unique_ptr<RawClient> client_;
  std::map<Place, Copy> copies_;
  std::map<std::uint64_t, std::pair<int, int>> published_;  // by tag: message, operation
  std::deque<Commit> commits_;
  std::map<std::uint16_t, std::deque<Get>> gets_;
  std::vector<Delivery> deliveries_;
  std::vector<std::pair<int, Place>> letters_now_;
  std::map<int, bool> letters_;
  int op_ = 0;
  int durable_op_ = -1;  // all before it is on the disk
  int last_number_ = 0;
  int last_transaction_ = 0;
  int generation_ = 0;
  std::uint64_t published_count_ = 0;
  bool has_transactions_ = true;  // the channel is open
  std::string last_step_;

 public:
  /// A new process: tags begin anew.
  void begin_again() {
    published_count_ = 0;
    has_transactions_ = true;
  }
};

std::optional<std::uint64_t> chosen_seed() {
  const char* text = std::getenv("PRONTO_POWER_SEED");
  if (!text) return std::nullopt;
  return std::strtoull(text, nullptr, 10);
}

/// A broker and its disk for one seed.
class World final : public HostTest {
 public:
  explicit World(std::uint64_t seed) {
    // Failures of the disk are the point here; a single seed tells of them.
    log::set_level(chosen_seed() ? log::Level::info : log::Level::off);
    options.journal.segment_bytes = 16 * 1024;
    options.cache_bytes_max = 4'000;
    options.checkpoint_bytes = 12'000;
    if (seed % 2 == 1) return;
    // The queues' pages do not fit into memory.
    options.limits.page_entries_max = 2;
    options.limits.page_bytes_max = 0;
  }
  void TestBody() override {}

  /// Returns: whether the broker could be opened before the power went.
  bool try_open() {
    auto opened = BrokerHost::open(loop, disk.open(), users, options);
    if (!opened) {
      EXPECT_TRUE(disk.was_cut() || disk.has_failed()) << opened.error().message();
      return false;
    }
    host = std::move(*opened);
    return true;
  }
};

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define PRONTO_IS_INSTRUMENTED
#endif
#endif
#ifdef PRONTO_IS_INSTRUMENTED
constexpr std::uint64_t slowness = 30;  // of such a build
#else
constexpr std::uint64_t slowness = 1;
#endif

template <class Run>
void for_each_seed(std::uint64_t usual, std::uint64_t all, Run run) {
  if (const auto seed = chosen_seed()) return run(*seed);
  std::uint64_t first = 1;
  std::uint64_t count = std::getenv("PRONTO_TEST_ALL") ? all : usual;
  if (const char* chosen = std::getenv("PRONTO_POWER_SEEDS")) {
    char* end = nullptr;
    first = std::strtoull(chosen, &end, 10);
    ASSERT_EQ(*end, ':') << "PRONTO_POWER_SEEDS=first:count";
    count = std::strtoull(end + 1, nullptr, 10);
  }
  for (std::uint64_t seed = first; seed < first + count && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "repeat with PRONTO_POWER_SEED=" << seed);
    run(seed);
  }
}

TEST(PowerCut, AfterAnyWriteTakesNothingThatWasConfirmedOrDelivered) {
  std::uint64_t cuts = 0;
  for_each_seed(30, 1'000, [&](std::uint64_t seed) {
    for (std::uint64_t cut = 0; !testing::Test::HasFailure(); ++cut) {
      SCOPED_TRACE(testing::Message() << "seed " << seed << ", power cut after write " << cut);
      World world{seed};
      world.disk.cut_after_writes(cut);
      Workload workload{world, seed};
      bool is_whole = false;
      if (world.try_open()) is_whole = workload.work(40);
      SeededRandom chance{seed * 100'000 + cut};
      world.crash(&chance);
      ASSERT_TRUE(world.try_open());
      workload.check();
      ++cuts;
      if (testing::Test::HasFailure()) ADD_FAILURE() << "last step:" << workload.last_step();
      if (is_whole) break;
    }
  });
  testing::Test::RecordProperty("cuts", std::to_string(cuts));
}

// Goal: whichever call to the disk fails, nothing untrue is told then or later, and a restart finds
// what was told before. Method: fail the n-th call for n = 0, 1, 2 ... until all is done without.
TEST(FailedCall, ToTheDiskTakesNothingThatWasConfirmedOrDelivered) {
  for_each_seed(4, 200, [&](std::uint64_t seed) {
    for (std::uint64_t call = 0; !testing::Test::HasFailure(); ++call) {
      SCOPED_TRACE(testing::Message() << "seed " << seed << ", call " << call << " fails");
      World world{seed};
      world.disk.fail_call(call, std::make_error_code(std::errc::io_error));
      Workload workload{world, seed};
      bool is_whole = false;
      if (world.try_open()) is_whole = workload.work(40);
      if (is_whole) break;  // there were fewer calls
      SeededRandom chance{seed * 100'000 + call};
      // The process alone, or the machine with it.
      world.crash(call % 2 == 0 ? nullptr : &chance);
      ASSERT_TRUE(world.try_open());
      workload.check();
      if (testing::Test::HasFailure()) ADD_FAILURE() << "last step:" << workload.last_step();
    }
  });
}

// Goal: the check above sees what it is there for. Method: a journal that calls things durable once
// they are written, whether or not they are synced.
TEST(PowerCut, OfABrokerThatDoesNotSyncIsSeenToLoseMessages) {
  testing::TestPartResultArray seen;
  {
    const testing::ScopedFakeTestPartResultReporter reporter{
        testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &seen};
    for (std::uint64_t cut = 20; cut < 60; ++cut) {
      World world{cut};
      world.options.journal.mode = journal::SyncMode::none;
      world.disk.cut_after_writes(cut);
      Workload workload{world, 1};
      if (world.try_open()) workload.work(40);
      SeededRandom chance{cut};
      world.crash(&chance);
      if (!world.try_open()) continue;
      workload.check();
    }
  }
  int losses = 0;
  for (int i = 0; i < seen.size(); ++i) {
    const std::string_view message = seen.GetTestPartResult(i).message();
    if (message.find("is lost from") != std::string_view::npos) ++losses;
  }
  EXPECT_GT(losses, 10);
}

TEST(PowerCut, OneAfterTheOtherBringsNothingBack) {
  std::uint64_t cleaned = 0;
  broker::Broker::PageCounts pages;
  for_each_seed(10'000 / slowness, 100'000, [&](std::uint64_t seed) {
    World world{seed};
    Workload workload{world, seed};
    SeededRandom chance{seed ^ 0xC0FFEE};
    if (seed % 3 == 0) {
      // Full in the midst of it.
      workload.is_disk_small = true;
      world.disk.set_capacity((2 + chance.below(2)) * world.options.journal.segment_bytes);
    }
    for (int round = 0; round < 5 && !testing::Test::HasFailure(); ++round) {
      SCOPED_TRACE(testing::Message() << "round " << round);
      const int steps = workload.is_disk_small ? 150 : 40;
      world.disk.cut_after_writes(chance.below(static_cast<std::uint64_t>(3 * steps)));
      workload.begin_again();
      if (world.try_open()) workload.work(steps);
      if (world.host) {
        const Overview seen = world.host->overview();
        cleaned += seen.segments_cleaned_total;
        pages.written_total += seen.pages.written_total;
        pages.read_total += seen.pages.read_total;
        // What fails to be read is a dying disk's doing.
        if (!world.disk.was_cut()) EXPECT_EQ(seen.pages.lost_total, 0U);
      }
      // The process may have died before, its last writes not even on their way.
      world.crash(&chance);
      ASSERT_TRUE(world.try_open());
      workload.check();
      if (testing::Test::HasFailure()) ADD_FAILURE() << "last step:" << workload.last_step();
      world.crash(&chance);
    }
  });
  if (chosen_seed()) return;
  EXPECT_GT(cleaned, 0U) << "nothing was cleaned, so nothing was seen of it";
  EXPECT_GT(pages.written_total, 1000U) << "no backlog was as long as that";
  EXPECT_GT(pages.read_total, 1000U);
}

/// Publishes to an x-delayed-message exchange while time passes, and knows when each is due. The
/// queue behind takes no duplicates.
class DelayedWorkload {
 public:
  DelayedWorkload(HostTest& test, std::uint64_t seed) : test_{test}, chance_{seed} {}

  /// Returns: whether the power was not cut.
  bool work(int steps) {
    const auto client = test_.log_in();
    client->call(1, wire::ConfirmSelect{});
    client->call(1, wire::ExchangeDeclare{.exchange = "late",
                                          .type = "x-delayed-message",
                                          .durable = true,
                                          .arguments = {{"x-delayed-type", "fanout"}}});
    client->call(
        1, wire::QueueDeclare{
               .queue = "q", .durable = true, .arguments = {{"x-message-deduplication", true}}});
    client->call(1, wire::QueueBind{.queue = "q", .exchange = "late"});
    std::uint64_t tag = 0;
    std::map<std::uint64_t, int> by_tag;
    for (int i = 0; i < steps && !test_.disk.was_cut(); ++i) {
      for (std::uint64_t count = chance_.below(4); count > 0; --count) {
        const auto delay = static_cast<std::int64_t>(1 + chance_.below(40));
        client->hold(message(++last_number_, delay));
        due_[last_number_] = test_.loop.now() + milliseconds{delay};
        by_tag[++tag] = last_number_;
      }
      client->write("");
      test_.loop.advance(milliseconds{chance_.below(20)});
      for (const std::string& line : client->told()) {
        if (!line.starts_with("1 basic.ack ")) continue;
        const std::uint64_t last = std::stoull(line.substr(line.rfind(' ')));
        while (!by_tag.empty() && by_tag.begin()->first <= last) {
          confirmed_.insert(by_tag.begin()->second);
          by_tag.erase(by_tag.begin());
        }
      }
    }
    client->die();
    return !test_.disk.was_cut();
  }

  /// Each confirmed message is there once when all are due, in the order in which they were.
  void check() {
    const std::size_t routed_before = test_.queue("q").ready_count;
    test_.loop.advance(milliseconds{100});
    EXPECT_EQ(test_.host->overview().delayed_count, 0U);
    std::set<int> there;
    SteadyTime last{};
    for (const PeekedMessage& one : test_.host->peek("/", "q", 0, 1'000'000)) {
      const int number = std::stoi(to_string(one.body));
      EXPECT_TRUE(there.insert(number).second) << number << " was routed twice";
      // What a dying disk could not read was passed over then, and comes now.
      if (there.size() == routed_before + 1) last = {};
      EXPECT_LE(last, due_.at(number)) << number << " is out of order";
      last = due_.at(number);
    }
    for (const int number : confirmed_) EXPECT_TRUE(there.contains(number)) << number << " is lost";
    // A publisher that does not know what has arrived sends all of it again.
    const auto client = test_.log_in();
    for (int number = 1; number <= last_number_; ++number) client->write(message(number, 0));
    std::map<int, int> copies;
    for (const PeekedMessage& one : test_.host->peek("/", "q", 0, 1'000'000)) {
      ++copies[std::stoi(to_string(one.body))];
    }
    for (int number = 1; number <= last_number_; ++number) {
      EXPECT_EQ(copies[number], 1) << "copies of " << number;
    }
  }

 private:
  static Bytes message(int number, std::int64_t delay) {
    wire::BasicProperties properties;
    properties.delivery_mode = 2;
    properties.headers = wire::Table{{"x-delay", delay}, {"x-deduplication-header", number}};
    const std::string body = std::to_string(number) + std::string(200, '.');
    return RawClient::published(1, "late", "", body, properties);
  }

  HostTest& test_;
  SeededRandom chance_;
  std::map<int, SteadyTime> due_;
  std::set<int> confirmed_;
  int last_number_ = 0;
};

TEST(PowerCut, OfDelayedMessagesRoutesEachOnceHoweverOftenItIsSent) {
  for_each_seed(5, 500, [](std::uint64_t seed) {
    for (std::uint64_t cut = 0; !testing::Test::HasFailure(); ++cut) {
      SCOPED_TRACE(testing::Message() << "seed " << seed << ", power cut after write " << cut);
      World world{seed};
      world.disk.cut_after_writes(cut);
      DelayedWorkload workload{world, seed};
      const bool is_whole = world.try_open() && workload.work(30);
      SeededRandom chance{seed * 100'000 + cut};
      world.crash(&chance);
      ASSERT_TRUE(world.try_open());
      if (world.host->overview().queues.empty()) continue;  // cut before there was one
      workload.check();
      if (is_whole) break;
    }
  });
}

}  // namespace
}  // namespace pronto::server
