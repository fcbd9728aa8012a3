#pragma once

#include <list>
#include <memory>
#include <string>

#include "pronto/async/sync.hpp"
#include "pronto/async/task.hpp"

namespace pronto {

/// The owner of running tasks: starts them, cancels them, waits for them.
///
/// A task that leaves with an exception other than `Cancelled` is logged with the group's name; the
/// others go on. Destroyed with tasks still waiting it destroys them where they wait: prefer
/// `cancel` and `join`. Runs on: the loop's thread.
class TaskGroup {
 public:
  TaskGroup(Loop& loop, std::string name);
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;
  ~TaskGroup();

  /// Starts `task` on the loop's next turn.
  void spawn(Task<> task);
  /// Starts what `make` returns, and keeps `make` (a lambda and its captures) alive until it has
  /// ended.
  template <class Make>
    requires std::is_invocable_r_v<Task<>, Make&>
  void spawn(Make make) {
    spawn(keep(std::move(make)));
  }

  /// Ends the waits of all tasks, and of those spawned later, with `Cancelled`.
  void cancel() { scope_.cancel(); }
  /// Waits until no task is left. Errors: throws `Cancelled`.
  Task<> join();
  std::size_t size() const noexcept { return size_; }
  Loop& loop() const noexcept { return context_.loop; }

 private:
  class Root;
  template <class Make>
  static Task<> keep(Make make) {
    co_await make();
  }
  static Root run(TaskGroup& group, Task<> task);

  std::string name_;
  CancelScope scope_;
  Context context_;
  detail::ListNode roots_;
  std::size_t size_ = 0;
  Signal ended_;
};

}  // namespace pronto
