#pragma once

#include <deque>
#include <memory>
#include <mutex>

#include "pronto/async/loop.hpp"
#include "pronto/async/stream.hpp"

namespace pronto {

/// A loop for tests: time stands still until it is moved, the network is in memory, chance has a
/// seed.
///
/// Names resolve to 127.0.0.1 unless `set_host` says otherwise.
class VirtualLoop final : public Loop {
 public:
  explicit VirtualLoop(std::uint64_t seed = 1);
  ~VirtualLoop() override;

  void post(std::move_only_function<void()> work) override;
  SteadyTime now() const override { return now_; }
  WallTime wall_now() const override;
  Random& random() override { return random_; }
  Network& network() override;

  /// Runs until nothing is ready; time stands still.
  void run_until_idle();
  /// Runs all that comes due within `duration`, in order, moving the clock with it.
  void advance(SteadyTime::duration duration);
  /// Runs `task` to its end, moving the clock to the next timer whenever nothing is ready.
  /// Errors: what the task throws; a task that can never end ends the process.
  template <class T>
  T run(Task<T> task);

  /// What `host` resolves to from now on. An empty list: the name is not known.
  void set_host(std::string host, std::vector<IpAddress> addresses);
  /// The next `count` connects are refused.
  void refuse_connects(int count);

 private:
  class MemoryNetwork;
  void run_until(const bool& done);

  SteadyTime now_{};
  SeededRandom random_;
  std::unique_ptr<MemoryNetwork> network_;
  std::mutex posted_mutex_;
  std::deque<std::move_only_function<void()>> posted_;
};

namespace detail {
struct DriverPromise;
/// A coroutine that a loop's owner drives from outside; ends suspended.
struct Driver {
  using promise_type = DriverPromise;
  std::coroutine_handle<> handle;
};
struct DriverPromise : PromiseBase {
  Driver get_return_object() noexcept {
    return {std::coroutine_handle<DriverPromise>::from_promise(*this)};
  }
  std::suspend_always final_suspend() const noexcept { return {}; }
  void return_void() const noexcept {}
  void unhandled_exception() const noexcept { std::terminate(); }
};
template <class T>
Driver drive(Task<T> task, std::exception_ptr& error,
             std::optional<std::conditional_t<std::is_void_v<T>, bool, T>>& value, bool& done) {
  try {
    if constexpr (std::is_void_v<T>) {
      co_await std::move(task);
      value = true;
    } else {
      value.emplace(co_await std::move(task));
    }
  } catch (...) {  // handed on to whoever drives
    error = std::current_exception();
  }
  done = true;
}
}  // namespace detail

template <class T>
T VirtualLoop::run(Task<T> task) {
  CancelScope scope;
  Context context{*this, scope};
  std::exception_ptr error;
  std::optional<std::conditional_t<std::is_void_v<T>, bool, T>> value;
  bool done = false;
  detail::Driver driver = detail::drive<T>(std::move(task), error, value, done);
  auto handle = std::coroutine_handle<detail::DriverPromise>::from_address(driver.handle.address());
  handle.promise().bind(context);
  handle.resume();
  run_until(done);
  handle.destroy();
  if (error) std::rethrow_exception(error);
  if constexpr (!std::is_void_v<T>) return std::move(*value);
}

}  // namespace pronto
