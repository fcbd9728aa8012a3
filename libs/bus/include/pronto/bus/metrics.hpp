#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "pronto/bus/handler.hpp"

namespace pronto {

/// How long handlers took, counted in steps of about double.
struct HandlerTimes {
  static constexpr std::array<double, 14> bounds_seconds = {
      0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30};
  std::array<std::uint64_t, bounds_seconds.size() + 1> counts{};  ///< the last: beyond all bounds
  double sum_seconds = 0;
  std::uint64_t count = 0;

  void add(double seconds);
};

/// Totals of one queue since the start, in this process.
struct QueueMetrics {
  std::string queue;
  std::uint64_t delivered_total = 0;
  std::uint64_t handled_total = 0;    ///< committed and acknowledged
  std::uint64_t duplicate_total = 0;  ///< known to the inbox, dropped
  std::uint64_t failed_total = 0;     ///< attempts that ended in an error
  std::uint64_t retried_total = 0;    ///< sent to wait for another attempt
  std::uint64_t dead_total = 0;       ///< sent to the dead letters
  std::uint64_t returned_total = 0;   ///< given back: drained, or nothing could be done now
  std::uint64_t running = 0;          ///< in hand now
  std::uint32_t slots = 0;            ///< how many may be in hand
  HandlerTimes handler_seconds;
};

struct BusMetrics {
  std::vector<QueueMetrics> queues;
  std::uint64_t published_total = 0;  ///< by `publish`, confirmed
  std::uint64_t publish_failed_total = 0;
  std::uint64_t requests_total = 0;
  std::uint64_t requests_failed_total = 0;  ///< no reply in time, or a failure for a reply
  std::uint64_t relayed_total = 0;          ///< outbox rows confirmed
  std::uint64_t relay_failed_total = 0;     ///< attempts to publish a row that failed
  std::uint64_t outbox_rows = 0;            ///< written here and not confirmed yet
  std::uint64_t recoveries_total = 0;       ///< connections that came back
  bool is_connected = false;
  bool is_blocked = false;
};

/// Told of what happens to messages. Called on the loop's thread; must not throw or wait.
class BusObserver {
 public:
  BusObserver() = default;
  BusObserver(const BusObserver&) = delete;
  BusObserver& operator=(const BusObserver&) = delete;
  virtual ~BusObserver() = default;

  enum class Ending { handled, duplicate, retried, dead, returned };

  /// A handler of `message` begins.
  virtual void on_started(const Envelope& /*message*/) {}
  /// What the handler did is durable; the message is not acknowledged yet.
  virtual void on_committed(const Envelope& /*message*/) {}
  /// It has left this process's hands. `error` is empty unless the handler failed.
  virtual void on_ended(const Envelope& /*message*/, Ending /*ending*/,
                        std::chrono::nanoseconds /*time*/, std::string_view /*error*/) {}
  /// `count` outbox rows are confirmed and not deleted yet.
  virtual void on_relayed(std::size_t /*count*/) {}
};

}  // namespace pronto
