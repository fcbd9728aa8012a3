#include "management.hpp"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "pronto/base/crypto.hpp"
#include "pronto/http/request.hpp"
#include "pronto/http/response.hpp"

namespace pronto {
namespace {

namespace json = boost::json;
using http::Request;
using http::Response;

json::value to_json(const wire::Value& value);

json::object to_json(const wire::Table& table) {
  json::object object;
  for (const wire::Entry& entry : table) object[entry.key.view()] = to_json(entry.value);
  return object;
}

json::value to_json(const wire::Value& value) {
  if (const auto number = value.integer()) return *number;
  if (const auto* flag = value.get_if<bool>()) return *flag;
  if (const auto* text = value.get_if<wire::LongString>()) return json::string{*text};
  if (const auto* real = value.get_if<double>()) return *real;
  if (const auto* real = value.get_if<float>()) return static_cast<double>(*real);
  if (const auto* table = value.get_if<wire::Table>()) return to_json(*table);
  if (const auto* array = value.get_if<wire::Array>()) {
    json::array items;
    for (const wire::Value& item : *array) items.push_back(to_json(item));
    return items;
  }
  return nullptr;
}

json::object to_json(const broker::QueueView& queue, std::uint64_t segment_bytes) {
  return {{"name", queue.name},
          {"vhost", queue.virtual_host},
          {"durable", queue.is_durable},
          {"exclusive", queue.is_exclusive},
          {"auto_delete", queue.is_auto_delete},
          {"arguments", to_json(queue.arguments)},
          {"state", "running"},
          {"messages", queue.ready_count + queue.unacked_count},
          {"messages_ready", queue.ready_count},
          {"messages_unacknowledged", queue.unacked_count},
          {"message_bytes_ready", queue.body_bytes},
          {"consumers", queue.consumer_count},
          {"journal_bytes", queue.segment_count * segment_bytes},
          {"message_stats", json::object{{"publish", queue.published_total},
                                         {"deliver_get", queue.delivered_total},
                                         {"ack", queue.acked_total}}}};
}

json::object to_json(const server::ConnectionView& connection) {
  return {{"name", connection.peer},
          {"user", connection.user},
          {"vhost", connection.virtual_host},
          {"client", connection.client},
          {"state", connection.state},
          {"channels", connection.channel_count},
          {"recv_oct", connection.received_bytes},
          {"send_oct", connection.sent_bytes},
          {"send_pend", connection.outbox_bytes},
          {"connected_at", millis_of(connection.since)}};
}

json::object to_json(const server::Overview& now) {
  std::size_t ready = 0;
  std::size_t unacked = 0;
  std::size_t consumers = 0;
  std::size_t channels = 0;
  for (const broker::QueueView& queue : now.queues) {
    ready += queue.ready_count;
    unacked += queue.unacked_count;
    consumers += queue.consumer_count;
  }
  for (const auto& connection : now.connections) channels += connection.channel_count;
  json::array alarms;
  if (now.alarms.memory) alarms.emplace_back("memory");
  if (now.alarms.disk) alarms.emplace_back("disk");
  if (now.alarms.slow_disk) alarms.emplace_back("slow disk");
  if (now.alarms.failure) alarms.emplace_back("journal: " + *now.alarms.failure);
  return {
      {"product_name", "Pronto"},
      {"product_version", PRONTO_VERSION},
      {"uptime_seconds", now.uptime.count()},
      {"queue_totals", json::object{{"messages", ready + unacked},
                                    {"messages_ready", ready},
                                    {"messages_unacknowledged", unacked},
                                    {"messages_delayed", now.delayed_count}}},
      {"object_totals", json::object{{"queues", now.queues.size()},
                                     {"connections", now.connections.size()},
                                     {"channels", channels},
                                     {"consumers", consumers}}},
      {"message_stats", json::object{{"publish", now.counters.published_total},
                                     {"confirm", now.counters.confirmed_total},
                                     {"nack", now.counters.nacked_total},
                                     {"return_unroutable", now.counters.returned_total},
                                     {"deliver_get", now.counters.delivered_total},
                                     {"ack", now.counters.answered_total}}},
      {"alarms", std::move(alarms)},
      {"memory", json::object{{"used", now.memory_bytes}, {"limit", now.memory_limit_bytes}}},
      {"journal", json::object{{"bytes", now.journal_bytes},
                               {"undurable_bytes", now.undurable_bytes},
                               {"batches", now.journal.batches_total},
                               {"syncs", now.journal.syncs_total},
                               {"written_bytes", now.journal.written_bytes_total},
                               {"last_sync_seconds",
                                std::chrono::duration<double>(now.journal.last_sync).count()},
                               {"longest_sync_seconds",
                                std::chrono::duration<double>(now.journal.longest_sync).count()}}}};
}

/// Text in a label of the Prometheus format.
std::string label(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == '"') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

std::string metrics_text(const server::Overview& now) {
  std::string out;
  const auto one = [&out](std::string_view type, std::string_view name, auto value) {
    out += fmt::format("# TYPE {0} {1}\n{0} {2}\n", name, type, value);
  };
  const auto per_queue = [&](std::string_view type, std::string_view name, auto member) {
    out += fmt::format("# TYPE {} {}\n", name, type);
    for (const broker::QueueView& queue : now.queues) {
      out += fmt::format("{}{{vhost=\"{}\",queue=\"{}\"}} {}\n", name, label(queue.virtual_host),
                         label(queue.name), queue.*member);
    }
  };
  using Queue = broker::QueueView;
  per_queue("gauge", "pronto_broker_queue_messages_ready", &Queue::ready_count);
  per_queue("gauge", "pronto_broker_queue_messages_unacked", &Queue::unacked_count);
  per_queue("gauge", "pronto_broker_queue_consumers", &Queue::consumer_count);
  per_queue("counter", "pronto_broker_queue_published_total", &Queue::published_total);
  per_queue("counter", "pronto_broker_queue_delivered_total", &Queue::delivered_total);
  out += "# HELP pronto_broker_queue_journal_bytes segments that stay for the queue's messages\n";
  out += "# TYPE pronto_broker_queue_journal_bytes gauge\n";
  for (const broker::QueueView& queue : now.queues) {
    out += fmt::format("pronto_broker_queue_journal_bytes{{vhost=\"{}\",queue=\"{}\"}} {}\n",
                       label(queue.virtual_host), label(queue.name),
                       queue.segment_count * now.segment_bytes);
  }
  one("gauge", "pronto_broker_messages_delayed", now.delayed_count);
  const server::Counters& counters = now.counters;
  one("counter", "pronto_broker_connections_total", counters.connections_total);
  one("counter", "pronto_broker_connections_refused_total", counters.connections_refused_total);
  one("gauge", "pronto_broker_connections", now.connections.size());
  one("counter", "pronto_broker_published_total", counters.published_total);
  one("counter", "pronto_broker_confirmed_total", counters.confirmed_total);
  one("counter", "pronto_broker_nacked_total", counters.nacked_total);
  one("counter", "pronto_broker_returned_total", counters.returned_total);
  one("counter", "pronto_broker_replies_dropped_total", counters.replies_dropped_total);
  one("counter", "pronto_broker_duplicates_total", counters.duplicates_total);
  one("counter", "pronto_broker_delivered_total", counters.delivered_total);
  one("counter", "pronto_broker_answered_total", counters.answered_total);
  one("counter", "pronto_broker_received_bytes_total", counters.received_bytes_total);
  one("counter", "pronto_broker_sent_bytes_total", counters.sent_bytes_total);
  one("gauge", "pronto_broker_memory_bytes", now.memory_bytes);
  one("gauge", "pronto_broker_memory_limit_bytes", now.memory_limit_bytes);
  one("gauge", "pronto_broker_undurable_bytes", now.undurable_bytes);
  one("gauge", "pronto_broker_alarm_memory", now.alarms.memory ? 1 : 0);
  one("gauge", "pronto_broker_alarm_disk", now.alarms.disk ? 1 : 0);
  one("gauge", "pronto_broker_alarm_slow_disk", now.alarms.slow_disk ? 1 : 0);
  one("gauge", "pronto_broker_alarm_journal", now.alarms.failure ? 1 : 0);
  one("gauge", "pronto_journal_bytes", now.journal_bytes);
  one("counter", "pronto_journal_batches_total", now.journal.batches_total);
  one("counter", "pronto_journal_syncs_total", now.journal.syncs_total);
  one("counter", "pronto_journal_written_bytes_total", now.journal.written_bytes_total);
  one("counter", "pronto_journal_checkpoints_total", now.journal.checkpoints_total);
  one("counter", "pronto_journal_checkpoints_failed_total", now.journal.checkpoints_failed_total);
  one("gauge", "pronto_journal_checkpoint_bytes", now.journal.checkpoint_bytes);
  one("counter", "pronto_journal_segments_freed_total", now.journal.segments_freed_total);
  one("gauge", "pronto_journal_oldest_needed_segment_age_seconds", now.oldest_needed_age.count());
  one("counter", "pronto_journal_segments_cleaned_total", now.segments_cleaned_total);
  one("gauge", "pronto_broker_index_pages_out", now.pages.out);
  one("counter", "pronto_broker_index_pages_written_total", now.pages.written_total);
  one("counter", "pronto_broker_index_pages_read_total", now.pages.read_total);
  one("counter", "pronto_broker_index_pages_lost_total", now.pages.lost_total);
  one("counter", "pronto_journal_segments_recycled_total", now.journal.segments_recycled_total);
  const auto in_seconds = [](std::chrono::nanoseconds time) {
    return std::chrono::duration<double>(time).count();
  };
  one("gauge", "pronto_journal_last_sync_seconds", in_seconds(now.journal.last_sync));
  one("gauge", "pronto_journal_longest_sync_seconds", in_seconds(now.journal.longest_sync));
  one("gauge", "pronto_broker_uptime_seconds", now.uptime.count());
  return out;
}

/// Whether the request logs in as somebody whom AMQP would let in. Source: RFC 7617.
bool is_known(const Request& request, const server::Users& users) {
  const auto header = request.headers.find("Authorization");
  constexpr std::string_view scheme = "Basic ";
  if (!header || !header->starts_with(scheme)) return false;
  const auto decoded = from_base64(header->substr(scheme.size()));
  if (!decoded) return false;
  const std::string text = to_string(*decoded);
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos) return false;
  return users
      .authenticate({.user = text.substr(0, colon),
                     .password = text.substr(colon + 1),
                     .mechanism = "Basic",
                     .peer = request.peer})
      .has_value();
}

}  // namespace

