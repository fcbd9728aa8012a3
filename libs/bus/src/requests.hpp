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
  Task<Result<std::string, BusFailure>> request(OutgoingMessage message, RequestOptions options);

 private:
  using Reply = Result<std::string, BusFailure>;

  struct Waiting {
    Promise<Reply> reply;
    bool is_stored = false;  // the broker has confirmed the request
  };
  Task<Reply> ask(std::string id, OutgoingMessage message, RequestOptions options);
  void on_reply(const client::Delivery& reply);

  Core& core_;
  std::optional<client::Channel> channel_;
  std::unordered_map<std::string, Waiting> waiting_;  // by correlation id
};

}  // namespace pronto::detail
