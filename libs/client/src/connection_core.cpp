#include "connection_core.hpp"

#include <algorithm>
#include <array>

#include "pronto/async/deadline.hpp"
#include "pronto/base/log.hpp"

namespace pronto::client::detail {
namespace {

constexpr std::uint16_t management_channel = 1;

Failure broken(std::string text) {
  return {.kind = Failure::Kind::broken_peer, .text = std::move(text)};
}

/// Whether trying again with the same address and login is of no use.
bool is_final(const Failure& failure) {
  return failure.kind == Failure::Kind::refused &&
         (failure.code == wire::ReplyCode::access_refused ||
          failure.code == wire::ReplyCode::not_allowed ||
          failure.code == wire::ReplyCode::reply_success);
}

wire::Table client_properties(const ConnectionOptions& options) {
  wire::Table properties{{"product", "Pronto"},
                         {"platform", "C++"},
                         {"connection_name", options.name},
                         {"capabilities", wire::Table{{"publisher_confirms", true},
                                                      {"exchange_exchange_bindings", true},
                                                      {"basic.nack", true},
                                                      {"consumer_cancel_notify", true},
                                                      {"connection.blocked", true},
                                                      {"authentication_failure_close", true}}}};
  for (const wire::Entry& entry : options.client_properties) {
    properties.set(entry.key, entry.value);
  }
  return properties;
}

std::string shown(const Failure& failure) {
  return std::string{name_of(failure.kind)} + ": " + failure.text;
}

}  // namespace

ConnectionCore::ConnectionCore(Loop& loop, ConnectionOptions options)
    : loop_{loop},
      options_{std::move(options)},
      unique_{loop.random().url_safe_id(9)},
      tasks_{std::in_place, loop, "amqp client " + options_.name} {}

std::string ConnectionCore::make_unique(std::string_view prefix) {
  return std::string{prefix} + "-" + unique_ + "-" + std::to_string(++last_unique_);
}

milliseconds ConnectionCore::jittered(milliseconds backoff) {
  const double part = 1.0 - loop_.random().unit() / 2;
  return milliseconds{static_cast<std::int64_t>(static_cast<double>(backoff.count()) * part)};
}

void ConnectionCore::emit(Event::Kind kind, std::string text) {
  if (options_.on_event) options_.on_event({kind, std::move(text)});
}

std::vector<std::shared_ptr<ChannelCore>> ConnectionCore::channels() const {
  std::vector<std::shared_ptr<ChannelCore>> all;
  all.reserve(channels_.size());
  for (const auto& [number, channel] : channels_) all.push_back(channel);
  return all;
}

void ConnectionCore::tell_channels() {
  for (const std::shared_ptr<ChannelCore>& channel : channels()) channel->on_change();
}

void ConnectionCore::remove_channel(std::uint16_t number) {
  channels_.erase(number);
}

// ---- the life of a connection

Task<Result<void, Failure>> ConnectionCore::open(std::shared_ptr<ConnectionCore> self,
                                                 milliseconds limit) {
  ConnectionCore& my = *self;
  PRONTO_ASSERT(my.management_ == nullptr);
  if (my.options_.addresses.empty() && !my.options_.stream_factory) {
    co_return Failure{.kind = Failure::Kind::unreachable, .text = "no address was given"};
  }
  my.management_ = std::make_shared<ChannelCore>(
      self, management_channel, ChannelOptions{.prefetch_count = 0}, ChannelCore::Role::management);
  my.channels_.emplace(management_channel, my.management_);
  my.tasks_->spawn(ChannelCore::run(my.management_));
  my.tasks_->spawn(run(self));
  const SteadyTime deadline = my.loop_.now() + limit;
  const Result<void, Failure> ready = co_await my.until_ready(deadline);
  if (ready) co_return ready;
  const Failure failure = my.last_failure_.value_or(ready.error());
  my.shut_down(failure);
  co_return failure;
}

Task<Result<void, Failure>> ConnectionCore::until_ready(SteadyTime deadline) {
  const auto self = shared_from_this();
  while (!is_ready()) {
    if (ended_) co_return *ended_;
    if (management_ == nullptr) {
      co_return Failure{.kind = Failure::Kind::closed, .text = "the connection was not opened"};
    }
    if (loop_.now() >= deadline) {
      co_return Failure{
          .kind = Failure::Kind::timed_out,
          .text = "not connected: " + (last_failure_ ? shown(*last_failure_) : "no answer yet"),
          .cause = Error::timed_out};
    }
    co_await wait_until(loop_, changed_, deadline);
  }
  co_return Result<void, Failure>{};
}

Task<> ConnectionCore::run(std::shared_ptr<ConnectionCore> self) {
  ConnectionCore& my = *self;
  constexpr seconds stable_after{5};
  milliseconds backoff = my.options_.backoff_min;
  while (!my.is_closing_ && !my.ended_) {
    Result<std::unique_ptr<Link>, Failure> link = co_await my.connect_any();
    if (link) {
      const SteadyTime connected_at = my.loop_.now();
      my.link_ = *std::move(link);
      co_await my.serve();
      if (my.loop_.now() - connected_at >= stable_after) backoff = my.options_.backoff_min;
    } else {
      my.last_failure_ = link.error();
      if (!my.was_ready_ && is_final(link.error())) co_return my.shut_down(link.error());
      log::warning("amqp broker not reached",
                   {{"connection", my.options_.name}, {"reason", shown(link.error())}});
    }
    if (my.is_closing_ || my.ended_) break;
    co_await sleep_for(my.jittered(backoff));
    backoff = std::min(2 * backoff, my.options_.backoff_max);
  }
}

Task<Result<std::unique_ptr<Link>, Failure>> ConnectionCore::connect_any() {
  std::vector<Address> addresses = options_.addresses;
  if (addresses.empty()) addresses.emplace_back();
  if (options_.stream_factory) addresses.resize(1);
  std::optional<Failure> first;
  for (const Address& address : addresses) {
    const milliseconds limit = address.connect_limit.value_or(options_.connect_limit);
    Result<Result<std::unique_ptr<Link>, Failure>> link =
        co_await with_deadline(limit, connect_to(address));
    Failure failure;
    if (!link) {
      failure = {.kind = Failure::Kind::unreachable,
                 .text = "no connection within " + std::to_string(limit.count()) + " ms",
                 .cause = link.error()};
    } else if (*link) {
      co_return std::move(**link);
    } else {
      failure = link->error();
    }
    failure.text =
        (options_.stream_factory ? "embedded broker" : address.to_string()) + ": " + failure.text;
    // A refusal tells more than an address that does not answer.
    if (!first || (is_final(failure) && !is_final(*first))) first = failure;
  }
  co_return *first;
}

Task<Result<std::unique_ptr<Link>, Failure>> ConnectionCore::connect_to(Address address) {
  Result<std::unique_ptr<Stream>> stream =
      options_.stream_factory
          ? co_await options_.stream_factory()
          : co_await loop_.network().connect(address.host, address.port, {.tls = address.tls});
  if (!stream) {
    co_return Failure{.kind = Failure::Kind::unreachable,
                      .text = stream.error().message(),
                      .cause = stream.error()};
  }
  auto link = std::make_unique<Link>(loop_, *std::move(stream),
                                     address.frame_bytes_max.value_or(options_.frame_bytes_max));
  const Result<void, Failure> greeted = co_await link->handshake(
      {.user = address.user,
       .password = address.password,
       .virtual_host = address.virtual_host,
       .client_properties = client_properties(options_),
       .heartbeat = address.heartbeat.value_or(options_.heartbeat),
       .channels_max = address.channels_max.value_or(options_.channels_max)});
  if (!greeted) co_return greeted.error();
  address_ = options_.stream_factory ? "embedded" : address.to_string();
  co_return std::move(link);
}

Task<> ConnectionCore::serve() {
  server_properties_ = link_->server_properties();
  method_at_fault_ = {};
  TaskGroup tasks{loop_, "amqp link " + options_.name};
  tasks.spawn(link_->read_loop(*this));
  tasks.spawn(link_->write_loop(*this));
  tasks.spawn(link_->heartbeat_loop(*this));
  tell_channels();
  if (was_ready_) co_await declare_topology_again();
  if (!link_->failure()) {
    is_ready_ = true;
    if (was_ready_) ++statistics_.recoveries_total;
    const bool is_first = !std::exchange(was_ready_, true);
    const bool is_news = !is_first || !options_.stream_factory;
    log::write(is_news ? log::Level::info : log::Level::debug,
               is_first ? "amqp connected" : "amqp connection recovered",
               {{"connection", options_.name},
                {"broker", address_},
                {"heartbeat_seconds", link_->heartbeat().count()},
                {"channels", channels_.size()}});
    changed_.notify_all();
    tell_channels();
    emit(is_first ? Event::Kind::connected : Event::Kind::recovered, address_);
  }
  while (!link_->failure()) co_await link_->changed().wait();
  tasks.cancel();
  co_await tasks.join();
  co_await link_->finish();
  link_.reset();
}

void ConnectionCore::on_failed(const Failure& failure) {
  const bool was_ready = std::exchange(is_ready_, false);
  blocked_since_.reset();
  last_failure_ = failure;
  if (failure.kind == Failure::Kind::broken_peer || failure.kind == Failure::Kind::too_large) {
    link_->set_last_words(wire::connection_close({failure.kind == Failure::Kind::too_large
                                                      ? wire::ReplyCode::content_too_large
                                                      : wire::ReplyCode::unexpected_frame,
                                                  failure.text}));
  }
  if (!is_closing_) {
    log::warning("amqp connection lost",
                 {{"connection", options_.name}, {"broker", address_}, {"reason", shown(failure)}});
  }
  for (const std::shared_ptr<ChannelCore>& channel : channels()) {
    channel->on_link_lost(failure, method_at_fault_);
  }
  changed_.notify_all();
  if (was_ready && !is_closing_) emit(Event::Kind::disconnected, failure.text);
}

Task<Result<void, Failure>> ConnectionCore::close(std::shared_ptr<ConnectionCore> self,
                                                  milliseconds limit) {
  ConnectionCore& my = *self;
  if (my.ended_) co_return Result<void, Failure>{};
  const SteadyTime deadline = my.loop_.now() + limit;
  my.is_closing_ = true;
  Result<void, Failure> outcome;
  if (my.is_ready()) {
    std::size_t left = 0;
    for (const std::shared_ptr<ChannelCore>& channel : my.channels()) {
      const SteadyTime now = my.loop_.now();
      const auto patience = std::chrono::ceil<milliseconds>(deadline - std::min(now, deadline));
      const Result<void, Failure> drained = co_await ChannelCore::drain(channel, patience);
      if (!drained) left += channel->unconfirmed_count();
    }
    if (left > 0) {
      outcome = Failure{.kind = Failure::Kind::timed_out,
                        .text = std::to_string(left) + " publishes were still without a confirm",
                        .cause = Error::timed_out};
    }
  }
  if (Link* link = my.link()) {
    wire::append_method_frame(link->outbox(), 0,
                              wire::ConnectionClose{.reply_code = 200, .reply_text = "goodbye"});
    link->wake_writer();
    // Even a close that comes late lets the broker know, so that it need not wait for a heartbeat.
    constexpr milliseconds patience_min{500};
    const SteadyTime until = std::max(deadline, my.loop_.now() + patience_min);
    while (my.link() != nullptr && my.loop_.now() < until) {
      co_await wait_until(my.loop_, my.changed_, until);
    }
  }
  my.shut_down({.kind = Failure::Kind::closed, .text = "the connection is closed"});
  co_await my.tasks_->join();
  my.link_.reset();
  co_return outcome;
}

void ConnectionCore::shut_down(const Failure& failure) {
  is_closing_ = true;
  if (!ended_) ended_ = failure;
  for (const std::shared_ptr<ChannelCore>& channel : channels()) channel->end(failure);
  channels_.clear();
  is_ready_ = false;
  if (link_) link_->stream().close();
  if (tasks_) tasks_->cancel();
  changed_.notify_all();
}

void ConnectionCore::drop() {
  shut_down({.kind = Failure::Kind::closed, .text = "the connection is closed"});
  tasks_.reset();
  link_.reset();
  management_.reset();
}

// ---- frames

std::optional<Failure> ConnectionCore::on_frame(const wire::FrameView& frame) {
  if (frame.type == wire::FrameType::heartbeat) return std::nullopt;
  std::optional<wire::Method> method;
  if (frame.type == wire::FrameType::method) {
    Result<wire::Method, wire::Fault> decoded = wire::decode_method(frame.payload);
    if (!decoded) return broken(decoded.error().reply_text());
    method = *std::move(decoded);
    if ((frame.channel == 0) != wire::is_connection_method(wire::id_of(*method))) {
      return broken("the broker sent " + std::string{wire::name_of(*method)} + " on channel " +
                    std::to_string(frame.channel));
    }
    if (frame.channel == 0) return on_connection_method(*method);
  }
  const auto found = channels_.find(frame.channel);
  if (found == channels_.end()) {
    return broken("the broker sent something on channel " + std::to_string(frame.channel) +
                  ", which is not open");
  }
  const std::shared_ptr<ChannelCore> channel = found->second;
  if (method) return channel->on_method(*std::move(method));
  return frame.type == wire::FrameType::header ? channel->on_header(frame.payload)
                                               : channel->on_body(frame.payload);
}

std::optional<Failure> ConnectionCore::on_connection_method(const wire::Method& method) {
  if (const auto* blocked = std::get_if<wire::ConnectionBlocked>(&method)) {
    if (!blocked_since_) blocked_since_ = loop_.now();
    log::warning("amqp publishers blocked by the broker",
                 {{"connection", options_.name}, {"reason", blocked->reason.text()}});
    emit(Event::Kind::blocked, blocked->reason.text());
    return std::nullopt;
  }
  if (std::holds_alternative<wire::ConnectionUnblocked>(method)) {
    if (!blocked_since_) return std::nullopt;
    const auto held = std::chrono::ceil<milliseconds>(loop_.now() - *blocked_since_);
    blocked_since_.reset();
    log::info("amqp publishers unblocked by the broker",
              {{"connection", options_.name}, {"after_milliseconds", held.count()}});
    emit(Event::Kind::unblocked, {});
    tell_channels();
    return std::nullopt;
  }
  if (const auto* close = std::get_if<wire::ConnectionClose>(&method)) {
    const wire::Fault fault = wire::fault_of(*close);
    method_at_fault_ = fault.method;
    link_->set_last_words(wire::ConnectionCloseOk{});
    return Failure{.kind = Failure::Kind::disconnected,
                   .text = "the broker closed the connection: " + fault.reply_text(),
                   .code = fault.code};
  }
  if (std::holds_alternative<wire::ConnectionCloseOk>(method) && is_closing_) {
    return Failure{.kind = Failure::Kind::closed, .text = "the connection is closed"};
  }
  if (std::holds_alternative<wire::ConnectionUpdateSecretOk>(method)) return std::nullopt;
  return broken("the broker sent " + std::string{wire::name_of(method)} + " unasked");
}

// ---- channels and topology

Task<Result<Channel, Failure>> ConnectionCore::open_channel(std::shared_ptr<ConnectionCore> self,
                                                            ChannelOptions options) {
  ConnectionCore& my = *self;
  const SteadyTime deadline = my.loop_.now() + my.options_.answer_limit;
  const Result<void, Failure> ready = co_await my.until_ready(deadline);
  if (!ready) co_return ready.error();
  const std::uint16_t numbers_max = my.link()->channels_max();
  std::uint16_t number = management_channel;
  while (my.channels_.contains(number)) {
    if (number == numbers_max) {
      co_return Failure{
          .kind = Failure::Kind::too_large,
          .text = "all " + std::to_string(numbers_max) + " channels of the connection are in use"};
    }
    ++number;
  }
  const auto core = std::make_shared<ChannelCore>(self, number, options, ChannelCore::Role::user);
  Channel channel{core};  // closes it again should it not open
  my.channels_.emplace(number, core);
  my.tasks_->spawn(ChannelCore::run(core));
  const Result<void, Failure> open = co_await ChannelCore::until_open(core, deadline);
  if (!open) co_return open.error();
  co_return std::move(channel);
}

Task<Result<Reply, Failure>> ConnectionCore::ask(std::shared_ptr<ConnectionCore> self,
                                                 wire::Method method, wire::MethodId answer) {
  const SteadyTime deadline = self->loop_.now() + self->options_.answer_limit;
  const Result<void, Failure> ready = co_await self->until_ready(deadline);
  if (!ready) co_return ready.error();
  co_return co_await ChannelCore::call(self->management_, std::move(method), answer, deadline);
}

/// One declaration of many: a refusal is logged and the others go on.
Task<Result<Reply, Failure>> ConnectionCore::declare_again(wire::Method method,
                                                           wire::MethodId answer,
                                                           std::string what) {
  // The broker may not have noticed yet that the connection before is gone, which owns exclusive
  // queues.
  constexpr std::array pauses{milliseconds{100}, milliseconds{400}, milliseconds{1'500},
                              milliseconds{5'000}, milliseconds{0}};
  for (const milliseconds pause : pauses) {
    Result<Reply, Failure> reply = co_await ChannelCore::call(management_, method, answer,
                                                              loop_.now() + options_.answer_limit);
    if (reply) co_return reply;
    const bool may_free_itself = reply.error().code == wire::ReplyCode::resource_locked;
    if (!may_free_itself || pause.count() == 0) {
      if (reply.error().kind != Failure::Kind::disconnected) {
        log::error(
            "amqp topology not recovered",
            {{"connection", options_.name}, {"what", what}, {"reason", shown(reply.error())}});
      }
      co_return reply;
    }
    co_await sleep_for(pause);
  }
  PRONTO_ASSERT(false);
}

Task<> ConnectionCore::declare_topology_again() {
  // Copies: a declare by somebody else may change the record meanwhile.
  const auto exchanges = topology_.exchanges();
  for (const Exchange& exchange : exchanges) {
    (void)co_await declare_again(declare_method(exchange), wire::ExchangeDeclareOk::id,
                                 "exchange " + exchange.name);
    if (link_->failure()) co_return;
  }
  const auto queues = topology_.queues();
  for (const TopologyRecord::RecordedQueue& recorded : queues) {
    Queue queue = recorded.queue;
    if (recorded.is_named_by_broker) queue.name.clear();
    const Result<Reply, Failure> reply = co_await declare_again(
        declare_method(queue), wire::QueueDeclareOk::id, "queue " + recorded.queue.name);
    if (link_->failure()) co_return;
    if (!reply || !recorded.is_named_by_broker) continue;
    const std::string& name = std::get<wire::QueueDeclareOk>(reply->method).queue.text();
    topology_.rename_queue(recorded.queue.name, name);
    for (const auto& channel : channels()) channel->rename_queue(recorded.queue.name, name);
  }
  const auto exchange_bindings = topology_.exchange_bindings();
  for (const Binding& binding : exchange_bindings) {
    (void)co_await declare_again(wire::ExchangeBind{.destination = binding.destination,
                                                    .source = binding.source,
                                                    .routing_key = binding.routing_key,
                                                    .arguments = binding.arguments},
                                 wire::ExchangeBindOk::id,
                                 "binding of exchange " + binding.destination);
    if (link_->failure()) co_return;
  }
  const auto queue_bindings = topology_.queue_bindings();
  for (const Binding& binding : queue_bindings) {
    (void)co_await declare_again(wire::QueueBind{.queue = binding.destination,
                                                 .exchange = binding.source,
                                                 .routing_key = binding.routing_key,
                                                 .arguments = binding.arguments},
                                 wire::QueueBindOk::id, "binding of queue " + binding.destination);
    if (link_->failure()) co_return;
  }
}

}  // namespace pronto::client::detail
