#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "pronto/async/loop.hpp"
#include "pronto/async/task.hpp"
#include "pronto/base/result.hpp"
#include "pronto/bus/contract.hpp"
#include "pronto/bus/database.hpp"
#include "pronto/bus/dead_letters.hpp"
#include "pronto/bus/failure.hpp"
#include "pronto/bus/handler.hpp"
#include "pronto/bus/metrics.hpp"
#include "pronto/client/connection.hpp"

namespace pronto {

/// How many messages of one subscription are in hand at once, in this process.
struct SubscriptionOptions {
  /// Slots: also the prefetch, so what waits stays with the broker, for whoever is free.
  std::uint16_t concurrency = 64;
};

/// A worker's place on a command's exchange.
struct WorkOptions {
  std::string queue;              ///< shared by all workers of this route
  std::string route{};            ///< the routing key; see `contract<T>.route(...)`
  std::uint16_t concurrency = 1;  ///< slots; a message takes one until its handler returns
};

struct PublishOptions {
  std::string id{};                  ///< empty: a new one. Twice the same id: one message
  std::string traceparent{};         ///< empty: a new trace
  milliseconds limit = seconds{30};  ///< for connection, room and confirm
};

struct RequestOptions {
  milliseconds limit = seconds{5};  ///< of waiting for the reply
  /// The request is stored and stays after the limit, until somebody has handled it. Otherwise it
  /// goes when nobody waits for its reply any more.
  bool outlives_limit = false;
};

/// Where a service meets others: typed messages over a broker, rows and messages together.
///
/// Safe unless told otherwise: what is published is stored, confirmed and must reach a queue; what
/// is taken is acknowledged after the commit of what it led to; a copy of what was handled is known
/// by its id and dropped; a failure leaves its slot, is tried again after a delay, a bounded number
/// of times, and is then kept as a dead letter with the reason.
///
/// Order: messages of one contract and one key leave in the order of their commits. Taken from a
/// queue by several processes no order is promised (number what must be ordered); within one
/// process messages of one key are handled one after another, as delivered.
///
/// A service is any class with member functions as handlers:
///
///     Task<> on(const OrderPlaced&, Transaction&, Out<OrderStatus>);  // inbox, rows, outbox: one
///     Task<> on(const OrderStatus&);                                  // at least once, no rows
///     Task<> work(const Ticket&, Work<Ticket, OrderStatus>&);         // several transactions
///     Task<CancelOutcome> cancel(const CancelOrder&, Transaction&, Out<OrderStatus>);
///
/// An `const Envelope&` may be taken as well. Handlers throw to fail: `Rejected` when trying again
/// is of no use. Register everything, then `start`. Runs on: the loop's thread.
class Bus {
 public:
  struct Options {
    /// Brokers, tried in order; not needed when `stream_factory` reaches one in this process.
    std::vector<client::Address> addresses{};
    client::StreamFactory stream_factory{};
    /// Shown to the broker's operators, and the source of messages.
    std::string name = "pronto";
    /// Tells apart processes that share one database, and stays the same over restarts: each
    /// relays its own outbox rows, and those of others only once they have waited `adopt_after`.
    std::string instance{};
    milliseconds adopt_after = seconds{10};

    /// How long the first connection may take, declarations included.
    milliseconds start_limit = seconds{60};
    /// How long a publish may be held up by a broker that takes nothing.
    milliseconds blocked_limit = seconds{5};

    /// A handling that fails is tried again after these delays; the last one repeats.
    std::vector<milliseconds> retry_delays{seconds{1}, seconds{5}, seconds{30}, seconds{120},
                                           seconds{600}};
    int attempts_max = 6;
    /// A message that was delivered so often and never answered kills those who take it; it becomes
    /// a dead letter. Only where the broker counts (quorum queues).
    int deliveries_max = 200;
    /// How long the inbox knows a message; longer than any message may wait in a queue twice.
    std::chrono::hours inbox_kept{24 * 7};
    std::size_t outbox_batch_max = 500;
    /// Outbox rows that may wait; beyond it handlers and `transact` wait for room.
    std::size_t outbox_rows_max = 100'000;
    BusObserver* observer = nullptr;
  };

