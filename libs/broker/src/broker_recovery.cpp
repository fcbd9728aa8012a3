#include <algorithm>
#include <utility>

#include "inside.hpp"

namespace pronto::broker {

namespace {

constexpr std::size_t bodies_of_a_unit_max = 1'000'000;

}  // namespace

Result<void> Broker::on_record(RecordType type, BodyPosition position, BytesView payload) {
  Inside& inside = *inside_;
  inside.is_recovering = true;
  auto decoded = decode_record(type, payload);
  if (!decoded) {
    // What refers to it must not find another in its place.
    if (type == RecordType::body) inside.recovered_bodies.emplace_back();
    return decoded.error();
  }
  const auto find_queue = [&](QueueId id) -> Queue* {
    const auto found = inside.queues_by_id.find(static_cast<std::uint64_t>(id));
    return found == inside.queues_by_id.end() ? nullptr : found->second;
  };
  const auto drop = [&](const Entry& entry) {
    if (--entry.message->holders > 0) return;
    inside.recovered_messages.erase(static_cast<std::uint64_t>(entry.message->body.position));
    inside.effects.release(entry.message->body);
    delete entry.message;
  };
  // While the journal is read every entry is looked for in all levels of its queue.
  const auto take = [](Queue& queue, std::uint64_t sequence) -> std::optional<Entry> {
    for (int priority = queue.arguments.priority_max; priority >= 0; --priority) {
      if (auto entry = queue.take(static_cast<std::uint8_t>(priority), sequence)) return entry;
    }
    return std::nullopt;
  };

  if (const auto* body = std::get_if<BodyRecord>(&*decoded)) {
    inside.recovered_bodies.push_back(
        BodyRef{position, static_cast<std::uint32_t>(body->content->body.size())});
    if (inside.recovered_bodies.size() > bodies_of_a_unit_max) {
      inside.recovered_bodies.erase(inside.recovered_bodies.begin(),
                                    inside.recovered_bodies.end() - bodies_of_a_unit_max / 2);
    }
    return {};
  }
  if (const auto* enqueue = std::get_if<EnqueueRecord>(&*decoded)) {
    Queue* queue = find_queue(enqueue->queue);
    if (!queue || enqueue->bodies_back >= inside.recovered_bodies.size()) return Error::damaged;
    const std::optional<BodyRef> body =
        inside.recovered_bodies[inside.recovered_bodies.size() - 1 - enqueue->bodies_back];
    if (!body) return Error::damaged;
    const BodyRef ref = *body;
    Message*& message = inside.recovered_messages[static_cast<std::uint64_t>(ref.position)];
    if (!message) {
      message = new Message;
      message->body = ref;
      message->durable_at = JournalSequence{1};  // on stable storage, since it was read from there
    }
    ++message->holders;
    Entry entry;
    entry.sequence = enqueue->sequence;
    entry.message = message;
    entry.expires_at = enqueue->expires_at;
    entry.priority = enqueue->priority;
    entry.redelivered = true;  // it may have been with a consumer when the process ended
    queue->put(entry);
    queue->last_sequence = std::max(queue->last_sequence, enqueue->sequence);
    return {};
  }
  if (const auto* remove = std::get_if<RemoveRecord>(&*decoded)) {
    Queue* queue = find_queue(remove->queue);
    if (!queue) return {};  // deleted since
    const std::uint64_t last = std::min(remove->last, queue->last_sequence);
    for (std::uint64_t sequence = remove->first; sequence <= last; ++sequence) {
      if (const auto entry = take(*queue, sequence)) drop(*entry);
    }
    return {};
  }
  if (const auto* count = std::get_if<DeliveryCountRecord>(&*decoded)) {
    Queue* queue = find_queue(count->queue);
    if (!queue) return {};
    if (auto entry = take(*queue, count->sequence)) {
      entry->delivery_count = count->count;
      queue->put(*entry);
    }
    return {};
  }
  if (auto* declared = std::get_if<QueueDeclaredRecord>(&*decoded)) {
    const auto arguments = parse_queue_arguments(declared->arguments, declared->name);
    if (!arguments) return Error::damaged;
    VirtualHost& host = inside.virtual_host(declared->virtual_host);
    if (host.queues.contains(declared->name)) return Error::damaged;
    auto queue = std::make_unique<Queue>(declared->queue, host.name, declared->name, *arguments,
                                         std::move(declared->arguments));
    queue->is_durable = true;
    queue->is_auto_delete = declared->is_auto_delete;
    inside.last_queue_id =
        std::max(inside.last_queue_id, static_cast<std::uint64_t>(declared->queue));
    inside.queues_by_id.emplace(static_cast<std::uint64_t>(declared->queue), queue.get());
    host.queues.emplace(declared->name, std::move(queue));
    return {};
  }
  if (const auto* deleted = std::get_if<QueueDeletedRecord>(&*decoded)) {
    Queue* queue = find_queue(deleted->queue);
    if (!queue) return Error::damaged;
    for (const Entry& entry : queue->take_all()) drop(entry);
    inside.delete_queue(*queue, {});
    inside.records.clear();
    return {};
  }
  if (const auto* purged = std::get_if<QueuePurgedRecord>(&*decoded)) {
    Queue* queue = find_queue(purged->queue);
    if (!queue) return {};
    for (const Entry& entry : queue->take_all()) {
      if (entry.sequence >= purged->below ||
          std::ranges::find(purged->kept, entry.sequence) != purged->kept.end()) {
        queue->put(entry);
      } else {
        drop(entry);
      }
    }
    return {};
  }
  if (auto* exchange = std::get_if<ExchangeDeclaredRecord>(&*decoded)) {
    const auto exchange_type = parse_exchange_type(exchange->type);
    if (!exchange_type) return Error::damaged;
    VirtualHost& host = inside.virtual_host(exchange->virtual_host);
    auto made = std::make_unique<Exchange>(exchange->name, *exchange_type);
    made->is_durable = true;
    made->is_auto_delete = exchange->is_auto_delete;
    made->is_internal = exchange->is_internal;
    made->table = std::move(exchange->arguments);
    made->alternate = made->table.find_string("alternate-exchange").value_or("");
    host.exchanges.emplace(exchange->name, std::move(made));
    return {};
  }
  if (const auto* deleted = std::get_if<ExchangeDeletedRecord>(&*decoded)) {
    VirtualHost& host = inside.virtual_host(deleted->virtual_host);
    const auto found = host.exchanges.find(deleted->name);
    if (found == host.exchanges.end()) return {};
    inside.delete_exchange(*found->second, host);
    inside.records.clear();
    return {};
  }
  const auto* bound = std::get_if<BoundRecord>(&*decoded);
  const auto* unbound = std::get_if<UnboundRecord>(&*decoded);
  const BoundRecord& binding = bound ? *bound : unbound->binding;
  VirtualHost& host = inside.virtual_host(binding.virtual_host);
  const auto source = host.exchanges.find(binding.source);
  Destination destination;
  if (binding.to_queue) {
    const auto queue = host.queues.find(binding.destination);
    if (queue != host.queues.end()) destination.queue = queue->second.get();
  } else {
    const auto exchange = host.exchanges.find(binding.destination);
    if (exchange != host.exchanges.end()) destination.exchange = exchange->second.get();
  }
  if (source == host.exchanges.end() || destination == Destination{}) {
    if (unbound) return {};  // what it was between went with it
    return Error::damaged;
  }
  if (unbound) {
    if (source->second->unbind(destination, binding.routing_key, binding.arguments).was_there) {
      --host.binding_count;
    }
    return {};
  }
  if (source->second->bind({destination, binding.routing_key, binding.arguments, true})) {
    ++host.binding_count;
    if (destination.exchange) ++destination.exchange->incoming_count;
  }
  return {};
}

void Broker::finish_recovery(WallTime now) {
  inside_->recovered_bodies.clear();
  inside_->recovered_bodies.shrink_to_fit();
  inside_->recovered_messages.clear();
  // What was read was read from stable storage. On a fresh journal there is nothing of the kind.
  if (std::exchange(inside_->is_recovering, false)) {
    inside_->durable_upto = std::max(inside_->durable_upto, JournalSequence{1});
  }
  for (auto& [name, host] : inside_->hosts) {
    for (auto& [queue_name, queue] : host.queues) {
      queue->unused_since = Inside::to_milliseconds(now);
      inside_->watch(*queue);
    }
  }
}

std::optional<BodyPosition> Broker::oldest_needed_body() const {
  std::optional<BodyPosition> oldest;
  const auto look = [&oldest](const Entry& entry) {
    if (!entry.message || entry.message->durable_at == JournalSequence{}) return;
    if (!oldest || entry.message->body.position < *oldest) oldest = entry.message->body.position;
  };
  for (const auto& [name, host] : inside_->hosts) {
    for (const auto& [queue_name, queue] : host.queues) {
      queue->for_each_front(look);
    }
  }
  for (const auto& [id, connection] : inside_->connections) {
    for (const auto& [number, channel] : connection->channels) {
      for (const Unacked& unacked : channel->unacked) look(unacked.entry);
      for (const HeldAnswer& held : channel->held_answers) look(held.unacked.entry);
    }
  }
  for (const auto& [ticket, job] : inside_->dead_letters) look(job.entry);
  return oldest;
}

}  // namespace pronto::broker
