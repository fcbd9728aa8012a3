#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "pronto/async/sync.hpp"
#include "pronto/async/task.hpp"
#include "pronto/base/result.hpp"
#include "pronto/base/time.hpp"
#include "pronto/bus/failure.hpp"
#include "pronto/client/connection.hpp"

namespace pronto {

/// A message that no attempt could handle, as it waits for somebody to decide.
struct DeadLetter {
  std::string id;    ///< of the message
  std::string type;  ///< its wire name
  int version = 1;
  std::string queue;  ///< where it could not be handled, and where a retry sends it
  std::string key;    ///< what orders it; may be empty
  std::string handler;
  std::string error;  ///< of the last attempt
  int attempts = 0;
  WallTime made_at{};
  WallTime first_failed_at{};
  WallTime dead_at{};
  std::string traceparent;
  std::string body;  ///< JSON; cut at 64 KiB
};

/// Dead letters of queues: look, send back, drop. What is looked at stays where it is.
///
/// Each call takes up to `scanned_max` letters in hand for a moment and gives back all but those it
/// was asked to move, in their order. Works for any service's queue, from any process.
/// Runs on: the loop's thread; calls wait for each other.
class DeadLetters {
 public:
  struct Options {
    std::size_t scanned_max = 1'000;
    milliseconds limit = seconds{30};  ///< of time, for one call
  };

  /// `connection` outlives this.
  DeadLetters(client::Connection& connection, Options options);
  explicit DeadLetters(client::Connection& connection) : DeadLetters{connection, Options{}} {}

  /// The name of the queue that `queue`'s dead letters wait in.
  static std::string queue_of(const std::string& queue) { return queue + ".dead"; }

  /// How many there are for `queue`; none when nobody has declared it. Errors: `unavailable`,
  /// `timed_out`, `refused`.
  Task<Result<std::size_t, BusFailure>> count(std::string queue);
  /// The oldest `count_max` of `queue`. Errors: as `count`.
  Task<Result<std::vector<DeadLetter>, BusFailure>> list(std::string queue,
                                                         std::size_t count_max = 100);
  /// Sends one back to `queue`, with its attempts counted from the start; gone from here once the
  /// broker has confirmed it there. Errors: as `count`; `not_found`.
  Task<Result<void, BusFailure>> retry(std::string queue, std::string id);
  /// Sends back all, up to `scanned_max`. Returns: how many. Errors: as `count`.
  Task<Result<std::size_t, BusFailure>> retry_all(std::string queue);
  /// Drops one for ever; the log keeps its id and `reason`. Errors: as `retry`.
  Task<Result<void, BusFailure>> discard(std::string queue, std::string id, std::string reason);
  Task<Result<std::size_t, BusFailure>> discard_all(std::string queue, std::string reason);

 private:
  enum class Verdict { keep, retry, discard, stop };
  using Decide = std::function<Verdict(const DeadLetter&)>;
  Task<Result<void, BusFailure>> move_one(std::string queue, std::string id, Verdict verdict);
  Task<Result<std::size_t, BusFailure>> go_through(std::string queue, Decide decide);
  Task<Result<std::size_t, BusFailure>> go_through_in_turn(std::string queue, Decide decide);

  client::Connection& connection_;
  Options options_;
  Slots turn_{1};
};

}  // namespace pronto
