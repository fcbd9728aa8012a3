#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pronto/base/bytes.hpp"
#include "pronto/base/time.hpp"
#include "pronto/broker/broker.hpp"
#include "pronto/journal/log.hpp"

namespace pronto::server {

/// Totals since the start.
struct Counters {
  std::uint64_t connections_total = 0;
  std::uint64_t connections_refused_total = 0;  ///< at the limit, or by a failed login
  std::uint64_t published_total = 0;
  std::uint64_t confirmed_total = 0;  ///< positive answers, each message counted
  std::uint64_t nacked_total = 0;
  std::uint64_t returned_total = 0;
  std::uint64_t replies_dropped_total = 0;  ///< direct replies to clients that do not read
  std::uint64_t duplicates_total = 0;       ///< publishes that had come before
  std::uint64_t delivered_total = 0;        ///< to consumers and by basic.get
  std::uint64_t answered_total = 0;         ///< basic.ack, -nack and -reject that came in
  std::uint64_t received_bytes_total = 0;
  std::uint64_t sent_bytes_total = 0;
};

/// One connection, as operators see it.
struct ConnectionView {
  std::uint64_t id = 0;
  std::string peer;
  std::string user;
  std::string virtual_host;
  std::string client;  ///< product and version, or the name that the client gave itself
  std::string state;   ///< "handshake", "running", "blocked", "closing"
  std::size_t channel_count = 0;
  std::uint64_t received_bytes = 0;
  std::uint64_t sent_bytes = 0;
  std::size_t outbox_bytes = 0;
  WallTime since{};
};

/// Why publishers have to wait.
struct Alarms {
  bool memory = false;
  bool disk = false;
  std::optional<std::string> failure;  ///< of the journal: for ever
  bool slow_disk = false;              ///< it takes long to store; nobody is blocked for that alone
  bool any() const noexcept { return memory || disk || failure.has_value(); }
};

/// The whole broker at one moment.
struct Overview {
  std::string version;
  WallTime now{};
  seconds uptime{};
  std::vector<broker::QueueView> queues;
  std::size_t delayed_count = 0;  ///< messages that x-delayed-message exchanges hold
  std::vector<ConnectionView> connections;
  Counters counters;
  Alarms alarms;
  journal::Statistics journal;
  std::uint64_t journal_bytes = 0;  ///< of all segments
  std::uint64_t segment_bytes = 0;  ///< of one
  std::uint64_t segments_cleaned_total = 0;
  broker::Broker::PageCounts pages;  ///< of queues' indexes, that lie in the journal only
  seconds oldest_needed_age{};  ///< of the oldest segment that a message keeps; 0: none, or unknown
  std::uint64_t undurable_bytes = 0;  ///< appended, not yet on stable storage
  std::uint64_t memory_bytes = 0;     ///< counted: bodies, transactions, index, outboxes
  std::uint64_t memory_limit_bytes = 0;
};

/// A message that was looked at without taking it.
struct PeekedMessage {
  std::uint64_t sequence = 0;
  bool is_unacked = false;
  std::string exchange;
  std::string routing_key;
  Bytes properties;  ///< encoded
  Bytes body;
};

}  // namespace pronto::server
