#include "pronto/http/static_files.hpp"

namespace pronto::http {
namespace {

constexpr std::string_view page_policy =
    "default-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'";

}  // namespace

Response serve(const Request& request, const StaticFile& file) {
  const bool has_gzip = !file.gzip.empty();
  const bool sends_gzip = has_gzip && request.accepts_gzip();
  Response response;
  if (request.has_seen(file.etag)) {
    response = Response::not_modified(file.etag);
  } else {
    response.body = as_bytes(sends_gzip ? file.gzip : file.identity);
    response.headers.set("Content-Type", file.content_type);
    response.headers.set("ETag", file.etag);
    if (sends_gzip) response.headers.set("Content-Encoding", "gzip");
  }
  response.headers.set("Cache-Control", file.cache_control);
  // A file may be a page, or a worker, which lives by the policy that its script came with.
  response.headers.set("Content-Security-Policy", page_policy);
  if (has_gzip) response.headers.set("Vary", "Accept-Encoding");
  return response;
}

void add_page_headers(Response& response) {
  response.headers.set("Content-Security-Policy", page_policy);
  response.headers.set("X-Content-Type-Options", "nosniff");
  response.headers.set("Referrer-Policy", "same-origin");
  response.headers.set("Cache-Control", "no-store");
  response.headers.set("Vary", "Accept");
}

}  // namespace pronto::http
