#include "connection.hpp"

#include <algorithm>
#include <array>

#include "foreign_protocol.hpp"
#include "pronto/base/log.hpp"
#include "pronto/bus/database.hpp"

namespace pronto::http {
namespace {

constexpr std::size_t read_bytes = 16 * 1024;
constexpr std::size_t write_piece_bytes = 64 * 1024;
constexpr std::size_t linger_bytes_max = 8 * 1024 * 1024;
constexpr seconds linger_time_max{2};
constexpr seconds unavailable_retry_after{5};

/// No problem, but an end: the client has gone, or was silent for too long.
constexpr int no_answer = 0;

Problem gone_away() {
  Problem problem;
  problem.status = no_answer;
  return problem;
}

Problem too_slow() {
  Problem problem;
  problem.status = 408;
  problem.detail = "The request took too long to arrive.";
  return problem;
}

}  // namespace

Task<Result<void>> Connection::read_more(SteadyTime::duration limit) {
  std::array<std::byte, read_bytes> buffer;
  const auto got = co_await with_deadline(limit, stream_->read_some(buffer));
  if (!got) co_return got.error();
  inbox_ += as_text(BytesView{buffer}.first(*got));
  co_return Result<void>{};
}

Task<Result<void, Problem>> Connection::read_part(RequestParser& parser, SteadyTime due,
                                                  bool head_only) {
  for (;;) {
    // Empty lines before a head are used up one by one, so this goes on until nothing more is.
    for (;;) {
      const auto used = parser.put(inbox_);
      if (!used) co_return used.error();
      inbox_.erase(0, *used);
      if (parser.is_done() || (head_only && parser.has_head())) co_return Result<void, Problem>{};
      if (*used == 0 || inbox_.empty()) break;
    }
    const auto read = co_await read_more(due - serving_.loop.now());
    if (read) continue;
    if (read.error() == make_error_code(Error::timed_out)) co_return too_slow();
    co_return gone_away();
  }
}

Task<Result<RequestParser, Problem>> Connection::read_request() {
  is_idle_ = true;
  if (inbox_.empty() && !co_await read_more(limits_.idle_time_max)) co_return gone_away();
  RequestParser parser{limits_};
  auto read = co_await read_part(parser, serving_.loop.now() + limits_.head_time_max, true);
  if (!read) co_return read.error();
  is_idle_ = false;
  if (!parser.is_done() && parser.expects_continue() && inbox_.empty()) {
    if (!co_await write(as_bytes("HTTP/1.1 100 Continue\r\n\r\n"), {})) co_return gone_away();
  }
  if (!parser.is_done()) {
    read = co_await read_part(parser, serving_.loop.now() + limits_.body_time_max, false);
    if (!read) co_return read.error();
  }
  co_return parser;
}

Task<Response> Connection::answer(Request& request) {
  // The one place where what escapes a handler is caught.
  try {
    co_return co_await serving_.handler(request);
  } catch (const DatabaseError& error) {
    log::error("a request failed in the database",
               {{"method", request.method}, {"path", request.path}, {"error", error.what()}});
    if (error.kind() == DatabaseError::Kind::unavailable) {
      co_return unavailable("The database does not answer.", unavailable_retry_after);
    }
  } catch (const std::exception& error) {
    log::error("a request failed",
               {{"method", request.method}, {"path", request.path}, {"error", error.what()}});
  }
  co_return internal_error();
}

Task<bool> Connection::write(BytesView head, BytesView body) {
  const BytesView first[] = {head, body.first(std::min(body.size(), write_piece_bytes))};
  auto written = co_await with_deadline(limits_.write_time_max, stream_->write(first));
  body = body.subspan(first[1].size());
  while (written && !body.empty()) {
    const BytesView piece[] = {body.first(std::min(body.size(), write_piece_bytes))};
    written = co_await with_deadline(limits_.write_time_max, stream_->write(piece));
    body = body.subspan(piece[0].size());
  }
  co_return written.has_value();
}

Task<Connection::Next> Connection::send(Request& request, Response& response, Delivery delivery) {
  const int status_class = std::clamp(response.status / 100, 0, 5);
  ++serving_.counts.responses_by_class[status_class];
  delivery.is_to_head = request.method == "HEAD";
  delivery.has_security_headers = serving_.options.has_security_headers;
  if (response.events) delivery.closes = true;
  const std::string head = response_head(response, delivery, serving_.loop.wall_now());
  const bool sends_body = !delivery.is_to_head && has_body(response.status) && !response.events;
  if (!co_await write(as_bytes(head), sends_body ? response.body_bytes() : BytesView{})) {
    co_return Next::close;
  }
  if (!response.events || delivery.is_to_head) {
    co_return delivery.closes ? Next::close : Next::another_request;
  }

  struct Open {
    Open(Connection& connection_, EventPump& pump) : connection{connection_} {
      connection.pump_ = &pump;
      ++connection.serving_.counts.event_streams_open;
    }
    Open(const Open&) = delete;
    ~Open() {
      connection.pump_ = nullptr;
      --connection.serving_.counts.event_streams_open;
    }
    Connection& connection;
  };
  EventPump pump{*stream_, limits_, !delivery.is_http_1_0};
  const Open open{*this, pump};
  if (serving_.is_stopping) pump.end();
  const bool ended_well = co_await pump.run(response.events);
  if (!ended_well) stream_->close();
  co_return Next::close;
}

Task<Connection::Next> Connection::serve_one() {
  auto parser = co_await read_request();
  if (!parser) {
    if (parser.error().status != no_answer) co_await refuse_with(parser.error());
    co_return Next::close;
  }
  Request request = parser->take();
  request.peer = stream_->peer();
  request.received_at = serving_.loop.wall_now();
  ++request_count_;
  ++serving_.counts.requests;
  Response response = co_await answer(request);
  Delivery delivery;
  delivery.is_http_1_0 = parser->is_http_1_0();
  delivery.closes = !parser->is_keep_alive() || serving_.is_stopping ||
                    request_count_ >= limits_.requests_per_connection_max;
  co_return co_await send(request, response, delivery);
}

Task<> Connection::run() {
  while (co_await serve_one() == Next::another_request && !serving_.is_stopping) {
  }
  co_await linger();
  stream_->close();
}

Task<> Connection::refuse_with(Problem problem) {
  ++serving_.counts.refused;
  const ForeignProtocol foreign = request_count_ == 0 ? recognise(inbox_) : ForeignProtocol::none;
  if (foreign != ForeignProtocol::none) {
    log::warning(foreign == ForeignProtocol::tls ? "TLS was spoken to the HTTP port, use http://"
                                                 : "AMQP was spoken to the HTTP port",
                 {{"peer", stream_->peer_name()}, {"amqp_address", serving_.options.amqp_address}});
    (void)co_await write(as_bytes(foreign_answer(foreign, serving_.options.amqp_address)), {});
    co_return;
  }
  log::info("a request was refused",
            {{"peer", stream_->peer_name()}, {"status", problem.status}, {"why", problem.detail}});
  Request unknown;
  Response response{problem};
  (void)co_await send(unknown, response, Delivery{.closes = true});
}

Task<> Connection::refuse() {
  co_await refuse_with(unavailable("There are too many connections.", seconds{1}));
  co_await linger();
  stream_->close();
}

/// Closing with bytes unread makes the system drop what the client has not read of the answer, so
/// what is still coming is read for a moment.
Task<> Connection::linger() {
  is_idle_ = true;
  stream_->shutdown_write();
  const SteadyTime due = serving_.loop.now() + linger_time_max;
  std::array<std::byte, read_bytes> ignored;
  for (std::size_t total = 0; total < linger_bytes_max;) {
    const auto got = co_await with_deadline(due - serving_.loop.now(), stream_->read_some(ignored));
    if (!got) co_return;
    total += *got;
  }
}

void Connection::on_stop() {
  if (is_idle_) stream_->close();
  if (pump_ != nullptr) pump_->end();
}

}  // namespace pronto::http
