#include <fmt/format.h>

#include <algorithm>

#include "inside.hpp"

namespace pronto::broker {

using wire::Fault;
using wire::ReplyCode;

namespace {

constexpr std::string_view reply_queue = "amq.rabbitmq.reply-to";

std::optional<std::int64_t> shown_count(const Queue& queue, const Entry& entry) {
  if (!queue.arguments.is_quorum || entry.delivery_count == 0) return std::nullopt;
  return entry.delivery_count;
}

}  // namespace

Broker::Inside::Outcome Broker::Inside::on(Channel& channel, const wire::BasicQos& method,
                                           WallTime) {
  if (method.prefetch_size != 0) {
    return Fault{ReplyCode::not_implemented,
                 fmt::format("prefetch_size!=0 ({})", method.prefetch_size)};
  }
  if (method.global) {
    channel.prefetch_max = method.prefetch_count;
  } else {
    channel.consumer_prefetch_max = method.prefetch_count;
  }
  serve_waiting(channel);
  send(channel, wire::BasicQosOk{});
  return {};
}

Broker::Inside::Outcome Broker::Inside::on(Channel& channel, const wire::BasicConsume& method,
                                           WallTime) {
  std::string tag = method.consumer_tag.text();
  if (!tag.empty() && (channel.consumers.contains(tag) || tag == channel.reply_consumer_tag)) {
    return Fault{ReplyCode::not_allowed, fmt::format("attempt to reuse consumer tag '{}'", tag)};
  }
  if (tag.empty()) tag = "amq.ctag-" + random.url_safe_id(16);
  const auto ok = [&] {
    if (!method.no_wait) send(channel, wire::BasicConsumeOk{tag});
  };
  if (method.queue == reply_queue) {
    if (!channel.reply_consumer_tag.empty()) {
      return Fault{ReplyCode::precondition_failed, "reply consumer already set"};
    }
    if (!method.no_ack) {
      return Fault{ReplyCode::precondition_failed, "reply consumer cannot acknowledge"};
    }
    // Unguessable, so that nobody else can publish to it.
    channel.reply_consumer_tag = tag;
    channel.reply_name = std::string{reply_queue} + '.' + random.url_safe_id(24);
    reply_channels.emplace(channel.reply_name, &channel);
    ok();
    return {};
  }
  const auto found = need_queue_for(channel, Access::read, method.queue.view());
  if (!found) return found.error();
  Queue& queue = **found;
  const Outcome allowed = check_exclusive(channel, queue);
  if (!allowed) return allowed.error();
  const bool is_taken = std::ranges::any_of(queue.consumers, &Consumer::is_exclusive) ||
                        (method.exclusive && !queue.consumers.empty());
  if (is_taken) {
    return Fault{ReplyCode::access_refused, queue.subject() + " in exclusive use"};
  }
  if (channel.consumers.size() >= limits.consumers_per_channel_max) {
    return Fault{ReplyCode::not_allowed,
                 fmt::format("reached maximum ({}) of consumers per channel",
                             limits.consumers_per_channel_max)};
  }
  auto consumer = std::make_unique<Consumer>();
  consumer->tag = tag;
  consumer->queue = &queue;
  consumer->channel = &channel;
  consumer->no_ack = method.no_ack;
  consumer->is_exclusive = method.exclusive;
  consumer->prefetch_max = channel.consumer_prefetch_max;
  queue.consumers.push_back(consumer.get());
  queue.had_consumers = true;
  channel.consumers.emplace(tag, std::move(consumer));
  ok();
  touch(queue);
  return {};
}

Broker::Inside::Outcome Broker::Inside::on(Channel& channel, const wire::BasicCancel& method,
                                           WallTime now) {
  if (method.consumer_tag.view() == channel.reply_consumer_tag && !channel.reply_name.empty()) {
    reply_channels.erase(channel.reply_name);
    channel.reply_consumer_tag.clear();
    channel.reply_name.clear();
  } else if (const auto found = channel.consumers.find(method.consumer_tag.view());
             found != channel.consumers.end()) {
    remove_consumer(*found->second, now);
  }
  if (!method.no_wait) send(channel, wire::BasicCancelOk{method.consumer_tag});
  return {};
}

/// Ends the consumer, which its queue does not know any more.
void Broker::Inside::forget(Consumer& consumer) {
  Channel& channel = *consumer.channel;
  for (Unacked& unacked : channel.unacked) {
    if (unacked.consumer == &consumer) unacked.consumer = nullptr;
  }
  for (HeldAnswer& held : channel.held_answers) {
    if (held.unacked.consumer == &consumer) held.unacked.consumer = nullptr;
  }
  set_not_waiting(consumer);
  channel.consumers.erase(channel.consumers.find(consumer.tag));
}

void Broker::Inside::remove_consumer(Consumer& consumer, WallTime now) {
  Queue& queue = *consumer.queue;
  const auto place = std::ranges::find(queue.consumers, &consumer);
  const auto index = static_cast<std::size_t>(place - queue.consumers.begin());
  queue.consumers.erase(place);
  if (queue.next_consumer > index) --queue.next_consumer;
  forget(consumer);
  queue.unused_since = millis_of(now);
  if (queue.consumers.empty() && queue.is_auto_delete) {
    delete_queue(queue, now);
  } else {
    watch(queue);
    touch(queue);  // a single active consumer may have made room for the next
  }
}

Broker::Inside::Outcome Broker::Inside::on(Channel& channel, const wire::BasicGet& method,
                                           WallTime now) {
  const auto found = need_queue_for(channel, Access::read, method.queue.view());
  if (!found) return found.error();
  Queue& queue = **found;
  const Outcome allowed = check_exclusive(channel, queue);
  if (!allowed) return allowed.error();
  queue.unused_since = millis_of(now);
  const WaitingGet get{queue.id, method.no_ack};
  if (channel.waiting_gets.empty() && try_get(channel, get, now)) return {};
  if (channel.waiting_gets.size() >= limits.waiting_gets_max) {
    return Fault{
        .code = ReplyCode::resource_error,
        .text = fmt::format("more than {} basic.get wait for the disk", limits.waiting_gets_max),
        .is_connection_error = false};
  }
  channel.waiting_gets.push_back(get);
  awaiting_get.emplace(std::pair{channel.connection->id, channel.id}, &channel);
  return {};
}

bool Broker::Inside::try_get(Channel& channel, const WaitingGet& get, WallTime now) {
  const auto found = queues_by_id.find(static_cast<std::uint64_t>(get.queue));
  if (found == queues_by_id.end()) {
    send(channel, wire::BasicGetEmpty{});
    return true;
  }
  Queue& queue = *found->second;
  expire(queue, millis_of(now));
  if (const auto front = first_stored(queue)) {
    if (!is_at_hand(queue, *front)) return false;
    const Entry entry = queue.entries.take_front(front->priority);
    const std::uint64_t tag = ++channel.last_delivery_tag;
    effects.get_ok({channel.connection->id, channel.id, tag, entry.redelivered,
                    static_cast<std::uint32_t>(queue.entries.ready_count()), entry.body,
                    shown_count(queue, entry)});
    ++queue.delivered_total;
    if (get.no_ack) {
      drop(queue, entry);
    } else {
      ++queue.unacked_count;
      channel.unacked.push_back({.tag = tag, .queue = &queue, .id = entry.id()});
    }
    return true;
  }
  if (queue.entries.ready_count() > 0) {
    // A publisher that looks for its message at once would be told that there is none.
    load_pages(queue);
    return false;
  }
  send(channel, wire::BasicGetEmpty{});
  return true;
}

void Broker::Inside::give_up_gets(Channel& channel) {
  for (std::size_t count = channel.waiting_gets.size(); count > 0; --count) {
    send(channel, wire::BasicGetEmpty{});
  }
  channel.waiting_gets.clear();
  awaiting_get.erase({channel.connection->id, channel.id});
}

void Broker::Inside::serve_gets(WallTime now) {
  for (auto at = awaiting_get.begin(); at != awaiting_get.end();) {
    auto& waiting = at->second->waiting_gets;
    while (!waiting.empty() && try_get(*at->second, waiting.front(), now)) waiting.pop_front();
    at = waiting.empty() ? awaiting_get.erase(at) : std::next(at);
  }
}

Broker::Inside::Outcome Broker::Inside::on(Channel& channel, const wire::BasicAck& method,
                                           WallTime) {
  return answer(channel, method.delivery_tag, method.multiple, true, false);
}

Broker::Inside::Outcome Broker::Inside::on(Channel& channel, const wire::BasicReject& method,
                                           WallTime) {
  return answer(channel, method.delivery_tag, false, false, method.requeue);
}

Broker::Inside::Outcome Broker::Inside::on(Channel& channel, const wire::BasicNack& method,
                                           WallTime) {
  return answer(channel, method.delivery_tag, method.multiple, false, method.requeue);
}

Broker::Inside::Outcome Broker::Inside::answer(Channel& channel, std::uint64_t tag, bool multiple,
                                               bool is_ack, bool requeue) {
  const auto unknown = [&]() -> Outcome {
    return Fault{ReplyCode::precondition_failed, fmt::format("unknown delivery tag {}", tag)};
  };
  auto first = channel.unacked.begin();
  auto last = channel.unacked.end();
  if (multiple) {
    if (tag != 0) {
      // The tag itself has to be in hand, not only some below it.
      last = std::ranges::upper_bound(channel.unacked, tag, {}, &Unacked::tag);
      if (last == first || std::prev(last)->tag != tag) return unknown();
    }
  } else {
    first = std::ranges::lower_bound(channel.unacked, tag, {}, &Unacked::tag);
    if (first == channel.unacked.end() || first->tag != tag) return unknown();
    last = first + 1;
  }
  if (channel.mode == Channel::Mode::transaction) {
    const std::size_t count = channel.held_publishes.size() + channel.held_answers.size();
    if (count + static_cast<std::size_t>(last - first) > limits.transaction_count_max) {
      return transaction_is_full(limits);
    }
    for (auto at = first; at != last; ++at) {
      channel.held_answers.push_back({std::move(*at), is_ack, requeue});
    }
    channel.unacked.erase(first, last);
    return {};
  }
  std::vector<Unacked> settled(std::make_move_iterator(first), std::make_move_iterator(last));
  channel.unacked.erase(first, last);
  for (const Unacked& unacked : settled) settle(channel, unacked, is_ack, requeue);
  // Room under the channel's limit serves all its consumers.
  if (channel.prefetch_max != 0) serve_waiting(channel);
  return {};
}

void Broker::Inside::count_out(Channel& channel, const Unacked& unacked) {
  if (unacked.is_counted) --channel.consumer_unacked_count;
  if (unacked.consumer) {
    --unacked.consumer->unacked_count;
    touch(*unacked.consumer->queue);
  }
  if (unacked.queue) --unacked.queue->unacked_count;
}

void Broker::Inside::settle(Channel& channel, const Unacked& unacked, bool is_ack, bool requeue) {
  count_out(channel, unacked);
  if (!unacked.queue) return;
  Queue& queue = *unacked.queue;
  const auto entry = queue.entries.find(unacked.id);
  PRONTO_ASSERT(entry.has_value());
  if (is_ack) {
    ++queue.acked_total;
    drop(queue, *entry);
    return;
  }
  if (!requeue) {
    discard(queue, *entry, "rejected");
    return;
  }
  const std::uint32_t count = entry->delivery_count + 1;
  queue.entries.set_delivery_count(entry->id(), count);
  if (queue.arguments.is_quorum && queue.arguments.delivery_limit &&
      count > *queue.arguments.delivery_limit) {
    discard(queue, *entry, "delivery_limit");
    return;
  }
  if (entry->is_journaled) record(DeliveryCountRecord{queue.id, entry->sequence, count});
  queue.entries.give_back(entry->id());
  if (entry->expires_at != 0) watch(queue);
  touch(queue);
}

void Broker::Inside::requeue_all(Channel& channel) {
  const std::deque<Unacked> unacked = std::exchange(channel.unacked, {});
  for (const Unacked& one : unacked) settle(channel, one, false, true);
  if (channel.prefetch_max != 0) serve_waiting(channel);
}

Broker::Inside::Outcome Broker::Inside::on(Channel& channel, const wire::BasicRecover& method,
                                           WallTime) {
  if (!method.requeue) return Fault{ReplyCode::not_implemented, "requeue=false"};
  requeue_all(channel);
  send(channel, wire::BasicRecoverOk{});
  return {};
}

Broker::Inside::Outcome Broker::Inside::on(Channel& channel, const wire::BasicRecoverAsync& method,
                                           WallTime) {
  if (!method.requeue) return Fault{ReplyCode::not_implemented, "requeue=false"};
  requeue_all(channel);
  return {};
}

Broker::Inside::Outcome Broker::Inside::on(Channel& channel, const wire::ChannelFlow& method,
                                           WallTime) {
  if (!method.active) return Fault{ReplyCode::not_implemented, "active=false"};
  send(channel, wire::ChannelFlowOk{true});
  return {};
}

void Broker::Inside::touch(Queue& queue) {
  if (queue.is_touched || queue.delay) return;  // nobody takes from what is delayed
  queue.is_touched = true;
  touched.push_back(&queue);
}

void Broker::Inside::watch(Queue& queue, bool is_later_allowed) {
  std::optional<std::int64_t> next = queue.entries.next_expiry();
  if (const auto& expires = queue.arguments.expires_ms; expires && queue.consumers.empty()) {
    next = std::min(next.value_or(queue.unused_since + *expires), queue.unused_since + *expires);
  }
  if (queue.due_at && !is_later_allowed && (!next || *queue.due_at <= *next)) return;
  if (queue.due_at == next) return;
  if (queue.due_at) dues.erase({*queue.due_at, &queue});
  if (next) dues.emplace(*next, &queue);
  queue.due_at = next;
}

void Broker::Inside::serve_waiting(Channel& channel) {
  for (Consumer* consumer : channel.waiting) {
    consumer->waiting_at.reset();
    touch(*consumer->queue);
  }
  channel.waiting.clear();
}

void Broker::Inside::set_waiting(Consumer& consumer) {
  if (consumer.waiting_at) return;
  auto& waiting = consumer.channel->waiting;
  consumer.waiting_at = waiting.size();
  waiting.push_back(&consumer);
}

void Broker::Inside::set_not_waiting(Consumer& consumer) {
  if (!consumer.waiting_at) return;
  auto& waiting = consumer.channel->waiting;
  waiting.back()->waiting_at = consumer.waiting_at;
  waiting[*consumer.waiting_at] = waiting.back();
  waiting.pop_back();
  consumer.waiting_at.reset();
}

bool Broker::Inside::is_at_hand(Queue& queue, const Entry& front) {
  if (effects.is_at_hand(front.body)) return true;
  load_ahead(queue, front);
  return false;
}

/// Fetches the contents of the entries that come next, so that a backlog on the disk is read in
/// long strides while it is delivered.
void Broker::Inside::load_ahead(Queue& queue, const Entry& front) {
  load_pages(queue);
  const auto wanted = [this, &queue](const Entry& entry) {
    return !queue.loading.contains(entry.sequence) && !effects.is_at_hand(entry.body);
  };
  // Half a stride is still on its way: enough for now, unless another has come before it.
  if (queue.loading.size() > limits.load_count_max / 2 && !wanted(front)) return;
  std::size_t count = 0;
  std::uint64_t bytes = 0;
  queue.entries.for_each_next([&](const Entry& entry) {
    if (!is_stored(queue, entry)) return QueueIndex::Walk::to_the_next_priority;
    if (wanted(entry)) {
      const FetchTicket ticket{++last_ticket};
      loads.emplace(ticket, Load{queue.id, entry.id(), entry.body});
      queue.loading.insert(entry.sequence);
      effects.fetch(entry.body, ticket);
    }
    bytes += entry.body.bytes;
    const bool is_enough = ++count >= limits.load_count_max || bytes >= limits.load_bytes_max;
    return is_enough ? QueueIndex::Walk::not_at_all : QueueIndex::Walk::on;
  });
}

void Broker::Inside::on_loaded(const Load& load, const ContentPtr& content) {
  const auto found = queues_by_id.find(static_cast<std::uint64_t>(load.queue));
  if (found == queues_by_id.end()) return;
  Queue& queue = *found->second;
  queue.loading.erase(load.id.sequence);
  if (!queue.entries.is_ready(load.id)) return;  // it has left since
  if (content) {
    effects.cache(queue.entries.find(load.id)->body, content);
  } else {
    set_aside(queue, *queue.entries.take(load.id));
  }
  touch(queue);
}

bool Broker::Inside::can_take(Consumer& consumer) {
  const Channel& channel = *consumer.channel;
  const bool is_full = !consumer.no_ack && consumer.prefetch_max != 0 &&
                       consumer.unacked_count >= consumer.prefetch_max;
  if (is_full) return false;  // its own acks end that
  const bool is_channel_full = !consumer.no_ack && channel.prefetch_max != 0 &&
                               channel.consumer_unacked_count >= channel.prefetch_max;
  if (!is_channel_full && has_credit(*channel.connection)) return true;
  set_waiting(consumer);
  return false;
}

/// Hands ready messages to consumers in turn, while there are both.
void Broker::Inside::dispatch(Queue& queue, WallTime now) {
  // What lives for no time at all has this one moment to be delivered in.
  expire(queue, millis_of(now) - 1);
  while (const auto front = first_stored(queue)) {
    Consumer* taker = nullptr;
    std::size_t next = 0;
    const std::size_t count = queue.arguments.is_single_active
                                  ? std::min<std::size_t>(1, queue.consumers.size())
                                  : queue.consumers.size();
    for (std::size_t step = 0; step < count && !taker; ++step) {
      const std::size_t index = (queue.next_consumer + step) % count;
      if (can_take(*queue.consumers[index])) {
        taker = queue.consumers[index];
        next = (index + 1) % count;
      }
    }
    // Asked last: nothing is read from the disk for nobody.
    if (!taker || !is_at_hand(queue, *front)) return;
    queue.next_consumer = next;
    hand_out(*taker, queue.entries.take_front(front->priority));
  }
  if (queue.entries.written_out_count() == 0) return;
  const auto can = [this](Consumer* consumer) { return can_take(*consumer); };
  if (std::ranges::any_of(queue.consumers, can)) load_pages(queue);
}

void Broker::Inside::hand_out(Consumer& consumer, const Entry& entry) {
  Queue& queue = *consumer.queue;
  Channel& channel = *consumer.channel;
  const std::uint64_t tag = ++channel.last_delivery_tag;
  effects.deliver({channel.connection->id, channel.id, consumer.tag, tag, entry.redelivered,
                   entry.body, shown_count(queue, entry)});
  ++queue.delivered_total;
  if (consumer.no_ack) {
    drop(queue, entry);
    return;
  }
  ++queue.unacked_count;
  ++consumer.unacked_count;
  ++channel.consumer_unacked_count;
  channel.unacked.push_back(
      {.tag = tag, .queue = &queue, .consumer = &consumer, .is_counted = true, .id = entry.id()});
}

}  // namespace pronto::broker
