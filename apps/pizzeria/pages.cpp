#include "pages.hpp"

#include <fmt/format.h>

#include <array>
#include <boost/json.hpp>

#include "menu.hpp"
#include "pronto/base/assert.hpp"
#include "pronto/http/page.hpp"
#include "pronto/http/static_files.hpp"
#include "pronto/pages/pages.hpp"

namespace pizzeria {

namespace http = pronto::http;
using pronto::Task;
using pronto::WallTime;

namespace {

constexpr std::array months{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

std::string clock_time(const std::string& rfc3339) {
  return rfc3339.size() >= 19 ? rfc3339.substr(11, 8) + " UTC" : rfc3339;
}

std::string remaining(std::chrono::milliseconds left) {
  const std::int64_t seconds = (left.count() + 999) / 1000;
  if (seconds <= 90) return fmt::format("about {} seconds", (seconds + 4) / 5 * 5);
  return fmt::format("about {} minutes", (seconds + 59) / 60);
}

std::string history_items(const std::vector<Order>& orders) {
  if (orders.empty()) return fill("customer/_history_empty.html", {});
  std::string items;
  for (const Order& order : orders) {
    if (order.journey.empty()) continue;
    const std::string& at = order.journey.front().at;
    items += fill("customer/_history_item.html", {{"id", order.id},
                                                  {"summary", summary(order.items)},
                                                  {"status", order.status()},
                                                  {"status_label", status_label(order.status())},
                                                  {"at", at},
                                                  {"time", short_time(at)}});
  }
  return items;
}

}  // namespace

std::string fill(std::string_view path,
                 const std::map<std::string_view, std::string_view>& values) {
  const pronto::pizzeria::Page* page = pronto::pizzeria::find_page(path);
  PRONTO_ASSERT(page != nullptr);
  return http::fill_page(page->identity, values);
}

std::string short_time(const std::string& rfc3339) {
  const auto time = pronto::from_rfc3339(rfc3339);
  if (!time) return rfc3339;
  const std::chrono::year_month_day date{std::chrono::floor<std::chrono::days>(*time)};
  return fmt::format("{} {}, {} UTC", static_cast<unsigned>(date.day()),
                     months[static_cast<unsigned>(date.month()) - 1], rfc3339.substr(11, 5));
}

http::Response page_of(int status, std::string html) {
  http::Response response = http::Response::html(status, std::move(html));
  http::add_page_headers(response);
  return response;
}

http::Response index_page(const std::string& idempotency_key, const std::vector<Order>& newest) {
  std::string items;
  for (const Pizza& pizza : menu()) {
    items += fill("customer/_menu_item.html", {{"pizza", pizza.name},
                                               {"description", pizza.description},
                                               {"price_small", format_cents(pizza.cents[0])},
                                               {"price_medium", format_cents(pizza.cents[1])},
                                               {"price_large", format_cents(pizza.cents[2])},
                                               {"checked", items.empty() ? "checked" : ""}});
  }
  return page_of(200, fill("customer/index.html", {{"idempotency_key", idempotency_key},
                                                   {"menu", items},
                                                   {"history", history_items(newest)}}));
}

http::Response order_page(const http::Request& request, const Order& order, const OrderIds& ids,
                          WallTime now) {
  const std::string& status = order.status();
  const bool is_over = is_final(status);
  std::string estimate;
  if (!is_over) {
    const auto ready_at = pronto::from_rfc3339(order.estimated_ready_at);
    estimate = ready_at && *ready_at > now
                   ? fill("customer/_estimate.html", {{"remaining", remaining(*ready_at - now)}})
                   : fill("customer/_estimate_late.html", {});
  }
  std::string journey;
  for (const Step& step : order.journey) {
    journey += fill("customer/_step.html", {{"status", step.status},
                                            {"status_label", status_label(step.status)},
                                            {"at", step.at},
                                            {"time", clock_time(step.at)}});
  }
  const std::string pickup_code = ids.pickup_code(order.id);
  const auto when = [](bool shown, std::string_view path,
                       const std::map<std::string_view, std::string_view>& values) {
    return shown ? fill(path, values) : std::string{};
  };
  const std::string sentence = fill("customer/_sentence_" + status + ".html", {});
  const std::string pickup =
      when(status == status_ready, "customer/_pickup.html", {{"pickup_code", pickup_code}});
  const std::string cancel =
      when(is_cancellable(status), "customer/_cancel.html", {{"id", order.id}});
  const std::string refresh =
      when(!is_over && !request.query.find("still"), "customer/_refresh.html", {{"id", order.id}});
  return page_of(
      200, fill("customer/order.html", {{"id", order.id},
                                        {"status", status},
                                        {"status_label", status_label(status)},
                                        {"summary", summary(order.items)},
                                        {"order", boost::json::serialize(to_json(order, ids))},
                                        {"sentence", sentence},
                                        {"estimate", estimate},
                                        {"journey", journey},
                                        {"pickup", pickup},
                                        {"cancel", cancel},
                                        {"refresh", refresh}}));
}

http::Response history_page(const std::vector<Order>& orders,
                            const std::optional<std::string>& next) {
  const std::string more = next ? fill("customer/_more.html", {{"cursor", *next}}) : std::string{};
  return page_of(
      200, fill("customer/history.html", {{"history", history_items(orders)}, {"more", more}}));
}

http::Response presented(const http::Request& request, http::Response response) {
  if (!response.problem || !request.wants_html()) return response;
  const http::Problem& problem = *response.problem;
  std::string detail = problem.detail;
  for (const http::FieldError& error : problem.errors) {
    detail += fmt::format(" {} {}.", error.field, error.reason);
  }
  const std::string title =
      problem.title.empty() ? std::string{http::reason_phrase(problem.status)} : problem.title;
  http::Response page = page_of(
      problem.status,
      fill("customer/error.html",
           {{"status", std::to_string(problem.status)}, {"title", title}, {"detail", detail}}));
  // What else it says stays: Allow, Retry-After, a cookie that ends.
  for (const auto& [name, value] : page.headers) response.headers.set(name, value);
  response.body = std::move(page.body);
  return response;
}

void add_page_routes(http::Router& router) {
  for (const pronto::pizzeria::Page& page : pronto::pizzeria::pages()) {
    if (!page.path.starts_with('/')) continue;
    router.get(page.path, [&page](http::Request& request) -> Task<http::Response> {
      co_return http::serve(request, {.content_type = page.content_type,
                                      .etag = page.etag,
                                      .cache_control = page.cache_control,
                                      .identity = page.identity,
                                      .gzip = page.gzip});
    });
  }
}

}  // namespace pizzeria
