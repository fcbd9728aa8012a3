#include "pronto/base/error.hpp"

#include <cerrno>
#include <string>

namespace pronto {
namespace {

class Category final : public std::error_category {
 public:
  const char* name() const noexcept override { return "pronto"; }
  std::string message(int value) const override {
    switch (static_cast<Error>(value)) {
      case Error::end_of_stream:
        return "the peer closed the connection";
      case Error::timed_out:
        return "timed out";
      case Error::closed:
        return "closed";
      case Error::too_large:
        return "too large";
      case Error::malformed:
        return "malformed";
      case Error::damaged:
        return "damaged";
      case Error::not_found:
        return "not found";
      case Error::exists:
        return "exists already";
      case Error::locked:
        return "held by another process";
      case Error::too_new:
        return "written by a newer version";
      case Error::refused:
        return "refused";
      case Error::unroutable:
        return "no queue is bound for this message";
    }
    return "unknown error";
  }
};

}  // namespace

const std::error_category& error_category() noexcept {
  static const Category category;
  return category;
}

std::error_code make_error_code(Error error) noexcept {
  return {static_cast<int>(error), error_category()};
}

std::error_code last_system_error() noexcept {
  return {errno, std::system_category()};
}

}  // namespace pronto
