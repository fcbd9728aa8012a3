#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "exchanges.hpp"
#include "pronto/bus/bus.hpp"
#include "relay.hpp"
#include "tables.hpp"
#include "wire_message.hpp"

namespace pronto::detail {

/// What subscriptions, requests and the bus itself share: connections, outbox, publishing.
/// Runs on: the loop's thread.
class Core {
 public:
  Core(Loop& home, Bus::Options all, Database* rows);

  /// Opens both connections and the channels. Errors: the broker's.
  Task<Result<void, BusFailure>> open();
  /// After the topology: the relay publishes at once what an earlier process left.
  Task<Result<void, BusFailure>> start_relay();
  Task<> close(milliseconds limit);

  /// Makes a message ready to leave: id, time, trace. `cause` is what is being handled, or null.
  WireMessage to_wire(OutgoingMessage message, const Envelope* cause);
  /// Publishes all and waits for all confirms. Errors: the first that failed.
  Task<Result<void, BusFailure>> publish(std::vector<WireMessage> messages);
  Task<Result<void, BusFailure>> publish(client::Message message);
  /// Runs `step` and puts what it publishes into the outbox, in one transaction.
  /// Errors: throws what `step` throws; `DatabaseError`, (unavailable) also when the outbox has
  /// been full for too long; `Cancelled`.
  Task<> transact(WorkCore::Step step, const Envelope* cause);
  /// Sends `body` to whoever asked; nobody waits for it to arrive.
  Task<> reply(const client::Delivery& request, std::string body, std::string error);

  bool is_ready() const noexcept {
    return consuming.is_connected() && publishing.is_connected() && !publishing.is_blocked();
  }

  Loop& loop;
  const Bus::Options options;
  Database* const database;
  // Two connections: a broker that blocks publishers reads nothing from theirs, acknowledgements
  // included.
  client::Connection consuming;
  client::Connection publishing;
  Exchanges exchanges;
  std::optional<Relay> relay;
  Tables tables;
  std::function<void()> on_connection_event;

 private:
  client::ConnectionOptions connection_options(const char* role);

  std::optional<client::Channel> publisher_;
  std::optional<client::Channel> replies_;
};

}  // namespace pronto::detail
