#include "pronto/http/client.hpp"

#include <array>

#include "message_parser.hpp"
#include "pronto/async/deadline.hpp"

namespace pronto::http {
namespace {

constexpr std::size_t read_bytes = 16 * 1024;

std::string request_head(const std::string& authority, const std::string& target,
                         const ClientRequest& request) {
  Headers headers = request.headers;
  headers.set("Host", authority);
  headers.set("Connection", "close");
  headers.remove("Transfer-Encoding");
  headers.remove("Content-Length");
  const bool has_body = !request.body.empty() || request.method == "POST" ||
                        request.method == "PUT" || request.method == "PATCH";
  if (has_body) headers.set("Content-Length", std::to_string(request.body.size()));
  std::string head = request.method + ' ' + target + " HTTP/1.1\r\n";
  for (const Headers::Field& field : headers) head += field.name + ": " + field.value + "\r\n";
  return head + "\r\n";
}

Task<Result<void>> send_request(Stream& stream, const std::string& authority,
                                const std::string& target, const ClientRequest& request) {
  const std::string head = request_head(authority, target, request);
  const BytesView parts[] = {as_bytes(head), as_bytes(request.body)};
  co_return co_await stream.write(parts);
}

/// Bytes that have come and are not used yet, with the answer they belong to.
struct Reading {
  ResponseParser parser;
  std::string inbox;
};

/// Reads once. Errors: the stream's; `Error::end_of_stream` when the answer is not whole.
Task<Result<void>> read_more(Stream& stream, Reading& reading) {
  std::array<std::byte, read_bytes> buffer;
  const auto got = co_await stream.read_some(buffer);
  if (!got) {
    if (got.error() == make_error_code(Error::end_of_stream)) co_return reading.parser.put_end();
    co_return got.error();
  }
  reading.inbox += as_text(BytesView{buffer}.first(*got));
  for (;;) {
    const bool had_head = reading.parser.has_head();
    const auto used = reading.parser.put(reading.inbox);
    if (!used) co_return used.error();
    reading.inbox.erase(0, *used);
    if (had_head || !reading.parser.has_head()) co_return Result<void>{};
  }
}

ClientResponse head_of(const ResponseParser& parser) {
  return {parser.status(), parser.headers(), {}};
}

Task<Result<std::unique_ptr<Stream>>> connect(Loop& loop, Url url, ClientLimits limits) {
  ConnectOptions options;
  if (url.is_https) options.tls = TlsClientOptions{.server_name = url.host};
  const auto addresses = co_await loop.network().resolve(url.host);
  if (!addresses) co_return addresses.error();
  std::error_code last = make_error_code(Error::not_found);
  for (const IpAddress& address : *addresses) {
    auto stream = co_await with_deadline(
        limits.connect_time_max, loop.network().connect(Endpoint{address, url.port}, options));
    if (stream) co_return std::move(*stream);
    last = stream.error();
  }
  co_return last;
}

Task<Result<ClientResponse>> connect_and_exchange(Loop& loop, Url url, ClientRequest request,
                                                  ClientLimits limits) {
  auto stream = co_await connect(loop, url, limits);
  if (!stream) co_return stream.error();
  co_return co_await with_deadline(
      limits.answer_time_max,
      exchange(**stream, url.authority(), url.target, std::move(request), limits));
}

}  // namespace

Task<Result<ClientResponse>> exchange(Stream& stream, std::string authority, std::string target,
                                      ClientRequest request, ClientLimits limits) {
  const auto sent = co_await send_request(stream, authority, target, request);
  // Who refuses a request early may answer before it has been read, so the answer is looked for.
  Reading reading{
      ResponseParser{limits.head_bytes_max, limits.body_bytes_max, request.method == "HEAD"}, {}};
  while (!reading.parser.is_done()) {
    const auto read = co_await read_more(stream, reading);
    if (!read) co_return sent ? read.error() : sent.error();
  }
  ClientResponse response = head_of(reading.parser);
  response.body = reading.parser.take_body();
  co_return response;
}

Task<Result<ClientResponse>> Client::send(std::string url, ClientRequest request) {
  const auto parsed = Url::parse(url);
  if (!parsed) co_return Error::refused;
  co_return co_await with_deadline(
      limits_.total_time_max, connect_and_exchange(loop_, *parsed, std::move(request), limits_));
}

struct EventConnection::Inside {
  std::unique_ptr<Stream> stream;
  Reading reading;
  ClientResponse response;
  EventReader events = EventReader{};
  std::vector<Event> ready = {};
  std::size_t taken = 0;
};

EventConnection::EventConnection(std::unique_ptr<Inside> inside) : inside_{std::move(inside)} {}
EventConnection::EventConnection(EventConnection&&) noexcept = default;
EventConnection& EventConnection::operator=(EventConnection&&) noexcept = default;
EventConnection::~EventConnection() = default;

const ClientResponse& EventConnection::response() const noexcept {
  return inside_->response;
}
const std::string& EventConnection::last_id() const noexcept {
  return inside_->events.last_id();
}

Task<Result<Event>> EventConnection::next() {
  Inside& inside = *inside_;
  for (;;) {
    if (inside.taken < inside.ready.size()) co_return std::move(inside.ready[inside.taken++]);
    auto events = inside.events.put(inside.reading.parser.take_body());
    if (!events) co_return events.error();
    inside.ready = std::move(*events);
    inside.taken = 0;
    if (!inside.ready.empty()) continue;
    if (inside.reading.parser.is_done()) co_return Error::end_of_stream;
    const auto read = co_await read_more(*inside.stream, inside.reading);
    if (read) continue;
    // Without the last chunk the end is a broken connection, and no end in good order.
    const bool is_cut = read.error() == make_error_code(Error::end_of_stream);
    co_return is_cut ? make_error_code(Error::closed) : read.error();
  }
}

namespace {

Task<Result<void>> open(Stream& stream, Reading& reading, const Url& url,
                        const ClientRequest& request) {
  const auto sent = co_await send_request(stream, url.authority(), url.target, request);
  if (!sent) co_return sent.error();
  while (!reading.parser.has_head()) {
    const auto read = co_await read_more(stream, reading);
    if (!read) co_return read.error();
  }
  co_return Result<void>{};
}

Task<Result<void>> read_whole(Stream& stream, Reading& reading, ClientResponse& response,
                              std::size_t bytes_max) {
  for (;;) {
    response.body += reading.parser.take_body();
    if (response.body.size() > bytes_max) co_return Error::too_large;
    if (reading.parser.is_done()) co_return Result<void>{};
    const auto read = co_await read_more(stream, reading);
    if (!read) co_return read.error();
  }
}

}  // namespace

Task<Result<EventConnection>> Client::follow(std::string url, ClientRequest request) {
  const auto parsed = Url::parse(url);
  if (!parsed) co_return Error::refused;
  request.headers.set("Accept", "text/event-stream");
  auto stream = co_await with_deadline(limits_.total_time_max, connect(loop_, *parsed, limits_));
  if (!stream) co_return stream.error();
  auto inside = std::make_unique<EventConnection::Inside>(EventConnection::Inside{
      std::move(*stream), Reading{ResponseParser{limits_.head_bytes_max, {}, false}, {}}, {}});
  const auto opened = co_await with_deadline(
      limits_.answer_time_max, open(*inside->stream, inside->reading, *parsed, request));
  if (!opened) co_return opened.error();
  inside->response = head_of(inside->reading.parser);
  const auto type = inside->response.headers.find("content-type").value_or("");
  if (inside->response.status != 200 || !type.starts_with("text/event-stream")) {
    const auto read = co_await with_deadline(
        limits_.answer_time_max,
        read_whole(*inside->stream, inside->reading, inside->response, limits_.body_bytes_max));
    if (!read) co_return read.error();
  }
  co_return EventConnection{std::move(inside)};
}

}  // namespace pronto::http
