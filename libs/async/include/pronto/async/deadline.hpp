#pragma once

#include <type_traits>

#include "pronto/async/task.hpp"
#include "pronto/base/result.hpp"

namespace pronto {

namespace detail {
template <class T>
struct WithDeadline {
  using type = Result<T>;
};
template <class T>
struct WithDeadline<Result<T>> {
  using type = Result<T>;
};
}  // namespace detail

/// Awaits `task`, at most for `limit`; then it is cancelled.
///
/// Returns: the task's value; a `Task<Result<T>>` stays a Result, not a Result in a Result.
/// Errors: `Error::timed_out`, the task's own; throws `Cancelled` when the caller is cancelled.
template <class T>
Task<typename detail::WithDeadline<T>::type> with_deadline(SteadyTime::duration limit,
                                                           Task<T> task) {
  Context& outer = co_await current_context();
  CancelScope scope{outer.scope};
  Context inner{outer.loop, scope};
  bool is_over = false;
  const Timer timer{outer.loop, limit, [&is_over, &scope] {
                      is_over = true;
                      scope.cancel();
                    }};
  try {
    if constexpr (std::is_void_v<T>) {
      co_await std::move(task).in(inner);
      co_return Result<void>{};
    } else {
      co_return co_await std::move(task).in(inner);
    }
  } catch (const Cancelled&) {
    if (!is_over || outer.scope.is_cancelled()) throw;
  }
  co_return Error::timed_out;
}

}  // namespace pronto
