#include "response_head.hpp"

#include "pronto/base/text.hpp"

namespace pronto::http {
namespace {

void put_field(std::string& head, std::string_view name, std::string_view value) {
  head += name;
  head += ": ";
  head += value;
  head += "\r\n";
}

void put_default(std::string& head, const Headers& headers, std::string_view name,
                 std::string_view value) {
  if (!headers.find(name)) put_field(head, name, value);
}

/// The connection's own fields are the server's to write.
bool is_of_the_connection(std::string_view name) {
  return equal_ignoring_case(name, "connection") || equal_ignoring_case(name, "content-length") ||
         equal_ignoring_case(name, "transfer-encoding") || equal_ignoring_case(name, "date");
}

}  // namespace

bool has_body(int status) noexcept {
  return status >= 200 && status != 204 && status != 304;
}

std::string response_head(const Response& response, const Delivery& delivery, WallTime now) {
  std::string head;
  head.reserve(512);
  head += "HTTP/1.1 " + std::to_string(response.status) + ' ';
  head += reason_phrase(response.status);
  head += "\r\n";
  put_field(head, "Date", to_http_date(now));
  for (const Headers::Field& field : response.headers) {
    if (!is_of_the_connection(field.name)) put_field(head, field.name, field.value);
  }
  if (delivery.has_security_headers) {
    put_default(head, response.headers, "X-Content-Type-Options", "nosniff");
    put_default(head, response.headers, "Content-Security-Policy",
                "default-src 'none'; frame-ancestors 'none'");
    put_default(head, response.headers, "Referrer-Policy", "same-origin");
  }
  if (response.events) {
    if (!delivery.is_http_1_0) put_field(head, "Transfer-Encoding", "chunked");
  } else if (has_body(response.status)) {
    put_field(head, "Content-Length", std::to_string(response.body_bytes().size()));
  }
  if (delivery.closes) {
    put_field(head, "Connection", "close");
  } else if (delivery.is_http_1_0) {
    put_field(head, "Connection", "keep-alive");
  }
  head += "\r\n";
  return head;
}

}  // namespace pronto::http