  /// `loop` and `database` outlive the bus. Without a database no handler may take a Transaction or
  /// Work.
  Bus(Loop& loop, Options options, Database* database = nullptr);
  Bus(const Bus&) = delete;
  Bus& operator=(const Bus&) = delete;
  /// Drops everything as a crash would; `drain` is the orderly way.
  ~Bus();

  /// Takes events into one queue named `queue`, durable and shared by all processes of the service:
  /// every service gets its copy, one process of it handles it. `service` outlives the bus.
  template <auto... handlers, class Service>
    requires(sizeof...(handlers) > 0)
  void on(Service& service, std::string queue, SubscriptionOptions options = {}) {
    static_assert((EventMessage<InputOf<handlers>> && ...), "on<...> takes handlers of events");
    add_events(std::move(queue), options, make_handlers<handlers...>(service));
  }
  /// Takes events into a queue of this process's own, which goes when the process goes: for what is
  /// of use only now. A failure is logged and not tried again.
  template <auto... handlers, class Service>
    requires(sizeof...(handlers) > 0)
  void on_each_instance(Service& service, std::string name, SubscriptionOptions options = {}) {
    static_assert((EventMessage<InputOf<handlers>> && ...), "on_... takes handlers of events");
    static_assert((!detail::HandlerTraits<decltype(handlers)>::has_transaction && ...),
                  "a queue that is not durable has no inbox: rows belong to `on`");
    add_instance_events(std::move(name), options, make_handlers<handlers...>(service));
  }
  /// Works on commands of one route, competing with all other workers of the same queue.
  template <auto handler, class Service>
  void work(Service& service, WorkOptions options) {
    static_assert(CommandMessage<InputOf<handler>>, "work<...> takes a handler of a command");
    add_work(std::move(options), detail::make_handler<handler>(service));
  }
  /// Answers requests, competing with all other processes of the same queue.
  template <auto handler, class Service>
  void answer(Service& service, std::string queue, SubscriptionOptions options = {}) {
    using Input = InputOf<handler>;
    static_assert(RequestMessage<Input>, "answer<...> takes a handler of a request");
    static_assert(
        std::same_as<typename detail::HandlerTraits<decltype(handler)>::Reply, ReplyOf<Input>>,
        "the handler returns what the contract says");
    add_answer(std::move(queue), options, detail::make_handler<handler>(service));
  }

  /// Declares the queue of a service that may not be running, so that events wait for it from the
  /// first one on.
  template <EventMessage... Events>
  void expect(std::string queue) {
    add_expected(std::move(queue), {}, {contract<Events>.info...});
  }
  /// The same for workers of a command, or for those who answer a request.
  template <Message Command>
    requires(!EventMessage<Command>)
  void expect_work(std::string queue, std::string route = {}) {
    add_expected(std::move(queue), std::move(route), {contract<Command>.info});
  }

  /// Brings the bus's tables up to date, connects, declares all exchanges and queues, takes up the
  /// outbox where it was left, and starts taking messages. Call once.
  /// Errors: `unavailable`, `timed_out`, `refused`; throws `DatabaseError`.
  Task<Result<void, BusFailure>> start();

  /// Publishes an event or a command now. When it returns, the message is on stable storage in
  /// every queue that wants it.
  /// Errors: `unroutable`, `unavailable`, `blocked`, `timed_out`, `too_large`, `closed`; throws
  /// `Cancelled`. After all but `unroutable` and `too_large` it may have arrived: publish again
  /// with the same id.
  template <Message T>
    requires(!RequestMessage<T>)
  Task<Result<void, BusFailure>> publish(T message, PublishOptions options = {}) {
    return publish_message(make_outgoing(message), std::move(options));
  }

