#include "channel_core.hpp"

#include <algorithm>

#include "connection_core.hpp"
#include "pronto/base/log.hpp"

namespace pronto::client::detail {
namespace {

Failure broken(std::string text) {
  return {.kind = Failure::Kind::broken_peer, .text = std::move(text)};
}

Failure timed_out(std::string text) {
  return {.kind = Failure::Kind::timed_out, .text = std::move(text), .cause = Error::timed_out};
}

constexpr std::size_t body_reserve_bytes_max = 1024 * 1024;

}  // namespace

Task<> wait_until(Loop& loop, Signal& signal, SteadyTime deadline) {
  const SteadyTime now = loop.now();
  const Timer timer{loop, std::max(deadline - now, SteadyTime::duration::zero()),
                    [&signal] { signal.notify_all(); }};
  co_await signal.wait();
}

Result<wire::ShortString, Failure> short_string(std::string_view what, std::string_view text) {
  std::optional<wire::ShortString> fitting = wire::ShortString::make(text);
  if (fitting) return *std::move(fitting);
  return Failure{.kind = Failure::Kind::too_large,
                 .text = std::string{what} + " is longer than 255 bytes"};
}

Result<void, Failure> check_table(std::string_view of_what, const wire::Table& table) {
  if (wire::fits_the_wire(table)) return {};
  return Failure{.kind = Failure::Kind::too_large,
                 .text = std::string{of_what} + " nest too deep or are too many"};
}

ChannelCore::ChannelCore(std::shared_ptr<ConnectionCore> connection, std::uint16_t number,
                         ChannelOptions options, Role role)
    : connection_{std::move(connection)}, number_{number}, options_{options}, role_{role} {}

// ---- from open to open

Task<> ChannelCore::run(std::shared_ptr<ChannelCore> self) {
  ChannelCore& my = *self;
  ConnectionCore& connection = *my.connection_;
  milliseconds backoff{};
  while (!my.ended_) {
    const bool may_open =
        my.role_ == Role::management ? connection.link() != nullptr : connection.is_ready();
    if (!may_open) {
      co_await my.changed_.wait();
      continue;
    }
    if (backoff.count() > 0) {
      co_await sleep_for(connection.jittered(backoff));
      if (my.ended_ || connection.link() == nullptr) {
        backoff = {};
        continue;
      }
    }
    const SteadyTime opened_at = connection.loop().now();
    const Result<void, Failure> opened = co_await my.open_once();
    if (opened) co_await my.stay_open();
    if (!my.closed_by_broker_) {
      backoff = {};
      continue;
    }
    // A channel that had a life is opened again at once; one that dies young is given time.
    const ConnectionOptions& limits = connection.options();
    const bool had_a_life = opened && connection.loop().now() - opened_at > seconds{1};
    backoff = had_a_life ? milliseconds{}
                         : std::clamp(2 * backoff, limits.backoff_min, limits.backoff_max);
  }
}

Task<Result<void, Failure>> ChannelCore::open_once() {
  PRONTO_ASSERT(state_ == State::down);
  state_ = State::opening;
  closed_by_broker_ = false;
  is_flowing_ = true;
  ++generation_;
  const SteadyTime deadline = answer_deadline();
  Result<Reply, Failure> reply =
      co_await call_now(wire::ChannelOpen{}, wire::ChannelOpenOk::id, deadline);
  if (reply && options_.prefetch_count > 0) {
    reply = co_await call_now(wire::BasicQos{.prefetch_count = options_.prefetch_count},
                              wire::BasicQosOk::id, deadline);
  }
  if (reply && role_ == Role::user && options_.mode == PublishMode::confirmed) {
    reply = co_await call_now(wire::ConfirmSelect{}, wire::ConfirmSelectOk::id, deadline);
  }
  if (reply && role_ == Role::user && options_.mode == PublishMode::transactional) {
    reply = co_await call_now(wire::TxSelect{}, wire::TxSelectOk::id, deadline);
  }
  if (reply) {
    const Result<void, Failure> started = co_await start_consumers();
    if (!started) reply = started.error();
  }
  if (!reply) {
    if (reply.error().kind == Failure::Kind::timed_out && state_ == State::opening) {
      // Half open: nothing can be said about this channel any more, so begin anew with the link.
      if (Link* link = connection_->link()) link->stream().close();
    }
    if (state_ == State::opening) go_down();
    co_return reply.error();
  }
  if (state_ != State::opening) {
    co_return Failure{.kind = Failure::Kind::disconnected, .text = "the channel went away"};
  }
  state_ = State::open;
  if (was_open_ && role_ == Role::user) {
    ++connection_->statistics().channel_recoveries_total;
    connection_->emit(Event::Kind::channel_recovered, "channel " + std::to_string(number_));
  }
  was_open_ = true;
  send_again();
  changed_.notify_all();
  wake_next();
  co_return Result<void, Failure>{};
}

Task<> ChannelCore::stay_open() {
  while (state_ == State::open) {
    const std::shared_ptr<Consumer> lost = next_lost();
    if (!lost) {
      co_await changed_.wait();
    } else if (lost->retry_at > connection_->loop().now()) {
      co_await wait_until(connection_->loop(), changed_, lost->retry_at);
    } else {
      co_await revive(lost);
    }
  }
  while (state_ == State::closing) co_await changed_.wait();
}

void ChannelCore::go_down() {
  state_ = State::down;
  incoming_.reset();
  if (transaction_is_dirty_) transaction_is_lost_ = true;
  transaction_is_dirty_ = false;
  transaction_return_.reset();
  for (const auto& [tag, consumer] : consumers_) {
    if (consumer->state == Consumer::State::active) consumer->backoff = {};
  }
  changed_.notify_all();
}

void ChannelCore::on_link_lost(const Failure& failure, wire::MethodId method) {
  if (state_ == State::closing) {
    go_down();
    connection_->remove_channel(number_);
    return;
  }
  const bool is_ours = method != wire::MethodId{} && !calls_.empty() &&
                       calls_.front()->asked == method &&
                       failure.code != wire::ReplyCode::reply_success;
  Failure first = failure;
  if (is_ours) first.kind = Failure::Kind::refused;
  go_down();
  fail_calls(failure, first);
  settle_for_disconnect(failure);
}

void ChannelCore::on_change() {
  if (state_ == State::down) changed_.notify_all();
  wake_next();
}

void ChannelCore::end(const Failure& failure) {
  if (!ended_) ended_ = failure;
  if (state_ != State::closing) go_down();
  fail_calls(failure, failure);
  settle_all(failure);
  consumers_.clear();
  for (Signal& turn : turns_) turn.notify_all();
  changed_.notify_all();
}

void ChannelCore::abandon() {
  if (ended_) return;
  const bool must_tell = state_ == State::open || state_ == State::opening;
  if (must_tell) {
    state_ = State::closing;
    write(wire::ChannelClose{.reply_code = 200, .reply_text = "goodbye"});
  }
  end({.kind = Failure::Kind::closed, .text = "the channel is closed"});
  if (!must_tell) connection_->remove_channel(number_);
}

Task<Result<void, Failure>> ChannelCore::close(std::shared_ptr<ChannelCore> self) {
  ChannelCore& my = *self;
  const SteadyTime deadline = my.answer_deadline();
  my.abandon();
  while (my.state_ == State::closing) {
    if (my.connection_->loop().now() >= deadline) {
      co_return timed_out("the broker did not answer the close of the channel");
    }
    co_await wait_until(my.connection_->loop(), my.changed_, deadline);
  }
  co_return Result<void, Failure>{};
}

Task<Result<void, Failure>> ChannelCore::until_open(std::shared_ptr<ChannelCore> self,
                                                    SteadyTime deadline) {
  ChannelCore& my = *self;
  while (my.state_ != State::open) {
    if (my.ended_) co_return *my.ended_;
    if (my.connection_->loop().now() >= deadline) {
      co_return timed_out("the channel did not open in time");
    }
    co_await wait_until(my.connection_->loop(), my.changed_, deadline);
  }
  co_return Result<void, Failure>{};
}

// ---- questions and answers

SteadyTime ChannelCore::answer_deadline() const {
  return connection_->loop().now() + connection_->options().answer_limit;
}

void ChannelCore::write(const wire::Method& method) {
  Link* link = connection_->link();
  if (link == nullptr) return;
  wire::append_method_frame(link->outbox(), number_, method);
  link->wake_writer();
}

Task<Result<Reply, Failure>> ChannelCore::call(std::shared_ptr<ChannelCore> self,
                                               wire::Method method, wire::MethodId answer,
                                               SteadyTime deadline) {
  const Result<void, Failure> open = co_await until_open(self, deadline);
  if (!open) co_return open.error();
  co_return co_await self->call_now(std::move(method), answer, deadline);
}

Task<Result<Reply, Failure>> ChannelCore::call_now(wire::Method method, wire::MethodId answer,
                                                   SteadyTime deadline,
                                                   wire::MethodId other_answer) {
  Link* link = connection_->link();
  if (link == nullptr || (state_ != State::open && state_ != State::opening)) {
    co_return Failure{.kind = Failure::Kind::disconnected, .text = "the channel went away"};
  }
  const std::size_t before = link->outbox().size();
  write(method);
  if (link->outbox().size() - before > link->frame_bytes_max()) {
    link->outbox().resize(before);
    co_return Failure{.kind = Failure::Kind::too_large,
                      .text = std::string{wire::name_of(method)} +
                              " is larger than the connection's frames of " +
                              std::to_string(link->frame_bytes_max()) + " bytes"};
  }
  const auto call = std::make_shared<Call>();
  call->asked = wire::id_of(method);
  call->answer = answer;
  call->other_answer = other_answer;
  calls_.push_back(call);
  while (!call->outcome) {
    if (connection_->loop().now() >= deadline) {
      co_return timed_out("the broker did not answer " + std::string{wire::name_of(method)});
    }
    co_await wait_until(connection_->loop(), call->changed, deadline);
  }
  co_return *std::move(call->outcome);
}

std::optional<Failure> ChannelCore::on_answer(wire::Method method,
                                              std::optional<Delivery> delivery) {
  const wire::MethodId id = wire::id_of(method);
  if (calls_.empty() || (calls_.front()->answer != id && calls_.front()->other_answer != id)) {
    return broken("the broker sent " + std::string{wire::name_of(method)} +
                  ", which nobody asked for");
  }
  const std::shared_ptr<Call> call = calls_.front();
  calls_.pop_front();
  call->outcome.emplace(Reply{std::move(method), std::move(delivery)});
  call->changed.notify_all();
  return std::nullopt;
}

void ChannelCore::fail_calls(const Failure& failure, const Failure& first) {
  const auto failed = std::exchange(calls_, {});
  for (const std::shared_ptr<Call>& call : failed) {
    call->outcome.emplace(call == failed.front() ? first : failure);
    call->changed.notify_all();
  }
}

// ---- what the broker sends

std::optional<Failure> ChannelCore::on_method(wire::Method method) {
  if (state_ == State::closing) {
    const bool is_over = std::holds_alternative<wire::ChannelCloseOk>(method);
    if (std::holds_alternative<wire::ChannelClose>(method)) write(wire::ChannelCloseOk{});
    if (is_over) {
      go_down();
      connection_->remove_channel(number_);
    }
    return std::nullopt;
  }
  if (state_ == State::down) {
    return broken("the broker sent " + std::string{wire::name_of(method)} +
                  " on a channel that is not open");
  }
  if (incoming_ && !std::holds_alternative<wire::ChannelClose>(method)) {
    return broken("the broker sent a method where content was to follow");
  }
  if (const auto* ack = std::get_if<wire::BasicAck>(&method)) {
    return on_confirm(ack->delivery_tag, ack->multiple, true);
  }
  if (const auto* nack = std::get_if<wire::BasicNack>(&method)) {
    return on_confirm(nack->delivery_tag, nack->multiple, false);
  }
  if (wire::is_followed_by_content(method)) {
    if (std::holds_alternative<wire::BasicPublish>(method)) {
      return broken("the broker sent basic.publish");
    }
    incoming_.emplace(Incoming{.method = std::move(method)});
    return std::nullopt;
  }
  if (const auto* close = std::get_if<wire::ChannelClose>(&method)) return on_channel_close(*close);
  if (const auto* cancel = std::get_if<wire::BasicCancel>(&method)) {
    if (!cancel->no_wait) write(wire::BasicCancelOk{.consumer_tag = cancel->consumer_tag});
    const auto found = consumers_.find(cancel->consumer_tag.view());
    if (found != consumers_.end() && found->second->state == Consumer::State::active) {
      const std::shared_ptr<Consumer> consumer = found->second;
      lose_consumer(*consumer, {.kind = Failure::Kind::refused,
                                .text = "the broker cancelled the consumer of queue '" +
                                        consumer->options.queue + "'"});
    }
    return std::nullopt;
  }
  if (const auto* flow = std::get_if<wire::ChannelFlow>(&method)) {
    is_flowing_ = flow->active;
    write(wire::ChannelFlowOk{.active = flow->active});
    wake_next();
    return std::nullopt;
  }
  return on_answer(std::move(method), std::nullopt);
}

std::optional<Failure> ChannelCore::on_channel_close(const wire::ChannelClose& close) {
  write(wire::ChannelCloseOk{});
  const wire::Fault fault = wire::fault_of(close);
  const Failure failure{
      .kind = Failure::Kind::refused, .text = fault.reply_text(), .code = fault.code};
  const Failure interrupted{.kind = Failure::Kind::disconnected,
                            .text = "the broker closed the channel meanwhile: " + failure.text};
  const bool was_open = state_ == State::open;
  closed_by_broker_ = true;
  go_down();
  const bool is_answer = !calls_.empty() && (fault.method == wire::MethodId{} ||
                                             calls_.front()->asked == fault.method);
  fail_calls(interrupted, is_answer ? failure : interrupted);
  settle_for_close(fault);
  if (was_open && !is_answer && role_ == Role::user) {
    log::warning("amqp channel closed by the broker, opening it again",
                 {{"connection", connection_->options().name},
                  {"channel", number_},
                  {"consumers", consumers_.size()},
                  {"reason", failure.text}});
  }
  const auto consumers = consumers_;
  for (const auto& [tag, consumer] : consumers) {
    if (consumer->state == Consumer::State::active && consumer->options.on_lost) {
      consumer->options.on_lost(failure);
    }
  }
  return std::nullopt;
}

std::optional<Failure> ChannelCore::on_header(BytesView payload) {
  if (state_ == State::closing) return std::nullopt;
  if (!incoming_ || incoming_->has_header) return broken("the broker sent a header of nothing");
  const auto header = wire::parse_content_header(payload);
  if (!header) return broken(header.error().reply_text());
  if (header->body_bytes > connection_->options().body_bytes_max) {
    return Failure{.kind = Failure::Kind::too_large,
                   .text = "the broker sent a message of " + std::to_string(header->body_bytes) +
                           " bytes, the limit is " +
                           std::to_string(connection_->options().body_bytes_max)};
  }
  auto properties = wire::decode_properties(header->encoded_properties);
  if (!properties) return broken(properties.error().reply_text());
  incoming_->has_header = true;
  incoming_->bytes_missing = header->body_bytes;
  incoming_->delivery.properties = std::move(*properties);
  incoming_->delivery.body.reserve(
      std::min<std::size_t>(header->body_bytes, body_reserve_bytes_max));
  return incoming_->bytes_missing == 0 ? on_content_complete() : std::nullopt;
}

std::optional<Failure> ChannelCore::on_body(BytesView payload) {
  if (state_ == State::closing) return std::nullopt;
  if (!incoming_ || !incoming_->has_header) return broken("the broker sent a body of nothing");
  if (payload.size() > incoming_->bytes_missing) {
    return broken("the broker sent a body longer than its header announced");
  }
  append(incoming_->delivery.body, payload);
  incoming_->bytes_missing -= payload.size();
  return incoming_->bytes_missing == 0 ? on_content_complete() : std::nullopt;
}

std::optional<Failure> ChannelCore::on_content_complete() {
  Incoming content = *std::exchange(incoming_, std::nullopt);
  Delivery& delivery = content.delivery;
  delivery.channel_ = weak_from_this();
  delivery.generation_ = generation_;
  if (auto* deliver_method = std::get_if<wire::BasicDeliver>(&content.method)) {
    delivery.exchange = std::move(deliver_method->exchange).text();
    delivery.routing_key = std::move(deliver_method->routing_key).text();
    delivery.consumer_tag = std::move(deliver_method->consumer_tag).text();
    delivery.redelivered = deliver_method->redelivered;
    delivery.tag_ = deliver_method->delivery_tag;
    deliver(std::move(delivery));
    return std::nullopt;
  }
  if (const auto* returned = std::get_if<wire::BasicReturn>(&content.method)) {
    on_return(*returned, delivery);
    return std::nullopt;
  }
  const auto& got = std::get<wire::BasicGetOk>(content.method);
  delivery.exchange = got.exchange.text();
  delivery.routing_key = got.routing_key.text();
  delivery.redelivered = got.redelivered;
  delivery.tag_ = got.delivery_tag;
  return on_answer(std::move(content.method), std::move(delivery));
}

}  // namespace pronto::client::detail
