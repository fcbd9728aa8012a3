#pragma once

#include <string>

#include "pronto/base/time.hpp"
#include "pronto/http/response.hpp"

namespace pronto::http {

/// How an answer goes over its connection.
struct Delivery {
  bool closes = false;       ///< the connection ends after it
  bool is_http_1_0 = false;  ///< the client does not know chunks
  bool is_to_head = false;   ///< without the body
  bool has_security_headers = true;
};

/// The status line and all fields, with the empty line. Source: RFC 9112 sections 4 and 6.
std::string response_head(const Response& response, const Delivery& delivery, WallTime now);

/// Whether an answer of this status has a body at all.
bool has_body(int status) noexcept;

}  // namespace pronto::http
