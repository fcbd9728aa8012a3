#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "pronto/async/task.hpp"
#include "pronto/base/result.hpp"

namespace pronto {

/// Wakes coroutines of one loop that wait for a condition to change.
///
/// `while (!condition()) co_await signal.wait();` misses nothing: one thread, no await in between.
class Signal {
 public:
  Signal() = default;
  Signal(const Signal&) = delete;
  Signal& operator=(const Signal&) = delete;
  ~Signal() { PRONTO_ASSERT(!waits_.is_linked()); }

  class Wait;
  /// Errors: throws `Cancelled`.
  Wait wait() noexcept;
  /// Wakes all that wait now.
  void notify_all() noexcept;
  /// Wakes the one that has waited longest, if any.
  void notify_one() noexcept;
  bool has_waiters() const noexcept { return waits_.is_linked(); }

 private:
  struct Place : detail::ListNode {
    Wait* wait = nullptr;
  };
  detail::ListNode waits_;
};

class Signal::Wait final : public Suspension {
 public:
  explicit Wait(Signal& signal) noexcept : signal_{signal} {}
  void await_resume() const { throw_if_cancelled(); }

 private:
  friend class Signal;
  bool start() override {
    place_.wait = this;
    place_.link_before(signal_.waits_);
    return true;
  }
  void stop() override {
    place_.unlink();
    complete();
  }
  void wake() noexcept {
    place_.unlink();
    complete();
  }

  Signal& signal_;
  Place place_;
};

inline Signal::Wait Signal::wait() noexcept {
  return Wait{*this};
}
inline void Signal::notify_one() noexcept {
  if (waits_.is_linked()) static_cast<Place*>(waits_.next())->wait->wake();
}
inline void Signal::notify_all() noexcept {
  while (waits_.is_linked()) notify_one();
}

/// A value that one side sets once and any number of coroutines of the same loop await; copies
/// share it.
template <class T>
class Promise {
 public:
  Promise() : state_{std::make_shared<State>()} {}

  bool is_set() const noexcept { return state_->value.has_value(); }
  /// The first value counts; later ones are dropped.
  void set(T value) const {
    if (state_->value) return;
    state_->value.emplace(std::move(value));
    state_->changed.notify_all();
  }
  /// Returns: a copy of the value once it is there. Errors: throws `Cancelled`.
  Task<T> get() const { return wait(state_); }

 private:
  struct State {
    std::optional<T> value;
    Signal changed;
  };
  static Task<T> wait(std::shared_ptr<State> state) {
    while (!state->value) co_await state->changed.wait();
    co_return *state->value;
  }

  std::shared_ptr<State> state_;
};

/// A bounded queue between coroutines of one loop.
template <class T>
class Mailbox {
 public:
  explicit Mailbox(std::size_t count_max) : count_max_{count_max} {}

  /// Waits while the mailbox is full. Errors: `Error::closed`; throws `Cancelled`.
  Task<Result<void>> push(T item) {
    while (items_.size() >= count_max_ && !closed_) co_await changed_.wait();
    if (closed_) co_return Error::closed;
    items_.push_back(std::move(item));
    changed_.notify_all();
    co_return Result<void>{};
  }
  /// Returns: false, and nothing stored, when full or closed.
  bool try_push(T item) {
    if (closed_ || items_.size() >= count_max_) return false;
    items_.push_back(std::move(item));
    changed_.notify_all();
    return true;
  }
  /// Returns: the oldest item, or nothing when closed and empty. Errors: throws `Cancelled`.
  Task<std::optional<T>> pop() {
    while (items_.empty() && !closed_) co_await changed_.wait();
    co_return try_pop();
  }
  std::optional<T> try_pop() {
    if (items_.empty()) return std::nullopt;
    std::optional<T> item{std::move(items_.front())};
    items_.pop_front();
    changed_.notify_all();
    return item;
  }
  void close() {
    closed_ = true;
    changed_.notify_all();
  }
  std::size_t size() const noexcept { return items_.size(); }

 private:
  std::size_t count_max_;
  std::deque<T> items_;
  bool closed_ = false;
  Signal changed_;
};

/// A number of slots; who comes first gets one first. One slot makes it a mutex.
class Slots {
 public:
  explicit Slots(std::size_t count) : free_{count} {}

  /// A slot that is given back when this goes.
  class Held {
   public:
    Held() = default;
    explicit Held(Slots& slots) : slots_{&slots} {}
    Held(Held&& other) noexcept : slots_{std::exchange(other.slots_, nullptr)} {}
    Held& operator=(Held&& other) noexcept {
      std::swap(slots_, other.slots_);
      return *this;
    }
    ~Held() {
      if (slots_) slots_->give_back();
    }

   private:
    Slots* slots_ = nullptr;
  };

  /// Waits for a free slot. Errors: throws `Cancelled`. The slots outlive what they gave out.
  Task<Held> take() {
    const std::uint64_t ticket = last_ticket_++;
    Turn turn{*this, ticket};
    while (free_ == 0 || waiting_.front() != ticket) co_await changed_.wait();
    --free_;
    co_return Held{*this};
  }
  std::size_t free() const noexcept { return free_; }
  std::size_t waiting() const noexcept { return waiting_.size(); }

 private:
  struct Turn {
    Turn(Slots& all, std::uint64_t number) : slots{all}, ticket{number} {
      slots.waiting_.push_back(ticket);
    }
    Turn(const Turn&) = delete;
    ~Turn() {
      std::erase(slots.waiting_, ticket);
      slots.changed_.notify_all();
    }
    Slots& slots;
    std::uint64_t ticket;
  };
  void give_back() {
    ++free_;
    changed_.notify_all();
  }

  std::size_t free_;
  std::uint64_t last_ticket_ = 0;
  std::deque<std::uint64_t> waiting_;
  Signal changed_;
};

}  // namespace pronto
