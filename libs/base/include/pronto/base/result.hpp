#pragma once

#include <concepts>
#include <expected>
#include <system_error>
#include <type_traits>
#include <utility>

#include "pronto/base/assert.hpp"
#include "pronto/base/error.hpp"

namespace pronto {

/// A value, or the reason why there is none. `return value;`, `return error;` and
/// `return Error::closed;` all convert.
///
/// `if (!result) return result.error();` is the house's way to pass an error on.
/// Errors: reading the value of a failed result is a bug of ours and ends the process.
template <class T, class E = std::error_code>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  using error_type = E;

  template <class U = T>
    requires std::constructible_from<T, U> && (!std::same_as<std::remove_cvref_t<U>, Result>) &&
             (!std::convertible_to<U, E> || std::same_as<std::remove_cvref_t<U>, T>)
  Result(U&& value) : state_{std::in_place, std::forward<U>(value)} {}  // NOLINT: implicit
  template <class G>
    requires std::convertible_to<G, E> && (!std::same_as<std::remove_cvref_t<G>, T>) &&
             (!std::same_as<std::remove_cvref_t<G>, Result>)
  Result(G&& error) : state_{std::unexpect, std::forward<G>(error)} {}  // NOLINT: implicit

  bool has_value() const noexcept { return state_.has_value(); }
  explicit operator bool() const noexcept { return has_value(); }

  T& value() & { return checked(), *state_; }
  const T& value() const& { return checked(), *state_; }
  T&& value() && { return checked(), std::move(*state_); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  template <class U>
  T value_or(U&& other) const& {
    return state_.value_or(std::forward<U>(other));
  }

  const E& error() const {
    PRONTO_ASSERT(!state_.has_value());
    return state_.error();
  }

 private:
  void checked() const { PRONTO_ASSERT(state_.has_value()); }

  std::expected<T, E> state_;
};

/// Success without a value: `return {};`.
template <class E>
class [[nodiscard]] Result<void, E> {
 public:
  using value_type = void;
  using error_type = E;

  Result() = default;
  template <class G>
    requires std::convertible_to<G, E> && (!std::same_as<std::remove_cvref_t<G>, Result>)
  Result(G&& error) : state_{std::unexpect, std::forward<G>(error)} {}  // NOLINT: implicit

  bool has_value() const noexcept { return state_.has_value(); }
  explicit operator bool() const noexcept { return has_value(); }
  void value() const { PRONTO_ASSERT(state_.has_value()); }
  const E& error() const {
    PRONTO_ASSERT(!state_.has_value());
    return state_.error();
  }

 private:
  std::expected<void, E> state_;
};

}  // namespace pronto
