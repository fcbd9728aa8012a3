#include "pronto/broker/broker.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "inside.hpp"

namespace pronto::broker {

using wire::Fault;
using wire::ReplyCode;

Broker::Inside::Inside(Effects& outside, Random& chance, Limits most, const Permissions& allowed)
    : effects{outside}, random{chance}, limits{most}, permissions{allowed} {
  VirtualHost& host = virtual_host("/");
  const auto predeclare = [&host](std::string name, ExchangeType type) {
    auto exchange = std::make_unique<Exchange>(name, type);
    exchange->is_durable = true;
    exchange->is_predeclared = true;
    host.exchanges.emplace(std::move(name), std::move(exchange));
  };
  predeclare("", ExchangeType::direct);
  predeclare("amq.direct", ExchangeType::direct);
  predeclare("amq.fanout", ExchangeType::fanout);
  predeclare("amq.topic", ExchangeType::topic);
  predeclare("amq.headers", ExchangeType::headers);
  predeclare("amq.match", ExchangeType::headers);
}

VirtualHost& Broker::Inside::virtual_host(const std::string& name) {
  VirtualHost& host = hosts[name];
  host.name = name;
  return host;
}

Channel* Broker::Inside::find_channel(ConnectionId connection, ChannelId channel) {
  const auto found = connections.find(connection);
  if (found == connections.end()) return nullptr;
  const auto inner = found->second->channels.find(channel);
  return inner == found->second->channels.end() ? nullptr : inner->second.get();
}

void Broker::Inside::record_removed(const Queue& queue, std::uint64_t sequence) {
  // Acks mostly come in order: a run grows instead of a record for each.
  if (!removed.empty()) {
    RemoveRecord& run = removed.back();
    if (run.queue == queue.id && run.last + 1 == sequence) {
      run.last = sequence;
      return;
    }
  }
  removed.push_back({queue.id, sequence, sequence});
}

/// All that the queue has had, but these: the gaps between them.
void Broker::Inside::record_removed_but(const Queue& queue, std::vector<std::uint64_t> kept) {
  std::ranges::sort(kept);
  kept.push_back(queue.last_sequence + 1);
  std::uint64_t first = 1;
  for (const std::uint64_t one : kept) {
    if (one > first) removed.push_back({queue.id, first, one - 1});
    first = one + 1;
  }
}

namespace {

constexpr std::size_t runs_of_a_record_max = 512;

/// How many records of `unit_overhead_bytes` it counts for: a run has 31 bytes at most.
std::size_t weight_of(const Record& record) {
  const auto* removed = std::get_if<RemoveRunsRecord>(&record);
  return removed ? 1 + removed->runs.size() / 4 : 1;
}

}  // namespace

void join(std::vector<RemoveRecord>& runs) {
  const auto place = [](const RemoveRecord& run) { return std::pair{run.queue, run.first}; };
  if (!std::ranges::is_sorted(runs, {}, place)) std::ranges::sort(runs, {}, place);
  std::size_t kept = 0;
  for (std::size_t i = 1; i < runs.size(); ++i) {
    RemoveRecord& before = runs[kept];
    if (runs[i].queue == before.queue && runs[i].first <= before.last + 1) {
      before.last = std::max(before.last, runs[i].last);
    } else {
      runs[++kept] = runs[i];
    }
  }
  if (!runs.empty()) runs.resize(kept + 1);
}

/// Makes records of what the command has removed, behind all others: a message that came and left
/// in one unit has left.
void Broker::Inside::state_removed() {
  if (removed.empty()) return;
  join(removed);
  std::span<const RemoveRecord> rest = removed;
  while (!rest.empty()) {
    const auto part = rest.first(std::min(rest.size(), runs_of_a_record_max));
    rest = rest.subspan(part.size());
    record(RemoveRunsRecord{{part.begin(), part.end()}});
  }
  removed.clear();
}

/// Hands the command's records to the journal: as one unit, unless it would be too large for it.
/// Then removals and counts, which need not be atomic with anything outside a transaction, follow
/// in units of their own.
Appended Broker::Inside::write_records() {
  state_removed();
  const std::size_t weight_max =
      std::max<std::size_t>(1, limits.unit_bytes_max / unit_overhead_bytes);
  const auto firm_count = static_cast<std::size_t>(
      std::ranges::count_if(records, [](const Record& record) { return !is_loose(record); }));
  awaited = Awaited::nothing;
  if (firm_count > 0) awaited = Awaited::written;
  if (is_atomic || firm_count > relaxed_count) awaited = Awaited::durable;
  std::size_t weight = 0;
  for (const Record& one : records) weight += weight_of(one);
  if (is_atomic || weight <= weight_max) return effects.append(records, awaited);
  std::vector<Record> firm;
  std::vector<Record> loose;
  for (Record& one : records) (is_loose(one) ? loose : firm).push_back(std::move(one));
  Appended appended;
  if (!firm.empty()) appended = effects.append(firm, awaited);
  std::span<const Record> rest = loose;
  while (!rest.empty()) {
    std::size_t count = 1;
    weight = weight_of(rest.front());
    while (count < rest.size() && weight + weight_of(rest[count]) <= weight_max) {
      weight += weight_of(rest[count++]);
    }
    const auto part = rest.first(count);
    rest = rest.subspan(count);
    const Appended more = effects.append(part, Awaited::nothing);
    if (firm.empty()) appended.sequence = more.sequence;
  }
  return appended;
}

/// Ends a command: its records to the journal, then deliveries and confirms.
void Broker::Inside::finish(WallTime now) {
  finish_unit(now);
  while (!refused_letters.empty()) {
    const RefusedLetter letter = std::move(refused_letters.front());
    refused_letters.pop_front();
    const auto found = queues_by_id.find(static_cast<std::uint64_t>(letter.queue));
    if (found == queues_by_id.end() || !effects.has_room()) continue;
    if (!dead_letter_exchange(*found->second)) continue;
    dead_letter(*found->second, *letter.content, "maxlen", now);
    finish_unit(now);
  }
  write_out_pages();
}

void Broker::Inside::finish_unit(WallTime now) {
  if (has_records()) {
    const Appended appended = write_records();
    PRONTO_ASSERT(appended.bodies.size() == new_body_count);
    const auto settled = [&appended](BodyRef body) {
      body.position = appended.bodies[number_of_provisional(body.position)];
      return body;
    };
    for (const NewEntry& entry : new_entries) {
      const BodyRef body = settled(entry.body);
      if (entry.queue->entries.set_position(entry.id, body.position)) {
        count_live(*entry.queue, body, true);
      }
      auto& awaiting = awaited == Awaited::written ? awaiting_written : awaiting_durable;
      if (awaiting.empty() || awaiting.back().sequence != appended.sequence ||
          awaiting.back().queue != entry.queue->id) {
        awaiting.push_back({appended.sequence, entry.queue->id, 0});
      }
      awaiting.back().upto = entry.id.sequence;
    }
    if (new_body_count > 0) last_appended = appended.sequence;
    if (cleaning) {
      for (Move& move : cleaning->new_ones) {
        move.to = settled(move.to);
        move.sequence = appended.sequence;
        cleaning->appended.push_back(std::move(move));
      }
      cleaning->new_ones.clear();
    }
    for (Channel::Unconfirmed* publish : new_unconfirmed) {
      publish->durable_at = appended.sequence;
      publish->awaits_write_only = awaited == Awaited::written;
    }
    records.clear();
    for (const auto& [body, ticket] : new_fetches) effects.fetch(settled(body), ticket);
    for (const BodyRef& body : new_releases) effects.release(settled(body));
  }
  new_body_count = 0;
  relaxed_count = 0;
  new_entries.clear();
  new_unconfirmed.clear();
  new_fetches.clear();
  new_releases.clear();
  is_atomic = false;
  serve_gets(now);
  for (std::size_t i = 0; i < touched.size(); ++i) {
    touched[i]->is_touched = false;
    dispatch(*touched[i], now);
  }
  touched.clear();
  confirm_all();
  // What deliveries without ack have removed rides along with a unit of its own.
  if (has_records()) {
    write_records();
    records.clear();
  }
}

void Broker::Inside::report(Channel& channel, Fault fault, wire::MethodId method, WallTime now) {
  fault.method = method;
  const ConnectionId connection = channel.connection->id;
  if (fault.is_connection_error) {
    effects.close_connection(connection, fault);
    return;
  }
  const ChannelId id = channel.id;
  close_channel(channel, now);
  effects.close_channel(connection, id, fault);
}

void Broker::Inside::close_channel(Channel& channel, WallTime now) {
  while (!channel.consumers.empty()) remove_consumer(*channel.consumers.begin()->second, now);
  // What a transaction had answered is unanswered again.
  for (HeldAnswer& held : channel.held_answers) {
    channel.unacked.push_back(std::move(held.unacked));
  }
  channel.held_answers.clear();
  count_none_held(channel);
  std::ranges::sort(channel.unacked, {}, &Unacked::tag);
  requeue_all(channel);
  awaiting_confirm.erase({channel.connection->id, channel.id});
  awaiting_get.erase({channel.connection->id, channel.id});
  if (publishing == &channel) publishing = nullptr;
  if (!channel.reply_name.empty()) reply_channels.erase(channel.reply_name);
  Connection& connection = *channel.connection;
  connection.channels.erase(channel.id);
}

Broker::Broker(Effects& effects, Random& random, Limits limits, const Permissions& permissions)
    : inside_{std::make_unique<Inside>(effects, random, limits, permissions)} {}

Broker::~Broker() = default;

bool Broker::has_virtual_host(std::string_view name) const {
  return inside_->hosts.contains(name);
}

void Broker::connection_opened(ConnectionId connection, std::string virtual_host,
                               std::string user) {
  auto made = std::make_unique<Connection>();
  made->id = connection;
  made->host = &inside_->virtual_host(virtual_host);
  made->user = std::move(user);
  const bool is_new = inside_->connections.emplace(connection, std::move(made)).second;
  PRONTO_ASSERT(is_new);
}

void Broker::connection_closed(ConnectionId id, WallTime now) {
  const auto found = inside_->connections.find(id);
  if (found == inside_->connections.end()) return;
  Connection& connection = *found->second;
  while (!connection.channels.empty()) {
    inside_->close_channel(*connection.channels.begin()->second, now);
  }
  std::vector<Queue*> exclusive;
  for (auto& [name, queue] : connection.host->queues) {
    if (queue->owner == id) exclusive.push_back(queue.get());
  }
  for (Queue* queue : exclusive) inside_->delete_queue(*queue, now);
  inside_->connections.erase(found);
  inside_->finish(now);
}

void Broker::channel_opened(ConnectionId connection, ChannelId id) {
  Connection& owner = *inside_->connections.at(connection);
  auto channel = std::make_unique<Channel>();
  channel->connection = &owner;
  channel->id = id;
  const bool is_new = owner.channels.emplace(id, std::move(channel)).second;
  PRONTO_ASSERT(is_new);
}

void Broker::channel_closed(ConnectionId connection, ChannelId id, WallTime now) {
  Channel* channel = inside_->find_channel(connection, id);
  if (!channel) return;
  inside_->close_channel(*channel, now);
  inside_->finish(now);
}

void Broker::on_method(ConnectionId connection, ChannelId id, const wire::Method& method,
                       WallTime now) {
  Channel* channel = inside_->find_channel(connection, id);
  if (!channel) return;
  const wire::MethodId method_id = wire::id_of(method);
  const bool may_overtake = method_id == wire::BasicAck::id || method_id == wire::BasicNack::id ||
                            method_id == wire::BasicReject::id || method_id == wire::BasicGet::id;
  // Replies keep the order of their questions.
  if (!channel->waiting_gets.empty() && !may_overtake) inside_->give_up_gets(*channel);
  const Inside::Outcome outcome = std::visit(
      [&](const auto& one) -> Inside::Outcome {
        if constexpr (requires { inside_->on(*channel, one, now); }) {
          return inside_->on(*channel, one, now);
        } else {
          return Fault{ReplyCode::command_invalid, "unimplemented method"};
        }
      },
      method);
  if (!outcome) inside_->report(*channel, outcome.error(), method_id, now);
  inside_->finish(now);
}

void Broker::on_publish(ConnectionId connection, ChannelId id, PublishFlags flags,
                        ContentPtr content, WallTime now) {
  Channel* channel = inside_->find_channel(connection, id);
  if (!channel) return;
  const Inside::Outcome outcome = inside_->publish(*channel, flags, std::move(content), now);
  if (!outcome) inside_->report(*channel, outcome.error(), wire::BasicPublish::id, now);
  inside_->finish(now);
}

void Broker::Inside::on_stored_upto(std::deque<AwaitingDurable>& awaiting,
                                    JournalSequence sequence) {
  has_durable_news = true;
  while (!awaiting.empty() && awaiting.front().sequence <= sequence) {
    const auto found = queues_by_id.find(static_cast<std::uint64_t>(awaiting.front().queue));
    if (found != queues_by_id.end()) {
      Queue& queue = *found->second;
      queue.durable_sequence = std::max(queue.durable_sequence, awaiting.front().upto);
      queue.entries.ask_again();
      touch(queue);
    }
    awaiting.pop_front();
  }
}

void Broker::on_durable(JournalSequence sequence, WallTime now) {
  inside_->durable_upto = std::max(inside_->durable_upto, sequence);
  inside_->written_upto = std::max(inside_->written_upto, sequence);
  inside_->on_stored_upto(inside_->awaiting_written, sequence);
  inside_->on_stored_upto(inside_->awaiting_durable, sequence);
  inside_->settle_moves();
  inside_->finish(now);
}

void Broker::on_written(JournalSequence sequence, WallTime now) {
  inside_->written_upto = std::max(inside_->written_upto, sequence);
  inside_->on_stored_upto(inside_->awaiting_written, sequence);
  inside_->finish(now);
}

void Broker::on_credit(ConnectionId connection, bool has_room, WallTime now) {
  const auto found = inside_->connections.find(connection);
  if (found == inside_->connections.end() || found->second->has_credit == has_room) return;
  found->second->has_credit = has_room;
  if (has_room) {
    for (auto& [id, channel] : found->second->channels) inside_->serve_waiting(*channel);
  }
  inside_->finish(now);
}

void Broker::on_time(WallTime time) {
  const std::int64_t now = millis_of(time);
  std::vector<Queue*> due;
  for (const auto& [at, queue] : inside_->dues) {
    if (at > now) break;
    due.push_back(queue);
  }
  for (Queue* queue : due) {
    inside_->expire(*queue, now);
    inside_->watch(*queue, true);
  }
  for (Queue* queue : due) {
    const auto& expires = queue->arguments.expires_ms;
    if (expires && queue->consumers.empty() && queue->unused_since + *expires <= now) {
      inside_->delete_queue(*queue, time);
    }
  }
  for (const auto& [id, held] : inside_->delaying) inside_->release_due(*held, time);
  inside_->finish(time);
}

std::optional<WallTime> Broker::next_due() const {
  std::optional<std::int64_t> due;
  const auto earlier = [&due](std::int64_t at) { due = due ? std::min(*due, at) : at; };
  // What was to be due may have left, or been used: looked at when it is the first.
  for (auto& dues = inside_->dues; !dues.empty();) {
    const auto [at, queue] = *dues.begin();
    inside_->watch(*queue, true);
    if (queue->due_at != at) continue;
    earlier(at);
    break;
  }
  for (const auto& [id, held] : inside_->delaying) {
    // At the limit it goes on when an answer comes.
    const Delay& delay = *held->delay;
    if (delay.due.empty() || delay.releasing.size() >= inside_->limits.load_count_max) continue;
    earlier(delay.due.top().at);
  }
  if (!due) return std::nullopt;
  return WallTime{milliseconds{*due}};
}

std::vector<QueueView> Broker::queues() const {
  std::vector<QueueView> views;
  for (const auto& [name, host] : inside_->hosts) {
    for (const auto& [queue_name, queue] : host.queues) {
      views.push_back({.virtual_host = name,
                       .name = queue_name,
                       .is_durable = queue->is_durable,
                       .is_exclusive = queue->owner.has_value(),
                       .is_auto_delete = queue->is_auto_delete,
                       .ready_count = queue->entries.ready_count(),
                       .unacked_count = queue->unacked_count,
                       .consumer_count = queue->consumers.size(),
                       .body_bytes = queue->entries.ready_bytes(),
                       .published_total = queue->published_total,
                       .delivered_total = queue->delivered_total,
                       .acked_total = queue->acked_total,
                       .segment_count = queue->segments.size(),
                       .arguments = queue->table});
    }
  }
  return views;
}

std::size_t Broker::delayed_count() const noexcept {
  std::size_t count = 0;
  for (const auto& [id, held] : inside_->delaying) count += held->entries.live_count();
  return count;
}

std::uint64_t Broker::duplicates_total() const noexcept {
  return inside_->duplicates_total;
}

std::uint64_t Broker::held_bytes() const noexcept {
  return inside_->held_bytes;
}

std::uint64_t Broker::index_bytes() const noexcept {
  return inside_->index_bytes + inside_->page_bytes;
}

std::vector<SegmentUse> Broker::segments_in_use() const {
  std::vector<SegmentUse> uses;
  for (const auto& [number, use] : inside_->segments) uses.push_back(use);
  return uses;
}

std::uint64_t Broker::replies_dropped_total() const noexcept {
  return inside_->replies_dropped_total;
}

std::vector<Broker::Peeked> Broker::peek(std::string_view virtual_host, std::string_view queue,
                                         std::uint64_t from, std::size_t count_max) const {
  std::vector<Peeked> seen;
  const auto host = inside_->hosts.find(virtual_host);
  if (host == inside_->hosts.end()) return seen;
  const auto found = host->second.queues.find(queue);
  if (found == host->second.queues.end()) return seen;
  const auto read = [this](const PageRef& page) { return inside_->effects.read_page(page); };
  for (const auto& [entry, is_out] : found->second->entries.look(from, count_max, read)) {
    seen.push_back({entry.sequence, entry.body, is_out});
  }
  return seen;
}

}  // namespace pronto::broker
