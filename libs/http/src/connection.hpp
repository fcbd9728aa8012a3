#pragma once

#include <memory>
#include <string>

#include "event_pump.hpp"
#include "message_parser.hpp"
#include "pronto/async/loop.hpp"
#include "pronto/async/stream.hpp"
#include "pronto/http/server.hpp"
#include "response_head.hpp"

namespace pronto::http {

/// What all connections of a server have in common.
struct Serving {
  Loop& loop;
  Handler handler;
  Server::Options options;
  Server::Counts counts;
  bool is_stopping = false;
};

/// Serves the requests of one connection, one after another. Runs on: the loop's thread.
class Connection {
 public:
  Connection(Serving& serving, std::unique_ptr<Stream> stream)
      : serving_{serving}, limits_{serving.options.limits}, stream_{std::move(stream)} {}

  /// Serves until the client or the server closes. Errors: throws `Cancelled`.
  Task<> run();
  /// Answers 503 and closes: there are too many connections.
  Task<> refuse();
  /// Closes when no request is under way, else after that one; ends an event stream.
  void on_stop();

 private:
  enum class Next { another_request, close };

  Task<Next> serve_one();
  Task<Result<RequestParser, Problem>> read_request();
  Task<Result<void, Problem>> read_part(RequestParser& parser, SteadyTime due, bool head_only);
  Task<Result<void>> read_more(SteadyTime::duration limit);
  Task<Response> answer(Request& request);
  Task<Next> send(Request& request, Response& response, Delivery delivery);
  Task<bool> write(BytesView head, BytesView body);
  Task<> refuse_with(Problem problem);
  Task<> linger();

  Serving& serving_;
  const ServerLimits& limits_;
  std::unique_ptr<Stream> stream_;
  std::string inbox_;
  std::uint64_t request_count_ = 0;
  bool is_idle_ = true;
  EventPump* pump_ = nullptr;
};

}  // namespace pronto::http
