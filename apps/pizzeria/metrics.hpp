#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "pronto/bus/metrics.hpp"
#include "pronto/http/callback.hpp"
#include "pronto/http/router.hpp"
#include "pronto/http/server.hpp"
#include "pronto/server/metrics.hpp"

namespace pizzeria {

/// Metrics as Prometheus reads them: text, one line a value, types ahead.
/// Runs on: any thread. Source: Prometheus text exposition format 0.0.4.
class MetricsText {
 public:
  void add(const pronto::BusMetrics& metrics);
  void add(const pronto::http::Server::Counts& counts);
  void add(const pronto::http::Callbacks::Counts& counts);
  void add(const pronto::server::Overview& overview);
  void gauge(std::string_view name, double value) { line("gauge", name, "", value); }
  std::string take() && { return std::move(text_); }

 private:
  void counter(std::string_view name, std::uint64_t value, std::string_view labels = "") {
    line("counter", name, labels, static_cast<double>(value));
  }
  void line(std::string_view type, std::string_view name, std::string_view labels, double value);

  std::string text_;
  std::string last_name_;
};

/// `/api/overview` and `/api/queues` of a broker in this process, as JSON.
void add_broker_routes(pronto::http::Router& router,
                       std::function<pronto::server::Overview()> overview);

}  // namespace pizzeria
