#include "callback_store.hpp"

#include <map>

namespace pronto::http {
namespace {

using State = CallbackView::State;

std::vector<Migration> migrations() {
  return {{1, R"sql(
    create table http_callbacks (
      id text not null primary key,
      subject text not null,
      event text not null,
      url text not null,
      destination text not null,
      body text not null,
      secret text not null,
      state text not null,
      step bigint not null,
      attempts bigint not null,
      created_at bigint not null,
      started_at bigint not null,
      next_try_at bigint not null,
      claimed_by text not null,
      claimed_until bigint not null,
      last_status bigint not null,
      last_error text not null,
      last_duration_milliseconds bigint not null,
      finished_at bigint not null,
      unique (subject, event)
    );
    create index http_callbacks_due on http_callbacks (state, next_try_at);
    create index http_callbacks_destination on http_callbacks (destination, state)
  )sql"}};
}

WallTime time_of(std::int64_t millis) {
  return WallTime{milliseconds{millis}};
}

State state_of(std::string_view text) {
  if (text == "delivered") return State::delivered;
  if (text == "ended") return State::ended;
  if (text == "dead") return State::dead;
  return State::waiting;
}

/// "and destination not in ($3, $4)", with the values added to `parameters`.
std::string not_in(std::vector<std::string> blocked, std::vector<SqlValue>& parameters) {
  if (blocked.empty()) return {};
  std::string sql = " and destination not in (";
  for (std::string& one : blocked) {
    parameters.emplace_back(std::move(one));
    sql += (sql.back() == '(' ? "$" : ", $") + std::to_string(parameters.size());
  }
  return sql + ')';
}

constexpr const char* view_columns =
    "select id, subject, event, url, destination, state, attempts, created_at, next_try_at, "
    "last_status, last_error, last_duration_milliseconds from http_callbacks ";

std::vector<CallbackView> to_views(const Rows& rows) {
  std::vector<CallbackView> views;
  for (const Row& row : rows) {
    views.push_back({.id = row.text(0),
                     .subject = row.text(1),
                     .event = row.text(2),
                     .url = row.text(3),
                     .destination = row.text(4),
                     .state = state_of(row.text(5)),
                     .attempts = row.integer(6),
                     .created_at = time_of(row.integer(7)),
                     .next_try_at = time_of(row.integer(8)),
                     .last_status = static_cast<int>(row.integer(9)),
                     .last_error = row.text(10),
                     .last_duration = milliseconds{row.integer(11)}});
  }
  return views;
}

}  // namespace

std::string_view to_string(CallbackView::State state) noexcept {
  switch (state) {
    case State::waiting:
      return "waiting";
    case State::delivered:
      return "delivered";
    case State::ended:
      return "ended";
    case State::dead:
      return "dead";
  }
  return "waiting";
}

Task<> CallbackStore::migrate() {
  return database_.migrate("http_callbacks", migrations());
}

Task<bool> CallbackStore::insert(Transaction& tx, std::string id, std::string destination,
                                 NewCallback callback, WallTime now) {
  const Rows rows = co_await tx.execute(
      "insert into http_callbacks (id, subject, event, url, destination, body, secret, state, "
      "step, "
      "attempts, created_at, started_at, next_try_at, claimed_by, claimed_until, last_status, "
      "last_error, last_duration_milliseconds, finished_at) values ($1, $2, $3, $4, $5, $6, $7, "
      "'waiting', 0, 0, $8, $8, $9, '', 0, 0, '', 0, 0) on conflict (subject, event) do nothing",
      std::move(id), std::move(callback.subject), std::move(callback.event),
      std::move(callback.url), std::move(destination), std::move(callback.body),
      std::move(callback.secret), millis_of(now), millis_of(now));
  co_return rows.changed_count > 0;
}

Task<std::vector<DueCallback>> CallbackStore::due(WallTime now, std::vector<std::string> blocked,
                                                  std::size_t count_max) {
  std::vector<SqlValue> parameters = detail::to_parameters(millis_of(now), count_max);
  const std::string sql =
      "select id, subject, event, url, destination, body, secret, step from http_callbacks "
      "where state = 'waiting' and next_try_at <= $1 and claimed_until <= $1" +
      not_in(std::move(blocked), parameters) + " order by next_try_at limit $2";
  const Rows rows = co_await database_.run_query(sql, std::move(parameters));
  std::vector<DueCallback> found;
  for (const Row& row : rows) {
    found.push_back({row.text(0), row.text(1), row.text(2), row.text(3), row.text(4), row.text(5),
                     row.text(6), row.integer(7)});
  }
  co_return found;
}

Task<std::vector<DueCallback>> CallbackStore::claim(std::vector<DueCallback> due, WallTime now,
                                                    WallTime until) {
  std::vector<DueCallback> claimed;
  co_await database_.transact([&](Transaction& tx) -> Task<> {
    claimed.clear();
    for (const DueCallback& one : due) {
      const Rows rows = co_await tx.execute(
          "update http_callbacks set claimed_by = $1, claimed_until = $2, step = step + 1, "
          "attempts = attempts + 1 where id = $3 and state = 'waiting' and claimed_until <= $4 and "
          "next_try_at <= $4 returning step, attempts",
          instance_, millis_of(until), one.id, millis_of(now));
      if (rows.empty()) continue;
      claimed.push_back(one);
      claimed.back().step = rows[0].integer(0);
      claimed.back().attempt = rows[0].integer(1);
    }
  });
  co_return claimed;
}

Task<bool> CallbackStore::record(std::string id, std::int64_t attempt, CallbackOutcome outcome,
                                 WallTime now) {
  bool is_recorded = false;
  co_await database_.transact([&](Transaction& tx) -> Task<> {
    const Rows rows = co_await tx.execute(
        "update http_callbacks set state = $1, next_try_at = $2, claimed_by = '', claimed_until = "
        "0, last_status = $3, last_error = $4, last_duration_milliseconds = $5, finished_at = $6 "
        "where id = $7 and claimed_by = $8 and claimed_until <> 0 and attempts = $9",
        to_string(outcome.state), millis_of(outcome.next_try_at), outcome.status, outcome.error,
        outcome.duration.count(), outcome.state == State::waiting ? 0 : millis_of(now), id,
        instance_, attempt);
    is_recorded = rows.changed_count > 0;
  });
  co_return is_recorded;
}

Task<std::int64_t> CallbackStore::postpone(std::string destination, WallTime until, WallTime oldest,
                                           WallTime now) {
  std::int64_t given_up = 0;
  co_await database_.transact([&](Transaction& tx) -> Task<> {
    const Rows dead = co_await tx.execute(
        "update http_callbacks set state = 'dead', finished_at = $1, last_error = 'given up: the "
        "destination has not answered for too long' where destination = $2 and state = 'waiting' "
        "and started_at < $3 and claimed_until <= $1",
        millis_of(now), destination, millis_of(oldest));
    given_up = dead.changed_count;
    co_await tx.execute(
        "update http_callbacks set next_try_at = $1 where destination = $2 and state = 'waiting' "
        "and next_try_at < $1 and claimed_until <= $3",
        millis_of(until), destination, millis_of(now));
  });
  co_return given_up;
}

Task<std::optional<WallTime>> CallbackStore::next_due(std::vector<std::string> blocked) {
  std::vector<SqlValue> parameters;
  const std::string sql =
      "select next_try_at from http_callbacks where state = 'waiting' and claimed_until = 0" +
      not_in(std::move(blocked), parameters) + " order by next_try_at limit 1";
  const Rows rows = co_await database_.run_query(sql, std::move(parameters));
  if (rows.empty()) co_return std::nullopt;
  co_return time_of(rows[0].integer(0));
}

Task<> CallbackStore::release_claims() {
  const Rows claimed = co_await database_.query(
      "select count(*) from http_callbacks where state = 'waiting' and claimed_until <> 0 and "
      "claimed_by = $1",
      instance_);
  if (claimed[0].integer(0) == 0) co_return;
  co_await database_.transact([&](Transaction& tx) -> Task<> {
    co_await tx.execute(
        "update http_callbacks set claimed_by = '', claimed_until = 0 where state = 'waiting' and "
        "claimed_until <> 0 and claimed_by = $1",
        instance_);
  });
}

Task<std::optional<std::string>> CallbackStore::resend(std::string id, WallTime now) {
  std::optional<std::string> destination;
  co_await database_.transact([&](Transaction& tx) -> Task<> {
    const Rows rows = co_await tx.execute(
        "update http_callbacks set state = 'waiting', step = 0, started_at = $1, next_try_at = $1, "
        "finished_at = 0, claimed_by = '', claimed_until = 0 where id = $2 and state <> "
        "'delivered' returning destination",
        millis_of(now), id);
    if (!rows.empty()) destination = rows[0].text(0);
  });
  co_return destination;
}

Task<std::int64_t> CallbackStore::delete_finished(WallTime before, std::size_t count_max) {
  std::int64_t deleted = 0;
  co_await database_.transact([&](Transaction& tx) -> Task<> {
    const Rows rows = co_await tx.execute(
        "delete from http_callbacks where id in (select id from http_callbacks where state in "
        "('delivered', 'ended') and finished_at < $1 limit $2)",
        millis_of(before), count_max);
    deleted = rows.changed_count;
  });
  co_return deleted;
}

Task<std::vector<CallbackView>> CallbackStore::list(std::optional<CallbackView::State> state,
                                                    std::size_t count_max) {
  const std::string order = "order by created_at desc, id limit $1";
  const std::string columns = view_columns;
  if (!state) co_return to_views(co_await database_.query(columns + order, count_max));
  co_return to_views(co_await database_.query(columns + "where state = $2 " + order, count_max,
                                              to_string(*state)));
}

Task<std::vector<CallbackView>> CallbackStore::of_subject(std::string subject) {
  co_return to_views(co_await database_.query(
      std::string{view_columns} + "where subject = $1 order by created_at, id", subject));
}

Task<std::vector<DestinationView>> CallbackStore::destinations(std::size_t count_max) {
  const Rows rows = co_await database_.query(
      "select destination, sum(case when state = 'waiting' then 1 else 0 end) as waiting, "
      "sum(case when state = 'delivered' then 1 else 0 end), "
      "sum(case when state = 'dead' then 1 else 0 end) from http_callbacks group by destination "
      "order by waiting desc, destination limit $1",
      count_max);
  std::vector<DestinationView> found;
  for (const Row& row : rows) {
    found.push_back({row.text(0), row.integer(1), row.integer(2), row.integer(3), false});
  }
  co_return found;
}

}  // namespace pronto::http
