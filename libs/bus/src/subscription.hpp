#pragma once

#include <string>
#include <vector>

#include "core.hpp"
#include "key_turns.hpp"
#include "pronto/async/task_group.hpp"

namespace pronto::detail {

/// A queue with its handlers: takes messages, runs handlers, and answers each delivery once what it
/// led to is durable. The only place where a handler's exceptions are caught.
///
///     delivery -> turn of its key -> transaction: inbox, handler, outbox -> commit -> ack
///                                       | throws
///                                       +-> a rung of the ladder, or the dead letters -> confirm
///                                       -> ack
///
/// Runs on: the loop's thread.
class Subscription {
 public:
  enum class Kind {
    shared,    ///< durable, for all processes of a service
    instance,  ///< of this process, gone with it
    answer     ///< requests: a failure is told to whoever asked
  };
  struct Spec {
    Kind kind = Kind::shared;
    std::string queue;
    std::string route;
    std::uint16_t concurrency = 64;
    std::vector<Handler> handlers;
  };

  Subscription(Core& core, Spec spec);

  /// Declares the queue with its bindings and dead letters. Errors: the broker's.
  Task<Result<void, BusFailure>> declare();
  /// Starts taking messages. Errors: the broker's.
  Task<Result<void, BusFailure>> start();
  /// Takes no more messages; waits in `Work::wait_until` end. What runs goes on.
  Task<> stop_taking();
  /// Waits for running handlers. Errors: throws `Cancelled`.
  Task<> join();
  /// Ends running handlers; their messages go back.
  void cancel() { tasks_.cancel(); }
  /// The connection has changed: waits look whether their message is still theirs.
  void stir() { stirred_.notify_all(); }

  const Spec& spec() const noexcept { return spec_; }
  const QueueMetrics& metrics() const noexcept { return metrics_; }

 private:
  class Session;
  struct Outcome {
    BusObserver::Ending ending = BusObserver::Ending::handled;
    std::string error{};
    std::string handler{};
    std::string reply{};
    bool is_counted = true;  // as a failed attempt
  };

  void on_delivery(client::Delivery delivery);
  Task<> handle(client::Delivery delivery);
  Task<Outcome> attempt(client::Delivery& delivery, const Envelope& envelope);
  Task<Outcome> run(Handler& handler, client::Delivery& delivery, const Envelope& envelope);
  Task<Outcome> run_without_rows(Handler& handler, client::Delivery& delivery,
                                 const Envelope& envelope);
  Outcome failed(const Handler& handler, const Envelope& envelope, std::string error) const;
  Task<BusObserver::Ending> answer(client::Delivery& delivery, const Envelope& envelope,
                                   const Outcome& outcome);
  Task<BusObserver::Ending> send_away(client::Delivery& delivery, const Envelope& envelope,
                                      const Outcome& outcome);
  void count(BusObserver::Ending ending);
  Handler* find_handler(const client::Delivery& delivery);

  Core& core_;
  Spec spec_;
  std::string queue_;  // the name that the broker gave, for an instance's
  QueueMetrics metrics_;
  std::optional<client::Channel> channel_;
  std::string consumer_tag_;
  bool is_stopping_ = false;
  KeyTurns turns_;
  Signal stirred_;
  TaskGroup tasks_;  // last: its tasks use all of the above
};

}  // namespace pronto::detail
