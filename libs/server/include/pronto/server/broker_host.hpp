#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pronto/async/loop.hpp"
#include "pronto/async/stream.hpp"
#include "pronto/async/task.hpp"
#include "pronto/base/result.hpp"
#include "pronto/broker/broker.hpp"
#include "pronto/journal/file.hpp"
#include "pronto/journal/log.hpp"
#include "pronto/server/metrics.hpp"
#include "pronto/server/session.hpp"
#include "pronto/server/users.hpp"

namespace pronto::server {

/// A broker's limits and promises. What callbacks are in `journal` is replaced.
struct HostOptions {
  SessionOptions session;
  broker::Limits limits;
  journal::Options journal;
  /// Bodies of journaled messages that stay in memory for consumers that keep up.
  std::uint64_t cache_bytes_max = 64 * 1024 * 1024;
  /// Publishers are blocked above it; 0: four tenths of what this process may use (cgroup, RAM).
  std::uint64_t memory_bytes_max = 0;
  /// A checkpoint is taken whenever the journal has grown by this: what a start reads at most.
  std::uint64_t checkpoint_bytes = 256 * 1024 * 1024;
  /// Publishers are slowed while more than this waits for the disk.
  std::uint64_t undurable_bytes_max = 64 * 1024 * 1024;
  /// A connection's consumers are passed over while more than this waits to be sent to it; above
  /// twice of it and its largest delivery, its commands are not read.
  std::size_t outbox_bytes_max = 512 * 1024;
  std::size_t connections_max = 65'536;
  /// Who may configure, write and read what; outlives the host.
  const broker::Permissions* permissions = &broker::all_allowed();

  /// The journal has failed, for ever: nothing is confirmed any more. Called once, on the loop.
  std::function<void(std::error_code)> on_failure;
};

/// The broker in one process: engine, journal, contents and connections on one loop.
///
/// Connections come from a `Listener`, or from `connect`, whose other end is in memory; both are
/// the same session. Runs on: the loop's thread; the journal has a thread of its own.
class BrokerHost {
 public:
  /// Opens the data folder and replays what it holds.
  ///
  /// Takes: `loop` and `users`, which outlive the host.
  /// Errors: the journal's: `Error::locked`, `Error::too_new`, the disk's. Blocks: for the replay.
  static Result<std::unique_ptr<BrokerHost>> open(Loop& loop, std::unique_ptr<journal::Disk> disk,
                                                  const Users& users, HostOptions options);
  BrokerHost(const BrokerHost&) = delete;
  BrokerHost& operator=(const BrokerHost&) = delete;
  /// Without `shut_down` before it: as a crash, but what was appended is written.
  ~BrokerHost();

  /// The client's end of a new connection in memory; the guest user is welcome.
  std::unique_ptr<Stream> connect();
  /// Serves a connection that came in until it ends.
  void serve(std::unique_ptr<Stream> stream);

  /// Tells all peers that the broker goes, waits for them within `limit`, then writes and syncs
  /// all. Errors: the journal's. Call once, after the listeners have stopped.
  Task<Result<void>> shut_down(milliseconds limit);

  /// Ready: open, not shutting down, no alarm.
  bool is_ready() const;
  std::size_t connection_count() const noexcept;
  Overview overview() const;
  /// Looks at messages from the place `from` on, oldest first; changes nothing.
  std::vector<PeekedMessage> peek(std::string_view virtual_host, std::string_view queue,
                                  std::uint64_t from, std::size_t count_max);
  const SessionOptions& session_options() const noexcept;
  /// Where the management page is, for those who speak HTTP to the AMQP port.
  void set_management_address(std::string address);

 private:
  class Inside;
  explicit BrokerHost(std::unique_ptr<Inside> inside);
  std::unique_ptr<Inside> inside_;
};

}  // namespace pronto::server
