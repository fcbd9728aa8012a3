#pragma once

#include <optional>
#include <string>
#include <unordered_map>

#include "core.hpp"
#include "pronto/async/sync.hpp"

namespace pronto::detail {

/// Requests of this process and the replies to them, over the broker's direct reply-to.
/// Runs on: the loop's thread.
class Requests {
 public:
  explicit Requests(Core& core) : core_{core} {}

  /// Opens the channel that replies come in on. Errors: the broker's.
  Task<Result<void, BusFailure>> start();
  /// Errors: as `Bus::request`.
  Task<Result<std::string, BusFailure>> request(OutgoingMessage message, milliseconds limit);

 private:
  using Reply = Result<std::string, BusFailure>;

  Task<Reply> ask(std::string id, OutgoingMessage message, milliseconds limit);
  void on_reply(const client::Delivery& reply);

  Core& core_;
  std::optional<client::Channel> channel_;
  std::unordered_map<std::string, Promise<Reply>> waiting_;  // by correlation id
};

}  // namespace pronto::detail
