#pragma once

#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/link.hpp"
#include "bench/load.hpp"

namespace pronto::bench {

/// What every body begins with; the same process writes and reads it. Small, so that small messages
/// can be measured.
struct BodyStart {
  std::uint64_t run : 24 = 0;  ///< tells apart this run from any other
  std::uint64_t sequence : 40 = 0;
  std::uint64_t stream : 16 = 0;
  std::uint64_t start_us : 48 = 0;  ///< when it was, or should have been, sent: steady time
};
static_assert(sizeof(BodyStart) == message_bytes_min);
inline constexpr std::uint64_t run_modulus = std::uint64_t{1} << 24U;

/// What publishers and consumers share.
struct LoadState {
  LoadState(Loop& on, const LoadOptions& chosen)
      : loop{on},
        options{chosen},
        check{{.queue_count = chosen.queue_count(),
               .publisher_count = chosen.streams(),
               .consumers_of_queue = std::max<std::uint64_t>(chosen.consumers_of_queue, 1)}} {}

  Loop& loop;
  const LoadOptions& options;
  std::uint64_t run = 0;
  std::string exchange;  ///< empty: queues are addressed by their names
  std::vector<std::string> queues;
  DeliveryCheck check;
  LoadCounters counters;
  LoadResult result;
  /// Messages whose start lies in between are measured.
  SteadyTime begin{};
  SteadyTime measure_from = SteadyTime::max();
  SteadyTime measure_to = SteadyTime::max();
  SteadyTime last_confirm{};
  SteadyTime last_delivery{};
  std::optional<Failure> failure;
  Signal progress;  ///< something was confirmed or delivered, or the load has failed
  std::vector<Signal*> waiting_for_backlog;

  bool is_measured(SteadyTime start) const noexcept {
    return start >= measure_from && start < measure_to;
  }
  void fail(Failure why) {
    if (!failure) failure = std::move(why);
    progress.notify_all();
  }
};

/// One connection that publishes.
class Publisher final : public LinkSink {
 public:
  Publisher(LoadState& state, std::size_t index, std::unique_ptr<Link> link);

  Task<Result<void, Failure>> prepare();
  /// Publishes until it is cancelled or has sent its share.
  Task<> publish();
  std::optional<Failure> on_frame(const wire::FrameView& frame, SteadyTime now) override;
  void on_frames_end() override;

  Link& link() noexcept { return *link_; }
  std::uint64_t unanswered() const noexcept { return unanswered_; }
  bool is_done() const noexcept { return sent_ >= share_; }

 private:
  struct Outstanding {
    SteadyTime start;
    std::uint64_t sequence = 0;
    std::uint32_t queue = 0;
    std::uint32_t stream = 0;
    bool is_settled = false;
  };
  /// A whole publish to one queue with one priority, ready but for the start of its body.
  struct Prepared {
    Bytes bytes;
    std::size_t body_at = 0;
  };

  std::uint64_t room_for() const;
  std::uint64_t due_by(SteadyTime now) const;
  SteadyTime due_at(std::uint64_t number) const;
  void send(SteadyTime start);
  void settle(Outstanding& message, bool is_ack, SteadyTime now);
  void on_answer(std::uint64_t tag, bool multiple, bool is_ack, SteadyTime now);

  LoadState& state_;
  std::size_t index_;
  std::unique_ptr<Link> link_;
  std::vector<Prepared> prepared_;
  std::deque<Outstanding> outstanding_;
  std::uint64_t first_tag_ = 1;  ///< of the first in `outstanding_`
  std::uint64_t unanswered_ = 0;
  std::uint64_t sent_ = 0;
  std::uint64_t share_;
};

/// One connection that consumes from one queue, or from all.
class Consumer final : public LinkSink {
 public:
  /// Takes: `number`, counted within each queue.
  Consumer(LoadState& state, std::vector<std::size_t> queues, std::size_t number,
           std::unique_ptr<Link> link);

  Task<Result<void, Failure>> prepare();
  std::optional<Failure> on_frame(const wire::FrameView& frame, SteadyTime now) override;
  void on_frames_end() override;
  /// Acks what is left.
  void finish();

  Link& link() noexcept { return *link_; }

 private:
  std::optional<Failure> on_method(const wire::FrameView& frame);
  void on_body(BytesView payload, SteadyTime now);
  void on_message(SteadyTime now);

  LoadState& state_;
  std::vector<std::size_t> queues_;
  std::size_t number_;
  std::size_t queue_ = 0;  ///< of the delivery under way
  std::unique_ptr<Link> link_;
  std::uint64_t tag_ = 0;
  std::uint64_t unacked_ = 0;
  std::uint64_t body_bytes_missing_ = 0;
  std::byte body_start_[sizeof(BodyStart)] = {};
  std::size_t body_start_bytes_ = 0;
};

}  // namespace pronto::bench