http::Router management_router(server::BrokerHost& host, const server::Users& users) {
  http::Router router;
  router.get("/health/live", [](Request&) -> Task<Response> {
    co_return Response::json(200, json::object{{"status", "live"}});
  });
  router.get("/health/ready", [&host](Request&) -> Task<Response> {
    const bool is_ready = host.is_ready();
    co_return Response::json(is_ready ? 200 : 503,
                             json::object{{"status", is_ready ? "ready" : "not ready"}});
  });
  router.get("/metrics", [&host](Request&) -> Task<Response> {
    co_return Response::text(200, metrics_text(host.overview()))
        .with("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
  });
  const auto guarded = [&router, &users](std::string_view path, auto make) {
    router.get(path, [&users, make](Request& request) -> Task<Response> {
      if (!is_known(request, users)) {
        co_return Response::json(
            401, json::object{{"error", "not_authorized"}, {"reason", "Login failed"}})
            .with("WWW-Authenticate", "Basic realm=\"Pronto\"");
      }
      co_return Response::json(200, make());
    });
  };
  guarded("/api/overview", [&host]() -> json::value { return to_json(host.overview()); });
  guarded("/api/queues", [&host]() -> json::value {
    json::array queues;
    const server::Overview now = host.overview();
    for (const broker::QueueView& queue : now.queues) {
      queues.push_back(to_json(queue, now.segment_bytes));
    }
    return queues;
  });
  guarded("/api/connections", [&host]() -> json::value {
    json::array connections;
    for (const auto& one : host.overview().connections) connections.push_back(to_json(one));
    return connections;
  });
  router.get("/", [](Request&) -> Task<Response> {
    co_return Response::text(200,
                             "Pronto " PRONTO_VERSION
                             "\n/health/live  /health/ready  /metrics\n/api/overview  /api/queues  "
                             "/api/connections  (log in as to AMQP)\n");
  });
  return router;
}

}  // namespace pronto
