#include <algorithm>

#include "topology.hpp"

namespace pronto::broker {

using wire::Fault;
using wire::ReplyCode;

namespace {

constexpr std::string_view reply_queue = "amq.rabbitmq.reply-to";

std::string queue_subject(std::string_view name, std::string_view host) {
  return fmt::format("queue '{}' in vhost '{}'", name, host);
}

Fault locked(const std::string& subject) {
  return Fault{ReplyCode::resource_locked,
               fmt::format("cannot obtain exclusive access to locked {}. It could be originally "
                           "declared on another connection or the exclusive property value does "
                           "not match that of the original declaration.",
                           subject)};
}

}  // namespace

/// An empty name means the queue that the channel declared last.
Result<std::string, Fault> Broker::Inside::queue_name(const Channel& channel,
                                                      std::string_view name) const {
  if (!name.empty()) return std::string{name};
  if (channel.last_queue.empty()) {
    return Fault{ReplyCode::not_found, "no previously declared queue"};
  }
  return channel.last_queue;
}

Result<Queue*, Fault> Broker::Inside::need_queue(Channel& channel, std::string_view name) {
  VirtualHost& host = *channel.connection->host;
  const auto known = queue_name(channel, name);
  if (!known) return known.error();
  const auto found = host.queues.find(*known);
  if (found == host.queues.end()) {
    return Fault{ReplyCode::not_found, "no " + queue_subject(*known, host.name)};
  }
  return found->second.get();
}

Result<Queue*, Fault> Broker::Inside::need_queue_for(Channel& channel, Access access,
                                                     std::string_view name) {
  const auto known = queue_name(channel, name);
  if (!known) return known.error();
  const Outcome allowed = may_queue(channel, access, *known);
  if (!allowed) return allowed.error();
  return need_queue(channel, *known);
}

Broker::Inside::Outcome Broker::Inside::may_queue(const Channel& channel, Access access,
                                                  std::string_view name) const {
  const Connection& asking = *channel.connection;
  if (permissions.is_allowed(asking.user, asking.host->name, access, name)) return {};
  return refused(queue_subject(name, asking.host->name), asking.user);
}

Broker::Inside::Outcome Broker::Inside::check_exclusive(const Channel& channel,
                                                        const Queue& queue) const {
  if (!queue.owner || *queue.owner == channel.connection->id) return {};
  return locked(queue.subject());
}

Broker::Inside::Outcome Broker::Inside::may_bind_queue(const Channel& channel,
                                                       std::string_view queue,
                                                       std::string_view exchange) const {
  const Outcome may_write = may_queue(channel, Access::write, queue);
  if (!may_write) return may_write.error();
  if (exchange.empty()) return on_default_exchange();
  return may_exchange(channel, Access::read, exchange);
}

Broker::Inside::Outcome Broker::Inside::on(Channel& channel, const wire::QueueDeclare& method,
                                           WallTime now) {
  VirtualHost& host = *channel.connection->host;
  std::string name = method.queue.text();
  const auto ok = [&](std::size_t messages, std::size_t consumers) -> Outcome {
    channel.last_queue = name;
    if (!method.no_wait) {
      send(channel, wire::QueueDeclareOk{name, static_cast<std::uint32_t>(messages),
                                         static_cast<std::uint32_t>(consumers)});
    }
    return {};
  };
  if (name == reply_queue) return ok(0, 1);
  if (name.starts_with(std::string{reply_queue} + '.')) {
    if (!reply_channels.contains(name)) {
      return Fault{ReplyCode::not_found, "no " + queue_subject(name, host.name)};
    }
    return ok(0, 1);
  }
  if (method.passive) {
    if (name.empty()) return Fault{ReplyCode::not_found, "no " + queue_subject(name, host.name)};
    const auto known = need_queue_for(channel, Access::configure, name);
    if (!known) return known.error();
    const Outcome allowed = check_exclusive(channel, **known);
    if (!allowed) return allowed.error();
    name = (*known)->name;
    (*known)->unused_since = millis_of(now);
    return ok((*known)->entries.ready_count(), (*known)->consumers.size());
  }
  if (name.empty()) {
    do {
      name = "amq.gen-" + random.url_safe_id(16);
    } while (host.queues.contains(name));
  } else if (name.starts_with("amq.")) {
    return reserved_prefix("queue", name);
  }
  const Outcome may_configure = may_queue(channel, Access::configure, name);
  if (!may_configure) return may_configure.error();
  // An exclusive queue ends with its connection, so with the process: there is nothing to write.
  const bool is_durable = method.durable && !method.exclusive;
  const std::string subject = queue_subject(name, host.name);
  const auto found = host.queues.find(name);
  if (found != host.queues.end()) {
    Queue& known = *found->second;
    const Outcome allowed = check_exclusive(channel, known);
    if (!allowed) return allowed.error();
    if (known.owner.has_value() != method.exclusive) return locked(subject);
    if (known.is_durable != is_durable) {
      return inequivalent("durable", subject, text_of(is_durable), text_of(known.is_durable));
    }
    if (known.is_auto_delete != method.auto_delete) {
      return inequivalent("auto_delete", subject, text_of(method.auto_delete),
                          text_of(known.is_auto_delete));
    }
    const auto same = check_equivalent(method.arguments, known.table, subject);
    if (!same) return same.error();
    known.unused_since = millis_of(now);
    return ok(known.entries.ready_count(), known.consumers.size());
  }
  auto arguments = parse_queue_arguments(method.arguments, subject);
  if (!arguments) return arguments.error();
  const auto& letter_key = arguments->dead_letter_routing_key;
  if (letter_key && letter_key->size() > wire::ShortString::bytes_max) {
    return Fault{
        ReplyCode::precondition_failed,
        fmt::format("invalid arg 'x-dead-letter-routing-key' for {}: {{value_too_long,{}}}",
                    subject, letter_key->size())};
  }
  if (arguments->dead_letter_exchange) {
    const Outcome may_read = may_queue(channel, Access::read, name);
    if (!may_read) return may_read.error();
    const Outcome may_write =
        may_exchange(channel, Access::write, *arguments->dead_letter_exchange);
    if (!may_write) return may_write.error();
  }
  if (arguments->is_quorum) {
    const auto wrong = [&](std::string_view property) {
      return Fault{ReplyCode::precondition_failed,
                   fmt::format("invalid property '{}' for {}", property, subject)};
    };
    if (method.auto_delete) return wrong("auto-delete");
    if (method.exclusive) return wrong("exclusive-owner");
    if (!is_durable) return wrong("non-durable");
  }
  if (host.queues.size() >= limits.queues_max) {
    return Fault{ReplyCode::precondition_failed,
                 fmt::format("cannot declare queue '{}': queue limit in vhost '{}' ({}) is reached",
                             name, host.name, limits.queues_max)};
  }
  auto made = std::make_unique<Queue>(QueueId{++last_queue_id}, host.name, name,
                                      std::move(*arguments), method.arguments, paging());
  made->is_durable = is_durable;
  made->is_auto_delete = method.auto_delete;
  if (method.exclusive) made->owner = channel.connection->id;
  made->unused_since = millis_of(now);
  if (made->is_journaled()) {
    record(to_record(*made));
  }
  if (made->window) has_windows = true;
  queues_by_id.emplace(static_cast<std::uint64_t>(made->id), made.get());
  watch(*made);
  host.queues_by_name.emplace(made->name, made.get());
  host.queues.emplace(name, std::move(made));
  return ok(0, 0);
}

Broker::Inside::Outcome Broker::Inside::on(Channel& channel, const wire::QueueBind& method,
                                           WallTime now) {
  const auto name = queue_name(channel, method.queue.view());
  if (!name) return name.error();
  const Outcome may = may_bind_queue(channel, *name, method.exchange.view());
  if (!may) return may.error();
  const auto exchange = need_exchange(channel, method.exchange.view());
  if (!exchange) return exchange.error();
  const auto queue = need_queue(channel, *name);
  if (!queue) return queue.error();
  const Outcome allowed = check_exclusive(channel, **queue);
  if (!allowed) return allowed.error();
  const auto checked = check_headers_arguments(**exchange, method.arguments);
  if (!checked) return checked.error();
  VirtualHost& host = *channel.connection->host;
  const bool means_queue = method.queue.empty() && method.routing_key.empty();
  Binding binding{{*queue, nullptr},
                  means_queue ? (*queue)->name : method.routing_key.text(),
                  method.arguments,
                  (*queue)->is_journaled() && (*exchange)->is_durable};
  const bool is_durable = binding.is_durable;
  if (host.binding_count >= limits.bindings_max && !(*exchange)->has(binding)) {
    return bindings_are_full(limits, host.name);
  }
  BoundRecord written = to_record(host.name, **exchange, binding);
  if ((*exchange)->bind(std::move(binding))) {
    ++host.binding_count;
    if (is_durable) record(std::move(written));
  }
  (*queue)->unused_since = millis_of(now);
  if (!method.no_wait) send(channel, wire::QueueBindOk{});
  return {};
}

Broker::Inside::Outcome Broker::Inside::on(Channel& channel, const wire::QueueUnbind& method,
                                           WallTime) {
  const auto name = queue_name(channel, method.queue.view());
  if (!name) return name.error();
  const Outcome may = may_bind_queue(channel, *name, method.exchange.view());
  if (!may) return may.error();
  VirtualHost& host = *channel.connection->host;
  const bool means_queue = method.queue.empty() && method.routing_key.empty();
  const std::string key = means_queue ? *name : method.routing_key.text();
  const auto exchange = host.exchanges.find(method.exchange.view());
  const auto queue = host.queues.find(*name);
  if (exchange != host.exchanges.end() && queue != host.queues.end()) {
    const Outcome allowed = check_exclusive(channel, *queue->second);
    if (!allowed) return allowed.error();
    const Destination to{queue->second.get(), nullptr};
    const auto gone = exchange->second->unbind(to, key, method.arguments);
    if (gone.was_there) {
      --host.binding_count;
      if (gone.was_durable) {
        record(UnboundRecord{
            {host.name, exchange->second->name, to.queue->name, true, key, method.arguments}});
      }
      delete_if_unused(*exchange->second, host);
    }
  }
  send(channel, wire::QueueUnbindOk{});
  return {};
}

Broker::Inside::Outcome Broker::Inside::on(Channel& channel, const wire::QueuePurge& method,
                                           WallTime) {
  const auto found = need_queue_for(channel, Access::read, method.queue.view());
  if (!found) return found.error();
  Queue& queue = **found;
  const Outcome allowed = check_exclusive(channel, queue);
  if (!allowed) return allowed.error();
  const std::size_t count = queue.entries.ready_count();
  std::vector<std::uint64_t> kept;
  bool was_journaled = queue.entries.written_out_count() > 0 || queue.entries.has_lost();
  drop_pages(queue, 0, queue.last_sequence);
  queue.entries.remove_if([&](const Entry& entry, bool is_out) {
    if (is_out) {
      kept.push_back(entry.sequence);
      return false;
    }
    was_journaled = was_journaled || entry.is_journaled;
    release(queue, entry);
    return true;
  });
  if (was_journaled) record_removed_but(queue, std::move(kept));
  for (const EntryId id : std::exchange(queue.set_aside, {})) drop(queue, *queue.entries.find(id));
  if (!method.no_wait) {
    send(channel, wire::QueuePurgeOk{static_cast<std::uint32_t>(count)});
  }
  return {};
}

Broker::Inside::Outcome Broker::Inside::on(Channel& channel, const wire::QueueDelete& method,
                                           WallTime now) {
  VirtualHost& host = *channel.connection->host;
  const auto name = queue_name(channel, method.queue.view());
  if (!name) return name.error();
  const Outcome may_configure = may_queue(channel, Access::configure, *name);
  if (!may_configure) return may_configure.error();
  // Before the cancels of its own consumers: whoever deletes awaits this.
  const auto ok = [&](std::size_t count) {
    if (!method.no_wait) send(channel, wire::QueueDeleteOk{static_cast<std::uint32_t>(count)});
  };
  const auto found = host.queues.find(*name);
  if (found == host.queues.end()) {
    ok(0);
    return {};
  }
  Queue& queue = *found->second;
  const Outcome allowed = check_exclusive(channel, queue);
  if (!allowed) return allowed.error();
  if (method.if_unused && !queue.consumers.empty()) {
    return Fault{ReplyCode::precondition_failed, queue.subject() + " in use"};
  }
  if (method.if_empty && queue.entries.ready_count() > 0) {
    return Fault{ReplyCode::precondition_failed, queue.subject() + " not empty"};
  }
  ok(queue.entries.ready_count());
  delete_queue(queue, now);
  return {};
}

void Broker::Inside::delete_queue(Queue& queue, WallTime) {
  VirtualHost& host = virtual_host(queue.virtual_host);
  if (queue.is_journaled()) record(QueueDeletedRecord{queue.id});
  drop_pages(queue, 0, queue.last_sequence);
  queue.entries.remove_if([this, &queue](const Entry& entry, bool) {
    release(queue, entry);
    return true;
  });
  std::erase_if(new_entries, [&queue](const NewEntry& entry) { return entry.queue == &queue; });
  // Deliveries in hand lose their queue: their answers are taken and change nothing.
  for (auto& [id, connection] : connections) {
    for (auto& [number, channel] : connection->channels) {
      const auto forget = [&](Unacked& unacked) {
        if (unacked.queue == &queue) unacked.queue = nullptr;
      };
      for (Unacked& unacked : channel->unacked) forget(unacked);
      for (HeldAnswer& held : channel->held_answers) forget(held.unacked);
    }
  }
  for (auto& [ticket, job] : dead_letters) {
    if (job.queue == &queue) job.queue = nullptr;
  }
  for (Consumer* consumer : std::vector<Consumer*>(queue.consumers)) {
    send(*consumer->channel, wire::BasicCancel{consumer->tag, true});
    forget(*consumer);
  }
  queue.consumers.clear();
  std::vector<std::string> sources;
  for (auto& [name, exchange] : host.exchanges) {
    const std::size_t gone = exchange->unbind_all({&queue, nullptr});
    host.binding_count -= gone;
    if (gone > 0) sources.push_back(name);
  }
  delete_unused(sources, host);
  std::erase(touched, &queue);
  queues_by_id.erase(static_cast<std::uint64_t>(queue.id));
  if (queue.due_at) dues.erase({*queue.due_at, &queue});
  host.queues_by_name.erase(queue.name);
  host.queues.erase(host.queues.find(queue.name));
}

}  // namespace pronto::broker
