#include "relay.hpp"

#include <algorithm>
#include <deque>

#include "pronto/async/deadline.hpp"
#include "pronto/base/log.hpp"

namespace pronto::detail {
namespace {

constexpr std::size_t deleted_at_once_max = 1'000;
constexpr std::size_t confirmed_rows_max = 20'000;  // not deleted yet; beyond it publishing waits

/// Whether a failure is of one message, and not of the way to the broker.
bool is_of_message(client::Failure::Kind kind) {
  using Kind = client::Failure::Kind;
  return kind == Kind::unroutable || kind == Kind::nacked || kind == Kind::refused ||
         kind == Kind::too_large;
}

Task<> wait_once(Signal& signal) {
  co_await signal.wait();
}

}  // namespace

Relay::Relay(Loop& loop, Database& database, client::Connection& connection, Exchanges& exchanges,
             Options options)
    : loop_{loop},
      database_{database},
      connection_{connection},
      exchanges_{exchanges},
      options_{std::move(options)},
      tables_{options_.instance},
      tasks_{loop, "outbox relay"} {}

Task<Result<void, client::Failure>> Relay::start() {
  auto channel = co_await connection_.open_channel(
      {.unconfirmed_count_max = std::max<std::size_t>(options_.batch_max, 1),
       .blocked_limit = seconds{30}});
  if (!channel) co_return channel.error();
  channel_.emplace(std::move(*channel));
  counts_.waiting = static_cast<std::uint64_t>(co_await tables_.count_outbox(database_));
  if (counts_.waiting > 0) log::info("outbox taken up", {{"rows", counts_.waiting}});
  rescan_ = loop_.now() + options_.adopt_after;
  tasks_.spawn(run());
  co_return Result<void, client::Failure>{};
}

void Relay::wake(std::size_t count) {
  counts_.waiting += count;
  has_more_ = true;
  changed_.notify_all();
}

Task<> Relay::flush() {
  while (counts_.waiting > 0 || is_deleting_) co_await changed_.wait();
}

Task<> Relay::wait_for_room(std::size_t count_max) {
  while (counts_.waiting >= count_max) co_await changed_.wait();
}

Task<> Relay::stop() {
  tasks_.cancel();
  co_await tasks_.join();
}

Task<> Relay::wait_for_work() {
  while (loop_.now() < rescan_ &&
         (!has_more_ || is_paused_ || confirmed_.size() >= confirmed_rows_max)) {
    static_cast<void>(co_await with_deadline(rescan_ - loop_.now(), wait_once(changed_)));
  }
  if (loop_.now() < rescan_) co_return;
  // Read from the start: what was refused, and what others have left behind.
  rescan_ = loop_.now() + options_.adopt_after;
  cursor_ = 0;
  has_more_ = true;
  is_paused_ = false;
  parked_.clear();
}

Task<> Relay::run() {
  for (;;) {
    co_await wait_for_work();
    if (!has_more_) continue;
    const bool is_whole = cursor_ == 0;
    has_more_ = false;
    try {
      auto rows = co_await tables_.read_outbox(
          database_, cursor_, loop_.wall_now() - options_.adopt_after, options_.batch_max);
      if (rows.empty()) {
        if (is_whole && !has_more_ && confirmed_.empty()) {
          counts_.waiting = 0;  // whatever was miscounted when a commit's caller was cancelled
          changed_.notify_all();
        }
        continue;
      }
      cursor_ = rows.back().position;
      if (rows.size() == options_.batch_max) has_more_ = true;
      co_await relay(std::move(rows));
    } catch (const DatabaseError& error) {
      log::error("cannot read the outbox", {{"error", error.what()}});
      is_paused_ = true;
      rescan_at(loop_.now() + options_.retry_max);
    }
  }
}

Task<> Relay::relay(std::vector<OutboxRow> rows) {
  std::erase_if(rows, [this](const OutboxRow& row) {
    return confirmed_.contains(row.position) || parked_.contains(row.lane());
  });
  while (!rows.empty() && !is_paused_) {
    rows = co_await relay_wave(std::move(rows));
    if (!to_delete_.empty() && !is_deleting_) {
      is_deleting_ = true;
      tasks_.spawn(delete_confirmed());
    }
  }
}

/// Publishes the first row of each lane together. Returns: the rows that come after those.
Task<std::vector<OutboxRow>> Relay::relay_wave(std::vector<OutboxRow> rows) {
  std::vector<OutboxRow> later;
  std::vector<Sent> sent;
  std::unordered_set<std::string> busy;
  for (OutboxRow& row : rows) {
    const std::string lane = row.lane();
    if (!lane.empty() && !busy.insert(lane).second) {
      later.push_back(std::move(row));
      continue;
    }
    if (is_paused_) continue;
    const auto declared = co_await exchanges_.ensure(row.message.type, row.message.kind);
    if (!declared) {
      fail(row, declared.error());
      continue;
    }
    auto confirmation = co_await channel_->send(to_client_message(row.message));
    if (!confirmation) {
      fail(row, confirmation.error());
      continue;
    }
    sent.push_back({std::move(row), std::move(*confirmation)});
  }
  std::size_t confirmed_count = 0;
  for (const Sent& one : sent) {
    const auto outcome = co_await one.confirmation.wait();
    if (outcome) {
      settle(one.row);
      ++confirmed_count;
    } else {
      fail(one.row, outcome.error());
    }
  }
  if (confirmed_count > 0) {
    backoff_ = milliseconds{0};
    if (options_.on_relayed) options_.on_relayed(confirmed_count);
    changed_.notify_all();
  }
  std::erase_if(later, [this](const OutboxRow& row) { return parked_.contains(row.lane()); });
  co_return later;
}

void Relay::settle(const OutboxRow& row) {
  ++counts_.relayed_total;
  if (row.instance == options_.instance && counts_.waiting > 0) --counts_.waiting;
  confirmed_.insert(row.position);
  to_delete_.push_back(row.position);
}

void Relay::fail(const OutboxRow& row, const client::Failure& failure) {
  ++counts_.failed_total;
  if (is_of_message(failure.kind)) {
    const std::string lane = row.lane();
    // A row without a key waits alone; its lane would be everybody's.
    if (!lane.empty()) parked_.insert(lane);
    log::warning("an outbox message was refused and waits",
                 {{"id", row.message.id}, {"type", row.message.type}, {"error", failure.text}});
  } else if (!is_paused_) {
    is_paused_ = true;
    log::warning("the outbox waits for the broker",
                 {{"why", client::name_of(failure.kind)}, {"error", failure.text}});
  }
  backoff_ = std::clamp(backoff_, options_.retry_min, options_.retry_max);
  rescan_at(loop_.now() + backoff_);
}

void Relay::rescan_at(SteadyTime when) {
  if (when >= rescan_) return;
  rescan_ = when;
  backoff_ = std::min(backoff_ * 2, options_.retry_max);
  changed_.notify_all();
}

Task<> Relay::delete_confirmed() {
  while (!to_delete_.empty()) {
    const std::size_t count = std::min(to_delete_.size(), deleted_at_once_max);
    std::vector<std::int64_t> positions(to_delete_.begin(),
                                        to_delete_.begin() + static_cast<std::ptrdiff_t>(count));
    std::ranges::sort(positions);
    bool is_failed = false;
    try {
      co_await database_.transact([&positions](Transaction& transaction) {
        return Tables::delete_from_outbox(transaction, positions);
      });
    } catch (const DatabaseError& error) {
      log::error("cannot delete from the outbox", {{"error", error.what()}});
      is_failed = true;
    }
    if (is_failed) {
      co_await sleep_for(options_.retry_max);  // published again only after a restart
      continue;
    }
    to_delete_.erase(to_delete_.begin(), to_delete_.begin() + static_cast<std::ptrdiff_t>(count));
    for (const std::int64_t position : positions) confirmed_.erase(position);
    changed_.notify_all();
  }
  is_deleting_ = false;
  changed_.notify_all();
}

}  // namespace pronto::detail
