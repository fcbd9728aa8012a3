#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "pronto/async/address.hpp"
#include "pronto/async/task.hpp"
#include "pronto/base/bytes.hpp"
#include "pronto/base/result.hpp"

namespace pronto {

/// Bytes both ways: TCP, TLS or in memory. At most one read and one write at a time.
/// Runs on: the loop's thread.
class Stream {
 public:
  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  virtual ~Stream() = default;

  /// Reads what is there, at least one byte, into `into` (not empty, alive until the await ends).
  /// Returns: the count of bytes. Errors: `Error::end_of_stream` when the peer has closed,
  /// `Error::closed` after `close`, or the system's; throws `Cancelled`.
  virtual Task<Result<std::size_t>> read_some(std::span<std::byte> into) = 0;
  /// Writes all of `parts` in order, as one gathered write. They stay alive until the await ends.
  /// Errors: as `read_some`. After an error or `Cancelled` what has arrived is unknown: close.
  virtual Task<Result<void>> write(std::span<const BytesView> parts) = 0;
  /// Tells the peer that no more bytes will come; reading goes on. Errors are of no use and
  /// dropped.
  virtual void shutdown_write() = 0;
  /// Ends both directions at once; waiting reads and writes fail with `Error::closed`.
  virtual void close() = 0;
  /// The peer's address and port, or "embedded".
  virtual std::string peer_name() const = 0;
  /// The peer's address; nothing when it is in this process.
  virtual std::optional<Endpoint> peer() const = 0;
};

/// Writes one piece of bytes, which stays alive until the await ends.
inline Task<Result<void>> write_all(Stream& stream, BytesView bytes) {
  const BytesView parts[] = {bytes};
  co_return co_await stream.write(parts);
}

/// Two streams of one loop, each other's peer, with `bytes_max` on their way in each direction.
/// For a client and a broker in one process.
std::pair<std::unique_ptr<Stream>, std::unique_ptr<Stream>> make_memory_streams(
    std::size_t bytes_max = 256 * 1024);

/// Hands out connections that came in. Runs on: the loop's thread.
class Acceptor {
 public:
  Acceptor() = default;
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;
  virtual ~Acceptor() = default;

  /// Errors: `Error::closed` after `close`; the system's (too many files: wait, then go on);
  /// throws `Cancelled`.
  virtual Task<Result<std::unique_ptr<Stream>>> accept() = 0;
  virtual void close() = 0;
  /// The address listened on, with the port that the system chose for port 0.
  virtual Endpoint local() const = 0;
};

struct TlsClientOptions {
  std::string server_name;  ///< for SNI and for the check of the certificate
  std::string ca_file;      ///< PEM; empty: the system's
  bool verify = true;
};

struct ConnectOptions {
  std::optional<TlsClientOptions> tls;
};

/// The way out of and into the process.
class Network {
 public:
  Network() = default;
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;
  virtual ~Network() = default;

  /// All addresses of `host` (a name, or an address in text). Errors: the resolver's.
  virtual Task<Result<std::vector<IpAddress>>> resolve(std::string host) = 0;
  /// Errors: the system's (connection refused, ...), TLS's; throws `Cancelled`. No limit of time.
  virtual Task<Result<std::unique_ptr<Stream>>> connect(Endpoint to, ConnectOptions options) = 0;
  /// Listens from now on. Errors: the system's (address in use, ...).
  virtual Result<std::unique_ptr<Acceptor>> listen(const Endpoint& at) = 0;

  /// Resolves `host` and connects to the first of its addresses that answers.
  Task<Result<std::unique_ptr<Stream>>> connect(std::string host, std::uint16_t port,
                                                ConnectOptions options);
};

}  // namespace pronto
