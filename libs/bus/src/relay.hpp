#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "exchanges.hpp"
#include "pronto/async/sync.hpp"
#include "pronto/async/task_group.hpp"
#include "pronto/bus/database.hpp"
#include "tables.hpp"

namespace pronto::detail {

/// Publishes what transactions have put into the outbox, and deletes it once it is confirmed.
///
/// Rows of one lane (contract and key) leave one after another, in the order of their commits; all
/// others are under way together. A row that no queue takes stays, its lane waits and is tried
/// again; nobody else waits for it. While the broker is away all wait.
///
///     row committed --wake--> read behind the cursor --> published --> confirmed --> deleted
///                                      ^                    |
///                                      +---- rescan --------+ refused: its lane waits
///
/// A crash between confirm and delete publishes again, under the same id. Runs on: the loop's
/// thread.
class Relay {
 public:
  struct Options {
    std::string instance{};
    milliseconds adopt_after{10'000};
    std::size_t batch_max = 500;
    milliseconds retry_min{200};
    milliseconds retry_max{15'000};
    /// Called with the number of rows confirmed, before they are deleted.
    std::function<void(std::size_t)> on_relayed{};
  };
  struct Counts {
    std::uint64_t relayed_total = 0;
    std::uint64_t failed_total = 0;
    std::uint64_t waiting = 0;  ///< rows of this instance that are not confirmed yet
  };

  /// All outlive the relay.
  Relay(Loop& loop, Database& database, client::Connection& connection, Exchanges& exchanges,
        Options options);

  /// Takes up what an earlier process left, and goes on from there. Errors: throws `DatabaseError`;
  /// a failure of the broker.
  Task<Result<void, client::Failure>> start();
  /// `count` rows were committed just now.
  void wake(std::size_t count);
  /// Waits until no row waits. Errors: throws `Cancelled`.
  Task<> flush();
  /// Waits until fewer than `count_max` rows wait. Errors: throws `Cancelled`.
  Task<> wait_for_room(std::size_t count_max);
  /// Ends the relay; what it has not confirmed stays. Errors: throws `Cancelled`.
  Task<> stop();

  const Counts& counts() const noexcept { return counts_; }

 private:
  struct Sent {
    OutboxRow row;
    client::Confirmation confirmation;
  };

  Task<> run();
  Task<> relay(std::vector<OutboxRow> rows);
  Task<std::vector<OutboxRow>> relay_wave(std::vector<OutboxRow> rows);
  Task<> wait_for_work();
  void settle(const OutboxRow& row);
  void fail(const OutboxRow& row, const client::Failure& failure);
  void rescan_at(SteadyTime when);
  Task<> delete_confirmed();

  Loop& loop_;
  Database& database_;
  client::Connection& connection_;
  Exchanges& exchanges_;
  Options options_;
  Tables tables_;
  std::optional<client::Channel> channel_;
  Counts counts_;
  std::int64_t cursor_ = 0;
  bool has_more_ = true;    // behind the cursor, as far as is known
  bool is_paused_ = false;  // the broker is away: nothing until the rescan
  milliseconds backoff_{0};
  SteadyTime rescan_{};                         // when to read from the start again
  std::unordered_set<std::string> parked_;      // lanes that wait for the rescan
  std::unordered_set<std::int64_t> confirmed_;  // positions published and not deleted yet
  std::vector<std::int64_t> to_delete_;
  bool is_deleting_ = false;
  Signal changed_;
  TaskGroup tasks_;
};

}  // namespace pronto::detail
