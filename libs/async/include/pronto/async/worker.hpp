#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "pronto/async/task.hpp"

namespace pronto {

/// A named thread for calls that block (SQLite, file trees); runs them one after another.
class Worker {
 public:
  explicit Worker(std::string name);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  /// Blocks: until what was handed in has run.
  ~Worker();

  /// Runs `call` on the worker's thread while the awaiting coroutine waits on its loop.
  ///
  /// The wait is not cancelled: what `call` refers to stays alive until it has run.
  /// Returns: what `call` returns. Errors: what it throws.
  template <class Call>
  Task<std::invoke_result_t<Call&>> run(Call call) {
    using Value = std::invoke_result_t<Call&>;
    struct Outcome {
      std::optional<std::conditional_t<std::is_void_v<Value>, bool, Value>> value;
      std::exception_ptr error;
    } outcome;
    co_await Wait{*this, [&call, &outcome]() noexcept {
                    try {
                      if constexpr (std::is_void_v<Value>) {
                        call();
                      } else {
                        outcome.value.emplace(call());
                      }
                    } catch (...) {  // handed on to the awaiting coroutine
                      outcome.error = std::current_exception();
                    }
                  }};
    if (outcome.error) std::rethrow_exception(outcome.error);
    if constexpr (!std::is_void_v<Value>) co_return std::move(*outcome.value);
  }

  /// Hands `call` in without waiting for it. Runs on: any thread.
  void post(std::move_only_function<void()> call);

 private:
  class Wait final : public Suspension {
   public:
    Wait(Worker& worker, std::move_only_function<void()> call) noexcept
        : Suspension{Cancellation::ignored}, worker_{worker}, call_{std::move(call)} {}
    void await_resume() const noexcept {}

   private:
    bool start() override;
    void stop() override {}

    Worker& worker_;
    std::move_only_function<void()> call_;
  };
  void work();

  std::string name_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::move_only_function<void()>> calls_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace pronto
