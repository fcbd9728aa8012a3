#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bench/delivery_check.hpp"
#include "common/histogram.hpp"
#include "pronto/async/loop.hpp"
#include "pronto/async/task.hpp"
#include "pronto/client/failure.hpp"
#include "pronto/client/uri.hpp"

namespace pronto::bench {

/// What is published and consumed.
struct LoadOptions {
  client::Address broker;
  std::uint64_t publishers = 1;          ///< each with a connection of its own
  std::uint64_t consumers_of_queue = 1;  ///< each with a connection of its own
  /// Instead: each consumes from all queues over one connection.
  bool is_connection_shared = false;
  std::uint64_t queues = 1;  ///< messages go to them in turn
  std::uint64_t bindings =
      0;  ///< further ones of the exchange that leads to them; 0: the default one
  std::uint64_t fan_out = 0;     ///< instead: this many queues that all get each message
  std::uint64_t priorities = 0;  ///< of the queues; a publisher's messages have them in turn
  std::string queue_type;        ///< "classic", "quorum", or empty: as the broker likes
  std::uint64_t message_bytes = 1'024;
  bool is_transient = false;
  bool is_unconfirmed = false;
  /// Closed loop: how many messages of a publisher may be without a confirm.
  std::uint64_t window = 100;
  /// Open loop, when not 0: messages a second of all publishers together, sent whether or not the
  /// broker keeps up.
  double rate = 0;
  /// Publishers wait while this many deliveries are outstanding; 0: they do not.
  std::uint64_t backlog_max = 0;
  std::uint64_t prefetch = 1'000;  ///< 0: without limit
  std::uint64_t ack_every = 50;    ///< one ack for so many deliveries; 0: without acks
  std::chrono::duration<double> duration = seconds{10};
  std::chrono::duration<double> warmup = seconds{2};
  std::uint64_t count = 0;  ///< instead of the duration: so many messages, without warm-up
  seconds drain_limit{30};  ///< how long nothing may come before what is missing counts as lost

  std::uint64_t queue_count() const noexcept { return fan_out > 0 ? fan_out : queues; }
  /// Messages of a publisher, and of a priority, stay in order: streams of a queue.
  std::uint64_t streams() const noexcept { return publishers * levels(); }
  std::uint64_t levels() const noexcept { return priorities > 0 ? priorities : 1; }
  std::uint64_t copies() const noexcept { return fan_out > 0 ? fan_out : 1; }
};

/// The bytes of a body that the load needs for itself.
inline constexpr std::uint64_t message_bytes_min = 16;

struct LoadCounters {
  std::uint64_t published = 0;
  std::uint64_t confirmed = 0;
  std::uint64_t delivered = 0;
};

/// What went on in one interval of the run.
struct LoadSample {
  std::chrono::duration<double> at{};      ///< since the warm-up's end; negative before it
  std::chrono::duration<double> length{};  ///< of the interval
  LoadCounters counted;                    ///< within the interval
  double done = 0;                         ///< of the whole run, 0 to 1
};

struct LoadResult {
  std::string broker;  ///< name and version, as it calls itself
  std::chrono::duration<double> measured{};
  double processor_share = 0;  ///< of one processor, that the load itself took while measuring
  LoadCounters counted;        ///< while measuring
  double publish_rate = 0;
  double confirm_rate = 0;
  double deliver_rate = 0;
  Histogram confirm;     ///< from the (intended) send to the broker's ack
  Histogram end_to_end;  ///< from the (intended) send to the delivery
  CheckTotals check;     ///< of the whole run, warm-up included
  std::uint64_t nacked = 0;
  std::uint64_t unanswered = 0;  ///< published and neither acked nor nacked in the end
  std::uint64_t redelivered = 0;
  bool is_interrupted = false;

  bool is_right() const noexcept { return check.is_clean() && nacked == 0 && unanswered == 0; }
};

/// Tells a running load to end early. Set from the loop's thread.
struct LoadControl {
  bool is_ending = false;     ///< stop publishing, wait for what is under way, report
  bool is_abandoned = false;  ///< do not even wait
  /// Called several times a second while it runs.
  std::function<void(const LoadSample&)> on_sample;
  std::chrono::milliseconds sample_every{1'000};
};

/// Makes queues of its own, publishes and consumes, and removes them again.
///
/// Errors: `unreachable`, `refused`, `disconnected`: the broker is not there, will not have it, or
/// went away. Runs on: the loop's thread. Takes: `control`, which outlives the task.
Task<Result<LoadResult, client::Failure>> run_load(Loop& loop, LoadOptions options,
                                                   LoadControl& control);

}  // namespace pronto::bench
