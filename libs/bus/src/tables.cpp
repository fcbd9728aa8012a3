#include "tables.hpp"

#include <fmt/format.h>

namespace pronto::detail {
namespace {

constexpr std::size_t outbox_columns = 10;
constexpr std::size_t rows_in_one_insert_max = 16;

std::string insert_sql(std::size_t row_count) {
  std::string sql =
      "insert into bus_outbox (instance, made_at, kind, type, routing_key, message_id, "
      "message_key, "
      "source, traceparent, body) values ";
  std::size_t parameter = 0;
  for (std::size_t row = 0; row < row_count; ++row) {
    sql += row == 0 ? "(" : ", (";
    for (std::size_t column = 0; column < outbox_columns; ++column) {
      sql += fmt::format("{}${}", column == 0 ? "" : ", ", ++parameter);
    }
    sql += ")";
  }
  return sql;
}

}  // namespace

Task<> Tables::migrate(Database& database) {
  std::vector<Migration> steps;
  steps.push_back(
      {1,
       "create table bus_inbox (queue text not null, message_id text not null, seen_at bigint not "
       "null, primary key (queue, message_id));"
       "create index bus_inbox_seen_at on bus_inbox (seen_at);"
       // A position is never used twice: the relay reads on from the last one it has seen.
       "create table bus_outbox (position {identity}, instance text not "
       "null, made_at bigint not null, kind text not null, type text not null, routing_key text "
       "not null, message_id text not null, message_key text not null, source text not null, "
       "traceparent text not null, body text not null)"});
  co_await database.migrate("pronto.bus", std::move(steps));
}

Task<bool> Tables::add_to_inbox(Transaction& transaction, std::string queue, std::string message_id,
                                WallTime now) {
  const Rows rows = co_await transaction.execute(
      "insert into bus_inbox (queue, message_id, seen_at) values ($1, $2, $3) on conflict do "
      "nothing",
      std::move(queue), std::move(message_id), millis_of(now));
  co_return rows.changed_count > 0;
}

Task<std::int64_t> Tables::expire_inbox(Transaction& transaction, WallTime until, int count_max) {
  const Rows rows = co_await transaction.execute(
      "delete from bus_inbox where (queue, message_id) in (select queue, message_id from bus_inbox "
      "where seen_at < $1 limit $2)",
      millis_of(until), count_max);
  co_return rows.changed_count;
}

Task<> Tables::add_to_outbox(Transaction& transaction,
                             const std::vector<WireMessage>& messages) const {
  for (std::size_t begin = 0; begin < messages.size(); begin += rows_in_one_insert_max) {
    const std::size_t count = std::min(messages.size() - begin, rows_in_one_insert_max);
    std::vector<SqlValue> values;
    values.reserve(count * outbox_columns);
    for (std::size_t row = begin; row < begin + count; ++row) {
      const WireMessage& message = messages[row];
      for (SqlValue& value :
           to_parameters(instance_, millis_of(message.time),
                         message.kind == MessageKind::event ? "event" : "command", message.type,
                         message.routing_key, message.id, message.key, message.source,
                         message.traceparent, message.body)) {
        values.push_back(std::move(value));
      }
    }
    co_await transaction.run(insert_sql(count), std::move(values));
  }
}

Task<std::vector<OutboxRow>> Tables::read_outbox(Database& database, std::int64_t position,
                                                 WallTime adopt_until,
                                                 std::size_t count_max) const {
  const Rows rows = co_await database.query(
      "select position, instance, made_at, kind, type, routing_key, message_id, message_key, "
      "source, traceparent, body from bus_outbox where position > $1 and (instance = $2 or made_at "
      "< $3) order by position limit $4",
      position, instance_, millis_of(adopt_until), count_max);
  std::vector<OutboxRow> read;
  read.reserve(rows.size());
  for (const Row& row : rows) {
    read.push_back(
        {.position = row.integer(0),
         .instance = row.text(1),
         .message = {.id = row.text(6),
                     .type = row.text(4),
                     .kind = row.text(3) == "event" ? MessageKind::event : MessageKind::command,
                     .routing_key = row.text(5),
                     .key = row.text(7),
                     .body = row.text(10),
                     .source = row.text(8),
                     .traceparent = row.text(9),
                     .time = WallTime{milliseconds{row.integer(2)}}}});
  }
  co_return read;
}

Task<std::int64_t> Tables::count_outbox(Database& database) const {
  const Rows rows =
      co_await database.query("select count(*) from bus_outbox where instance = $1", instance_);
  co_return rows[0].integer(0);
}

Task<> Tables::delete_from_outbox(Transaction& transaction, std::vector<std::int64_t> positions) {
  for (std::size_t begin = 0; begin < positions.size();) {
    std::size_t end = begin + 1;
    while (end < positions.size() && positions[end] == positions[end - 1] + 1) ++end;
    co_await transaction.execute("delete from bus_outbox where position between $1 and $2",
                                 positions[begin], positions[end - 1]);
    begin = end;
  }
}

}  // namespace pronto::detail
