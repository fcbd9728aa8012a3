#pragma once

#include <string_view>

#include "pronto/http/request.hpp"
#include "pronto/http/response.hpp"

namespace pronto::http {

/// A file that is linked into the program; all views live for ever.
struct StaticFile {
  std::string_view content_type;
  std::string_view etag;  ///< with its quotes
  std::string_view cache_control;
  std::string_view identity;
  std::string_view gzip;  ///< gzipped bytes of `identity`; empty: there are none
};

/// Answers with the file: gzip when the client accepts it, 304 when it has seen this `etag`.
/// Runs on: any thread.
Response serve(const Request& request, const StaticFile& file);

/// The fields of every HTML answer: policy, no sniffing, no store, `Vary: Accept`.
/// Source: web/README.md.
void add_page_headers(Response& response);

}  // namespace pronto::http
