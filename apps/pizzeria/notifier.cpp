#include "notifier.hpp"

#include <boost/json.hpp>

#include "order.hpp"

namespace pizzeria {

namespace json = boost::json;
using pronto::Task;
using pronto::Transaction;

std::vector<pronto::Migration> Notifier::migrations() {
  return {{1, "create table callback_secrets (order_id text primary key, secret text not null);"},
          // Of those that are there already, 0: they go with their orders.
          {2,
           "alter table callback_secrets add column kept_at bigint not null default 0;"
           "create index callback_secrets_by_age on callback_secrets (kept_at);"}};
}

Task<> Notifier::keep_secret(Transaction& tx, std::string order, std::string secret,
                             pronto::WallTime now) {
  co_await tx.execute("delete from callback_secrets where kept_at > 0 and kept_at < $1",
                      pronto::millis_of(now - secrets_kept));
  co_await tx.execute(
      "insert into callback_secrets (order_id, secret, kept_at) values ($1, $2, $3) on conflict do "
      "nothing",
      std::move(order), std::move(secret), pronto::millis_of(now));
}

Task<> Notifier::status(const OrderStatus& event, Transaction& tx) {
  if (!is_final(event.status) || !event.placed || !event.placed->callback_url) co_return;
  Order order = to_order(*event.placed);
  if (event.journey) order.journey = *event.journey;
  const pronto::Rows known =
      co_await tx.execute("select secret from callback_secrets where order_id = $1", event.order);
  const std::string type = "pizzeria.order-" + event.status;
  const json::object body{{"specversion", "1.0"},
                          {"type", type},
                          {"source", "/orders"},
                          {"id", event.order + '-' + std::to_string(event.sequence)},
                          {"time", event.at},
                          {"datacontenttype", "application/json"},
                          {"data", to_json(order, ids_)}};
  co_await callbacks_.add(tx, {.subject = event.order,
                               .event = type,
                               .url = *event.placed->callback_url,
                               .body = json::serialize(body),
                               .secret = known.empty() ? "" : known[0].text(0)});
  co_await tx.execute("delete from callback_secrets where order_id = $1", event.order);
}

}  // namespace pizzeria
