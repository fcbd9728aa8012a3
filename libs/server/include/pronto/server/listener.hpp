#pragma once

#include <memory>
#include <vector>

#include "pronto/async/address.hpp"
#include "pronto/async/loop.hpp"
#include "pronto/async/stream.hpp"
#include "pronto/async/task_group.hpp"
#include "pronto/base/result.hpp"
#include "pronto/server/broker_host.hpp"

namespace pronto::server {

/// Accepts connections on one address and hands them to the host.
///
/// When the process has no file left it waits a moment and goes on; what comes in meanwhile waits
/// in the system's backlog. Runs on: the loop's thread.
class Listener {
 public:
  /// Listens from now on. Takes: `host`, which outlives the listener.
  /// Errors: the system's (address in use, ...).
  static Result<std::unique_ptr<Listener>> open(Loop& loop, const Endpoint& at, BrokerHost& host);
  /// Accepts from `acceptor`, whatever it is.
  Listener(Loop& loop, std::unique_ptr<Acceptor> acceptor, BrokerHost& host);
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener();

  /// The address listened on, with the port that the system chose for port 0.
  Endpoint local() const { return acceptor_->local(); }
  /// Takes no more connections; those that are there go on.
  Task<> stop();

 private:
  static Task<> run(Listener& self);

  std::unique_ptr<Acceptor> acceptor_;
  BrokerHost& host_;
  TaskGroup tasks_;
};

}  // namespace pronto::server
