#include "pronto/async/loop.hpp"

#include "pronto/async/task.hpp"

namespace pronto {

TimerId Loop::start_timer(SteadyTime due, std::move_only_function<void()> work) {
  const TimerId id = ++last_timer_;
  timers_.emplace(TimerKey{due, id}, std::move(work));
  due_by_timer_.emplace(id, due);
  return id;
}

void Loop::stop_timer(TimerId timer) {
  const auto found = due_by_timer_.find(timer);
  if (found == due_by_timer_.end()) return;
  timers_.erase(TimerKey{found->second, timer});
  due_by_timer_.erase(found);
}

void Loop::run_ready() {
  detail::ListNode turn;
  turn.splice(ready_);
  while (turn.is_linked()) {
    auto* node = static_cast<detail::ReadyNode*>(turn.next());
    node->unlink();
    node->run();
  }
}

void Loop::run_due_timers() {
  const SteadyTime until = now();
  while (!timers_.empty() && timers_.begin()->first.first <= until) {
    auto due = timers_.extract(timers_.begin());
    due_by_timer_.erase(due.key().second);
    due.mapped()();
  }
}

std::optional<SteadyTime> Loop::next_timer() const {
  if (timers_.empty()) return std::nullopt;
  return timers_.begin()->first.first;
}

CancelScope::CancelScope(CancelScope& parent) : cancelled_{parent.cancelled_} {
  if (!cancelled_) in_parent_.link_before(parent.members_);
}

void CancelScope::cancel() {
  if (cancelled_) return;
  cancelled_ = true;
  while (members_.is_linked()) {
    auto* member = static_cast<Member*>(members_.next());
    member->unlink();
    member->on_cancel();
  }
}

bool Suspension::begin(std::coroutine_handle<> awaiting, Context& context) {
  awaiting_ = awaiting;
  context_ = &context;
  if (cancellation_ == Cancellation::allowed) {
    if (context.scope.is_cancelled()) {
      cancelled_ = true;
      return false;
    }
    CancelScope::Member::link_before(context.scope.members_);
  }
  if (start()) return true;
  CancelScope::Member::unlink();
  return false;
}

void Suspension::complete() noexcept {
  CancelScope::Member::unlink();
  context_->loop.make_ready(*this);
}

void Suspension::on_cancel() {
  cancelled_ = true;
  stop();
}

bool Sleep::start() {
  timer_ = Timer{loop(), duration_, [this] { complete(); }};
  return true;
}

void Sleep::stop() {
  timer_.stop();
  complete();
}

}  // namespace pronto
