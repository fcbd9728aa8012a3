#include "operator_api.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "pages.hpp"
#include "pronto/base/crypto.hpp"
#include "pronto/base/text.hpp"
#include "pronto/http/page.hpp"

namespace pizzeria {

namespace http = pronto::http;
namespace json = boost::json;
using namespace std::chrono_literals;
using pronto::Task;

namespace {

constexpr const char* session_cookie = "pizzeria_operator";
constexpr const char* csrf_cookie = "pizzeria_operator_csrf";
constexpr pronto::seconds session_time{12 * 3600};
constexpr std::size_t letters_max = 200;
constexpr std::size_t callbacks_max = 200;  // of each state
constexpr std::size_t destinations_max = 200;

http::CookieOptions cookie_options(std::optional<pronto::seconds> max_age) {
  return {.path = "/operator", .max_age = max_age, .same_site = "Strict"};
}

std::string_view state_words(http::CallbackView::State state) {
  switch (state) {
    case http::CallbackView::State::dead:
      return "given up";
    case http::CallbackView::State::ended:
      return "ended by the receiver";
    case http::CallbackView::State::waiting:
      return "waiting";
    case http::CallbackView::State::delivered:
      return "delivered";
  }
  return "";
}

std::string order_of(const pronto::DeadLetter& letter) {
  boost::system::error_code ec;
  const json::value body = json::parse(letter.body, ec);
  if (ec || !body.is_object()) return {};
  const json::value* order = body.get_object().if_contains("order");
  return order && order->is_string() ? std::string{order->get_string()} : std::string{};
}

}  // namespace

OperatorApi::OperatorApi(pronto::Loop& loop, pronto::Bus& bus, http::Callbacks& callbacks,
                         QueuesOf queues_of, Options options)
    : loop_{loop},
      bus_{bus},
      callbacks_{callbacks},
      queues_of_{std::move(queues_of)},
      options_{std::move(options)},
      signer_{options_.key, "operator"} {}

pronto::Bytes OperatorApi::password_mac(pronto::BytesView key, std::string_view password) {
  const pronto::Digest digest =
      pronto::hmac_sha256(key, pronto::as_bytes("operator-password:" + std::string{password}));
  return {digest.begin(), digest.end()};
}

void OperatorApi::add_routes(http::Router& router) {
  const auto handler = [this](auto member) {
    return [this, member](Request& request) { return (this->*member)(request); };
  };
  router.get("/operator", handler(&OperatorApi::overview_page));
  router.get("/operator/login", handler(&OperatorApi::login_form));
  router.post("/operator/login", handler(&OperatorApi::login));
  router.post("/operator/logout", handler(&OperatorApi::logout));
  router.get("/operator/api/overview", handler(&OperatorApi::overview));
  router.get("/operator/callbacks", handler(&OperatorApi::callbacks_page));
  router.get("/operator/api/callbacks", handler(&OperatorApi::callbacks));
  router.post("/operator/callbacks/{id}/resend", handler(&OperatorApi::resend));
  router.post("/operator/dead-letters/{id}/retry",
              [this](Request& request) { return decide(request, true); });
  router.post("/operator/dead-letters/{id}/discard",
              [this](Request& request) { return decide(request, false); });
}

bool OperatorApi::is_signed_in(const Request& request) const {
  const auto cookie = request.cookie(session_cookie);
  return cookie && signer_.verify(*cookie, loop_.wall_now()).has_value();
}

std::string OperatorApi::csrf_of(const Request& request) const {
  const std::string session = request.cookie(session_cookie).value_or("");
  return pronto::to_base64url(
      pronto::hmac_sha256(options_.key, pronto::as_bytes("csrf:" + session)));
}

bool OperatorApi::has_csrf(const Request& request) const {
  const auto form = request.form();
  const std::string sent = form ? form->find("csrf").value_or("") : "";
  return pronto::equal_in_constant_time(pronto::as_bytes(sent), pronto::as_bytes(csrf_of(request)));
}

http::Response OperatorApi::login_page(const Request& request, int status,
                                       std::string_view message) const {
  std::string csrf = request.cookie(csrf_cookie).value_or("");
  if (csrf.size() < 16) csrf = loop_.random().url_safe_id(18);
  const std::string error =
      message.empty() ? std::string{} : fill("operator/_login_error.html", {{"message", message}});
  Response response =
      page_of(status, fill("operator/login.html", {{"csrf", csrf}, {"error", error}}));
  response.headers.add("Set-Cookie",
                       http::set_cookie(csrf_cookie, csrf, cookie_options(std::nullopt)));
  return response;
}

Task<http::Response> OperatorApi::login_form(Request& request) {
  if (is_signed_in(request)) co_return Response::see_other("/operator");
  co_return login_page(request, 200, "");
}

Task<http::Response> OperatorApi::login(Request& request) {
  const auto form = request.form();
  if (!form) co_return form.error();
  const std::string csrf = form->find("csrf").value_or("");
  if (csrf.empty() || csrf != request.cookie(csrf_cookie).value_or("")) {
    co_return login_page(request, 401, "The form was too old. Try again.");
  }
  // Guessing is slowed down, the more the oftener it fails.
  if (failures_ > 0) co_await pronto::sleep_for(std::min(failures_ * 200ms, 2000ms));
  const pronto::Bytes mac = password_mac(options_.key, form->find("password").value_or(""));
  if (!pronto::equal_in_constant_time(mac, options_.password_mac)) {
    ++failures_;
    co_return login_page(request, 401, "That is not the password.");
  }
  failures_ = 0;
  Response response = Response::see_other("/operator");
  response.headers.add(
      "Set-Cookie",
      http::set_cookie(session_cookie, signer_.issue("operator", loop_.wall_now() + session_time),
                       cookie_options(session_time)));
  co_return response;
}

Task<http::Response> OperatorApi::logout(Request& request) {
  if (!is_signed_in(request) || !has_csrf(request))
    co_return Response::see_other("/operator/login");
  Response response = Response::see_other("/operator/login");
  response.headers.add("Set-Cookie",
                       http::set_cookie(session_cookie, "", cookie_options(pronto::seconds{0})));
  co_return response;
}

Task<std::vector<OperatorApi::Letter>> OperatorApi::letters() {
  std::vector<Letter> all;
  for (const std::string& queue : options_.queues) {
    auto found = co_await bus_.dead_letters().list(queue, letters_max);
    if (!found) continue;  // a broker that is away shows as not ready; the list is then empty
    for (pronto::DeadLetter& letter : *found) {
      std::string id = pronto::to_base64url(pronto::as_bytes(queue + '\n' + letter.id));
      all.push_back({std::move(id), std::move(letter)});
    }
  }
  std::ranges::sort(all, std::greater{}, [](const Letter& one) { return one.letter.dead_at; });
  if (all.size() > letters_max) all.erase(all.begin() + letters_max, all.end());
  co_return all;
}

Task<http::Response> OperatorApi::overview_page(Request& request) {
  if (!is_signed_in(request)) co_return Response::see_other("/operator/login");
  const std::string csrf = csrf_of(request);
  std::string queues;
  for (const QueueRow& row : co_await queues_of_()) {
    queues +=
        fill("operator/_queue.html", {{"name", row.name},
                                      {"ready", std::to_string(row.ready)},
                                      {"unacked", std::to_string(row.unacked)},
                                      {"consumers", std::to_string(row.consumers)},
                                      {"publish_rate", fmt::format("{:.1f}", row.publish_rate)},
                                      {"deliver_rate", fmt::format("{:.1f}", row.deliver_rate)}});
  }
  if (queues.empty()) queues = fill("operator/_queues_empty.html", {});
  std::string letters_html;
  const std::vector<Letter> all = co_await letters();
  for (const Letter& one : all) {
    const std::string first = pronto::to_rfc3339(one.letter.first_failed_at);
    const std::string last = pronto::to_rfc3339(one.letter.dead_at);
    letters_html +=
        fill("operator/_dead_letter.html", {{"csrf", csrf},
                                            {"id", one.id},
                                            {"queue", one.letter.queue},
                                            {"message_type", one.letter.type},
                                            {"reason", one.letter.handler},
                                            {"error", one.letter.error},
                                            {"attempts", std::to_string(one.letter.attempts)},
                                            {"first_at", first},
                                            {"last_at", last},
                                            {"first", short_time(first)},
                                            {"last", short_time(last)},
                                            {"order", order_of(one.letter)}});
  }
  if (letters_html.empty()) letters_html = fill("operator/_dead_letters_empty.html", {});
  const std::string done = request.query.find("done").value_or("");
  const bool is_known = done == "retried" || done == "discarded" || done == "gone";
  const std::string notice =
      is_known ? fill("operator/_notice_" + done + ".html", {}) : std::string{};
  const std::string now = pronto::to_rfc3339(loop_.wall_now());
  co_return page_of(
      200, fill("operator/operator.html", {{"csrf", csrf},
                                           {"updated_at", now},
                                           {"updated", now.substr(11, 8) + " UTC"},
                                           {"notice", notice},
                                           {"queues", queues},
                                           {"dead_letters", letters_html},
                                           {"dead_letter_count", std::to_string(all.size())}}));
}

Task<http::Response> OperatorApi::overview(Request& request) {
  if (!is_signed_in(request)) co_return http::unauthorized("Sign in at /operator/login.");
  json::array queues;
  for (const QueueRow& row : co_await queues_of_()) {
    queues.push_back(json::object{{"name", row.name},
                                  {"ready", row.ready},
                                  {"unacked", row.unacked},
                                  {"consumers", row.consumers},
                                  {"publish_rate", row.publish_rate},
                                  {"deliver_rate", row.deliver_rate}});
  }
  json::array dead;
  const std::vector<Letter> all = co_await letters();
  for (const Letter& one : all) {
    json::object shown{{"id", one.id},
                       {"queue", one.letter.queue},
                       {"message_type", one.letter.type},
                       {"reason", one.letter.handler},
                       {"error", one.letter.error},
                       {"attempts", one.letter.attempts},
                       {"first_at", pronto::to_rfc3339(one.letter.first_failed_at)},
                       {"last_at", pronto::to_rfc3339(one.letter.dead_at)}};
    if (const std::string order = order_of(one.letter); !order.empty()) shown["order"] = order;
    dead.push_back(std::move(shown));
  }
  co_return Response::json(200, json::object{{"queues", std::move(queues)},
                                             {"dead_letters", std::move(dead)},
                                             {"dead_letters_total", all.size()}})
      .with("Cache-Control", "no-store");
}

// -- callbacks --------------------------------------------------------------

Task<std::vector<http::CallbackView>> OperatorApi::open_callbacks() {
  using State = http::CallbackView::State;
  std::vector<http::CallbackView> all;
  for (const State state : {State::dead, State::ended, State::waiting}) {
    for (http::CallbackView& one : co_await callbacks_.list(state, callbacks_max)) {
      all.push_back(std::move(one));
    }
  }
  co_return all;
}

Task<http::Response> OperatorApi::callbacks_page(Request& request) {
  if (!is_signed_in(request)) co_return Response::see_other("/operator/login");
  const std::string csrf = csrf_of(request);
  std::string destinations;
  for (const http::DestinationView& one : co_await callbacks_.destinations(destinations_max)) {
    destinations +=
        fill("operator/_destination.html", {{"destination", one.destination},
                                            {"waiting", std::to_string(one.waiting)},
                                            {"delivered", std::to_string(one.delivered)},
                                            {"dead", std::to_string(one.dead)},
                                            {"state", one.is_circuit_open ? "paused" : ""}});
  }
  if (destinations.empty()) destinations = fill("operator/_destinations_empty.html", {});
  const std::vector<http::CallbackView> all = co_await open_callbacks();
  std::string shown;
  for (const http::CallbackView& one : all) {
    const bool is_waiting = one.state == http::CallbackView::State::waiting;
    const std::string created = pronto::to_rfc3339(one.created_at);
    shown += fill("operator/_callback.html",
                  {{"csrf", csrf},
                   {"id", one.id},
                   {"event", one.event},
                   {"destination", one.destination},
                   {"state", state_words(one.state)},
                   {"error", one.last_error},
                   {"attempts", std::to_string(one.attempts)},
                   {"created_at", created},
                   {"created", short_time(created)},
                   {"next", is_waiting ? short_time(pronto::to_rfc3339(one.next_try_at)) : "none"},
                   {"order", one.subject},
                   {"url", one.url}});
  }
  if (shown.empty()) shown = fill("operator/_callbacks_empty.html", {});
  const std::string done = request.query.find("done").value_or("");
  const bool is_known = done == "resent" || done == "delivered";
  const std::string notice =
      is_known ? fill("operator/_notice_" + done + ".html", {}) : std::string{};
  const std::string now = pronto::to_rfc3339(loop_.wall_now());
  co_return page_of(
      200, fill("operator/callbacks.html", {{"csrf", csrf},
                                            {"updated_at", now},
                                            {"updated", now.substr(11, 8) + " UTC"},
                                            {"notice", notice},
                                            {"destinations", destinations},
                                            {"callbacks", shown},
                                            {"callback_count", std::to_string(all.size())}}));
}

Task<http::Response> OperatorApi::callbacks(Request& request) {
  if (!is_signed_in(request)) co_return http::unauthorized("Sign in at /operator/login.");
  json::array destinations;
  for (const http::DestinationView& one : co_await callbacks_.destinations(destinations_max)) {
    destinations.push_back(json::object{{"destination", one.destination},
                                        {"waiting", one.waiting},
                                        {"delivered", one.delivered},
                                        {"dead", one.dead},
                                        {"is_circuit_open", one.is_circuit_open}});
  }
  json::array shown;
  for (const http::CallbackView& one : co_await open_callbacks()) {
    shown.push_back(json::object{{"id", one.id},
                                 {"order", one.subject},
                                 {"event", one.event},
                                 {"url", one.url},
                                 {"destination", one.destination},
                                 {"state", http::to_string(one.state)},
                                 {"attempts", one.attempts},
                                 {"created_at", pronto::to_rfc3339(one.created_at)},
                                 {"next_try_at", pronto::to_rfc3339(one.next_try_at)},
                                 {"last_status", one.last_status},
                                 {"last_error", one.last_error}});
  }
  co_return Response::json(
      200, json::object{{"destinations", std::move(destinations)}, {"callbacks", std::move(shown)}})
      .with("Cache-Control", "no-store");
}

Task<http::Response> OperatorApi::resend(Request& request) {
  if (!is_signed_in(request)) co_return Response::see_other("/operator/login");
  if (!has_csrf(request)) co_return http::forbidden("The form was too old, or not from this page.");
  const bool is_sent = co_await callbacks_.resend(request.parameter("id"));
  co_return Response::see_other(is_sent ? "/operator/callbacks?done=resent"
                                        : "/operator/callbacks?done=delivered");
}

Task<http::Response> OperatorApi::decide(Request& request, bool is_retry) {
  if (!is_signed_in(request)) co_return Response::see_other("/operator/login");
  if (!has_csrf(request)) co_return http::forbidden("The form was too old, or not from this page.");
  const auto decoded = pronto::from_base64url(request.parameter("id"));
  const std::string whole = decoded ? pronto::to_string(*decoded) : "";
  const std::size_t line = whole.find('\n');
  if (line == whole.npos ||
      std::ranges::find(options_.queues, whole.substr(0, line)) == options_.queues.end()) {
    co_return Response::see_other("/operator?done=gone");
  }
  const std::string queue = whole.substr(0, line);
  const std::string id = whole.substr(line + 1);
  const auto done = is_retry ? co_await bus_.dead_letters().retry(queue, id)
                             : co_await bus_.dead_letters().discard(queue, id, "operator page");
  if (!done && done.error().kind != pronto::BusFailure::Kind::not_found) {
    co_return http::unavailable("The broker did not answer: " + done.error().text,
                                pronto::seconds{5});
  }
  if (!done) co_return Response::see_other("/operator?done=gone");
  co_return Response::see_other(is_retry ? "/operator?done=retried" : "/operator?done=discarded");
}

}  // namespace pizzeria
