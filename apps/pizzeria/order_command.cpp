#include "order_command.hpp"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <cstdio>

#include "order.hpp"
#include "order_request.hpp"
#include "pronto/http/client.hpp"
#include "pronto/http/identity.hpp"

namespace pizzeria {

namespace http = pronto::http;
namespace json = boost::json;
using namespace std::chrono_literals;
using pronto::Task;

namespace {

constexpr pronto::seconds token_time{30 * 24 * 3600};
constexpr int lost_max = 30;  // connections lost in a row before giving up

void print(const std::string& line) {
  fmt::print("{}\n", line);
  std::fflush(stdout);
}

/// What a problem document, or whatever came instead, says.
std::string complaint(const http::ClientResponse& response) {
  boost::system::error_code ec;
  const json::value body = json::parse(response.body, ec);
  if (ec || !body.is_object()) return fmt::format("the answer was {}", response.status);
  const json::object& problem = body.get_object();
  std::string text;
  if (const auto* detail = problem.if_contains("detail"); detail && detail->is_string()) {
    text = std::string{detail->get_string()};
  }
  if (const auto* errors = problem.if_contains("errors"); errors && errors->is_array()) {
    for (const json::value& error : errors->get_array()) {
      if (const auto* fields = error.if_object()) {
        text += fmt::format(" {} {}.", std::string_view{fields->at("field").as_string()},
                            std::string_view{fields->at("reason").as_string()});
      }
    }
  }
  return text.empty() ? fmt::format("the answer was {}", response.status) : text;
}

}  // namespace

std::string make_token(const Config& config, const std::string& name, pronto::WallTime now) {
  return http::TokenSigner{load_key(config), "caller"}.issue(name, now + token_time);
}

Task<int> run_order(pronto::SystemLoop& loop, const Config& config, OrderCommand command) {
  const auto request = parse_order_words(command.words);
  if (!request) {
    for (const FieldError& error : request.error()) {
      fmt::print(stderr, "pizzeria: '{}' {}\n", error.field, error.reason);
    }
    co_return 2;
  }
  const std::string token = "Bearer " + make_token(config, command.as, loop.wall_now());
  http::Client client{loop,
                      {.connect_time_max = 5s, .answer_time_max = 30s, .total_time_max = 40s}};
  http::ClientRequest placing{.method = "POST", .headers = {}, .body = {}};
  placing.headers.set("Authorization", token);
  placing.headers.set("Content-Type", "application/json");
  placing.headers.set("Accept", "application/json");
  // With a key an order whose answer got lost can be asked for again without a second pizza.
  placing.headers.set("Idempotency-Key", loop.random().url_safe_id(16));
  placing.body = json::serialize(json::object{{"items", to_json(request->items)}});
  auto answer = co_await client.send(command.url + "/orders", placing);
  if (!answer) answer = co_await client.send(command.url + "/orders", placing);
  if (!answer) {
    fmt::print(stderr, "pizzeria: {} does not answer: {}. Is it running? --url names another.\n",
               command.url, answer.error().message());
    co_return 1;
  }
  if (answer->status != 202) {
    fmt::print(stderr, "pizzeria: {}\n", complaint(*answer));
    co_return 1;
  }
  boost::system::error_code ec;
  const json::value order = json::parse(answer->body, ec);
  if (ec || !order.is_object() || !order.get_object().contains("id")) {
    fmt::print(stderr, "pizzeria: the answer was not an order\n");
    co_return 1;
  }
  const std::string id{order.at("id").as_string()};
  const bool is_json = command.output == "json";
  if (is_json) {
    print(answer->body);
  } else {
    print(fmt::format("placed     {}  {}", id, summary(request->items)));
  }
  if (!command.follow) co_return 0;

  std::string last_id;
  std::string last_status;
  for (int lost = 0; lost < lost_max; ++lost) {
    http::ClientRequest following{.method = "GET", .headers = {}, .body = {}};
    following.headers.set("Authorization", token);
    following.headers.set("Accept", "text/event-stream");
    if (!last_id.empty()) following.headers.set("Last-Event-ID", last_id);
    auto stream = co_await client.follow(command.url + "/orders/" + id + "/events", following);
    if (stream && stream->response().status == 200) {
      for (;;) {
        const auto event = co_await stream->next();
        if (!event) break;
        lost = 0;
        last_id = event->id;
        const json::value data = json::parse(event->data, ec);
        if (ec || !data.is_object()) continue;
        last_status = std::string{data.at("status").as_string()};
        if (is_json) {
          print(event->data);
        } else if (last_status != status_placed) {
          print(fmt::format("{:<10} {}", last_status, std::string_view{data.at("at").as_string()}));
        }
      }
      if (is_final(last_status)) co_return last_status == status_ready ? 0 : 1;
    } else if (stream && stream->response().status < 500) {
      fmt::print(stderr, "pizzeria: {}\n", complaint(stream->response()));
      co_return 1;
    }
    if (lost == 0) fmt::print(stderr, "pizzeria: connection lost, trying again\n");
    co_await pronto::sleep_for(1s);
  }
  fmt::print(stderr, "pizzeria: {} does not answer any more. The order goes on: {}/orders/{}\n",
             command.url, command.url, id);
  co_return 1;
}

}  // namespace pizzeria
