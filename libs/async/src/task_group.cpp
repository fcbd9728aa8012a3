#include "pronto/async/task_group.hpp"

#include "pronto/base/log.hpp"

namespace pronto {

/// The coroutine at the top of a task; owned by the group's list, destroys itself at its end.
class TaskGroup::Root {
 public:
  struct promise_type final : detail::PromiseBase, detail::ReadyNode {
    promise_type(TaskGroup& group, Task<>&) : owner{group} { place.promise = this; }
    Root get_return_object() noexcept {
      return Root{std::coroutine_handle<promise_type>::from_promise(*this)};
    }
    struct End {
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<promise_type> ended) const noexcept {
        TaskGroup& group = ended.promise().owner;
        ended.destroy();
        --group.size_;
        group.ended_.notify_all();
      }
      void await_resume() const noexcept {}
    };
    End final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept {
      try {
        throw;
      } catch (const Cancelled&) {  // a normal end
      } catch (const std::exception& error) {
        log::error("a task failed", {{"group", owner.name_}, {"error", error.what()}});
      }
    }
    void run() override { std::coroutine_handle<promise_type>::from_promise(*this).resume(); }

    struct Place : detail::ListNode {
      promise_type* promise = nullptr;
    };
    TaskGroup& owner;
    Place place;
  };

  explicit Root(std::coroutine_handle<promise_type> handle) : handle_{handle} {}
  promise_type& promise() const { return handle_.promise(); }

 private:
  std::coroutine_handle<promise_type> handle_;
};

TaskGroup::TaskGroup(Loop& loop, std::string name)
    : name_{std::move(name)}, context_{loop, scope_} {}

TaskGroup::~TaskGroup() {
  while (roots_.is_linked()) {
    auto* place = static_cast<Root::promise_type::Place*>(roots_.next());
    place->unlink();
    std::coroutine_handle<Root::promise_type>::from_promise(*place->promise).destroy();
  }
}

TaskGroup::Root TaskGroup::run(TaskGroup&, Task<> task) {
  co_await std::move(task);
}

void TaskGroup::spawn(Task<> task) {
  const Root root = run(*this, std::move(task));
  root.promise().bind(context_);
  root.promise().place.link_before(roots_);
  ++size_;
  context_.loop.make_ready(root.promise());
}

Task<> TaskGroup::join() {
  while (size_ > 0) co_await ended_.wait();
}

}  // namespace pronto
