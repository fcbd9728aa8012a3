#include <algorithm>

#include "topology.hpp"

namespace pronto::broker {

using wire::Fault;
using wire::ReplyCode;

namespace {

std::string exchange_subject(std::string_view name, std::string_view host) {
  return fmt::format("exchange '{}' in vhost '{}'", name, host);
}

}  // namespace

Result<Exchange*, Fault> Broker::Inside::need_exchange(Channel& channel, std::string_view name) {
  VirtualHost& host = *channel.connection->host;
  const auto found = host.exchanges.find(name);
  if (found == host.exchanges.end()) {
    return Fault{ReplyCode::not_found, "no " + exchange_subject(name, host.name)};
  }
  return found->second.get();
}

Broker::Inside::Outcome Broker::Inside::may_exchange(const Channel& channel, Access access,
                                                     std::string_view name) const {
  const Connection& asking = *channel.connection;
  const std::string_view resource = name.empty() ? "amq.default" : name;
  if (permissions.is_allowed(asking.user, asking.host->name, access, resource)) return {};
  return refused(exchange_subject(resource, asking.host->name), asking.user);
}

Broker::Inside::Outcome Broker::Inside::on(Channel& channel, const wire::ExchangeDeclare& method,
                                           WallTime) {
  const std::string& name = method.exchange.text();
  if (name.empty()) return on_default_exchange();
  VirtualHost& host = *channel.connection->host;
  const auto found = host.exchanges.find(name);
  const auto ok = [&]() -> Outcome {
    if (!method.no_wait) send(channel, wire::ExchangeDeclareOk{});
    return {};
  };
  if (method.passive) {
    // Asked here, too: who may not configure it is not told whether it exists.
    const Outcome allowed = may_exchange(channel, Access::configure, name);
    if (!allowed) return allowed.error();
    const auto known = need_exchange(channel, name);
    if (!known) return known.error();
    return ok();
  }
  const auto type = parse_exchange_type(method.type.view(), method.arguments);
  if (!type) return type.error();
  const Outcome allowed = may_exchange(channel, Access::configure, name);
  if (!allowed) return allowed.error();
  if (found != host.exchanges.end()) {
    const Exchange& known = *found->second;
    const std::string subject = exchange_subject(name, host.name);
    if (known.type_name != method.type.view()) {
      return inequivalent("type", subject, method.type.view(), known.type_name);
    }
    if (known.type != type->type) {
      return inequivalent("x-delayed-type", subject, name_of(type->type), name_of(known.type));
    }
    if (known.is_durable != method.durable) {
      return inequivalent("durable", subject, text_of(method.durable), text_of(known.is_durable));
    }
    if (known.is_auto_delete != method.auto_delete) {
      return inequivalent("auto_delete", subject, text_of(method.auto_delete),
                          text_of(known.is_auto_delete));
    }
    if (known.is_internal != method.internal) {
      return inequivalent("internal", subject, text_of(method.internal),
                          text_of(known.is_internal));
    }
    const std::string alternate{method.arguments.find_string("alternate-exchange").value_or("")};
    if (alternate != known.alternate) {
      const bool are_both = !alternate.empty() && !known.alternate.empty();
      const auto shown = [are_both](const std::string& text) {
        if (text.empty()) return std::string{"none"};
        return are_both ? fmt::format("'{}'", text)
                        : fmt::format("the value '{}' of type 'longstr'", text);
      };
      return Fault{ReplyCode::precondition_failed,
                   fmt::format("inequivalent arg 'alternate-exchange' for {}: received {} but "
                               "current is {}",
                               subject, shown(alternate), shown(known.alternate))};
    }
    return ok();
  }
  if (name.starts_with("amq.")) return reserved_prefix("exchange", name);
  if (const wire::Value* value = method.arguments.find("alternate-exchange");
      value && !value->get_if<wire::LongString>()) {
    return Fault{ReplyCode::precondition_failed,
                 fmt::format("invalid type '{}' for arg 'alternate-exchange' in {}",
                             value->type_name(), exchange_subject(name, host.name))};
  }
  if (const auto alternate = method.arguments.find_string("alternate-exchange")) {
    const Outcome may_read = may_exchange(channel, Access::read, name);
    if (!may_read) return may_read.error();
    const Outcome may_write = may_exchange(channel, Access::write, *alternate);
    if (!may_write) return may_write.error();
  }
  if (host.exchanges.size() >= limits.exchanges_max) {
    return Fault{ReplyCode::precondition_failed,
                 fmt::format("cannot declare exchange '{}': limit of {} exchanges in vhost '{}' is "
                             "reached",
                             name, limits.exchanges_max, host.name)};
  }
  auto made = std::make_unique<Exchange>(name, type->type);
  made->type_name = method.type.text();
  auto deduplication = parse_deduplication(method.arguments, exchange_subject(name, host.name),
                                           type->is_deduplicating);
  if (!deduplication) return deduplication.error();
  if (*deduplication) {
    made->window.emplace(std::move(**deduplication), index_bytes);
    has_windows = true;
  }
  made->is_durable = method.durable;
  made->is_auto_delete = method.auto_delete;
  made->is_internal = method.internal;
  made->table = method.arguments;
  made->alternate = method.arguments.find_string("alternate-exchange").value_or("");
  if (type->is_delayed) make_delayed(*made, host, QueueId{last_queue_id + 1});
  if (made->is_durable) {
    record(to_record(host.name, *made));
    if (made->held) record(DelayedExchangeRecord{host.name, name, made->held->id});
  }
  host.exchanges.emplace(name, std::move(made));
  return ok();
}

Broker::Inside::Outcome Broker::Inside::on(Channel& channel, const wire::ExchangeDelete& method,
                                           WallTime) {
  if (method.exchange.empty()) return on_default_exchange();
  VirtualHost& host = *channel.connection->host;
  const auto found = host.exchanges.find(method.exchange.view());
  if (found != host.exchanges.end() && found->second->is_predeclared) {
    return Fault{ReplyCode::access_refused,
                 fmt::format("deletion of system exchange '{}' in vhost '{}' not allowed",
                             found->second->name, host.name)};
  }
  const Outcome allowed = may_exchange(channel, Access::configure, method.exchange.view());
  if (!allowed) return allowed.error();
  if (found != host.exchanges.end()) {
    Exchange& exchange = *found->second;
    if (method.if_unused && exchange.binding_count() > 0) {
      return Fault{ReplyCode::precondition_failed,
                   exchange_subject(exchange.name, host.name) + " in use"};
    }
    delete_exchange(exchange, host);
  }
  if (!method.no_wait) send(channel, wire::ExchangeDeleteOk{});
  return {};
}

void Broker::Inside::delete_exchange(Exchange& exchange, VirtualHost& host) {
  if (exchange.is_durable) record(ExchangeDeletedRecord{host.name, exchange.name});
  host.binding_count -= exchange.binding_count();
  exchange.for_each_binding([](const Binding& binding) {
    if (binding.destination.exchange) --binding.destination.exchange->incoming_count;
  });
  std::vector<std::string> sources;
  for (auto& [name, source] : host.exchanges) {
    if (source.get() == &exchange) continue;  // bound to itself: counted above
    const std::size_t gone = source->unbind_all({nullptr, &exchange});
    host.binding_count -= gone;
    if (gone > 0) sources.push_back(name);
  }
  if (exchange.held) forget_delayed(exchange);
  host.exchanges.erase(host.exchanges.find(exchange.name));
  delete_unused(sources, host);
}

void Broker::Inside::delete_unused(const std::vector<std::string>& names, VirtualHost& host) {
  for (const std::string& name : names) {
    // Deleting one may have deleted another of them.
    const auto found = host.exchanges.find(name);
    if (found != host.exchanges.end()) delete_if_unused(*found->second, host);
  }
}

void Broker::Inside::delete_if_unused(Exchange& exchange, VirtualHost& host) {
  // A replay follows the records alone: bindings of transient queues are not among them.
  if (is_recovering) return;
  if (exchange.is_auto_delete && exchange.binding_count() == 0) delete_exchange(exchange, host);
}

Result<void, Fault> check_headers_arguments(const Exchange& exchange, const wire::Table& table) {
  if (exchange.type != ExchangeType::headers) return {};
  const wire::Value* value = table.find("x-match");
  if (!value) return {};
  const auto* text = value->get_if<wire::LongString>();
  if (!text) {
    return Fault{
        ReplyCode::precondition_failed,
        fmt::format("Invalid x-match field type {}; expected longstr", value->type_name())};
  }
  if (*text == "all" || *text == "any" || *text == "all-with-x" || *text == "any-with-x") return {};
  return Fault{ReplyCode::precondition_failed,
               fmt::format("Invalid x-match field value <<\"{}\">>; expected all, any, all-with-x, "
                           "or any-with-x",
                           *text)};
}

Broker::Inside::Outcome Broker::Inside::may_bind_exchange(const Channel& channel,
                                                          std::string_view destination,
                                                          std::string_view source) const {
  const Outcome may_write = may_exchange(channel, Access::write, destination);
  if (!may_write) return may_write.error();
  if (source.empty() || destination.empty()) return on_default_exchange();
  return may_exchange(channel, Access::read, source);
}

Broker::Inside::Outcome Broker::Inside::on(Channel& channel, const wire::ExchangeBind& method,
                                           WallTime) {
  const Outcome allowed =
      may_bind_exchange(channel, method.destination.view(), method.source.view());
  if (!allowed) return allowed.error();
  const auto source = need_exchange(channel, method.source.view());
  if (!source) return source.error();
  const auto destination = need_exchange(channel, method.destination.view());
  if (!destination) return destination.error();
  const auto checked = check_headers_arguments(**source, method.arguments);
  if (!checked) return checked.error();
  VirtualHost& host = *channel.connection->host;
  Binding binding{{nullptr, *destination},
                  method.routing_key.text(),
                  method.arguments,
                  (*source)->is_durable && (*destination)->is_durable};
  const bool is_durable = binding.is_durable;
  if (host.binding_count >= limits.bindings_max && !(*source)->has(binding)) {
    return bindings_are_full(limits, host.name);
  }
  BoundRecord written = to_record(host.name, **source, binding);
  if ((*source)->bind(std::move(binding))) {
    ++(*destination)->incoming_count;
    ++host.binding_count;
    if (is_durable) record(std::move(written));
  }
  if (!method.no_wait) send(channel, wire::ExchangeBindOk{});
  return {};
}

Broker::Inside::Outcome Broker::Inside::on(Channel& channel, const wire::ExchangeUnbind& method,
                                           WallTime) {
  const Outcome allowed =
      may_bind_exchange(channel, method.destination.view(), method.source.view());
  if (!allowed) return allowed.error();
  VirtualHost& host = *channel.connection->host;
  const auto source = host.exchanges.find(method.source.view());
  const auto destination = host.exchanges.find(method.destination.view());
  if (source != host.exchanges.end() && destination != host.exchanges.end()) {
    const Destination to{nullptr, destination->second.get()};
    const auto gone = source->second->unbind(to, method.routing_key.view(), method.arguments);
    if (gone.was_there) {
      --to.exchange->incoming_count;
      --host.binding_count;
      if (gone.was_durable) {
        record(UnboundRecord{{host.name, source->second->name, to.exchange->name, false,
                              method.routing_key.text(), method.arguments}});
      }
      delete_if_unused(*source->second, host);
    }
  }
  if (!method.no_wait) send(channel, wire::ExchangeUnbindOk{});
  return {};
}

}  // namespace pronto::broker
