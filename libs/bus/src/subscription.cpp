#include "subscription.hpp"

#include <algorithm>

#include "failures.hpp"
#include "pronto/async/deadline.hpp"
#include "pronto/base/crypto.hpp"
#include "pronto/base/log.hpp"
#include "topology.hpp"

namespace pronto::detail {
namespace {

using Ending = BusObserver::Ending;

/// How long a message stays in hand that can be neither handled nor sent away.
constexpr milliseconds helpless_pause = seconds{1};
/// A wait is looked at again so often, since the wall clock may be set.
constexpr milliseconds wall_clock_step = seconds{30};

Task<> wait_once(Signal& signal) {
  co_await signal.wait();
}

/// The id of what a handler without rows publishes: the same when its message comes again.
std::string derived_id(const Envelope& cause, std::size_t index) {
  const Digest digest =
      sha256(as_bytes(cause.id + '\n' + cause.queue + '\n' + std::to_string(index)));
  return to_base64url(BytesView{digest}.first(16));
}

}  // namespace

/// What a handler of long work sees of its message.
class Subscription::Session final : public WorkCore {
 public:
  Session(Subscription& owner, const client::Delivery& delivery, const Envelope& envelope)
      : owner_{owner}, delivery_{delivery}, envelope_{envelope} {}

  const Envelope& envelope() const override { return envelope_; }
  WallTime now() const override { return owner_.core_.loop.wall_now(); }
  Task<> transact(Step step) override { return owner_.core_.transact(std::move(step), &envelope_); }
  Task<> wait_until(WallTime due) override {
    for (;;) {
      if (owner_.is_stopping_ || !delivery_.is_current()) throw Cancelled{};
      const WallTime wall_now = now();
      if (wall_now >= due) co_return;
      const milliseconds left = std::min<milliseconds>(due - wall_now, wall_clock_step);
      static_cast<void>(co_await with_deadline(left, wait_once(owner_.stirred_)));
    }
  }

