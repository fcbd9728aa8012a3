#include "metrics.hpp"

#include <fmt/format.h>

#include <boost/json.hpp>

namespace pizzeria {

namespace http = pronto::http;
namespace json = boost::json;
using pronto::Task;

namespace {

/// A label's value, escaped as the format wants it.
std::string label(std::string_view name, std::string_view value) {
  std::string escaped;
  for (const char c : value) {
    if (c == '\\' || c == '"') escaped += '\\';
    if (c == '\n') {
      escaped += "\\n";
    } else {
      escaped += c;
    }
  }
  return fmt::format("{}=\"{}\"", name, escaped);
}

json::object to_json(const pronto::broker::QueueView& queue) {
  return {{"name", queue.name},
          {"vhost", queue.virtual_host},
          {"durable", queue.is_durable},
          {"exclusive", queue.is_exclusive},
          {"auto_delete", queue.is_auto_delete},
          {"messages_ready", queue.ready_count},
          {"messages_unacknowledged", queue.unacked_count},
          {"messages", queue.ready_count + queue.unacked_count},
          {"consumers", queue.consumer_count},
          {"message_bytes_ready", queue.body_bytes}};
}

}  // namespace

void MetricsText::line(std::string_view type, std::string_view name, std::string_view labels,
                       double value) {
  if (last_name_ != name) {
    text_ += fmt::format("# TYPE {} {}\n", name, type);
    last_name_ = name;
  }
  text_ += labels.empty() ? fmt::format("{} {}\n", name, value)
                          : fmt::format("{}{{{}}} {}\n", name, labels, value);
}

void MetricsText::add(const pronto::BusMetrics& metrics) {
  const auto per_queue = [&](std::string_view name, auto member) {
    for (const pronto::QueueMetrics& queue : metrics.queues) {
      counter(name, queue.*member, label("queue", queue.queue));
    }
  };
  per_queue("pronto_bus_delivered_total", &pronto::QueueMetrics::delivered_total);
  per_queue("pronto_bus_handled_total", &pronto::QueueMetrics::handled_total);
  per_queue("pronto_bus_duplicate_total", &pronto::QueueMetrics::duplicate_total);
  per_queue("pronto_bus_failed_total", &pronto::QueueMetrics::failed_total);
  per_queue("pronto_bus_retried_total", &pronto::QueueMetrics::retried_total);
  per_queue("pronto_bus_dead_total", &pronto::QueueMetrics::dead_total);
  for (const pronto::QueueMetrics& queue : metrics.queues) {
    line("counter", "pronto_bus_handler_seconds_sum", label("queue", queue.queue),
         queue.handler_seconds.sum_seconds);
  }
  for (const pronto::QueueMetrics& queue : metrics.queues) {
    counter("pronto_bus_handler_seconds_count", queue.handler_seconds.count,
            label("queue", queue.queue));
  }
  counter("pronto_bus_published_total", metrics.published_total);
  counter("pronto_bus_publish_failed_total", metrics.publish_failed_total);
  counter("pronto_bus_relayed_total", metrics.relayed_total);
  counter("pronto_bus_recoveries_total", metrics.recoveries_total);
  gauge("pronto_bus_outbox_rows", static_cast<double>(metrics.outbox_rows));
  gauge("pronto_bus_connected", metrics.is_connected ? 1 : 0);
  gauge("pronto_bus_blocked", metrics.is_blocked ? 1 : 0);
}

void MetricsText::add(const http::Server::Counts& counts) {
  counter("pronto_http_connections_total", counts.connections);
  gauge("pronto_http_connections_open", static_cast<double>(counts.connections_open));
  counter("pronto_http_requests_total", counts.requests);
  counter("pronto_http_refused_total", counts.refused);
  gauge("pronto_http_event_streams_open", static_cast<double>(counts.event_streams_open));
  for (int i = 1; i <= 5; ++i) {
    counter("pronto_http_responses_total", counts.responses_by_class[i],
            label("class", fmt::format("{}xx", i)));
  }
}

void MetricsText::add(const http::Callbacks::Counts& counts) {
  counter("pronto_callback_attempts_total", counts.attempts);
  counter("pronto_callback_delivered_total", counts.delivered);
  counter("pronto_callback_failed_total", counts.failed);
  counter("pronto_callback_dead_total", counts.dead);
  counter("pronto_callback_refused_total", counts.refused);
}

void MetricsText::add(const pronto::server::Overview& overview) {
  const auto per_queue = [&](std::string_view name, auto member) {
    for (const auto& queue : overview.queues) {
      line("gauge", name, label("queue", queue.name), static_cast<double>(queue.*member));
    }
  };
  using Queue = pronto::broker::QueueView;
  per_queue("pronto_broker_queue_messages_ready", &Queue::ready_count);
  per_queue("pronto_broker_queue_messages_unacked", &Queue::unacked_count);
  per_queue("pronto_broker_queue_consumers", &Queue::consumer_count);
  counter("pronto_broker_published_total", overview.counters.published_total);
  counter("pronto_broker_confirmed_total", overview.counters.confirmed_total);
  counter("pronto_broker_delivered_total", overview.counters.delivered_total);
  counter("pronto_broker_returned_total", overview.counters.returned_total);
  counter("pronto_broker_replies_dropped_total", overview.counters.replies_dropped_total);
  gauge("pronto_broker_connections", static_cast<double>(overview.connections.size()));
  gauge("pronto_broker_memory_bytes", static_cast<double>(overview.memory_bytes));
  gauge("pronto_broker_undurable_bytes", static_cast<double>(overview.undurable_bytes));
  gauge("pronto_broker_alarm_memory", overview.alarms.memory ? 1 : 0);
  gauge("pronto_broker_alarm_disk", overview.alarms.disk ? 1 : 0);
  gauge("pronto_journal_bytes", static_cast<double>(overview.journal_bytes));
  counter("pronto_journal_syncs_total", overview.journal.syncs_total);
  counter("pronto_journal_batches_total", overview.journal.batches_total);
  counter("pronto_journal_written_bytes_total", overview.journal.written_bytes_total);
  gauge("pronto_journal_last_sync_seconds",
        std::chrono::duration<double>(overview.journal.last_sync).count());
}

void add_broker_routes(http::Router& router, std::function<pronto::server::Overview()> overview) {
  router.get("/api/queues", [overview](http::Request&) -> Task<http::Response> {
    json::array queues;
    for (const auto& queue : overview().queues) queues.push_back(to_json(queue));
    co_return http::Response::json(200, queues);
  });
  router.get("/api/overview", [overview](http::Request&) -> Task<http::Response> {
    const pronto::server::Overview now = overview();
    std::size_t ready = 0;
    std::size_t unacked = 0;
    for (const auto& queue : now.queues) {
      ready += queue.ready_count;
      unacked += queue.unacked_count;
    }
    co_return http::Response::json(
        200,
        json::object{
            {"product_version", now.version},
            {"queue_totals",
             json::object{{"messages_ready", ready}, {"messages_unacknowledged", unacked}}},
            {"object_totals",
             json::object{{"queues", now.queues.size()}, {"connections", now.connections.size()}}},
            {"alarms", json::object{{"memory", now.alarms.memory}, {"disk", now.alarms.disk}}}});
  });
}

}  // namespace pizzeria