  /// Asks, and waits for the reply at most for `limit`. Not repeated; stored only where it outlives
  /// the limit.
  /// Errors: as `publish`; `failed` with the handler's reason; `timed_out`: it may still be done;
  /// `unanswered` for one that outlives its limit: the broker has confirmed that it is stored.
  template <RequestMessage T>
  Task<Result<ReplyOf<T>, BusFailure>> request(T message, RequestOptions options) {
    auto reply = co_await request_reply(make_outgoing(message), options);
    if (!reply) co_return reply.error();
    auto value = from_json<ReplyOf<T>>(*reply);
    if (!value) co_return BusFailure{BusFailure::Kind::failed, "the reply: " + value.error()};
    co_return std::move(*value);
  }

  template <RequestMessage T>
  Task<Result<ReplyOf<T>, BusFailure>> request(T message, milliseconds limit) {
    return request(std::move(message), RequestOptions{.limit = limit});
  }

  /// Rows and messages from outside of a handler, in one transaction:
  ///
  ///     co_await bus.transact<OrderPlaced>([&](Transaction& tx, Out<OrderPlaced> out) -> Task<> {
  ///
  /// Errors: throws what `step` throws, `DatabaseError`, `Cancelled`.
  template <class... Messages, class Step>
    requires std::is_invocable_r_v<Task<>, Step&, Transaction&, Out<Messages...>>
  Task<> transact(Step step) {
    return transact_step(
        [step = std::move(step)](Transaction& transaction, detail::Outgoing& outgoing) mutable {
          return step(transaction, Out<Messages...>{outgoing});
        });
  }

  /// Stops taking messages, lets running handlers finish, sends what the outbox holds, and closes,
  /// all within `limit`. Handlers in `Work::wait_until` leave at once; what has not finished in
  /// time goes back to its queue. Returns: whether everything had finished. Errors: none.
  Task<bool> drain(milliseconds limit);

  /// Whether messages can be taken and published now; why not is in `metrics`.
  bool is_ready() const noexcept;
  BusMetrics metrics() const;

  struct QueueState {
    std::string queue;
    std::size_t ready_count = 0;  ///< waiting for a free slot
    std::size_t consumer_count = 0;
    std::size_t dead_count = 0;
  };
  /// The shared queues that were registered or expected here, as the broker sees them.
  /// Errors: as `start`.
  Task<Result<std::vector<QueueState>, BusFailure>> queue_states();
  /// Dead letters of any queue. After `start`.
  DeadLetters& dead_letters();

 private:
  class Inside;
  template <auto handler>
  using InputOf = typename detail::HandlerTraits<decltype(handler)>::Input;

  template <auto... handlers, class Service>
  static std::vector<detail::Handler> make_handlers(Service& service) {
    std::vector<detail::Handler> all;
    (all.push_back(detail::make_handler<handlers>(service)), ...);
    return all;
  }
  template <Message T>
  static detail::OutgoingMessage make_outgoing(const T& message) {
    detail::Outgoing outgoing;
    outgoing.add(message);
    return std::move(outgoing.messages.front());
  }
  void add_events(std::string queue, SubscriptionOptions options,
                  std::vector<detail::Handler> handlers);
  void add_instance_events(std::string name, SubscriptionOptions options,
                           std::vector<detail::Handler> handlers);
  void add_work(WorkOptions options, detail::Handler handler);
  void add_answer(std::string queue, SubscriptionOptions options, detail::Handler handler);
  void add_expected(std::string queue, std::string route, std::vector<ContractInfo> contracts);
  Task<Result<void, BusFailure>> publish_message(detail::OutgoingMessage message,
                                                 PublishOptions options);
  Task<Result<std::string, BusFailure>> request_reply(detail::OutgoingMessage message,
                                                      RequestOptions options);
  Task<> transact_step(detail::WorkCore::Step step);

  std::unique_ptr<Inside> inside_;
};

}  // namespace pronto
