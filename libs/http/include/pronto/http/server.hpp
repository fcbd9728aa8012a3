#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "pronto/async/loop.hpp"
#include "pronto/async/stream.hpp"
#include "pronto/http/router.hpp"

namespace pronto::http {

/// What one client may use. At a limit: served; one past it: refused.
struct ServerLimits {
  std::size_t head_bytes_max = 16 * 1024;   ///< request line and fields; beyond: 431
  std::size_t fields_max = 100;             ///< beyond: 431
  std::size_t target_bytes_max = 8 * 1024;  ///< beyond: 414
  std::size_t body_bytes_max = 64 * 1024;   ///< beyond: 413
  std::size_t connections_max = 10'000;     ///< beyond: 503 and close
  std::uint64_t requests_per_connection_max = 1'000'000;
  seconds head_time_max{10};   ///< from the first byte of a head to its end; beyond: 408
  seconds body_time_max{30};   ///< beyond: 408
  seconds idle_time_max{75};   ///< without a request; then closed
  seconds write_time_max{30};  ///< for a piece of an answer, or a full event buffer; then closed
  std::size_t event_buffer_bytes_max = 64 * 1024;  ///< per event stream; one event may exceed it
  seconds event_heartbeat{15};
};

/// An HTTP/1.1 server: keep-alive, pipelining (answers in order), `Expect: 100-continue`, HEAD,
/// event streams.
///
/// Whatever does not parse is answered with a 400 problem and closed; what two parsers could read
/// differently (both Content-Length and Transfer-Encoding, folded fields, bare CR or LF, ...) is
/// refused. TLS or AMQP spoken to it is answered in that protocol with a hint.
/// Runs on: the loop's thread. Source: RFC 9110, RFC 9112.
class Server {
 public:
  struct Options {
    ServerLimits limits = {};
    /// Where AMQP is spoken ("127.0.0.1:5672"), for clients that try it here.
    std::string amqp_address = {};
    /// Added to every answer that has not a field of that name: nosniff, frame-ancestors and so on.
    bool has_security_headers = true;
  };
  struct Counts {
    std::uint64_t connections = 0;       ///< accepted so far
    std::uint64_t connections_open = 0;  ///< now
    std::uint64_t requests = 0;          ///< answered by the handler
    std::uint64_t refused = 0;           ///< malformed, over a limit, too slow
    std::uint64_t event_streams_open = 0;
    std::uint64_t responses_by_class[6] = {};  ///< [2]: 2xx
  };

  /// `loop` outlives the server. An exception that leaves `handler` is logged and answered with a
  /// 500 problem, a database that is not available with 503.
  Server(Loop& loop, Handler handler, Options options);
  Server(Loop& loop, Handler handler);
  /// Closes all connections at once; call `stop` before.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Serves connections to `at` from now on; several calls listen at several addresses.
  /// Returns: the address with the port that was chosen for port 0. Errors: the system's.
  Result<Endpoint> listen(const Endpoint& at);
  /// Serves a connection that somebody else accepted or made.
  void serve(std::unique_ptr<Stream> stream);

  /// Stops in order: accepts nothing more, closes idle connections, ends event streams, lets
  /// requests finish for at most `limit`, then closes what is left. Errors: throws `Cancelled`.
  Task<> stop(SteadyTime::duration limit);

  const Counts& counts() const noexcept;

 private:
  class Inside;
  std::unique_ptr<Inside> inside_;
};

}  // namespace pronto::http
