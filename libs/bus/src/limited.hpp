#pragma once

#include <optional>
#include <utility>

#include "pronto/async/deadline.hpp"

namespace pronto::detail {

/// As `with_deadline`, for a task whose value is a Result with an error of its own kind.
/// Returns: nothing when the time was over.
template <class T>
Task<std::optional<T>> within(SteadyTime::duration limit, Task<T> task) {
  auto in_time = co_await with_deadline(limit, [](Task<T> inner) -> Task<std::optional<T>> {
    co_return std::optional<T>{co_await std::move(inner)};
  }(std::move(task)));
  if (!in_time) co_return std::nullopt;
  co_return std::move(*in_time);
}

}  // namespace pronto::detail
