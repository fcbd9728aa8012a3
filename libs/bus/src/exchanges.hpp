#pragma once

#include <set>
#include <string>

#include "pronto/bus/contract.hpp"
#include "pronto/client/connection.hpp"

namespace pronto::detail {

/// Declares each exchange once, before the first message goes there. Runs on: the loop's thread.
class Exchanges {
 public:
  explicit Exchanges(client::Connection& connection) : connection_{connection} {}

  /// Errors: as `Connection::declare_exchange`.
  Task<Result<void, client::Failure>> ensure(std::string name, MessageKind kind);

 private:
  client::Connection& connection_;
  std::set<std::string> declared_;
};

}  // namespace pronto::detail
