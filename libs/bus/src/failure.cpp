#include "failures.hpp"

namespace pronto {

std::string_view name_of(BusFailure::Kind kind) noexcept {
  using Kind = BusFailure::Kind;
  switch (kind) {
    case Kind::unroutable:
      return "unroutable";
    case Kind::unavailable:
      return "unavailable";
    case Kind::blocked:
      return "blocked";
    case Kind::timed_out:
      return "timed_out";
    case Kind::unanswered:
      return "unanswered";
    case Kind::failed:
      return "failed";
    case Kind::refused:
      return "refused";
    case Kind::too_large:
      return "too_large";
    case Kind::not_found:
      return "not_found";
    case Kind::closed:
      return "closed";
  }
  return "unknown";
}

namespace detail {

BusFailure to_bus_failure(const client::Failure& failure) {
  using From = client::Failure::Kind;
  using Kind = BusFailure::Kind;
  switch (failure.kind) {
    case From::unroutable:
      return {Kind::unroutable, failure.text};
    case From::nacked:
    case From::disconnected:
    case From::unreachable:
    case From::broken_peer:
      return {Kind::unavailable, failure.text};
    case From::blocked:
      return {Kind::blocked, failure.text};
    case From::timed_out:
      return {Kind::timed_out, failure.text};
    case From::refused:
      return {Kind::refused, failure.text};
    case From::too_large:
      return {Kind::too_large, failure.text};
    case From::closed:
      break;
  }
  return {Kind::closed, failure.text};
}

}  // namespace detail

}  // namespace pronto
