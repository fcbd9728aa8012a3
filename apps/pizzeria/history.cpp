#include "history.hpp"

#include "pronto/base/crypto.hpp"
#include "pronto/base/text.hpp"

namespace pizzeria {

using pronto::Row;
using pronto::Rows;
using pronto::Task;
using pronto::Transaction;

namespace {

constexpr const char* columns =
    "order_id, customer, items, placed_at, estimated_ready_at, estimated_ready_latest, "
    "callback_url";

std::vector<Item> items_from(const std::string& text) {
  auto items = pronto::from_json<std::vector<Item>>(text);
  if (!items) {
    throw pronto::DatabaseError{pronto::DatabaseError::Kind::usage,
                                "history_orders holds " + items.error()};
  }
  return std::move(*items);
}

Order order_from(const Row& row) {
  Order order{.id = row.text(0),
              .customer = row.text(1),
              .items = items_from(row.text(2)),
              .placed_at = row.text(3),
              .estimated_ready_at = row.text(4),
              .estimated_ready_latest = row.text(5),
              .callback_url = std::nullopt,
              .journey = {}};
  if (!row.is_null(6)) order.callback_url = row.text(6);
  return order;
}

/// A cursor is the place in the order of the list, opaque to callers: "PLACED_AT ID" in base64url.
std::string to_cursor(const Order& order) {
  return pronto::to_base64url(pronto::as_bytes(order.placed_at + ' ' + order.id));
}

std::optional<std::pair<std::string, std::string>> from_cursor(std::string_view text) {
  const auto bytes = pronto::from_base64url(text);
  if (!bytes) return std::nullopt;
  const std::string place = pronto::to_string(*bytes);
  const std::size_t space = place.find(' ');
  if (space == place.npos || !pronto::is_utf8(place)) return std::nullopt;
  return std::pair{place.substr(0, space), place.substr(space + 1)};
}

}  // namespace

std::vector<pronto::Migration> History::migrations() {
  return {
      {1,
       "create table history_orders (order_id text primary key, customer text not null,"
       " items text not null, placed_at text not null, estimated_ready_at text not null,"
       " estimated_ready_latest text not null, callback_url text);"
       "create index history_orders_by_customer on history_orders (customer, placed_at, order_id);"
       "create table history_steps (order_id text not null, sequence bigint not null,"
       " status text not null, at text not null, primary key (order_id, sequence));"}};
}

Task<> History::add(Transaction& tx, const OrderPlaced& event) {
  co_await tx.execute(
      "insert into history_orders (order_id, customer, items, placed_at, estimated_ready_at,"
      " estimated_ready_latest, callback_url) values ($1, $2, $3, $4, $5, $6, $7)"
      " on conflict do nothing",
      event.order, event.customer, pronto::to_json(event.items), event.placed_at,
      event.estimated_ready_at, event.estimated_ready_latest, event.callback_url);
  co_await tx.execute(
      "insert into history_steps (order_id, sequence, status, at) values ($1, 1, $2, $3)"
      " on conflict do nothing",
      event.order, status_placed, event.placed_at);
}

Task<> History::add(Transaction& tx, const OrderStatus& event) {
  co_await tx.execute(
      "insert into history_steps (order_id, sequence, status, at) values ($1, $2, $3, $4)"
      " on conflict do nothing",
      event.order, event.sequence, event.status, event.at);
}

Task<std::vector<Step>> History::journey(std::string order) const {
  const Rows rows = co_await database_.query(
      "select status, at, sequence from history_steps where order_id = $1 order by sequence",
      std::move(order));
  std::vector<Step> steps;
  for (const Row& row : rows) {
    // A status whose forerunner has not come yet waits for it: readers see no gaps.
    if (row.integer(2) != static_cast<std::int64_t>(steps.size()) + 1) break;
    steps.push_back({row.text(0), row.text(1), row.integer(2)});
  }
  co_return steps;
}

Task<std::optional<Order>> History::find(std::string id) const {
  const Rows rows = co_await database_.query(
      std::string{"select "} + columns + " from history_orders where order_id = $1", id);
  if (rows.empty()) co_return std::nullopt;
  Order order = order_from(rows[0]);
  order.journey = co_await journey(std::move(id));
  co_return order;
}

Task<std::optional<History::Page>> History::page(std::string customer,
                                                 std::optional<std::string> cursor,
                                                 std::size_t count_max) const {
  // The end of time sorts behind every RFC 3339 time.
  std::pair<std::string, std::string> before{"~", "~"};
  if (cursor) {
    const auto place = from_cursor(*cursor);
    if (!place) co_return std::nullopt;
    before = *place;
  }
  const Rows rows = co_await database_.query(
      std::string{"select "} + columns +
          " from history_orders where customer = $1 and (placed_at, order_id) < ($2, $3)"
          " order by placed_at desc, order_id desc limit $4",
      std::move(customer), before.first, before.second, count_max + 1);
  Page page;
  for (const Row& row : rows) {
    if (page.orders.size() == count_max) {
      page.next = to_cursor(page.orders.back());
      break;
    }
    Order order = order_from(row);
    order.journey = co_await journey(order.id);
    page.orders.push_back(std::move(order));
  }
  co_return page;
}

}  // namespace pizzeria
