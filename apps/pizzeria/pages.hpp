#pragma once

#include <optional>
#include <string>
#include <vector>

#include "order.hpp"
#include "pronto/http/problem.hpp"
#include "pronto/http/request.hpp"
#include "pronto/http/response.hpp"
#include "pronto/http/router.hpp"

namespace pizzeria {

/// HTML for people, with or without script, from the templates of web/. Source: web/README.md.
/// Runs on: the loop's thread.

/// The page to order on. `idempotency_key` is fresh at each rendering, so pressing twice gives one
/// order.
pronto::http::Response index_page(const std::string& idempotency_key,
                                  const std::vector<Order>& newest);
pronto::http::Response order_page(const pronto::http::Request& request, const Order& order,
                                  const OrderIds& ids, pronto::WallTime now);
pronto::http::Response history_page(const std::vector<Order>& orders,
                                    const std::optional<std::string>& next);
/// The answer as it is, but a problem as a page for browsers. All answers go through here.
pronto::http::Response presented(const pronto::http::Request& request,
                                 pronto::http::Response response);

/// Script, style and icons, and whatever else has a path of its own.
void add_page_routes(pronto::http::Router& router);

/// Fills a template of web/ by its path there, "customer/index.html".
std::string fill(std::string_view path, const std::map<std::string_view, std::string_view>& values);
/// "24 Nov, 15:21 UTC".
std::string short_time(const std::string& rfc3339);
pronto::http::Response page_of(int status, std::string html);

}  // namespace pizzeria
