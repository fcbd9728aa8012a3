#include <algorithm>
#include <utility>

#include "inside.hpp"
#include "pronto/base/assert.hpp"
#include "topology.hpp"

namespace pronto::broker {

namespace {

constexpr std::size_t bodies_of_a_unit_max = 1'000'000;

/// States what a queue holds, and how far it has come.
void state_entries(const Queue& queue, const std::function<void(const Record& record)>& see) {
  constexpr std::size_t entries_of_a_record_max = 4096;
  QueuePageRecord page{queue.id, 0, {}};
  std::vector<DeliveryCountRecord> counts;
  const auto flush = [&] {
    if (!page.entries.empty()) see(page);
    page.entries.clear();
  };
  const auto see_entry = [&](const Entry& entry) {
    if (!entry.is_journaled) return;
    PRONTO_ASSERT(is_in_journal(entry.body.position));
    if (entry.priority != page.priority || page.entries.size() >= entries_of_a_record_max) {
      flush();
      page.priority = entry.priority;
    }
    page.entries.push_back({entry.sequence, entry.body, entry.expires_at});
    if (entry.delivery_count != 0) {
      counts.push_back({queue.id, entry.sequence, entry.delivery_count});
    }
  };
  queue.entries.for_each(see_entry, [&](const WrittenPage& written) {
    flush();
    see(written);
  });
  flush();
  for (const DeliveryCountRecord& count : counts) see(count);
  if (queue.window) {
    queue.window->for_each_journaled([&](const std::string& id, std::int64_t expires_at) {
      see(DeduplicationRecord{queue.id, {}, {}, id, expires_at});
    });
  }
  see(QueueStateRecord{queue.id, queue.last_sequence});
  RemoveRunsRecord removed;
  for (const QueueIndex::Lost& lost : queue.entries.lost()) {
    for (const auto& [first, last] : lost.removed) removed.runs.push_back({queue.id, first, last});
  }
  join(removed.runs);  // a run is remembered with each page that it touches
  if (!removed.runs.empty()) see(removed);
}

}  // namespace

/// Takes a run of messages out of its queue, as far as they are there.
void Broker::Inside::replay(const RemoveRecord& run) {
  const auto found = queues_by_id.find(static_cast<std::uint64_t>(run.queue));
  if (found == queues_by_id.end()) return;  // deleted since
  Queue& queue = *found->second;
  const std::uint64_t last = std::min(run.last, queue.last_sequence);
  if (run.first > last) return;
  drop_pages(queue, run.first, last);
  read_pages(queue, run.first, last);
  queue.entries.remove_from_lost(run.first, last);
  const auto is_meant = [&](const Entry& entry) {
    return entry.sequence >= run.first && entry.sequence <= last;
  };
  if (last - run.first >= queue.entries.live_count()) {
    // A purge's, whose run is as long as the queue's life.
    queue.entries.remove_if([&](const Entry& entry, bool) {
      if (is_meant(entry)) release(queue, entry);
      return is_meant(entry);
    });
    return;
  }
  for (std::uint64_t sequence = run.first; sequence <= last; ++sequence) {
    const auto entry = queue.entries.find(sequence);
    if (!entry) continue;
    queue.entries.remove(entry->id());
    release(queue, *entry);
  }
}

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
  const auto restore = [&inside](Queue& queue, Entry entry) {
    entry.priority = std::min(entry.priority, queue.arguments.priority_max);
    entry.is_journaled = true;
    if (const auto full = queue.entries.append(entry)) inside.note_full(queue, *full);
    inside.count_live(queue, entry.body, true);
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
    // Places of a queue are given once, in their order.
    if (enqueue->sequence <= queue->last_sequence) return Error::damaged;
    restore(*queue, {.sequence = enqueue->sequence,
                     .body = *body,
                     .expires_at = enqueue->expires_at,
                     .priority = enqueue->priority});
    queue->last_sequence = enqueue->sequence;
    return {};
  }
  if (const auto* remove = std::get_if<RemoveRecord>(&*decoded)) {
    inside.replay(*remove);
    return {};
  }
  if (const auto* removed = std::get_if<RemoveRunsRecord>(&*decoded)) {
    for (const RemoveRecord& run : removed->runs) inside.replay(run);
    return {};
  }
  if (const auto* moved = std::get_if<MovedRecord>(&*decoded)) {
    Queue* queue = find_queue(moved->queue);
    if (moved->bodies_back >= inside.recovered_bodies.size()) return Error::damaged;
    const std::optional<BodyRef> body =
        inside.recovered_bodies[inside.recovered_bodies.size() - 1 - moved->bodies_back];
    if (queue) inside.read_pages(*queue, moved->sequence, moved->sequence);
    const auto entry = queue ? queue->entries.find(moved->sequence) : std::nullopt;
    if (!entry) return {};  // left since
    // Where it was it may still be read.
    if (!body || body->bytes != entry->body.bytes) return Error::damaged;
    inside.release(*queue, *entry);
    queue->entries.set_position(entry->id(), body->position);
    inside.count_live(*queue, *body, true);
    return {};
  }
  if (const auto* count = std::get_if<DeliveryCountRecord>(&*decoded)) {
    Queue* queue = find_queue(count->queue);
    if (!queue) return {};
    inside.read_pages(*queue, count->sequence, count->sequence);
    if (const auto entry = queue->entries.find(count->sequence)) {
      queue->entries.set_delivery_count(entry->id(), count->count);
    }
    return {};
  }
  if (auto* declared = std::get_if<QueueDeclaredRecord>(&*decoded)) {
    const auto arguments = parse_queue_arguments(declared->arguments, declared->name);
    if (!arguments) return Error::damaged;
    VirtualHost& host = inside.virtual_host(declared->virtual_host);
    if (host.queues.contains(declared->name)) return Error::damaged;
    auto queue = std::make_unique<Queue>(declared->queue, host.name, declared->name, *arguments,
                                         std::move(declared->arguments), inside.paging());
    queue->is_durable = true;
    queue->is_auto_delete = declared->is_auto_delete;
    if (queue->window) inside.has_windows = true;
    inside.last_queue_id =
        std::max(inside.last_queue_id, static_cast<std::uint64_t>(declared->queue));
    inside.queues_by_id.emplace(static_cast<std::uint64_t>(declared->queue), queue.get());
    host.queues_by_name.emplace(queue->name, queue.get());
    host.queues.emplace(declared->name, std::move(queue));
    return {};
  }
  if (const auto* deleted = std::get_if<QueueDeletedRecord>(&*decoded)) {
    Queue* queue = find_queue(deleted->queue);
    if (!queue) return Error::damaged;
    inside.delete_queue(*queue, {});
    inside.records.clear();
    return {};
  }
  if (const auto* purged = std::get_if<QueuePurgedRecord>(&*decoded)) {
    Queue* queue = find_queue(purged->queue);
    if (!queue) return {};
    inside.read_pages(*queue, 0, queue->last_sequence);
    queue->entries.remove_if([&](const Entry& entry, bool) {
      const bool is_kept = entry.sequence >= purged->below ||
                           std::ranges::find(purged->kept, entry.sequence) != purged->kept.end();
      if (!is_kept) inside.release(*queue, entry);
      return !is_kept;
    });
    return {};
  }
  if (auto* exchange = std::get_if<ExchangeDeclaredRecord>(&*decoded)) {
    const auto kind = parse_exchange_type(exchange->type, exchange->arguments);
    if (!kind) return Error::damaged;
    VirtualHost& host = inside.virtual_host(exchange->virtual_host);
    auto made = std::make_unique<Exchange>(exchange->name, kind->type);
    made->type_name = exchange->type;
    auto deduplication =
        parse_deduplication(exchange->arguments, exchange->name, kind->is_deduplicating);
    if (!deduplication) return Error::damaged;
    if (*deduplication) {
      made->window.emplace(std::move(**deduplication), inside.index_bytes);
      inside.has_windows = true;
    }
    made->is_durable = true;
    made->is_auto_delete = exchange->is_auto_delete;
    made->is_internal = exchange->is_internal;
    made->table = std::move(exchange->arguments);
    made->alternate = made->table.find_string("alternate-exchange").value_or("");
    host.exchanges.emplace(exchange->name, std::move(made));
    return {};
  }
  if (auto* known = std::get_if<DeduplicationRecord>(&*decoded)) {
    DeduplicationWindow* window = nullptr;
    if (known->exchange.empty()) {
      Queue* queue = find_queue(known->queue);
      if (!queue) return {};  // deleted since
      if (queue->window) window = &*queue->window;
    } else {
      VirtualHost& host = inside.virtual_host(known->virtual_host);
      const auto found = host.exchanges.find(known->exchange);
      if (found == host.exchanges.end()) return {};
      if (found->second->window) window = &*found->second->window;
    }
    if (!window) return Error::damaged;
    window->add(std::move(known->id), known->expires_at, true, true);
    return {};
  }
  if (const auto* delayed = std::get_if<DelayedExchangeRecord>(&*decoded)) {
    VirtualHost& host = inside.virtual_host(delayed->virtual_host);
    const auto found = host.exchanges.find(delayed->exchange);
    if (found == host.exchanges.end() || found->second->held || find_queue(delayed->queue)) {
      return Error::damaged;
    }
    inside.make_delayed(*found->second, host, delayed->queue);
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
  if (const auto* state = std::get_if<BrokerStateRecord>(&*decoded)) {
    inside.last_queue_id = std::max(inside.last_queue_id, state->last_queue_id);
    return {};
  }
  if (const auto* state = std::get_if<QueueStateRecord>(&*decoded)) {
    Queue* queue = find_queue(state->queue);
    if (!queue) return Error::damaged;
    queue->last_sequence = std::max(queue->last_sequence, state->last_sequence);
    return {};
  }
  if (const auto* page = std::get_if<QueuePageRecord>(&*decoded)) {
    Queue* queue = find_queue(page->queue);
    if (!queue) return Error::damaged;
    // The queue's state comes after its pages, so that they say how far it has come.
    std::uint64_t last = queue->entries.last_sequence(page->priority);
    for (const QueuePageRecord::Entry& one : page->entries) {
      if (one.sequence <= last) return Error::damaged;
      last = one.sequence;
      restore(*queue, {.sequence = one.sequence,
                       .body = one.body,
                       .expires_at = one.expires_at,
                       .priority = page->priority});
    }
    return {};
  }
  if (auto* page = std::get_if<WrittenPage>(&*decoded)) {
    Queue* queue = find_queue(page->queue);
    if (!queue || page->priority > queue->arguments.priority_max ||
        page->first_sequence <= queue->entries.last_sequence(page->priority) ||
        page->last_sequence < page->first_sequence || page->count == 0 ||
        page->last_sequence - page->first_sequence < page->count - 1 ||
        !is_in_journal(page->image.position)) {
      return Error::damaged;
    }
    for (const SegmentUse& use : page->segments) inside.count_live(*queue, use, true);
    inside.count_live(*queue, page->image, true);
    queue->entries.append_written(std::move(*page));
    return {};
  }
  if (std::holds_alternative<IndexPageRecord>(*decoded)) return {};
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

void Broker::state(const std::function<void(const Record& record)>& see) const {
  const Inside& inside = *inside_;
  see(BrokerStateRecord{inside.last_queue_id});
  for (const auto& [host_name, host] : inside.hosts) {
    for (const auto& [name, exchange] : host.exchanges) {
      if (!exchange->is_durable || exchange->is_predeclared) continue;
      see(to_record(host_name, *exchange));
      if (exchange->window) {
        exchange->window->for_each_journaled([&](const std::string& id, std::int64_t expires_at) {
          see(DeduplicationRecord{{}, host_name, name, id, expires_at});
        });
      }
      if (!exchange->held) continue;
      see(DelayedExchangeRecord{host_name, name, exchange->held->id});
      state_entries(*exchange->held, see);
    }
    for (const auto& [name, queue] : host.queues) {
      if (!queue->is_journaled()) continue;
      see(to_record(*queue));
      state_entries(*queue, see);
    }
  }
  for (const auto& [host_name, host] : inside.hosts) {
    for (const auto& [name, exchange] : host.exchanges) {
      exchange->for_each_binding([&](const Binding& binding) {
        if (binding.is_durable) see(to_record(host_name, *exchange, binding));
      });
    }
  }
}

void Broker::finish_recovery(WallTime now) {
  inside_->recovered_bodies.clear();
  inside_->recovered_bodies.shrink_to_fit();
  // What was read was read from stable storage. On a fresh journal there is nothing of the kind.
  if (std::exchange(inside_->is_recovering, false)) {
    inside_->durable_upto = std::max(inside_->durable_upto, JournalSequence{1});
  }
  for (auto& [name, host] : inside_->hosts) {
    for (auto& [queue_name, queue] : host.queues) {
      queue->unused_since = millis_of(now);
      queue->durable_sequence = queue->last_sequence;
      // They may have been with a consumer when the process ended.
      queue->entries.set_redelivered_upto(queue->last_sequence);
      if (queue->entries.next_expiry()) inside_->load_pages(*queue);
      inside_->watch(*queue);
    }
  }
  for (const auto& [id, held] : inside_->delaying) {
    held->entries.for_each(
        [&held](const Entry& entry) { held->delay->due.push({entry.expires_at, entry.sequence}); },
        [](const WrittenPage&) {});
  }
}

}  // namespace pronto::broker
