#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <utility>
#include <variant>

#include "pronto/async/loop.hpp"
#include "pronto/base/assert.hpp"

namespace pronto {

/// Leaves a wait whose task was cancelled. Let it pass: clean up in destructors, never by awaiting.
struct Cancelled {};

/// What can be cancelled together: the waits of a task, and the scopes inside it.
/// Runs on: the loop's thread, as everything in this header.
class CancelScope {
 public:
  CancelScope() = default;
  /// Is cancelled with `parent`, too.
  explicit CancelScope(CancelScope& parent);

  /// Every wait in this scope, now or later, ends with `Cancelled`.
  void cancel();
  bool is_cancelled() const noexcept { return cancelled_; }

 private:
  friend class Suspension;
  class Member : public detail::ListNode {
   public:
    virtual void on_cancel() = 0;

   protected:
    ~Member() = default;
  };
  class Child final : public Member {
   public:
    explicit Child(CancelScope& scope) : scope_{scope} {}
    void on_cancel() override { scope_.cancel(); }

   private:
    CancelScope& scope_;
  };

  detail::ListNode members_;
  Child in_parent_{*this};
  bool cancelled_ = false;
};

/// Where a task runs and who may cancel it; handed from a coroutine to those that it awaits.
struct Context {
  Loop& loop;
  CancelScope& scope;
};

namespace detail {

class PromiseBase {
 public:
  std::suspend_always initial_suspend() const noexcept { return {}; }
  Context& context() const noexcept {
    PRONTO_ASSERT(context_ != nullptr);
    return *context_;
  }
  void bind(Context& context) noexcept { context_ = &context; }

  std::coroutine_handle<> continuation = std::noop_coroutine();

 private:
  Context* context_ = nullptr;
};

struct ToContinuation {
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> ended) const noexcept {
    return ended.promise().continuation;
  }
  void await_resume() const noexcept {}
};

template <class T>
class TaskPromise : public PromiseBase {
 public:
  template <class U>
    requires std::convertible_to<U, T>
  void return_value(U&& value) {
    result_.template emplace<1>(std::forward<U>(value));
  }
  void unhandled_exception() noexcept { result_.template emplace<2>(std::current_exception()); }
  T take() {
    if (result_.index() == 2) std::rethrow_exception(std::get<2>(result_));
    return std::move(std::get<1>(result_));
  }

 private:
  std::variant<std::monostate, T, std::exception_ptr> result_;
};

template <>
class TaskPromise<void> : public PromiseBase {
 public:
  void return_void() const noexcept {}
  void unhandled_exception() noexcept { error_ = std::current_exception(); }
  void take() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::exception_ptr error_;
};

}  // namespace detail

/// Work that runs when it is awaited, on the loop of whoever awaits it, and gives a T.
///
/// Parameters of a coroutine are values, or references that outlive the await (STYLE.md 3.4).
/// Errors: what the coroutine throws, and `Cancelled`, leave the await.
template <class T = void>
class [[nodiscard]] Task {
 public:
  struct promise_type : detail::TaskPromise<T> {
    Task get_return_object() noexcept {
      return Task{std::coroutine_handle<promise_type>::from_promise(*this)};
    }
    detail::ToContinuation final_suspend() const noexcept { return {}; }
  };

  Task(Task&& other) noexcept : handle_{std::exchange(other.handle_, nullptr)} {}
  Task& operator=(Task&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Task() {
    if (handle_) handle_.destroy();
  }

  /// Awaits this task in another scope than the awaiting coroutine's. `context` outlives the await.
  auto in(Context& context) && noexcept { return Awaiter{handle_, &context}; }
  auto operator co_await() && noexcept { return Awaiter{handle_, nullptr}; }

 private:
  struct Awaiter {
    std::coroutine_handle<promise_type> task;
    Context* context;

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> awaiting) const noexcept {
      task.promise().bind(context ? *context : awaiting.promise().context());
      task.promise().continuation = awaiting;
      return task;
    }
    T await_resume() const { return task.promise().take(); }
  };

  explicit Task(std::coroutine_handle<promise_type> handle) noexcept : handle_{handle} {}

  std::coroutine_handle<promise_type> handle_;
};

/// `Context& context = co_await current_context();`
struct CurrentContext {
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    context = &awaiting.promise().context();
    return false;
  }
  Context& await_resume() const noexcept { return *context; }

  Context* context = nullptr;
};
inline CurrentContext current_context() noexcept {
  return {};
}

/// A wait at the bottom of a chain of awaits: for a timer, a socket, another task.
///
/// A derived class starts its operation in `start`, calls `complete` when it is done (on the loop's
/// thread, once), and stops it in `stop`, which must either call `complete` now or later.
/// The awaiting coroutine goes on in the loop's next turn. Destroyed while it waits (with its
/// coroutine) it must unhook itself in its destructor.
class Suspension : protected detail::ReadyNode, private CancelScope::Member {
 public:
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> awaiting) {
    return begin(awaiting, awaiting.promise().context());
  }

 protected:
  enum class Cancellation { allowed, ignored };

  explicit Suspension(Cancellation cancellation = Cancellation::allowed) noexcept
      : cancellation_{cancellation} {}
  ~Suspension() = default;

  /// Begins the operation. Returns: false when there is nothing to wait for.
  virtual bool start() = 0;
  virtual void stop() = 0;
  void complete() noexcept;
  Loop& loop() const noexcept { return context_->loop; }
  /// To be called first in a derived `await_resume`. Errors: throws `Cancelled`.
  void throw_if_cancelled() const {
    if (cancelled_) throw Cancelled{};
  }

 private:
  bool begin(std::coroutine_handle<> awaiting, Context& context);
  void run() override { awaiting_.resume(); }
  void on_cancel() override;

  std::coroutine_handle<> awaiting_;
  Context* context_ = nullptr;
  Cancellation cancellation_;
  bool cancelled_ = false;
};

/// `co_await sleep_for(5s);`. Errors: throws `Cancelled`.
class Sleep final : public Suspension {
 public:
  explicit Sleep(SteadyTime::duration duration) noexcept : duration_{duration} {}
  void await_resume() const { throw_if_cancelled(); }

 private:
  bool start() override;
  void stop() override;

  SteadyTime::duration duration_;
  Timer timer_;
};
inline Sleep sleep_for(SteadyTime::duration duration) noexcept {
  return Sleep{duration};
}

/// Lets everything else that is ready run first; for long loops.
inline Sleep yield() noexcept {
  return Sleep{SteadyTime::duration::zero()};
}

}  // namespace pronto
