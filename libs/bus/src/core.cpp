#include "core.hpp"

#include "failures.hpp"
#include "pronto/async/deadline.hpp"
#include "reply_headers.hpp"
#include "trace.hpp"

namespace pronto::detail {

Core::Core(Loop& home, Bus::Options all, Database* rows)
    : loop{home},
      options{std::move(all)},
      database{rows},
      consuming{home, connection_options("consumes")},
      publishing{home, connection_options("publishes")},
      exchanges{publishing},
      tables{options.instance} {}

client::ConnectionOptions Core::connection_options(const char* role) {
  return {.addresses = options.addresses,
          .stream_factory = options.stream_factory,
          .name = options.name + " " + role,
          .on_event = [this](const client::Event&) {
            if (on_connection_event) on_connection_event();
          }};
}

Task<Result<void, BusFailure>> Core::open() {
  for (client::Connection* connection : {&publishing, &consuming}) {
    const auto opened = co_await connection->open(options.start_limit);
    if (!opened) co_return to_bus_failure(opened.error());
  }
  auto publisher =
      co_await publishing.open_channel({.blocked_limit = options.blocked_limit, .republish = true});
  if (!publisher) co_return to_bus_failure(publisher.error());
  publisher_.emplace(std::move(*publisher));
  auto replies = co_await publishing.open_channel({.mode = client::PublishMode::unconfirmed,
                                                   .publish_limit = options.blocked_limit,
                                                   .blocked_limit = options.blocked_limit});
  if (!replies) co_return to_bus_failure(replies.error());
  replies_.emplace(std::move(*replies));
  co_return Result<void, BusFailure>{};
}

Task<Result<void, BusFailure>> Core::start_relay() {
  if (database == nullptr) co_return Result<void, BusFailure>{};
  relay.emplace(loop, *database, publishing, exchanges,
                Relay::Options{.instance = options.instance,
                               .adopt_after = options.adopt_after,
                               .batch_max = options.outbox_batch_max,
                               .on_relayed = [this](std::size_t count) {
                                 if (options.observer) options.observer->on_relayed(count);
                               }});
  const auto started = co_await relay->start();
  if (!started) co_return to_bus_failure(started.error());
  co_return Result<void, BusFailure>{};
}

Task<> Core::close(milliseconds limit) {
  const SteadyTime end = loop.now() + limit;
  if (relay) co_await relay->stop();
  for (client::Connection* connection : {&consuming, &publishing}) {
    const auto left = std::chrono::duration_cast<milliseconds>(end - loop.now());
    // What could not be said in time is said by the connection's end.
    static_cast<void>(co_await connection->close(std::max(left, milliseconds{100})));
  }
}

WireMessage Core::to_wire(OutgoingMessage message, const Envelope* cause) {
  std::string parent = std::move(message.traceparent);
  if (parent.empty() && cause != nullptr) parent = cause->traceparent;
  return {.id = message.id.empty() ? loop.random().url_safe_id() : std::move(message.id),
          .type = message.info.exchange(),
          .kind = message.info.kind,
          .routing_key = std::move(message.route),
          .key = std::move(message.key),
          .body = std::move(message.body),
          .source = options.name,
          .traceparent = next_traceparent(parent, loop.random()),
          .time = loop.wall_now()};
}

Task<Result<void, BusFailure>> Core::publish(std::vector<WireMessage> messages) {
  std::vector<client::Confirmation> sent;
  std::optional<BusFailure> failure;
  for (const WireMessage& message : messages) {
    const auto declared = co_await exchanges.ensure(message.type, message.kind);
    if (!declared) {
      failure = to_bus_failure(declared.error());
      break;
    }
    auto confirmation = co_await publisher_->send(to_client_message(message));
    if (!confirmation) {
      failure = to_bus_failure(confirmation.error());
      break;
    }
    sent.push_back(std::move(*confirmation));
  }
  for (const client::Confirmation& confirmation : sent) {
    const auto outcome = co_await confirmation.wait();
    if (!outcome && !failure) failure = to_bus_failure(outcome.error());
  }
  if (failure) co_return std::move(*failure);
  co_return Result<void, BusFailure>{};
}

Task<Result<void, BusFailure>> Core::publish(client::Message message) {
  const auto published = co_await publisher_->publish(std::move(message));
  if (!published) co_return to_bus_failure(published.error());
  co_return Result<void, BusFailure>{};
}

Task<> Core::transact(WorkCore::Step step, const Envelope* cause) {
  const auto room =
      co_await with_deadline(options.blocked_limit, relay->wait_for_room(options.outbox_rows_max));
  if (!room) {
    throw DatabaseError{DatabaseError::Kind::unavailable,
                        "the outbox is full: the broker takes no messages"};
  }
  std::size_t count = 0;
  co_await database->transact([this, &step, cause, &count](Transaction& transaction) -> Task<> {
    Outgoing outgoing;
    co_await step(transaction, outgoing);
    std::vector<WireMessage> messages;
    for (OutgoingMessage& message : outgoing.messages) {
      messages.push_back(to_wire(std::move(message), cause));
    }
    co_await tables.add_to_outbox(transaction, messages);
    count = messages.size();
  });
  if (count > 0) relay->wake(count);
}

Task<> Core::reply(const client::Delivery& request, std::string body, std::string error) {
  if (!request.properties.reply_to) co_return;
  client::Message message{.routing_key = request.properties.reply_to->text(),
                          .body = to_bytes(body),
                          .properties = {.content_type = "application/json",
                                         .correlation_id = request.properties.correlation_id},
                          .mandatory = false,
                          .persistent = false};
  if (!error.empty()) message.properties.headers = wire::Table{{reply_error_header, error}};
  // Whoever asked has a deadline of its own; a reply that cannot be sent is as good as none.
  static_cast<void>(co_await replies_->publish(std::move(message)));
}

}  // namespace pronto::detail
