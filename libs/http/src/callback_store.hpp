#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pronto/bus/database.hpp"
#include "pronto/http/callback.hpp"

namespace pronto::http {

/// A callback whose time has come.
struct DueCallback {
  std::string id;
  std::string subject;
  std::string event;
  std::string url;
  std::string destination;
  std::string body;
  std::string secret;
  std::int64_t step = 0;     ///< attempts begun since the schedule began, with this one
  std::int64_t attempt = 0;  ///< attempts begun in all, with this one: which claim it is
};

/// How an attempt ended, and what follows.
struct CallbackOutcome {
  CallbackView::State state = CallbackView::State::waiting;
  WallTime next_try_at{};
  int status = 0;
  std::string error;
  milliseconds duration{0};
};

/// The rows of callbacks. Runs on: the loop's thread. Errors: all throw `DatabaseError`.
/// Source: docs/formats/http-tables.md.
class CallbackStore {
 public:
  CallbackStore(Database& database, std::string instance)
      : database_{database}, instance_{std::move(instance)} {}

  Task<> migrate();
  Task<bool> insert(Transaction& tx, std::string id, std::string destination, NewCallback callback,
                    WallTime now);
  /// Callbacks that are due and that nobody works on, oldest first, none to `blocked` destinations.
  Task<std::vector<DueCallback>> due(WallTime now, std::vector<std::string> blocked,
                                     std::size_t count_max);
  /// Returns: those that are now this instance's until `until`, their attempt counted.
  Task<std::vector<DueCallback>> claim(std::vector<DueCallback> due, WallTime now, WallTime until);
  /// Records how attempt number `attempt` has ended, unless its claim is not this instance's any
  /// more: it was sent again meanwhile, or taken over. Returns: whether it was recorded.
  Task<bool> record(std::string id, std::int64_t attempt, CallbackOutcome outcome, WallTime now);
  /// Nothing is due for `destination` before `until`; what began before `oldest` is given up.
  /// Returns: how many were given up.
  Task<std::int64_t> postpone(std::string destination, WallTime until, WallTime oldest,
                              WallTime now);
  /// When the next one is due, but for `blocked` destinations.
  Task<std::optional<WallTime>> next_due(std::vector<std::string> blocked);
  /// Gives back what an earlier process of this instance had claimed.
  Task<> release_claims();
  /// Begins again, whatever an attempt that is under way will say.
  /// Returns: the destination; nothing when there is no such callback, or it was delivered.
  Task<std::optional<std::string>> resend(std::string id, WallTime now);
  Task<std::int64_t> delete_finished(WallTime before, std::size_t count_max);
  Task<std::vector<CallbackView>> list(std::optional<CallbackView::State> state,
                                       std::size_t count_max);
  Task<std::vector<CallbackView>> of_subject(std::string subject);
  Task<std::vector<DestinationView>> destinations(std::size_t count_max);

 private:
  Database& database_;
  std::string instance_;
};

}  // namespace pronto::http