 private:
  Subscription& owner_;
  const client::Delivery& delivery_;
  const Envelope& envelope_;
};

Subscription::Subscription(Core& core, Spec spec)
    : core_{core},
      spec_{std::move(spec)},
      queue_{spec_.queue},
      tasks_{core.loop, "handlers of " + spec_.queue} {
  metrics_.queue = spec_.queue;
  metrics_.slots = spec_.concurrency;
}

Task<Result<void, BusFailure>> Subscription::declare() {
  for (const Handler& handler : spec_.handlers) {
    for (const ContractInfo& output : handler.outputs) {
      const auto declared = co_await core_.exchanges.ensure(output.exchange(), output.kind);
      if (!declared) co_return to_bus_failure(declared.error());
    }
  }
  const bool is_instance = spec_.kind == Kind::instance;
  const client::Queue queue =
      is_instance
          ? client::Queue{.name = "", .durable = false, .exclusive = true, .auto_delete = true}
          : service_queue(spec_.queue);
  auto declared = co_await core_.consuming.declare_queue(queue);
  if (!declared) co_return to_bus_failure(declared.error());
  queue_ = declared->name;
  if (spec_.kind == Kind::shared) {
    const auto dead = co_await core_.consuming.declare_queue(dead_queue(spec_.queue));
    if (!dead) co_return to_bus_failure(dead.error());
  }
  for (const Handler& handler : spec_.handlers) {
    const std::string exchange = handler.info.exchange();
    auto bound =
        co_await core_.consuming.declare_exchange(exchange_of(exchange, handler.info.kind));
    if (bound) {
      bound = co_await core_.consuming.bind_queue(
          {.source = exchange, .destination = queue_, .routing_key = spec_.route});
    }
    if (!bound) co_return to_bus_failure(bound.error());
  }
  co_return Result<void, BusFailure>{};
}

Task<Result<void, BusFailure>> Subscription::start() {
  if (spec_.handlers.empty()) co_return Result<void, BusFailure>{};
  auto channel = co_await core_.consuming.open_channel(
      {.mode = client::PublishMode::unconfirmed, .prefetch_count = spec_.concurrency});
  if (!channel) co_return to_bus_failure(channel.error());
  channel_.emplace(std::move(*channel));
  auto tag = co_await channel_->consume(
      {.queue = queue_}, [this](client::Delivery delivery) { on_delivery(std::move(delivery)); });
  if (!tag) co_return to_bus_failure(tag.error());
  consumer_tag_ = std::move(*tag);
  co_return Result<void, BusFailure>{};
}

Task<> Subscription::stop_taking() {
  is_stopping_ = true;
  stir();
  // Without a connection there is nothing to stop: deliveries have gone back already.
  if (channel_) static_cast<void>(co_await channel_->cancel(consumer_tag_));
}

Task<> Subscription::join() {
  co_await tasks_.join();
}

Handler* Subscription::find_handler(const client::Delivery& delivery) {
  std::string type = read_type(delivery);
  if (type.empty()) type = delivery.exchange;  // a foreign publisher that states nothing
  const auto found = std::ranges::find_if(
      spec_.handlers, [&type](const Handler& handler) { return handler.info.exchange() == type; });
  return found == spec_.handlers.end() ? nullptr : &*found;
}

void Subscription::on_delivery(client::Delivery delivery) {
  ++metrics_.delivered_total;
  if (is_stopping_) {
    delivery.reject(client::Requeue::yes);
    ++metrics_.returned_total;
    return;
  }
  tasks_.spawn(handle(std::move(delivery)));
}

Task<> Subscription::handle(client::Delivery delivery) {
  struct Running {
    explicit Running(QueueMetrics& all) : metrics{all} { ++metrics.running; }
    Running(const Running&) = delete;
    ~Running() { --metrics.running; }
    QueueMetrics& metrics;
  } const running{metrics_};

  const Envelope envelope = read_envelope(delivery, spec_.queue, core_.loop.random());
  const SteadyTime began = core_.loop.now();
  const Outcome outcome = co_await attempt(delivery, envelope);
  const auto took = core_.loop.now() - began;
  metrics_.handler_seconds.add(std::chrono::duration<double>(took).count());
  const Ending ending = spec_.kind == Kind::answer
                            ? co_await answer(delivery, envelope, outcome)
                            : co_await send_away(delivery, envelope, outcome);
  count(ending);
  if (core_.options.observer) {
    core_.options.observer->on_ended(envelope, ending, took, outcome.error);
  }
}

void Subscription::count(Ending ending) {
  switch (ending) {
    case Ending::handled:
      ++metrics_.handled_total;
      break;
    case Ending::duplicate:
      ++metrics_.duplicate_total;
      break;
    case Ending::retried:
      ++metrics_.retried_total;
      break;
    case Ending::dead:
      ++metrics_.dead_total;
      break;
    case Ending::returned:
      ++metrics_.returned_total;
      break;
  }
}

Subscription::Outcome Subscription::failed(const Handler& handler, const Envelope& envelope,
                                           std::string error) const {
  const bool is_last =
      envelope.attempt >= core_.options.attempts_max || core_.options.retry_delays.empty();
  return {.ending = is_last ? Ending::dead : Ending::retried,
          .error = std::move(error),
          .handler = handler.name};
}

Task<Subscription::Outcome> Subscription::attempt(client::Delivery& delivery,
                                                  const Envelope& envelope) {
  Handler* handler = find_handler(delivery);
  if (handler == nullptr) {
    co_return Outcome{.ending = Ending::dead,
                      .error = "no handler for a message of type '" + read_type(delivery) + "'"};
  }
  if (read_delivery_count(delivery) > core_.options.deliveries_max) {
    co_return Outcome{.ending = Ending::dead,
                      .error = "delivered " + std::to_string(read_delivery_count(delivery)) +
                               " times and never answered",
                      .handler = handler->name};
  }
  try {
    // Long work waits with its slot taken; a key's later messages need not wait for that.
    KeyTurns::Turn turn;
    if (!handler->is_work) turn = co_await turns_.take(envelope.key);
    if (core_.options.observer) core_.options.observer->on_started(envelope);
    co_return co_await run(*handler, delivery, envelope);
  } catch (const Cancelled&) {
    co_return Outcome{.ending = Ending::returned};
  } catch (const Rejected& error) {
    co_return Outcome{.ending = Ending::dead, .error = error.what(), .handler = handler->name};
  } catch (const DatabaseError& error) {
    if (error.kind() != DatabaseError::Kind::unavailable) {
      co_return failed(*handler, envelope, error.what());
    }
    // Not the message's fault, and all others would fail, too: it waits without being counted.
    co_return Outcome{.ending = Ending::retried,
                      .error = error.what(),
                      .handler = handler->name,
                      .is_counted = false};
  } catch (const std::exception& error) {
    co_return failed(*handler, envelope, error.what());
  } catch (...) {  // noted with the message
    co_return failed(*handler, envelope, "an exception that is no std::exception");
  }
}

Task<Subscription::Outcome> Subscription::run(Handler& handler, client::Delivery& delivery,
                                              const Envelope& envelope) {
  if (!handler.is_work && !handler.has_transaction) {
    co_return co_await run_without_rows(handler, delivery, envelope);
  }
  Invocation call{.envelope = envelope, .body = delivery.body};
  if (handler.is_work) {
    Session session{*this, delivery, envelope};
    call.work = &session;
    co_await handler.invoke(call);
  } else {
    bool is_new = false;
    co_await core_.transact(
        [this, &handler, &call, &envelope, &is_new](Transaction& transaction,
                                                    Outgoing& outgoing) -> Task<> {
          is_new = co_await Tables::add_to_inbox(transaction, spec_.queue, envelope.id,
                                                 core_.loop.wall_now());
          if (!is_new) co_return;
          call.transaction = &transaction;
          call.outgoing = &outgoing;
          co_await handler.invoke(call);
        },
        &envelope);
    if (!is_new) co_return Outcome{.ending = Ending::duplicate, .handler = handler.name};
  }
  if (core_.options.observer) core_.options.observer->on_committed(envelope);
  co_return Outcome{.handler = handler.name, .reply = std::move(call.reply)};
}

Task<Subscription::Outcome> Subscription::run_without_rows(Handler& handler,
                                                           client::Delivery& delivery,
                                                           const Envelope& envelope) {
  Outgoing outgoing;
  Invocation call{.envelope = envelope, .body = delivery.body, .outgoing = &outgoing};
  co_await handler.invoke(call);
  std::vector<WireMessage> messages;
  for (OutgoingMessage& message : outgoing.messages) {
    message.id = derived_id(envelope, messages.size());
    messages.push_back(core_.to_wire(std::move(message), &envelope));
  }
  if (!messages.empty()) {
    const auto published = co_await core_.publish(std::move(messages));
    if (!published) {
      using FailureKind = BusFailure::Kind;
      const FailureKind kind = published.error().kind;
      if (kind == FailureKind::unroutable || kind == FailureKind::too_large) {
        co_return failed(handler, envelope, published.error().text);
      }
      co_return Outcome{.ending = Ending::retried,
                        .error = published.error().text,
                        .handler = handler.name,
                        .is_counted = false};
    }
  }
  if (core_.options.observer) core_.options.observer->on_committed(envelope);
  co_return Outcome{.handler = handler.name, .reply = std::move(call.reply)};
}

/// Whoever asked is waiting now: a failure is an answer, too, and nothing is tried again.
Task<Ending> Subscription::answer(client::Delivery& delivery, const Envelope& envelope,
                                  const Outcome& outcome) {
  if (outcome.ending == Ending::returned) {
    delivery.reject(client::Requeue::yes);
    co_return Ending::returned;
  }
  const bool is_failed = outcome.ending == Ending::retried || outcome.ending == Ending::dead;
  if (is_failed) {
    ++metrics_.failed_total;
    log::warning("a request failed", {{"queue", spec_.queue},
                                      {"id", envelope.id},
                                      {"handler", outcome.handler},
                                      {"error", outcome.error}});
  }
  // A copy of a request that was decided before has nobody who waits for its reply.
  if (outcome.ending != Ending::duplicate) {
    co_await core_.reply(delivery, outcome.reply, outcome.error);
  }
  delivery.ack();
  co_return is_failed ? Ending::dead : outcome.ending;
}

/// Answers the delivery, after it has been sent to wait or to the dead letters where it must.
Task<Ending> Subscription::send_away(client::Delivery& delivery, const Envelope& envelope,
                                     const Outcome& outcome) {
  if (outcome.ending == Ending::handled || outcome.ending == Ending::duplicate) {
    delivery.ack();
    co_return outcome.ending;
  }
  if (outcome.ending == Ending::returned) {
    delivery.reject(client::Requeue::yes);
    co_return Ending::returned;
  }
  ++metrics_.failed_total;
  const FailureNote note{.queue = spec_.queue,
                         .handler = outcome.handler,
                         .error = outcome.error,
                         .attempts = envelope.attempt - (outcome.is_counted ? 0 : 1),
                         .at = core_.loop.wall_now()};
  const bool is_dead = outcome.ending == Ending::dead;
  log::warning(is_dead ? "a message became a dead letter" : "a message failed and is tried again",
               {{"queue", spec_.queue},
                {"id", envelope.id},
                {"type", envelope.type},
                {"handler", outcome.handler},
                {"attempts", note.attempts},
                {"error", outcome.error}});
  if (spec_.kind == Kind::instance) {  // of use only now, and this process only
    delivery.ack();
    co_return Ending::dead;
  }
  const auto& delays = core_.options.retry_delays;
  std::optional<client::Message> message;
  if (is_dead) {
    message = make_dead(delivery, note);
  } else if (!delays.empty()) {
    const auto rung = static_cast<std::size_t>(std::max(note.attempts - 1, 0));
    message = make_retry(delivery, note, delays[std::min(rung, delays.size() - 1)]);
  }
  if (message) {
    const auto sent = co_await core_.publish(std::move(*message));
    if (sent) {
      delivery.ack();
      co_return outcome.ending;
    }
    log::warning("a failed message cannot be sent away and goes back to its queue",
                 {{"queue", spec_.queue}, {"id", envelope.id}, {"error", sent.error().text}});
  }
  co_await sleep_for(helpless_pause);
  delivery.reject(client::Requeue::yes);
  co_return Ending::returned;
}

}  // namespace pronto::detail
