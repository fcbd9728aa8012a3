#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pronto/async/loop.hpp"
#include "pronto/async/stream.hpp"
#include "pronto/http/event_stream.hpp"
#include "pronto/http/headers.hpp"
#include "pronto/http/url.hpp"

namespace pronto::http {

struct ClientRequest {
  std::string method = "GET";
  Headers headers;
  std::string body;
};

struct ClientResponse {
  int status = 0;
  Headers headers;
  std::string body;
};

struct ClientLimits {
  seconds connect_time_max{5};  ///< TCP and TLS, for each address that is tried
  seconds answer_time_max{10};  ///< from the request's first byte to the answer's last
  seconds total_time_max{15};   ///< with the resolving of the name
  std::size_t head_bytes_max = 16 * 1024;
  std::size_t body_bytes_max = 1024 * 1024;
};

/// Runs one request over `stream`, which is of no use afterwards. `authority` is the Host field.
/// Errors: `Error::malformed`, `Error::too_large`, `Error::end_of_stream`, the stream's; throws
/// `Cancelled`. No limit of time.
Task<Result<ClientResponse>> exchange(Stream& stream, std::string authority, std::string target,
                                      ClientRequest request, ClientLimits limits);

/// An event stream that is being read.
class EventConnection {
 public:
  EventConnection(EventConnection&&) noexcept;
  EventConnection& operator=(EventConnection&&) noexcept;
  ~EventConnection();

  /// The answer's head. When it is not an event stream the body is here as well, and there are no
  /// events.
  const ClientResponse& response() const noexcept;
  /// Returns: the next event. Errors: `Error::end_of_stream` when the server ended the stream in
  /// good order, `Error::closed` or the system's when the connection broke; throws `Cancelled`.
  Task<Result<Event>> next();
  /// What to send as `Last-Event-ID` to go on after what was read.
  const std::string& last_id() const noexcept;

 private:
  friend class Client;
  struct Inside;
  explicit EventConnection(std::unique_ptr<Inside> inside);
  std::unique_ptr<Inside> inside_;
};

/// A small HTTP/1.1 client: one connection for each request, no redirects, http and https.
/// Runs on: the loop's thread.
class Client {
 public:
  /// `loop` outlives the client.
  explicit Client(Loop& loop, ClientLimits limits = {}) : loop_{loop}, limits_{limits} {}

  /// Errors: `Error::timed_out`, `Error::refused` (not an http URL), those of `exchange`, the
  /// network's; throws `Cancelled`.
  Task<Result<ClientResponse>> send(std::string url, ClientRequest request);
  /// Begins to read an event stream; `request.headers` may bring `Last-Event-ID`.
  Task<Result<EventConnection>> follow(std::string url, ClientRequest request);

 private:
  Loop& loop_;
  ClientLimits limits_;
};

}  // namespace pronto::http
