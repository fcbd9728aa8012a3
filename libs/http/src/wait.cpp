#include "pronto/http/wait.hpp"

#include "pronto/base/crypto.hpp"

namespace pronto::http {

std::string etag_of(std::string_view content) {
  const Digest digest = sha256(as_bytes(content));
  return '"' + to_base64url(BytesView{digest}.first(16)) + '"';
}

Response conditional(const Request& request, Response response, std::string_view etag) {
  if (!request.has_seen(etag)) return std::move(response).with("ETag", etag);
  Response same = Response::not_modified(etag);
  for (const char* kept : {"Cache-Control", "Content-Location", "Vary", "Set-Cookie"}) {
    if (const auto value = response.headers.find(kept)) same.headers.set(kept, *value);
  }
  return same;
}

}  // namespace pronto::http
