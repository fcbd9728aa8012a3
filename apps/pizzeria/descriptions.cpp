#include "descriptions.hpp"

#include <boost/describe.hpp>
#include <boost/json.hpp>
#include <boost/mp11.hpp>

#include "contracts.hpp"
#include "menu.hpp"
#include "notifier.hpp"
#include "order_executor.hpp"
#include "order_history_service.hpp"
#include "pronto/http/wait.hpp"

namespace pizzeria {

namespace http = pronto::http;
namespace json = boost::json;
using pronto::Task;

namespace {

/// The JSON schema of a described type, as the bus writes it.
template <class T>
json::object schema_of() {
  if constexpr (std::is_same_v<T, bool>) {
    return {{"type", "boolean"}};
  } else if constexpr (std::is_integral_v<T>) {
    return {{"type", "integer"}};
  } else if constexpr (std::is_same_v<T, std::string>) {
    return {{"type", "string"}};
  } else if constexpr (pronto::detail::IsOptional<T>::value) {
    return schema_of<typename T::value_type>();
  } else if constexpr (pronto::detail::IsVector<T>::value) {
    return {{"type", "array"}, {"items", schema_of<typename T::value_type>()}};
  } else {
    json::object properties;
    json::array required;
    boost::mp11::mp_for_each<pronto::detail::MembersOf<T>>([&](auto member) {
      using Member = std::remove_cvref_t<decltype(std::declval<T&>().*member.pointer)>;
      properties[member.name] = schema_of<Member>();
      if constexpr (!pronto::detail::IsOptional<Member>::value) required.push_back(member.name);
    });
    return {{"type", "object"}, {"properties", properties}, {"required", required}};
  }
}

json::object reference(std::string_view name) {
  return {{"$ref", "#/components/schemas/" + std::string{name}}};
}

json::object content(std::string_view type, json::object schema) {
  return {{type, json::object{{"schema", std::move(schema)}}}};
}

json::object answer(std::string_view description, json::object of = {}) {
  json::object object{{"description", description}};
  if (!of.empty()) object["content"] = std::move(of);
  return object;
}

json::object problem(std::string_view description) {
  return answer(description, content("application/problem+json", reference("Problem")));
}

json::object parameter(std::string_view name, std::string_view in, std::string_view description,
                       bool is_required = false) {
  return {{"name", name},
          {"in", in},
          {"description", description},
          {"required", is_required},
          {"schema", json::object{{"type", "string"}}}};
}

json::object order_schema() {
  const json::object text{{"type", "string"}};
  const json::object time{{"type", "string"}, {"format", "date-time"}};
  return {
      {"type", "object"},
      {"required", json::array{"id", "items", "status", "estimated_ready_at", "journey", "links"}},
      {"properties",
       json::object{
           {"id", text},
           {"items", schema_of<std::vector<Item>>()},
           {"status", json::object{{"type", "string"},
                                   {"enum", json::array{"placed", "prep", "bake", "oven", "ready",
                                                        "cancelled", "failed"}}}},
           {"estimated_ready_at", time},
           {"estimated_ready_latest", time},
           {"journey", schema_of<std::vector<Step>>()},
           {"callback_url", json::object{{"type", "string"}, {"format", "uri"}}},
           {"callback_secret",
            json::object{{"type", "string"}, {"description", "in the 202 only"}}},
           {"pickup_code", json::object{{"type", "string"}, {"description", "once ready"}}},
           {"links", json::object{{"type", "object"},
                                  {"properties", json::object{{"self", text}, {"events", text}}}}},
       }}};
}

json::object request_schema() {
  json::array pizzas;
  for (const Pizza& pizza : menu()) pizzas.push_back(json::string{pizza.name});
  json::array size_names;
  for (const std::string_view size : sizes) size_names.push_back(json::string{size});
  const json::object item{
      {"type", "object"},
      {"required", json::array{"pizza", "size"}},
      {"properties", json::object{{"pizza", json::object{{"enum", pizzas}}},
                                  {"size", json::object{{"enum", size_names}}},
                                  {"quantity", json::object{{"type", "integer"},
                                                            {"minimum", 1},
                                                            {"maximum", quantity_max},
                                                            {"default", 1}}}}}};
  return {{"type", "object"},
          {"required", json::array{"items"}},
          {"properties",
           json::object{
               {"items",
                json::object{
                    {"type", "array"}, {"minItems", 1}, {"maxItems", items_max}, {"items", item}}},
               {"callback_url", json::object{{"type", "string"}, {"format", "uri"}}},
               {"callback_secret",
                json::object{{"type", "string"}, {"pattern", "^whsec_[A-Za-z0-9+/]+=*$"}}}}}};
}

json::object callback() {
  const json::object body{
      {"type", "object"},
      {"properties",
       json::object{{"specversion", json::object{{"const", "1.0"}}},
                    {"type", json::object{{"enum", json::array{"pizzeria.order-ready",
                                                               "pizzeria.order-cancelled",
                                                               "pizzeria.order-failed"}}}},
                    {"source", json::object{{"type", "string"}}},
                    {"id", json::object{{"type", "string"}}},
                    {"time", json::object{{"type", "string"}, {"format", "date-time"}}},
                    {"datacontenttype", json::object{{"const", "application/json"}}},
                    {"data", reference("Order")}}}};
  const json::object post{
      {"description", "Signed as Standard Webhooks says; sent again until it is taken."},
      {"parameters",
       json::array{parameter("webhook-id", "header", "the same at every attempt", true),
                   parameter("webhook-timestamp", "header", "seconds since 1970", true),
                   parameter("webhook-signature", "header", "v1,base64", true)}},
      {"requestBody", json::object{{"content", content("application/cloudevents+json", body)}}},
      {"responses", json::object{{"2XX", answer("taken")}, {"410", answer("never again")}}}};
  return {
      {"result", json::object{{"{$request.body#/callback_url}", json::object{{"post", post}}}}}};
}

template <class... Messages>
void add_messages(json::object& channels, json::object& messages) {
  const auto add = [&](const pronto::ContractInfo& info, json::object schema) {
    const std::string name{info.name};
    const bool is_event = info.kind == pronto::MessageKind::event;
    messages[name] = json::object{
        {"name", name}, {"contentType", "application/json"}, {"payload", std::move(schema)}};
    channels[name] = json::object{
        {"address", info.exchange()},
        {"messages", json::object{{name, json::object{{"$ref", "#/components/messages/" + name}}}}},
        {"bindings",
         json::object{{"amqp", json::object{{"is", "routingKey"},
                                            {"bindingVersion", "0.3.0"},
                                            {"exchange",
                                             json::object{{"name", info.exchange()},
                                                          {"type", is_event ? "fanout" : "direct"},
                                                          {"durable", true},
                                                          {"vhost", "/"}}}}}}}};
  };
  (add(pronto::contract<Messages>.info, schema_of<Messages>()), ...);
}

json::object operation(std::string_view action, std::string_view channel,
                       std::string_view summary) {
  return {{"action", action},
          {"channel", json::object{{"$ref", "#/channels/" + std::string{channel}}}},
          {"summary", summary}};
}

}  // namespace

json::object openapi() {
  const json::object id = parameter("id", "path", "the order", true);
  const json::object wait =
      parameter("Prefer", "header", "wait=N holds the answer for at most N seconds");
  const json::object order = content("application/json", reference("Order"));
  const json::object place{
      {"summary", "Order; answered at once"},
      {"parameters",
       json::array{parameter("Idempotency-Key", "header", "the same key and body: the same order"),
                   wait}},
      {"requestBody",
       json::object{{"required", true},
                    {"content", content("application/json", reference("OrderRequest"))}}},
      {"callbacks", callback()},
      {"responses",
       json::object{{"202", answer("accepted, and on stable storage", order)},
                    {"400", problem("not JSON")},
                    {"409", problem("the first request with this key is under way")},
                    {"422", problem("wrong fields, or the key came with another body")},
                    {"503", problem("too many orders; see Retry-After")}}}};
  const json::object list{
      {"summary", "The caller's orders, newest first"},
      {"parameters", json::array{parameter("cursor", "query", "`next` of the page before")}},
      {"responses",
       json::object{{"200", answer("a page", content("application/json", reference("History")))}}}};
  const json::object show{
      {"summary", "The order and its journey; with Prefer, the next change"},
      {"parameters", json::array{id, wait, parameter("If-None-Match", "header", "an ETag")}},
      {"responses", json::object{{"200", answer("the order", order)},
                                 {"304", answer("not changed")},
                                 {"404", problem("no such order of yours")}}}};
  const json::object cancel{
      {"summary", "Cancel, before the oven"},
      {"parameters", json::array{id}},
      {"responses", json::object{{"200", answer("cancelled")},
                                 {"202", answer("stored, not decided yet; the status tells")},
                                 {"404", problem("no such order of yours")},
                                 {"409", problem("too late")},
                                 {"503", problem("not stored; try again")}}}};
  const json::object events{
      {"summary", "Each status once and in order, as server-sent events"},
      {"parameters",
       json::array{id, parameter("Last-Event-ID", "header", "the last sequence seen")}},
      {"responses", json::object{{"200", answer("order-status events; ends after the last status",
                                                content("text/event-stream",
                                                        json::object{{"type", "string"}}))}}}};
  const json::object the_menu{{"summary", "What there is"},
                              {"responses", json::object{{"200", answer("the menu")}}}};
  const json::object problem_schema{
      {"type", "object"},
      {"properties", json::object{{"type", json::object{{"type", "string"}}},
                                  {"title", json::object{{"type", "string"}}},
                                  {"status", json::object{{"type", "integer"}}},
                                  {"detail", json::object{{"type", "string"}}},
                                  {"errors", json::object{{"type", "array"}}}}}};
  const json::object history{
      {"type", "object"},
      {"properties",
       json::object{{"orders", json::object{{"type", "array"}, {"items", reference("Order")}}},
                    {"next", json::object{{"type", json::array{"string", "null"}}}}}}};
  return {
      {"openapi", "3.1.0"},
      {"info", json::object{{"title", "Pizzeria"}, {"version", PRONTO_VERSION}}},
      {"security", json::array{json::object{{"token", json::array{}}},
                               json::object{{"session", json::array{}}}}},
      {"paths", json::object{{"/orders", json::object{{"post", place}, {"get", list}}},
                             {"/orders/{id}", json::object{{"get", show}, {"delete", cancel}}},
                             {"/orders/{id}/events", json::object{{"get", events}}},
                             {"/menu", json::object{{"get", the_menu}}}}},
      {"components",
       json::object{{"schemas", json::object{{"Order", order_schema()},
                                             {"OrderRequest", request_schema()},
                                             {"History", history},
                                             {"Problem", problem_schema}}},
                    {"securitySchemes",
                     json::object{{"token", json::object{{"type", "http"}, {"scheme", "bearer"}}},
                                  {"session", json::object{{"type", "apiKey"},
                                                           {"in", "cookie"},
                                                           {"name", "pizzeria_session"}}}}}}}};
}

json::object asyncapi() {
  json::object channels;
  json::object messages;
  add_messages<OrderPlaced, OrderStatus, Ticket, CancelOrder>(channels, messages);
  return {
      {"asyncapi", "3.0.0"},
      {"info", json::object{{"title", "Pizzeria"}, {"version", PRONTO_VERSION}}},
      {"channels", channels},
      {"operations",
       json::object{
           {"OrderService.place",
            operation("send", "pizzeria.order-placed", "an order was accepted")},
           {"OrderHistoryService.placed",
            operation("receive", "pizzeria.order-placed", OrderHistoryService::queue)},
           {"OrderHistoryService.status",
            operation("receive", "pizzeria.order-status", OrderHistoryService::queue)},
           {"OrderExecutor.open",
            operation("receive", "pizzeria.order-placed", OrderExecutor::queue)},
           {"OrderExecutor.work",
            operation("receive", "pizzeria.ticket", "one worker of the stage")},
           {"OrderExecutor.status",
            operation("send", "pizzeria.order-status", "a status was reached")},
           {"OrderExecutor.ticket", operation("send", "pizzeria.ticket", "the next stage")},
           {"OrderExecutor.cancel",
            operation("receive", "pizzeria.cancel-order", OrderExecutor::cancel_queue)},
           {"Notifier.status", operation("receive", "pizzeria.order-status", Notifier::queue)}}},
      {"components", json::object{{"messages", messages}}}};
}

void add_description_routes(http::Router& router) {
  const auto add = [&router](std::string_view path, const json::object& description) {
    const std::string text = json::serialize(description);
    router.get(path,
               [text, tag = http::etag_of(text)](http::Request& request) -> Task<http::Response> {
                 co_return http::conditional(request, http::Response::json_text(200, text), tag);
               });
  };
  add("/openapi.json", openapi());
  add("/asyncapi.json", asyncapi());
}

}  // namespace pizzeria
