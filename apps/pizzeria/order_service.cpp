#include "order_service.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>

#include "crash.hpp"
#include "menu.hpp"
#include "notifier.hpp"
#include "order_executor.hpp"
#include "pages.hpp"
#include "pronto/async/deadline.hpp"
#include "pronto/base/log.hpp"

namespace pizzeria {

namespace http = pronto::http;
namespace json = boost::json;
using namespace std::chrono_literals;
using http::Problem;
using pronto::milliseconds;
using pronto::seconds;
using pronto::SteadyTime;
using pronto::Task;
using pronto::WallTime;

namespace {

constexpr std::size_t history_page_count = 20;
constexpr std::size_t newest_count = 5;
constexpr auto cancel_limit = 5s;
constexpr auto publish_limit = 10s;
constexpr std::size_t asked_rounds_max = 8;  // of `Kitchen::asked_at_once_max` orders, each refresh
constexpr std::size_t ended_count_max = 10'000;
constexpr double workers_seen_decay = 0.9;
constexpr double rounding_up_max = 1.15;

Problem no_such_order() {
  return http::not_found("There is no such order of yours.");
}

Problem wrong_fields(const std::vector<FieldError>& errors) {
  if (errors.front().field.empty()) return http::bad_request(errors.front().reason);
  std::vector<http::FieldError> shown;
  for (const FieldError& error : errors) shown.push_back({error.field, error.reason});
  return http::unprocessable("The order cannot be accepted as it is.", std::move(shown));
}

Problem not_published(const pronto::BusFailure& failure, bool has_key) {
  pronto::log::warning("an order could not be published", {{"reason", failure.text}});
  if (failure.kind == pronto::BusFailure::Kind::timed_out) {
    return http::unavailable(
        fmt::format(
            "The broker has not answered in time: whether the order is stored is not known. {}",
            has_key ? "Ask again with the same Idempotency-Key: it is ordered once."
                    : "Look at your orders before you order again."),
        seconds{5});
  }
  return http::unavailable("Orders cannot be stored right now. Nothing was ordered; try again.",
                           seconds{5});
}

/// What the order log has made.
const Order& order_of(const http::Operation& operation) {
  return static_cast<const OrderOperation&>(operation).order;
}

}  // namespace

std::string OrderOperation::body() const {
  return json::serialize(to_json(order, ids_));
}

std::vector<http::Operation::Entry> OrderOperation::log_after(std::int64_t seen) const {
  std::vector<Entry> entries;
  for (const Step& step : order.journey) {
    if (step.sequence <= seen) continue;
    const json::object data{
        {"order", order.id}, {"status", step.status}, {"at", step.at}, {"sequence", step.sequence}};
    entries.push_back({step.sequence, json::serialize(data)});
  }
  return entries;
}

Task<http::OperationPtr> OrderLog::find_operation(std::string id) {
  std::optional<Order> order = co_await history_.find(std::move(id));
  if (!order) co_return nullptr;
  co_return std::make_shared<OrderOperation>(std::move(*order), ids_);
}

OrderService::OrderService(OrderServiceParts parts, Options options)
    : parts_{parts},
      options_{options},
      history_{parts.database},
      order_log_{history_, parts.ids},
      operations_{parts.loop,
                  order_log_,
                  {.wait_max = options.wait_max,
                   .first_entry_limit = options.projection_limit,
                   .event_name = "order-status"}} {}

void OrderService::add_routes(http::Router& router) {
  const auto handler = [this](auto member) {
    return [this, member](Request& request) { return (this->*member)(request); };
  };
  router.get("/", handler(&OrderService::index));
  router.get("/menu", handler(&OrderService::menu));
  router.post("/orders", handler(&OrderService::place));
  router.get("/orders", handler(&OrderService::history));
  router.get("/orders/{id}", handler(&OrderService::show));
  router.del("/orders/{id}", handler(&OrderService::cancel));
  router.post("/orders/{id}/cancel", handler(&OrderService::cancel));
  router.get("/orders/{id}/events", handler(&OrderService::events));
}

std::optional<OrderService::Visitor> OrderService::visitor(const Request& request) {
  if (const auto caller = parts_.sessions.find(request)) return Visitor{caller->name, false};
  // Who claims to be somebody is not made somebody else behind their back. Only a browser with a
  // stale cookie begins a new session: its user could do nothing about an error.
  const bool is_browser = request.wants_html() || request.has_form();
  const bool is_stale_cookie = is_browser && !request.headers.find("Authorization");
  if (parts_.sessions.has_credentials(request) && !is_stale_cookie) return std::nullopt;
  return Visitor{"guest-" + parts_.loop.random().url_safe_id(12), true};
}

http::Response OrderService::not_authorised(const Request& request) const {
  Response response = http::unauthorized(
      "The token or session cookie is not valid any more, or was made for another server.");
  // Without the cookie the next request begins a new session.
  if (!request.headers.find("Authorization")) parts_.sessions.end(response);
  return response;
}

http::Response OrderService::greeted(Response response, const Visitor& visitor) const {
  if (visitor.is_new) parts_.sessions.start(response, visitor.name, parts_.loop.wall_now());
  return response;
}

// -- orders in flight -------------------------------------------------------

std::int64_t OrderService::in_flight() const {
  // What was accepted here is known at once; what came from elsewhere, or before a restart, was
  // counted a moment ago.
  const auto open = static_cast<std::int64_t>(open_.size());
  return rooms_taken_ + std::max(open, counted_ + open - open_at_count_);
}

void OrderService::on_placed(const OrderPlaced& event) {
  operations_.on_entry(event.order, 1);
}

void OrderService::on_status(const OrderStatus& event) {
  operations_.on_entry(event.order, event.sequence);
  if (!is_final(event.status) || !note_end(event.order)) return;
  if (open_.erase(event.order) == 0) counted_ = std::max<std::int64_t>(0, counted_ - 1);
  if (event.status == status_ready) parts_.capacity.on_ready(parts_.loop.now());
}

bool OrderService::note_end(const std::string& order) {
  if (!ended_.insert(order).second) return false;
  ended_in_order_.push_back(order);
  if (ended_in_order_.size() > ended_count_max) {
    ended_.erase(ended_in_order_.front());
    ended_in_order_.pop_front();
  }
  return true;
}

Task<> OrderService::refresh_for_ever() {
  for (;;) {
    co_await pronto::sleep_for(options_.refresh_interval);
    co_await refresh();
  }
}

Task<> OrderService::refresh() {
  try {
    co_await look_at_kitchen();
  } catch (const pronto::DatabaseError& error) {
    pronto::log::warning("the kitchen cannot be looked at", {{"error", error.what()}});
  }
}

Task<> OrderService::drop_finished() {
  // Had ended at the last look, and nothing was heard of it since.
  for (const std::string& order : std::exchange(unheard_, {})) {
    open_at_count_ -= static_cast<std::int64_t>(open_.erase(order));
  }
  for (std::size_t round = 0; round < asked_rounds_max; ++round) {
    std::vector<std::string> asked;
    auto next = open_.upper_bound(open_asked_);
    for (; next != open_.end() && asked.size() < Kitchen::asked_at_once_max; ++next) {
      asked.push_back(*next);
    }
    const bool is_last = next == open_.end();
    open_asked_ = is_last ? std::string{} : asked.back();
    for (std::string& order : co_await Kitchen::finished_of(parts_.database, std::move(asked))) {
      unheard_.push_back(std::move(order));
    }
    if (is_last) co_return;
  }
}

Task<> OrderService::look_at_kitchen() {
  co_await drop_finished();
  const auto open_before = static_cast<std::int64_t>(open_.size());
  // The rows before the queue: an order on its way from one to the other is not counted twice. If
  // it is missed, and was accepted here, `open_` has it.
  const std::int64_t rows = co_await Kitchen::count_open(parts_.database);
  const auto queues = co_await parts_.bus.queue_states();
  if (!queues) co_return;
  counted_ = rows;
  open_at_count_ = open_before;
  knows_kitchen_ = true;
  for (const auto& queue : *queues) {
    if (queue.queue == OrderExecutor::queue)
      counted_ += static_cast<std::int64_t>(queue.ready_count);
  }
  parts_.capacity.on_in_flight(in_flight(), parts_.loop.now());
  const Kitchen::InWork in_work = co_await Kitchen::in_work(parts_.database);
  parts_.capacity.on_stages(stages_now(in_work, *queues), parts_.loop.now());
}

std::array<StageNow, 3> OrderService::stages_now(
    const Kitchen::InWork& in_work, const std::vector<pronto::Bus::QueueState>& queues) {
  const WallTime now = parts_.loop.wall_now();
  std::array<StageNow, 3> stages_now;
  for (std::size_t i = 0; i < stages.size(); ++i) {
    StageNow& stage = stages_now[i];
    std::int64_t processes = 1;
    for (const auto& queue : queues) {
      if (queue.queue != OrderExecutor::ticket_queue(stages[i])) continue;
      stage.waiting = static_cast<std::int64_t>(queue.ready_count);
      processes = std::max<std::int64_t>(1, static_cast<std::int64_t>(queue.consumer_count));
    }
    for (const WallTime due : in_work.due[i]) stage.left.push_back(due - now);
    if (in_work.duration[i]) options_.stages[i].duration = *in_work.duration[i];
    stage.duration = options_.stages[i].duration;
    // While orders wait, those in work are as many as there are workers, give or take one that is
    // between two orders; otherwise what this process was told is the best that is known.
    const auto seen = static_cast<double>(stage.left.size());
    const double told = static_cast<double>(processes * options_.stages[i].workers);
    double& workers = workers_seen_[i];
    const bool is_all_at_work = stage.waiting > 0 && workers > 0;
    workers = std::max(seen, is_all_at_work ? workers * workers_seen_decay : told);
    stage.workers = std::max<std::int64_t>(1, std::llround(workers));
  }
  return stages_now;
}

Problem OrderService::overloaded() const {
  const milliseconds wait =
      parts_.capacity.drain_time(in_flight() - options_.accept_limit + 1, parts_.loop.now());
  // Whole seconds: rounded up, so that nobody comes too early, where that is near the truth.
  const seconds up = std::chrono::ceil<seconds>(wait);
  const seconds told = up <= wait * rounding_up_max ? up : std::chrono::round<seconds>(wait);
  return http::unavailable("The kitchen has more orders than it can take. Nothing was ordered.",
                           std::max(seconds{1}, told));
}

// -- accepting --------------------------------------------------------------

Task<http::Response> OrderService::place(Request& request) {
  auto who = visitor(request);
  if (!who) co_return not_authorised(request);
  std::optional<std::string> key;
  pronto::Result<OrderRequest, std::vector<FieldError>> order = std::vector<FieldError>{};
  if (request.has_form()) {
    const auto form = request.form();
    if (!form) co_return form.error();
    order = parse_order_fields(form->find("pizza").value_or(""), form->find("size").value_or(""),
                               form->find("quantity").value_or(""));
    key = form->find("idempotency_key");
  } else {
    const auto type = request.headers.find("Content-Type");
    if (type && !request.json() && request.json().error().status == 415) {
      co_return request.json().error();
    }
    order = parse_order_json(request.body);
    if (const auto header = request.headers.find("Idempotency-Key")) key = std::string{*header};
  }
  if (!order) co_return wrong_fields(order.error());
  if (order->callback_url) {
    const auto url = http::Url::parse(*order->callback_url);
    if (!url) {
      co_return http::unprocessable("The order cannot be accepted as it is.",
                                    {{"callback_url", url.error()}});
    }
    const auto allowed = parts_.callback_check.check_host(*url);
    if (!allowed) {
      co_return http::unprocessable(
          "Callbacks go to public addresses only, unless --allow-callbacks-to names another.",
          {{"callback_url", allowed.error().to_string()}});
    }
  }
  if (!knows_kitchen_) {
    co_return http::unavailable("The kitchen is opening. Nothing was ordered.", seconds{1});
  }
  const auto is_full = [this] { return in_flight() >= options_.accept_limit; };
  // What was accepted before is not refused now; asking whether it was takes a moment.
  const bool is_repeat = is_full() && key && co_await parts_.idempotency.is_known(who->name, *key);
  if (is_full() && !is_repeat) co_return overloaded();
  Room room{rooms_taken_};
  Response response =
      co_await place_checked(request, *who, std::move(*order), std::move(key), room);
  co_return greeted(std::move(response), *who);
}

Task<http::Response> OrderService::place_checked(Request& request, Visitor visitor,
                                                 OrderRequest order, std::optional<std::string> key,
                                                 Room& room) {
  if (!key) {
    co_return co_await publish(request, visitor, std::move(order), parts_.ids.make(visitor.name),
                               room, nullptr);
  }
  const auto busy = request.has_form() ? http::Idempotency::WhileBusy::wait
                                       : http::Idempotency::WhileBusy::refuse;
  auto claim = co_await parts_.idempotency.claim(
      visitor.name, *key, request.body, [this, &visitor] { return parts_.ids.make(visitor.name); },
      busy);
  if (!claim) co_return claim.error();
  if (claim->is_new()) crash_point("claimed");
  if (claim->answer()) co_return accepted(request, claim->answer_id(), *claim->answer());
  co_return co_await publish(request, std::move(visitor), std::move(order), claim->answer_id(),
                             room, &*claim);
}

Task<http::Response> OrderService::publish(Request& request, Visitor visitor, OrderRequest order,
                                           std::string id, Room& room,
                                           http::Idempotency::Claim* claim) {
  if (order.callback_secret) {
    co_await parts_.database.transact(
        [id, secret = *order.callback_secret,
         now = parts_.loop.wall_now()](pronto::Transaction& tx) -> Task<> {
          return Notifier::keep_secret(tx, id, secret, now);
        });
  }
  const WallTime now = parts_.loop.wall_now();
  const Capacity::Range estimate = parts_.capacity.estimate(in_flight() - 1, parts_.loop.now());
  OrderPlaced event{.order = id,
                    .customer = visitor.name,
                    .items = order.items,
                    .placed_at = pronto::to_rfc3339(now),
                    .estimated_ready_at = pronto::to_rfc3339(now + estimate.earliest),
                    .estimated_ready_latest = pronto::to_rfc3339(now + estimate.latest),
                    .callback_url = order.callback_url};
  open_.insert(id);
  room.give_back();
  const Order placed = to_order(event);
  const auto published = co_await parts_.bus.publish(
      std::move(event),
      {.id = id, .limit = std::chrono::duration_cast<milliseconds>(publish_limit)});
  if (!published) {
    open_.erase(id);
    co_return not_published(published.error(), claim != nullptr);
  }
  crash_point("published");
  std::string body = accepted_body(placed, order);
  if (claim) claim->finish(body);
  // Whoever waits is shown how far it came.
  if (const auto seen = co_await operations_.wait_as_preferred(request, id)) {
    body = accepted_body(order_of(*seen), order);
  }
  co_return operations_.applied(request, accepted(request, id, std::move(body)));
}

std::string OrderService::accepted_body(const Order& order, const OrderRequest& request) const {
  json::object body = to_json(order, parts_.ids);
  if (request.callback_url) {
    body["callback_secret"] =
        request.callback_secret.value_or(parts_.ids.callback_secret(order.id));
  }
  return json::serialize(body);
}

http::Response OrderService::accepted(const Request& request, const std::string& id,
                                      std::string body) const {
  std::string location = "/orders/" + id;
  if (request.has_form()) return Response::see_other(location);
  return http::Operations::accepted(std::move(location), std::move(body));
}

// -- showing ----------------------------------------------------------------

Task<http::Response> OrderService::show(Request& request) {
  const auto who = visitor(request);
  if (!who) co_return not_authorised(request);
  const std::string& id = request.parameter("id");
  if (!parts_.ids.is_of(id, who->name)) co_return no_such_order();
  const auto unknown = [] {
    return http::unavailable("The order is accepted; its history is not there yet.", seconds{2});
  };
  if (request.wants_html()) {
    const auto operation = co_await operations_.find(id);
    if (!operation) co_return unknown();
    co_return order_page(request, order_of(*operation), parts_.ids, parts_.loop.wall_now());
  }
  auto shown = co_await operations_.show(request, id);
  if (!shown) co_return unknown();
  co_return std::move(*shown);
}

Task<http::Response> OrderService::events(Request& request) {
  const auto who = visitor(request);
  if (!who) co_return not_authorised(request);
  const std::string& id = request.parameter("id");
  if (!parts_.ids.is_of(id, who->name)) co_return no_such_order();
  co_return operations_.events(request, id);
}

Task<http::Response> OrderService::history(Request& request) {
  const auto who = visitor(request);
  if (!who) co_return not_authorised(request);
  std::optional<std::string> cursor = request.query.find("cursor");
  if (cursor && cursor->empty()) cursor.reset();
  const auto page = co_await history_.page(who->name, cursor, history_page_count);
  if (!page) {
    co_return http::bad_request("The history cannot be continued from there.",
                                {{"cursor", "is none of ours"}});
  }
  if (request.wants_html()) co_return greeted(history_page(page->orders, page->next), *who);
  json::array orders;
  for (const Order& order : page->orders) orders.push_back(to_json(order, parts_.ids));
  json::object body{{"orders", std::move(orders)}, {"next", nullptr}};
  if (page->next) body["next"] = *page->next;
  co_return Response::json(200, body).with("Cache-Control", "no-cache");
}

Task<http::Response> OrderService::index(Request& request) {
  const auto who = visitor(request);
  if (!who) co_return not_authorised(request);
  const auto page = co_await history_.page(who->name, std::nullopt, newest_count);
  co_return greeted(index_page(parts_.loop.random().url_safe_id(16), page->orders), *who);
}

Task<http::Response> OrderService::menu(Request&) {
  json::array pizzas;
  for (const Pizza& pizza : pizzeria::menu()) {
    json::array names;
    json::object prices;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      names.push_back(json::string{sizes[i]});
      prices[sizes[i]] =
          json::object{{"amount", pizza.cents[i]}, {"currency", json::string{currency}}};
    }
    pizzas.push_back(json::object{{"name", json::string{pizza.name}},
                                  {"description", json::string{pizza.description}},
                                  {"sizes", std::move(names)},
                                  {"price", std::move(prices)}});
  }
  co_return Response::json(200, json::object{{"pizzas", std::move(pizzas)}})
      .with("Cache-Control", "public, max-age=60");
}

