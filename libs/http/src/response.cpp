#include "pronto/http/response.hpp"

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

namespace pronto::http {
namespace {

Response make(int status, std::string_view content_type, std::string body) {
  Response response;
  response.status = status;
  response.headers.set("Content-Type", content_type);
  response.body = std::move(body);
  return response;
}

}  // namespace

Response::Response(const Problem& told)
    : status{told.status}, body{told.to_json()}, problem{std::make_shared<Problem>(told)} {
  headers.set("Content-Type", "application/problem+json");
  headers.set("Cache-Control", "no-store");
  if (told.retry_after) headers.set("Retry-After", std::to_string(told.retry_after->count()));
  if (told.status == 401) headers.set("WWW-Authenticate", "Bearer");
}

Response Response::empty(int status) {
  Response response;
  response.status = status;
  return response;
}
Response Response::text(int status, std::string body) {
  return make(status, "text/plain; charset=utf-8", std::move(body));
}
Response Response::html(int status, std::string body) {
  return make(status, "text/html; charset=utf-8", std::move(body));
}
Response Response::json(int status, const boost::json::value& body) {
  return make(status, "application/json", boost::json::serialize(body));
}
Response Response::json_text(int status, std::string body) {
  return make(status, "application/json", std::move(body));
}
Response Response::see_other(std::string_view location) {
  return empty(303).with("Location", location).with("Cache-Control", "no-store");
}
Response Response::not_modified(std::string_view etag) {
  return empty(304).with("ETag", etag);
}
Response Response::stream(EventSource events) {
  Response response;
  response.headers.set("Content-Type", "text/event-stream");
  response.headers.set("Cache-Control", "no-store");
  response.headers.set("X-Accel-Buffering", "no");  // proxies pass each event on at once
  response.events = std::move(events);
  return response;
}

Response& Response::with(std::string_view name, std::string_view value) & {
  headers.set(name, value);
  return *this;
}
Response&& Response::with(std::string_view name, std::string_view value) && {
  headers.set(name, value);
  return std::move(*this);
}

BytesView Response::body_bytes() const {
  if (const auto* text = std::get_if<std::string>(&body)) return as_bytes(*text);
  if (const auto* shared = std::get_if<SharedBytes>(&body)) {
    return *shared ? BytesView{**shared} : BytesView{};
  }
  return std::get<BytesView>(body);
}

}  // namespace pronto::http
