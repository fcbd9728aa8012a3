// The consuming half of ChannelCore.
#include <algorithm>
#include <exception>

#include "channel_core.hpp"
#include "connection_core.hpp"
#include "pronto/base/log.hpp"

namespace pronto::client::detail {

wire::BasicConsume ChannelCore::consume_method(const Consumer& consumer) const {
  return {.queue = consumer.options.queue,
          .consumer_tag = consumer.options.tag,
          .no_ack = consumer.options.no_ack,
          .exclusive = consumer.options.exclusive,
          .arguments = consumer.options.arguments};
}

Task<Result<std::string, Failure>> ChannelCore::consume(std::shared_ptr<ChannelCore> self,
                                                        ConsumeOptions options,
                                                        DeliveryHandler handler) {
  ChannelCore& my = *self;
  if (options.tag.empty()) options.tag = my.connection_->make_unique("c");
  const std::string tag = options.tag;
  for (const auto& [what, text] : {std::pair{"the queue's name", &std::as_const(options.queue)},
                                   std::pair{"the consumer tag", &tag}}) {
    const Result<wire::ShortString, Failure> checked = short_string(what, *text);
    if (!checked) co_return checked.error();
  }
  const Result<void, Failure> table = check_table("the consumer's arguments", options.arguments);
  if (!table) co_return table.error();

  const SteadyTime deadline = my.answer_deadline();
  const Result<void, Failure> open = co_await until_open(self, deadline);
  if (!open) co_return open.error();
  if (my.consumers_.contains(tag)) {
    co_return Failure{.kind = Failure::Kind::refused,
                      .text = "the channel has a consumer '" + tag + "' already"};
  }
  // It must be there before the answer: deliveries follow that at once.
  const auto consumer = std::make_shared<Consumer>(
      Consumer{.options = std::move(options), .handler = std::move(handler)});
  my.consumers_.emplace(tag, consumer);
  struct Undo {
    ChannelCore& channel;
    const std::string& tag;
    const std::shared_ptr<Consumer>& consumer;
    ~Undo() {
      if (consumer->state == Consumer::State::starting) channel.consumers_.erase(tag);
    }
  } const undo{my, tag, consumer};
  const Result<Reply, Failure> reply =
      co_await my.call_now(my.consume_method(*consumer), wire::BasicConsumeOk::id, deadline);
  if (!reply) co_return reply.error();
  consumer->state = Consumer::State::active;
  co_return tag;
}

Task<Result<void, Failure>> ChannelCore::cancel(std::shared_ptr<ChannelCore> self,
                                                std::string tag) {
  ChannelCore& my = *self;
  const auto found = my.consumers_.find(tag);
  if (found == my.consumers_.end()) co_return Result<void, Failure>{};
  const std::shared_ptr<Consumer> consumer = found->second;
  struct Forget {
    ChannelCore& channel;
    const std::string& tag;
    ~Forget() { channel.consumers_.erase(tag); }
  } const forget{my, tag};
  if (consumer->state != Consumer::State::active || my.state_ != State::open) {
    co_return Result<void, Failure>{};
  }
  const Result<Reply, Failure> reply = co_await my.call_now(
      wire::BasicCancel{.consumer_tag = tag}, wire::BasicCancelOk::id, my.answer_deadline());
  if (!reply) co_return reply.error();
  co_return Result<void, Failure>{};
}

Task<Result<std::optional<Delivery>, Failure>> ChannelCore::get(std::shared_ptr<ChannelCore> self,
                                                                std::string queue, bool no_ack) {
  ChannelCore& my = *self;
  Result<wire::ShortString, Failure> name = short_string("the queue's name", queue);
  if (!name) co_return name.error();
  const SteadyTime deadline = my.answer_deadline();
  const Result<void, Failure> open = co_await until_open(self, deadline);
  if (!open) co_return open.error();
  Result<Reply, Failure> reply =
      co_await my.call_now(wire::BasicGet{.queue = *std::move(name), .no_ack = no_ack},
                           wire::BasicGetOk::id, deadline, wire::BasicGetEmpty::id);
  if (!reply) co_return reply.error();
  if (reply->delivery) {
    ++my.connection_->statistics().delivered_total;
    reply->delivery->answered_ = no_ack;
  }
  co_return std::move(reply->delivery);
}

void ChannelCore::deliver(Delivery delivery) {
  const auto found = consumers_.find(delivery.consumer_tag);
  if (found == consumers_.end()) {
    // Its subscriber gave up waiting for the answer to basic.consume.
    write(wire::BasicCancel{.consumer_tag = delivery.consumer_tag, .no_wait = true});
    delivery.reject(Requeue::yes);
    return;
  }
  const std::shared_ptr<Consumer> consumer = found->second;
  delivery.answered_ = consumer->options.no_ack;
  ++connection_->statistics().delivered_total;
  try {
    consumer->handler(std::move(delivery));
  } catch (const std::exception& error) {
    log::error("an amqp delivery handler threw", {{"connection", connection_->options().name},
                                                  {"queue", consumer->options.queue},
                                                  {"error", error.what()}});
  }
}

void ChannelCore::answer(std::uint64_t generation, std::uint64_t tag,
                         std::optional<Requeue> rejected) {
  if (!is_current(generation) || connection_->link() == nullptr) {
    ++connection_->statistics().answers_dropped_total;
    if (options_.mode == PublishMode::transactional) transaction_is_lost_ = true;
    return;
  }
  ++connection_->statistics().answered_total;
  if (options_.mode == PublishMode::transactional) transaction_is_dirty_ = true;
  Link& link = *connection_->link();
  if (rejected) {
    wire::append_method_frame(
        link.outbox(), number_,
        wire::BasicReject{.delivery_tag = tag, .requeue = *rejected == Requeue::yes});
  } else {
    wire::append_method_frame(link.outbox(), number_, wire::BasicAck{.delivery_tag = tag});
  }
  link.wake_writer();
}

void ChannelCore::lose_consumer(Consumer& consumer, const Failure& failure) {
  const ConnectionOptions& limits = connection_->options();
  consumer.state = Consumer::State::lost;
  consumer.backoff = std::clamp(2 * consumer.backoff, limits.backoff_min, limits.backoff_max);
  consumer.retry_at = connection_->loop().now() + connection_->jittered(consumer.backoff);
  log::warning("amqp consumer lost, trying again", {{"connection", limits.name},
                                                    {"queue", consumer.options.queue},
                                                    {"consumer", consumer.options.tag},
                                                    {"reason", failure.text}});
  connection_->emit(Event::Kind::consumer_lost, consumer.options.tag);
  if (consumer.options.on_lost) consumer.options.on_lost(failure);
  changed_.notify_all();
}

/// Part of opening: the consumers that were running run again. One that the broker refuses takes
/// the channel with it, so it is left to `revive`, which asks first.
Task<Result<void, Failure>> ChannelCore::start_consumers() {
  const auto consumers = consumers_;
  for (const auto& [tag, consumer] : consumers) {
    if (consumer->state != Consumer::State::active || !consumers_.contains(tag)) continue;
    const Result<Reply, Failure> reply =
        co_await call_now(consume_method(*consumer), wire::BasicConsumeOk::id, answer_deadline());
    if (reply) continue;
    if (reply.error().kind == Failure::Kind::refused) lose_consumer(*consumer, reply.error());
    co_return reply.error();
  }
  co_return Result<void, Failure>{};
}

std::shared_ptr<ChannelCore::Consumer> ChannelCore::next_lost() const {
  std::shared_ptr<Consumer> next;
  for (const auto& [tag, consumer] : consumers_) {
    if (consumer->state != Consumer::State::lost) continue;
    if (!next || consumer->retry_at < next->retry_at) next = consumer;
  }
  return next;
}

Task<> ChannelCore::revive(std::shared_ptr<Consumer> consumer) {
  const ConnectionOptions& limits = connection_->options();
  // Asked on the management channel: a queue that is still missing costs the other consumers
  // nothing.
  const Result<Reply, Failure> found =
      co_await call(connection_->management(),
                    wire::QueueDeclare{.queue = consumer->options.queue, .passive = true},
                    wire::QueueDeclareOk::id, answer_deadline());
  if (state_ != State::open || !consumers_.contains(consumer->options.tag)) co_return;
  consumer->backoff = std::clamp(2 * consumer->backoff, limits.backoff_min, limits.backoff_max);
  consumer->retry_at = connection_->loop().now() + connection_->jittered(consumer->backoff);
  if (!found) co_return;
  const Result<Reply, Failure> reply =
      co_await call_now(consume_method(*consumer), wire::BasicConsumeOk::id, answer_deadline());
  if (!reply) co_return;
  consumer->state = Consumer::State::active;
  log::info("amqp consumer recovered", {{"connection", limits.name},
                                        {"queue", consumer->options.queue},
                                        {"consumer", consumer->options.tag}});
}

void ChannelCore::rename_queue(const std::string& from, const std::string& to) {
  for (const auto& [tag, consumer] : consumers_) {
    if (consumer->options.queue == from) consumer->options.queue = to;
  }
}

}  // namespace pronto::client::detail