// -- cancelling -------------------------------------------------------------

Task<http::Response> OrderService::cancel(Request& request) {
  const auto who = visitor(request);
  if (!who) co_return not_authorised(request);
  const std::string id = request.parameter("id");
  if (!parts_.ids.is_of(id, who->name)) co_return no_such_order();
  const bool is_form = request.method == "POST";
  const auto outcome = co_await parts_.bus.request(CancelOrder{id, who->name},
                                                   {.limit = cancel_limit, .outlives_limit = true});
  if (!outcome && outcome.error().kind != pronto::BusFailure::Kind::unanswered) {
    pronto::log::warning("an order could not be cancelled",
                         {{"order", id}, {"reason", outcome.error().text}});
    co_return http::unavailable("The order cannot be cancelled right now. Try again.", seconds{5});
  }
  if (outcome && !outcome->is_cancelled) {
    co_return http::conflict(
        fmt::format("The order is {} already and can no longer be "
                    "cancelled: that is possible before the oven.",
                    outcome->status));
  }
  if (is_form) co_return Response::see_other("/orders/" + id);
  const std::string status{outcome ? std::string_view{outcome->status} : "cancelling"};
  // Without an answer in time it is still decided, and the status tells.
  co_return Response::json(
      outcome ? 200 : 202,
      json::object{
          {"id", id}, {"status", status}, {"links", json::object{{"self", "/orders/" + id}}}});
}

}  // namespace pizzeria
