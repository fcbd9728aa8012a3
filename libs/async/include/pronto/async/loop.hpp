#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "pronto/base/random.hpp"
#include "pronto/base/time.hpp"

namespace pronto {

class Loop;
class Network;

namespace detail {

/// A place in an intrusive list; leaves the list when destroyed.
class ListNode {
 public:
  ListNode() = default;
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;
  ~ListNode() { unlink(); }

  bool is_linked() const noexcept { return next_ != this; }
  void unlink() noexcept {
    next_->previous_ = previous_;
    previous_->next_ = next_;
    next_ = previous_ = this;
  }
  /// Puts this node at the end of the list whose head is `head`.
  void link_before(ListNode& head) noexcept {
    unlink();
    previous_ = head.previous_;
    next_ = &head;
    previous_->next_ = this;
    head.previous_ = this;
  }
  ListNode* next() const noexcept { return next_; }
  /// Moves all of `from`'s nodes to the end of the list headed by this node.
  void splice(ListNode& from) noexcept {
    if (!from.is_linked()) return;
    previous_->next_ = from.next_;
    from.next_->previous_ = previous_;
    previous_ = from.previous_;
    previous_->next_ = this;
    from.next_ = from.previous_ = &from;
  }

 private:
  ListNode* next_ = this;
  ListNode* previous_ = this;
};

/// Something that the loop runs on its next turn, unless it is destroyed before.
class ReadyNode : public ListNode {
 public:
  virtual void run() = 0;

 protected:
  ~ReadyNode() = default;
};

}  // namespace detail

using TimerId = std::uint64_t;

/// A single-threaded executor with timers, clock, randomness and network.
///
/// All that bus, http and services know of time, chance and the outside comes from here, so that a
/// simulation can take its place. `SystemLoop` is the real one, `VirtualLoop` the one of tests.
/// Runs on: the thread that runs the loop, except `post`.
class Loop {
 public:
  Loop() = default;
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  virtual ~Loop() = default;

  /// Runs `work` on the loop's thread, after what is running now. Runs on: any thread.
  virtual void post(std::move_only_function<void()> work) = 0;
  virtual SteadyTime now() const = 0;
  virtual WallTime wall_now() const = 0;
  virtual Random& random() = 0;
  virtual Network& network() = 0;

  /// Runs `work` once at `due` or soon after. Returns: what `stop_timer` takes.
  TimerId start_timer(SteadyTime due, std::move_only_function<void()> work);
  /// After this `work` is not run; an unknown or finished timer is no error.
  void stop_timer(TimerId timer);

  /// Runs `node` on the next turn. Each turn runs what was ready when it began.
  void make_ready(detail::ReadyNode& node) noexcept { node.link_before(ready_); }

 protected:
  bool has_ready() const noexcept { return ready_.is_linked(); }
  void run_ready();
  void run_due_timers();
  std::optional<SteadyTime> next_timer() const;

 private:
  using TimerKey = std::pair<SteadyTime, TimerId>;

  detail::ListNode ready_;
  std::map<TimerKey, std::move_only_function<void()>> timers_;
  std::map<TimerId, SteadyTime> due_by_timer_;
  TimerId last_timer_ = 0;
};

/// A timer that stops with its owner.
class Timer {
 public:
  Timer() = default;
  Timer(Loop& loop, SteadyTime::duration after, std::move_only_function<void()> work)
      : loop_{&loop}, id_{loop.start_timer(loop.now() + after, std::move(work))} {}
  Timer(Timer&& other) noexcept
      : loop_{std::exchange(other.loop_, nullptr)}, id_{std::exchange(other.id_, 0)} {}
  Timer& operator=(Timer&& other) noexcept {
    if (this != &other) {
      stop();
      loop_ = std::exchange(other.loop_, nullptr);
      id_ = std::exchange(other.id_, 0);
    }
    return *this;
  }
  ~Timer() { stop(); }

  void stop() {
    if (Loop* loop = std::exchange(loop_, nullptr)) loop->stop_timer(id_);
  }

 private:
  Loop* loop_ = nullptr;
  TimerId id_ = 0;
};

}  // namespace pronto
