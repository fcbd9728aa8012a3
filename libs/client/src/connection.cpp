#include "pronto/client/connection.hpp"

#include "connection_core.hpp"

namespace pronto::client {

using detail::check_table;
using detail::ConnectionCore;
using detail::Reply;
using detail::short_string;

wire::ExchangeDeclare detail::declare_method(const Exchange& exchange) {
  return {.exchange = exchange.name,
          .type = exchange.type,
          .durable = exchange.durable,
          .auto_delete = exchange.auto_delete,
          .internal = exchange.internal,
          .arguments = exchange.arguments};
}

wire::QueueDeclare detail::declare_method(const Queue& queue) {
  return {.queue = queue.name,
          .durable = queue.durable,
          .exclusive = queue.exclusive,
          .auto_delete = queue.auto_delete,
          .arguments = queue.arguments};
}

namespace {

using Core = std::shared_ptr<ConnectionCore>;

/// All that may be too long or too deep, before anything is built from it.
Result<void, Failure> check_names(
    std::initializer_list<std::pair<const char*, std::string_view>> names,
    const wire::Table* arguments = nullptr) {
  for (const auto& [what, name] : names) {
    const Result<wire::ShortString, Failure> checked = short_string(what, name);
    if (!checked) return checked.error();
  }
  return arguments ? check_table("the arguments", *arguments) : Result<void, Failure>{};
}

Result<void, Failure> check(const Binding& binding) {
  return check_names({{"the source", binding.source},
                      {"the destination", binding.destination},
                      {"the routing key", binding.routing_key}},
                     &binding.arguments);
}

Task<Result<void, Failure>> declare(Core core, Exchange exchange) {
  const Result<void, Failure> sound =
      check_names({{"the exchange's name", exchange.name}, {"the exchange's type", exchange.type}},
                  &exchange.arguments);
  if (!sound) co_return sound.error();
  const Result<Reply, Failure> reply = co_await ConnectionCore::ask(
      core, detail::declare_method(exchange), wire::ExchangeDeclareOk::id);
  if (!reply) co_return reply.error();
  core->topology().add(std::move(exchange));
  co_return Result<void, Failure>{};
}

Task<Result<QueueInfo, Failure>> declare(Core core, Queue queue) {
  const Result<void, Failure> sound =
      check_names({{"the queue's name", queue.name}}, &queue.arguments);
  if (!sound) co_return sound.error();
  const Result<Reply, Failure> reply =
      co_await ConnectionCore::ask(core, detail::declare_method(queue), wire::QueueDeclareOk::id);
  if (!reply) co_return reply.error();
  const auto& ok = std::get<wire::QueueDeclareOk>(reply->method);
  const bool is_named_by_broker = queue.name.empty();
  queue.name = ok.queue.text();
  core->topology().add(std::move(queue), is_named_by_broker);
  co_return QueueInfo{ok.queue.text(), ok.message_count, ok.consumer_count};
}

Task<Result<void, Failure>> remove_exchange(Core core, std::string name) {
  const Result<void, Failure> sound = check_names({{"the exchange's name", name}});
  if (!sound) co_return sound.error();
  const Result<Reply, Failure> reply = co_await ConnectionCore::ask(
      core, wire::ExchangeDelete{.exchange = name}, wire::ExchangeDeleteOk::id);
  if (!reply) co_return reply.error();
  core->topology().remove_exchange(name);
  co_return Result<void, Failure>{};
}

Task<Result<std::uint32_t, Failure>> remove_queue(Core core, std::string name,
                                                  Connection::DeleteQueueOptions options) {
  const Result<void, Failure> sound = check_names({{"the queue's name", name}});
  if (!sound) co_return sound.error();
  const Result<Reply, Failure> reply = co_await ConnectionCore::ask(
      core,
      wire::QueueDelete{
          .queue = name, .if_unused = options.if_unused, .if_empty = options.if_empty},
      wire::QueueDeleteOk::id);
  if (!reply) co_return reply.error();
  core->topology().remove_queue(name);
  co_return std::get<wire::QueueDeleteOk>(reply->method).message_count;
}

Task<Result<std::uint32_t, Failure>> purge(Core core, std::string name) {
  const Result<void, Failure> sound = check_names({{"the queue's name", name}});
  if (!sound) co_return sound.error();
  const Result<Reply, Failure> reply =
      co_await ConnectionCore::ask(core, wire::QueuePurge{.queue = name}, wire::QueuePurgeOk::id);
  if (!reply) co_return reply.error();
  co_return std::get<wire::QueuePurgeOk>(reply->method).message_count;
}

enum class Change { add, remove };

Task<Result<void, Failure>> change_queue_binding(Core core, Binding binding, Change change) {
  const Result<void, Failure> sound = check(binding);
  if (!sound) co_return sound.error();
  wire::Method method = wire::QueueUnbind{.queue = binding.destination,
                                          .exchange = binding.source,
                                          .routing_key = binding.routing_key,
                                          .arguments = binding.arguments};
  if (change == Change::add) {
    method = wire::QueueBind{.queue = binding.destination,
                             .exchange = binding.source,
                             .routing_key = binding.routing_key,
                             .arguments = binding.arguments};
  }
  const Result<Reply, Failure> reply = co_await ConnectionCore::ask(
      core, std::move(method),
      change == Change::add ? wire::QueueBindOk::id : wire::QueueUnbindOk::id);
  if (!reply) co_return reply.error();
  if (change == Change::add) {
    core->topology().add_queue_binding(std::move(binding));
  } else {
    core->topology().remove_queue_binding(binding);
  }
  co_return Result<void, Failure>{};
}

Task<Result<void, Failure>> change_exchange_binding(Core core, Binding binding, Change change) {
  const Result<void, Failure> sound = check(binding);
  if (!sound) co_return sound.error();
  wire::Method method = wire::ExchangeUnbind{.destination = binding.destination,
                                             .source = binding.source,
                                             .routing_key = binding.routing_key,
                                             .arguments = binding.arguments};
  if (change == Change::add) {
    method = wire::ExchangeBind{.destination = binding.destination,
                                .source = binding.source,
                                .routing_key = binding.routing_key,
                                .arguments = binding.arguments};
  }
  const Result<Reply, Failure> reply = co_await ConnectionCore::ask(
      core, std::move(method),
      change == Change::add ? wire::ExchangeBindOk::id : wire::ExchangeUnbindOk::id);
  if (!reply) co_return reply.error();
  if (change == Change::add) {
    core->topology().add_exchange_binding(std::move(binding));
  } else {
    core->topology().remove_exchange_binding(binding);
  }
  co_return Result<void, Failure>{};
}

Task<Result<QueueInfo, Failure>> look_up_queue(Core core, std::string name) {
  const Result<void, Failure> sound = check_names({{"the queue's name", name}});
  if (!sound) co_return sound.error();
  const Result<Reply, Failure> reply = co_await ConnectionCore::ask(
      core, wire::QueueDeclare{.queue = name, .passive = true}, wire::QueueDeclareOk::id);
  if (!reply) co_return reply.error();
  const auto& ok = std::get<wire::QueueDeclareOk>(reply->method);
  co_return QueueInfo{ok.queue.text(), ok.message_count, ok.consumer_count};
}

Task<Result<void, Failure>> look_up_exchange(Core core, std::string name) {
  const Result<void, Failure> sound = check_names({{"the exchange's name", name}});
  if (!sound) co_return sound.error();
  const Result<Reply, Failure> reply = co_await ConnectionCore::ask(
      core, wire::ExchangeDeclare{.exchange = name, .passive = true}, wire::ExchangeDeclareOk::id);
  if (!reply) co_return reply.error();
  co_return Result<void, Failure>{};
}

}  // namespace

Connection::Connection(Loop& loop, ConnectionOptions options)
    : core_{std::make_shared<ConnectionCore>(loop, std::move(options))} {}

Connection::~Connection() {
  core_->drop();
}

Task<Result<void, Failure>> Connection::open(milliseconds limit) {
  return ConnectionCore::open(core_, limit);
}
Task<Result<void, Failure>> Connection::close(milliseconds limit) {
  return ConnectionCore::close(core_, limit);
}
Task<Result<Channel, Failure>> Connection::open_channel(ChannelOptions options) {
  return ConnectionCore::open_channel(core_, options);
}

Task<Result<void, Failure>> Connection::declare_exchange(Exchange exchange) {
  return declare(core_, std::move(exchange));
}
Task<Result<void, Failure>> Connection::delete_exchange(std::string name) {
  return remove_exchange(core_, std::move(name));
}
Task<Result<QueueInfo, Failure>> Connection::declare_queue(Queue queue) {
  return declare(core_, std::move(queue));
}
Task<Result<std::uint32_t, Failure>> Connection::delete_queue(std::string name,
                                                              DeleteQueueOptions options) {
  return remove_queue(core_, std::move(name), options);
}
Task<Result<std::uint32_t, Failure>> Connection::purge_queue(std::string name) {
  return purge(core_, std::move(name));
}
Task<Result<void, Failure>> Connection::bind_queue(Binding binding) {
  return change_queue_binding(core_, std::move(binding), Change::add);
}
Task<Result<void, Failure>> Connection::unbind_queue(Binding binding) {
  return change_queue_binding(core_, std::move(binding), Change::remove);
}
Task<Result<void, Failure>> Connection::bind_exchange(Binding binding) {
  return change_exchange_binding(core_, std::move(binding), Change::add);
}
Task<Result<void, Failure>> Connection::unbind_exchange(Binding binding) {
  return change_exchange_binding(core_, std::move(binding), Change::remove);
}
Task<Result<QueueInfo, Failure>> Connection::find_queue(std::string name) {
  return look_up_queue(core_, std::move(name));
}
Task<Result<void, Failure>> Connection::find_exchange(std::string name) {
  return look_up_exchange(core_, std::move(name));
}

bool Connection::is_connected() const noexcept {
  return core_->is_ready();
}
bool Connection::is_blocked() const noexcept {
  return core_->is_blocked();
}
const wire::Table& Connection::server_properties() const noexcept {
  return core_->server_properties();
}
Statistics Connection::statistics() const noexcept {
  return core_->statistics();
}
Loop& Connection::loop() const noexcept {
  return core_->loop();
}

}  // namespace pronto::client
