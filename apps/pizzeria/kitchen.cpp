#include "kitchen.hpp"

#include <algorithm>

#include "menu.hpp"
#include "order.hpp"
#include "pronto/base/assert.hpp"

namespace pizzeria {

using pronto::Rows;
using pronto::Task;
using pronto::Transaction;
using pronto::WallTime;

namespace {

constexpr std::int64_t in_work_count_max = 512;

/// An order's row. `ticketed` is the stage whose ticket was last sent out: a ticket of an earlier
/// one is a copy.
struct Entry {
  std::string order;
  std::string customer;
  std::optional<OrderPlaced> placed;  // not while only a cancellation has come
  std::string status;
  std::int64_t sequence = 0;
  std::string ticketed;
  std::optional<WallTime> due;
  std::vector<Step> journey;
};

template <class T>
T from_text(const std::string& text) {
  auto value = pronto::from_json<T>(text);
  if (!value) {
    throw pronto::DatabaseError{pronto::DatabaseError::Kind::usage,
                                "executor_orders holds " + value.error()};
  }
  return std::move(*value);
}

Task<std::optional<Entry>> find(Transaction& tx, std::string order) {
  const Rows rows = co_await tx.execute(
      "select customer, placed, status, sequence, ticketed, due_at, journey from executor_orders"
      " where order_id = $1",
      order);
  if (rows.empty()) co_return std::nullopt;
  const pronto::Row& row = rows[0];
  Entry entry{.order = std::move(order),
              .customer = row.text(0),
              .placed = std::nullopt,
              .status = row.text(2),
              .sequence = row.integer(3),
              .ticketed = row.text(4),
              .due = std::nullopt,
              .journey = from_text<std::vector<Step>>(row.text(6))};
  if (!row.is_null(1)) entry.placed = from_text<OrderPlaced>(row.text(1));
  if (!row.is_null(5)) entry.due = WallTime{pronto::milliseconds{row.integer(5)}};
  co_return entry;
}

Task<> insert(Transaction& tx, const Entry& entry) {
  std::optional<std::string> placed;
  if (entry.placed) placed = pronto::to_json(*entry.placed);
  co_await tx.execute(
      "insert into executor_orders (order_id, customer, placed, status, sequence, ticketed, due_at,"
      " journey, is_open) values ($1, $2, $3, $4, $5, $6, null, $7, $8)",
      entry.order, entry.customer, std::move(placed), entry.status, entry.sequence, entry.ticketed,
      pronto::to_json(entry.journey), is_final(entry.status) ? 0 : 1);
}

Task<> update(Transaction& tx, const Entry& entry) {
  std::optional<std::int64_t> due;
  if (entry.due) due = pronto::millis_of(*entry.due);
  std::optional<std::string> placed;
  if (entry.placed) placed = pronto::to_json(*entry.placed);
  co_await tx.execute(
      "update executor_orders set placed = $2, status = $3, sequence = $4, ticketed = $5,"
      " due_at = $6, journey = $7, is_open = $8 where order_id = $1",
      entry.order, std::move(placed), entry.status, entry.sequence, entry.ticketed, due,
      pronto::to_json(entry.journey), is_final(entry.status) ? 0 : 1);
}

/// Tells of the status that `entry` is in.
OrderStatus status_of(const Entry& entry) {
  OrderStatus event{.order = entry.order,
                    .customer = entry.customer,
                    .status = entry.status,
                    .at = entry.journey.back().at,
                    .sequence = entry.sequence,
                    .placed = std::nullopt,
                    .journey = std::nullopt};
  if (is_final(entry.status)) {
    event.placed = entry.placed;
    event.journey = entry.journey;
  }
  return event;
}

/// Moves `entry` on to `status` and tells of it.
OrderStatus advance(Entry& entry, std::string_view status, WallTime now) {
  entry.status = status;
  ++entry.sequence;
  entry.journey.push_back({entry.status, pronto::to_rfc3339(now), entry.sequence});
  return status_of(entry);
}

bool can_be_made(const OrderPlaced& event) {
  return !event.items.empty() && std::ranges::all_of(event.items, [](const Item& item) {
    return find_pizza(item.pizza) && find_size(item.size) && item.quantity > 0;
  });
}

/// The place of `stage` in `stages`, or nothing.
std::optional<std::size_t> stage_index(std::string_view stage) {
  const auto found = std::ranges::find(stages, stage);
  if (found == stages.end()) return std::nullopt;
  return static_cast<std::size_t>(found - stages.begin());
}

}  // namespace

std::vector<pronto::Migration> Kitchen::migrations() {
  return {{1,
           "create table executor_orders (order_id text primary key, customer text not null,"
           " placed text, status text not null, sequence bigint not null, ticketed text not null,"
           " due_at bigint, journey text not null, is_open integer not null);"
           "create index executor_orders_open on executor_orders (is_open) where is_open = 1;"},
          {2,
           "create index executor_orders_due on executor_orders (due_at)"
           " where due_at is not null;"}};
}

Task<Kitchen::Opened> Kitchen::open(Transaction& tx, OrderPlaced event, WallTime now) {
  Opened opened;
  if (auto known = co_await find(tx, event.order)) {
    if (!known->placed) {
      // Cancelled before it came. Nothing is made, but now the last status can tell what it was of:
      // sent again under its number, for those who call back.
      known->placed = event;
      known->journey.front().at = event.placed_at;
      opened.status = status_of(*known);
      co_await update(tx, *known);
    }
    co_return opened;
  }
  Entry entry{.order = event.order,
              .customer = event.customer,
              .placed = event,
              .status = std::string{status_placed},
              .sequence = 1,
              .ticketed = std::string{stages.front()},
              .due = std::nullopt,
              .journey = {{std::string{status_placed}, event.placed_at, 1}}};
  if (can_be_made(event)) {
    opened.ticket = Ticket{event.order, std::string{stages.front()}};
  } else {
    opened.status = advance(entry, status_failed, now);
  }
  co_await insert(tx, entry);
  co_return opened;
}

Task<Kitchen::Begun> Kitchen::begin(Transaction& tx, Ticket ticket, WallTime now,
                                    pronto::milliseconds duration) {
  Begun begun;
  auto entry = co_await find(tx, ticket.order);
  if (!entry || is_final(entry->status) || entry->ticketed != ticket.stage) co_return begun;
  if (entry->status != ticket.stage) {
    begun.status = advance(*entry, ticket.stage, now);
    entry->due = now + duration;
    co_await update(tx, *entry);
  }
  begun.due = entry->due;
  co_return begun;
}

Task<Kitchen::Finished> Kitchen::finish(Transaction& tx, Ticket ticket, WallTime now) {
  Finished finished;
  auto entry = co_await find(tx, ticket.order);
  if (!entry || entry->status != ticket.stage || entry->ticketed != ticket.stage) {
    co_return finished;
  }
  const auto index = stage_index(ticket.stage);
  if (!index) co_return finished;
  entry->due.reset();
  if (*index + 1 < stages.size()) {
    entry->ticketed = stages[*index + 1];
    finished.ticket = Ticket{ticket.order, entry->ticketed};
  } else {
    entry->ticketed.clear();
    finished.status = advance(*entry, status_ready, now);
  }
  co_await update(tx, *entry);
  co_return finished;
}

Task<Kitchen::Decided> Kitchen::cancel(Transaction& tx, CancelOrder request, WallTime now) {
  Decided decided;
  auto entry = co_await find(tx, request.order);
  if (!entry) {
    Entry made{.order = request.order,
               .customer = request.customer,
               .placed = std::nullopt,
               .status = std::string{status_placed},
               .sequence = 1,
               .ticketed = {},
               .due = std::nullopt,
               .journey = {{std::string{status_placed}, pronto::to_rfc3339(now), 1}}};
    decided.status = advance(made, status_cancelled, now);
    co_await insert(tx, made);
    decided.outcome = {true, made.status};
    co_return decided;
  }
  if (is_cancellable(entry->status)) {
    decided.status = advance(*entry, status_cancelled, now);
    entry->ticketed.clear();
    entry->due.reset();
    co_await update(tx, *entry);
  }
  decided.outcome = {entry->status == status_cancelled, entry->status};
  co_return decided;
}

Task<Kitchen::InWork> Kitchen::in_work(pronto::Database& database) {
  const Rows rows = co_await database.query(
      "select ticketed, due_at, journey from executor_orders where due_at is not null"
      " order by due_at limit $1",
      in_work_count_max);
  InWork found;
  for (const pronto::Row& row : rows) {
    const auto index = stage_index(row.text(0));
    if (!index) continue;
    const WallTime due{pronto::milliseconds{row.integer(1)}};
    found.due[*index].push_back(due);
    if (found.duration[*index]) continue;
    const auto journey = from_text<std::vector<Step>>(row.text(2));
    const auto begun = journey.empty() ? std::nullopt : pronto::from_rfc3339(journey.back().at);
    if (begun && *begun <= due) found.duration[*index] = due - *begun;
  }
  co_return found;
}

Task<std::int64_t> Kitchen::count_open(pronto::Database& database) {
  const Rows rows =
      co_await database.query("select count(*) from executor_orders where is_open = 1");
  co_return rows[0].integer(0);
}

Task<std::vector<std::string>> Kitchen::finished_of(pronto::Database& database,
                                                    std::vector<std::string> orders) {
  PRONTO_ASSERT(orders.size() <= asked_at_once_max);
  std::vector<std::string> finished;
  if (orders.empty()) co_return finished;
  // Always as many parameters, so that it is one prepared statement; no order's id is empty.
  static const std::string sql = [] {
    std::string text = "select order_id from executor_orders where is_open = 0 and order_id in (";
    for (std::size_t i = 1; i <= asked_at_once_max; ++i) {
      text += (i == 1 ? "$" : ", $") + std::to_string(i);
    }
    return text + ')';
  }();
  std::vector<pronto::SqlValue> parameters;
  for (std::string& order : orders) parameters.emplace_back(std::move(order));
  parameters.resize(asked_at_once_max, std::string{});
  const Rows rows = co_await database.run_query(sql, std::move(parameters));
  for (const pronto::Row& row : rows) finished.push_back(row.text(0));
  co_return finished;
}

}  // namespace pizzeria
