#include "pronto/bus/bus.hpp"

#include <algorithm>
#include <map>

#include "core.hpp"
#include "failures.hpp"
#include "limited.hpp"
#include "pronto/async/deadline.hpp"
#include "pronto/base/log.hpp"
#include "requests.hpp"
#include "subscription.hpp"
#include "topology.hpp"

namespace pronto {

using detail::Subscription;
using detail::to_bus_failure;

namespace {

constexpr std::chrono::hours inbox_expiry_step{1};
constexpr int inbox_expired_at_once = 1'000;

}  // namespace

class Bus::Inside {
 public:
  Inside(Loop& loop, Options options, Database* database)
      : core{loop, std::move(options), database}, tasks{loop, "bus"} {}

  struct Expected {
    std::string queue;
    std::string route;
    std::vector<ContractInfo> contracts;
  };

  bool is_running() const noexcept { return is_open && !is_draining; }
  void add(Subscription::Spec spec);
  Task<Result<void, BusFailure>> start();
  Task<Result<void, BusFailure>> declare();
  Task<Result<void, BusFailure>> declare(const Expected& one);
  Task<> expire_inbox();
  Task<> settle();

  detail::Core core;
  std::vector<Expected> expected;
  std::vector<std::unique_ptr<Subscription>> subscriptions;
  std::optional<detail::Requests> requests;
  DeadLetters dead_letters{core.publishing};
  BusMetrics totals;
  bool is_started = false;
  bool is_open = false;  ///< there is a channel to publish on, and a topology to publish to
  bool is_draining = false;
  TaskGroup tasks;
};

Bus::Bus(Loop& loop, Options options, Database* database)
    : inside_{std::make_unique<Inside>(loop, std::move(options), database)} {}

Bus::~Bus() = default;

void Bus::Inside::add(Subscription::Spec spec) {
  PRONTO_ASSERT(!is_started);  // register everything, then start
  for (const detail::Handler& handler : spec.handlers) {
    PRONTO_ASSERT(core.database != nullptr || (!handler.has_transaction && !handler.is_work));
  }
  subscriptions.push_back(std::make_unique<Subscription>(core, std::move(spec)));
}

void Bus::add_events(std::string queue, SubscriptionOptions options,
                     std::vector<detail::Handler> handlers) {
  inside_->add({.kind = Subscription::Kind::shared,
                .queue = std::move(queue),
                .concurrency = options.concurrency,
                .handlers = std::move(handlers)});
}

void Bus::add_instance_events(std::string name, SubscriptionOptions options,
                              std::vector<detail::Handler> handlers) {
  inside_->add({.kind = Subscription::Kind::instance,
                .queue = std::move(name),
                .concurrency = options.concurrency,
                .handlers = std::move(handlers)});
}

void Bus::add_work(WorkOptions options, detail::Handler handler) {
  std::vector<detail::Handler> handlers;
  handlers.push_back(std::move(handler));
  inside_->add({.kind = Subscription::Kind::shared,
                .queue = std::move(options.queue),
                .route = std::move(options.route),
                .concurrency = options.concurrency,
                .handlers = std::move(handlers)});
}

void Bus::add_answer(std::string queue, SubscriptionOptions options, detail::Handler handler) {
  std::vector<detail::Handler> handlers;
  handlers.push_back(std::move(handler));
  inside_->add({.kind = Subscription::Kind::answer,
                .queue = std::move(queue),
                .concurrency = options.concurrency,
                .handlers = std::move(handlers)});
}

void Bus::add_expected(std::string queue, std::string route, std::vector<ContractInfo> contracts) {
  PRONTO_ASSERT(!inside_->is_started);
  inside_->expected.push_back({std::move(queue), std::move(route), std::move(contracts)});
}

Task<Result<void, BusFailure>> Bus::start() {
  co_return co_await inside_->start();
}

Task<Result<void, BusFailure>> Bus::Inside::start() {
  PRONTO_ASSERT(!is_started);
  is_started = true;
  core.on_connection_event = [this] {
    for (const auto& subscription : subscriptions) subscription->stir();
  };
  if (core.database != nullptr) co_await detail::Tables::migrate(*core.database);
  auto step = co_await core.open();
  if (step) step = co_await declare();
  if (step) step = co_await core.start_relay();
  if (step) {
    requests.emplace(core);
    step = co_await requests->start();
  }
  is_open = step.has_value();
  for (const auto& subscription : subscriptions) {
    if (step) step = co_await subscription->start();
  }
  if (step && core.database != nullptr) tasks.spawn(expire_inbox());
  co_return step;
}

Task<Result<void, BusFailure>> Bus::Inside::declare() {
  // The ladder first: a message that fails must find it.
  for (const milliseconds delay : core.options.retry_delays) {
    const std::string name = detail::delay_name(delay);
    const auto queue = co_await core.consuming.declare_queue(detail::delay_queue(delay));
    if (!queue) co_return to_bus_failure(queue.error());
    auto bound =
        co_await core.consuming.declare_exchange(detail::exchange_of(name, MessageKind::event));
    if (bound) {
      bound = co_await core.consuming.bind_queue({.source = name, .destination = name});
    }
    if (!bound) co_return to_bus_failure(bound.error());
  }
  for (const Expected& one : expected) {
    const auto declared = co_await declare(one);
    if (!declared) co_return declared;
  }
  for (const auto& subscription : subscriptions) {
    const auto declared = co_await subscription->declare();
    if (!declared) co_return declared;
  }
  co_return Result<void, BusFailure>{};
}

Task<Result<void, BusFailure>> Bus::Inside::declare(const Expected& one) {
  const auto queue = co_await core.consuming.declare_queue(detail::service_queue(one.queue));
  if (!queue) co_return to_bus_failure(queue.error());
  for (const ContractInfo& contract : one.contracts) {
    auto bound = co_await core.consuming.declare_exchange(
        detail::exchange_of(contract.exchange(), contract.kind));
    if (bound) {
      bound = co_await core.consuming.bind_queue(
          {.source = contract.exchange(), .destination = one.queue, .routing_key = one.route});
    }
    if (!bound) co_return to_bus_failure(bound.error());
  }
  co_return Result<void, BusFailure>{};
}

Task<> Bus::Inside::expire_inbox() {
  for (;;) {
    const WallTime until = core.loop.wall_now() - core.options.inbox_kept;
    try {
      std::int64_t expired = inbox_expired_at_once;
      while (expired == inbox_expired_at_once) {
        co_await core.database->transact([until, &expired](Transaction& transaction) -> Task<> {
          expired =
              co_await detail::Tables::expire_inbox(transaction, until, inbox_expired_at_once);
        });
      }
    } catch (const DatabaseError& error) {
      log::warning("the inbox cannot be cleared of old notes", {{"error", error.what()}});
    }
    co_await sleep_for(inbox_expiry_step);
  }
}

Task<Result<void, BusFailure>> Bus::publish_message(detail::OutgoingMessage message,
                                                    PublishOptions options) {
  if (!inside_->is_running()) {
    co_return BusFailure{BusFailure::Kind::closed, "the bus is not running"};
  }
  message.id = std::move(options.id);
  message.traceparent = std::move(options.traceparent);
  const std::string exchange = message.info.exchange();
  std::vector<detail::WireMessage> messages;
  messages.push_back(inside_->core.to_wire(std::move(message), nullptr));
  auto published =
      co_await detail::within(options.limit, inside_->core.publish(std::move(messages)));
  Result<void, BusFailure> outcome =
      published
          ? std::move(*published)
          : Result<void, BusFailure>{BusFailure{BusFailure::Kind::timed_out,
                                                "no confirm for " + exchange + " within " +
                                                    std::to_string(options.limit.count()) + " ms"}};
  ++(outcome ? inside_->totals.published_total : inside_->totals.publish_failed_total);
  co_return outcome;
}

Task<Result<std::string, BusFailure>> Bus::request_reply(detail::OutgoingMessage message,
                                                         RequestOptions options) {
  if (!inside_->is_running()) {
    co_return BusFailure{BusFailure::Kind::closed, "the bus is not running"};
  }
  ++inside_->totals.requests_total;
  auto reply = co_await inside_->requests->request(std::move(message), options);
  if (!reply) ++inside_->totals.requests_failed_total;
  co_return reply;
}

Task<> Bus::transact_step(detail::WorkCore::Step step) {
  PRONTO_ASSERT(inside_->core.database != nullptr);
  if (!inside_->is_open) {
    throw DatabaseError{DatabaseError::Kind::unavailable, "the bus is not running"};
  }
  co_await inside_->core.transact(std::move(step), nullptr);
}

Task<> Bus::Inside::settle() {
  for (const auto& subscription : subscriptions) co_await subscription->join();
  if (core.relay) co_await core.relay->flush();
}

Task<bool> Bus::drain(milliseconds limit) {
  Inside& inside = *inside_;
  if (inside.is_draining || !inside.is_started) co_return true;
  inside.is_draining = true;
  const SteadyTime end = inside.core.loop.now() + limit;
  const auto left = [&inside, end] {
    return std::max(SteadyTime::duration{milliseconds{1}}, end - inside.core.loop.now());
  };
  const auto stopped = co_await with_deadline(left(), [](Inside& all) -> Task<> {
    for (const auto& subscription : all.subscriptions) co_await subscription->stop_taking();
  }(inside));
  const auto settled = co_await with_deadline(left(), inside.settle());
  if (!settled) {
    log::warning("draining took too long; what is left goes back to its queues",
                 {{"limit_ms", limit.count()}});
    for (const auto& subscription : inside.subscriptions) subscription->cancel();
    for (const auto& subscription : inside.subscriptions) co_await subscription->join();
  }
  inside.tasks.cancel();
  co_await inside.tasks.join();
  co_await inside.core.close(std::chrono::duration_cast<milliseconds>(left()));
  co_return stopped.has_value() && settled.has_value();
}

bool Bus::is_ready() const noexcept {
  return inside_->is_running() && inside_->core.is_ready();
}

BusMetrics Bus::metrics() const {
  BusMetrics metrics = inside_->totals;
  for (const auto& subscription : inside_->subscriptions) {
    metrics.queues.push_back(subscription->metrics());
  }
  const detail::Core& core = inside_->core;
  if (core.relay) {
    metrics.relayed_total = core.relay->counts().relayed_total;
    metrics.relay_failed_total = core.relay->counts().failed_total;
    metrics.outbox_rows = core.relay->counts().waiting;
  }
  metrics.recoveries_total =
      core.consuming.statistics().recoveries_total + core.publishing.statistics().recoveries_total;
  metrics.is_connected = core.consuming.is_connected() && core.publishing.is_connected();
  metrics.is_blocked = core.publishing.is_blocked();
  return metrics;
}

Task<Result<std::vector<Bus::QueueState>, BusFailure>> Bus::queue_states() {
  if (!inside_->is_open) co_return BusFailure{BusFailure::Kind::closed, "the bus is not running"};
  // Requests that fail are answered so; only other queues have dead letters.
  std::map<std::string, bool> has_dead_letters;
  for (const auto& subscription : inside_->subscriptions) {
    const Subscription::Spec& spec = subscription->spec();
    if (spec.kind == Subscription::Kind::instance) continue;
    has_dead_letters[spec.queue] = spec.kind != Subscription::Kind::answer;
  }
  for (const auto& one : inside_->expected) {
    has_dead_letters[one.queue] = std::ranges::none_of(
        one.contracts, [](const ContractInfo& info) { return info.kind == MessageKind::request; });
  }
  std::vector<QueueState> states;
  for (const auto& [name, has_dead] : has_dead_letters) {
    const auto info = co_await inside_->core.publishing.find_queue(name);
    if (!info) co_return to_bus_failure(info.error());
    std::size_t dead_count = 0;
    if (has_dead) {
      const auto dead = co_await dead_letters().count(name);
      if (!dead) co_return dead.error();
      dead_count = *dead;
    }
    states.push_back({.queue = name,
                      .ready_count = info->message_count,
                      .consumer_count = info->consumer_count,
                      .dead_count = dead_count});
  }
  co_return states;
}

DeadLetters& Bus::dead_letters() {
  return inside_->dead_letters;
}

}  // namespace pronto
