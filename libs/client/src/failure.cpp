#include "pronto/client/failure.hpp"

namespace pronto::client {

std::string_view name_of(Failure::Kind kind) noexcept {
  switch (kind) {
    case Failure::Kind::unroutable:
      return "unroutable";
    case Failure::Kind::nacked:
      return "nacked";
    case Failure::Kind::disconnected:
      return "disconnected";
    case Failure::Kind::blocked:
      return "blocked";
    case Failure::Kind::timed_out:
      return "timed_out";
    case Failure::Kind::refused:
      return "refused";
    case Failure::Kind::unreachable:
      return "unreachable";
    case Failure::Kind::broken_peer:
      return "broken_peer";
    case Failure::Kind::too_large:
      return "too_large";
    case Failure::Kind::closed:
      return "closed";
  }
  return "unknown";
}

bool is_transient(Failure::Kind kind) noexcept {
  switch (kind) {
    case Failure::Kind::nacked:
    case Failure::Kind::disconnected:
    case Failure::Kind::blocked:
    case Failure::Kind::timed_out:
    case Failure::Kind::unreachable:
      return true;
    case Failure::Kind::unroutable:
    case Failure::Kind::refused:
    case Failure::Kind::broken_peer:
    case Failure::Kind::too_large:
    case Failure::Kind::closed:
      return false;
  }
  return false;
}

}  // namespace pronto::client
