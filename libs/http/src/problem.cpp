#include "pronto/http/problem.hpp"

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

namespace pronto::http {
namespace json = boost::json;

std::string Problem::to_json() const {
  json::object document;
  document["type"] = type;
  document["title"] = title.empty() ? std::string{reason_phrase(status)} : title;
  document["status"] = status;
  document["detail"] = detail;
  if (!errors.empty()) {
    json::array list;
    for (const FieldError& error : errors) {
      list.push_back(json::object{{"field", error.field}, {"reason", error.reason}});
    }
    document["errors"] = std::move(list);
  }
  if (retry_after) document["retry_after"] = retry_after->count();
  return json::serialize(document);
}

namespace {

Problem make(int status, std::string detail) {
  Problem problem;
  problem.status = status;
  problem.detail = std::move(detail);
  return problem;
}

}  // namespace

Problem bad_request(std::string detail, std::vector<FieldError> errors) {
  Problem problem = make(400, std::move(detail));
  problem.errors = std::move(errors);
  return problem;
}
Problem unauthorized(std::string detail) {
  return make(401, std::move(detail));
}
Problem forbidden(std::string detail) {
  return make(403, std::move(detail));
}
Problem not_found(std::string detail) {
  return make(404, std::move(detail));
}
Problem conflict(std::string detail, std::optional<seconds> retry_after) {
  Problem problem = make(409, std::move(detail));
  problem.retry_after = retry_after;
  return problem;
}
Problem gone(std::string detail) {
  return make(410, std::move(detail));
}
Problem unprocessable(std::string detail, std::vector<FieldError> errors) {
  Problem problem = make(422, std::move(detail));
  problem.errors = std::move(errors);
  return problem;
}
Problem too_many_requests(std::string detail, seconds retry_after) {
  Problem problem = make(429, std::move(detail));
  problem.retry_after = retry_after;
  return problem;
}
Problem internal_error() {
  return make(500, "Something went wrong here. It has been logged; trying again may help.");
}
Problem unavailable(std::string detail, seconds retry_after) {
  Problem problem = make(503, std::move(detail));
  problem.retry_after = retry_after;
  return problem;
}

std::string_view reason_phrase(int status) noexcept {
  switch (status) {
    case 100:
      return "Continue";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 303:
      return "See Other";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 308:
      return "Permanent Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 406:
      return "Not Acceptable";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 411:
      return "Length Required";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 421:
      return "Misdirected Request";
    case 422:
      return "Unprocessable Content";
    case 426:
      return "Upgrade Required";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "";
  }
}

}  // namespace pronto::http
