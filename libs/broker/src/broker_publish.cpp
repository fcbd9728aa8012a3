#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "content.hpp"
#include "inside.hpp"

namespace pronto::broker {

using wire::Fault;
using wire::ReplyCode;

namespace {

/// What a deduplication record takes in a unit: three names at most, and what is around them.
constexpr std::size_t deduplication_bytes_max = 1024;
constexpr std::string_view reply_queue = "amq.rabbitmq.reply-to";

/// A message's own time to live in milliseconds: an integer with nothing around it.
Result<std::int64_t, Fault> parse_expiration(std::string_view text) {
  const auto refused = [text](const std::string& reason) {
    return Fault{ReplyCode::precondition_failed,
                 fmt::format("invalid expiration '{}': {}", text, reason)};
  };
  const char* first = text.data();
  const char* last = first + text.size();
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') ++first;
  std::int64_t number = 0;
  const auto parsed = std::from_chars(first, last, number);
  if (parsed.ec == std::errc::invalid_argument) return refused("no_integer");
  if (parsed.ptr != last) {
    return refused(fmt::format("{{leftover_string,\"{}\"}}", std::string_view{parsed.ptr, last}));
  }
  const std::string_view digits{first, last};
  const bool is_huge = parsed.ec == std::errc::result_out_of_range;
  if (digits.starts_with('-') && (is_huge || number != 0)) {
    return refused(fmt::format("{{value_negative,{}}}", digits));
  }
  if (is_huge || number > milliseconds_max) {
    return refused(fmt::format("{{value_too_large,{}}}", digits));
  }
  return number;
}

/// The keys of a CC or BCC header.
std::vector<std::string> keys_of(const wire::Table& headers, std::string_view name) {
  std::vector<std::string> keys;
  if (const wire::Array* array = headers.find_array(name)) {
    for (const wire::Value& value : *array) {
      if (const auto* text = value.get_if<wire::LongString>()) keys.push_back(*text);
    }
  }
  return keys;
}

/// A fault that costs the peer its channel, and the transaction with it, not the connection.
Fault on_channel(Fault fault) {
  fault.is_connection_error = false;
  return fault;
}

Fault transaction_is_large(const Limits& limits) {
  return on_channel(
      {.code = ReplyCode::resource_error,
       .text = fmt::format("the transaction is larger than {} bytes", limits.unit_bytes_max)});
}

}  // namespace

Fault transaction_is_full(const Limits& limits) {
  return on_channel({.code = ReplyCode::resource_error,
                     .text = fmt::format("a transaction holds at most {} publishes and answers",
                                         limits.transaction_count_max)});
}

Broker::Inside::Outcome Broker::Inside::check_publish(Channel& channel, PublishFlags flags,
                                                      ContentPtr& content,
                                                      wire::PropertiesView& properties) {
  const std::string& exchange_name = content->exchange;
  if (flags.immediate) return Fault{ReplyCode::not_implemented, "immediate=true"};
  const Outcome allowed = may_exchange(channel, Access::write, exchange_name);
  if (!allowed) return allowed.error();
  if (!exchange_name.empty()) {
    const auto exchange = need_exchange(channel, exchange_name);
    if (!exchange) return exchange.error();
    if ((*exchange)->is_internal) {
      return Fault{ReplyCode::access_refused,
                   fmt::format("cannot publish to internal exchange '{}' in vhost '{}'",
                               (*exchange)->name, channel.connection->host->name)};
    }
    if ((*exchange)->held) {
      const auto headers = headers_of(*content);
      const Outcome checked = headers ? check_delay(*headers) : Outcome{};
      if (!checked) return checked.error();
    }
  }
  if (properties.user_id && *properties.user_id != channel.connection->user) {
    return Fault{ReplyCode::precondition_failed,
                 fmt::format("user_id property set to '{}' but authenticated user was '{}'",
                             *properties.user_id, channel.connection->user)};
  }
  if (properties.expiration) {
    const auto milliseconds = parse_expiration(*properties.expiration);
    if (!milliseconds) return milliseconds.error();
  }
  if (properties.reply_to && *properties.reply_to == reply_queue) {
    if (channel.reply_name.empty()) {
      return Fault{ReplyCode::precondition_failed, "fast reply consumer does not exist"};
    }
    content = with_properties(
        *content, [&](wire::BasicProperties& changed) { changed.reply_to = channel.reply_name; });
    properties = properties_of(*content);
  }
  return {};
}

Broker::Inside::Outcome Broker::Inside::publish(Channel& channel, PublishFlags flags,
                                                ContentPtr content, WallTime now) {
  wire::PropertiesView properties = properties_of(*content);
  const Outcome checked = check_publish(channel, flags, content, properties);
  if (!checked) return checked.error();
  if (channel.mode == Channel::Mode::transaction) {
    if (channel.held_publishes.size() + channel.held_answers.size() >=
        limits.transaction_count_max) {
      return transaction_is_full(limits);
    }
    // Several channels would hold what one may not.
    count_held(channel, content->body.size() + content->properties.size() + unit_overhead_bytes);
    if (channel.connection->held_bytes > limits.unit_bytes_max) return transaction_is_large(limits);
    channel.held_publishes.push_back({flags, std::move(content)});
    return {};
  }
  const std::size_t bodies_before = new_body_count;
  const Routed routed = route_and_store(&channel, flags, content, properties, now);
  if (channel.mode == Channel::Mode::confirm) {
    // The one that a duplicate repeats may still be on its way to the disk.
    channel.unconfirmed.push_back({++channel.published_count,
                                   routed.is_duplicate ? last_appended : JournalSequence{},
                                   routed.is_taken});
    if (new_body_count > bodies_before) new_unconfirmed.push_back(&channel.unconfirmed.back());
    await_confirm(channel);
  }
  return {};
}

Broker::Inside::Routed Broker::Inside::route_and_store(Channel* channel, PublishFlags flags,
                                                       const ContentPtr& published,
                                                       const wire::PropertiesView& properties,
                                                       WallTime now) {
  ContentPtr content = published;
  if (content->exchange.empty() && content->routing_key.starts_with(reply_queue)) {
    const bool is_sent = reply_directly(content->routing_key, content);
    if (!is_sent && flags.mandatory && channel) {
      effects.return_message(channel->connection->id, channel->id, ReplyCode::no_route, "NO_ROUTE",
                             content);
    }
    return {};
  }
  VirtualHost& host = channel ? *channel->connection->host : hosts.begin()->second;
  const std::optional<wire::Table> headers = headers_of(properties);
  Passage passage{.now = now,
                  .is_persistent = properties.is_persistent(),
                  .exchanges = {},
                  .names = MessageNames{headers ? &*headers : nullptr}};
  std::vector<Queue*> queues = route_with_copies(host, content->exchange, content->routing_key,
                                                 headers ? &*headers : nullptr, &passage);
  const bool has_blind_copies = headers && headers->find("BCC");
  if (has_blind_copies) content = without_blind_copies(*content);
  if (queues.empty() && !passage.is_duplicate) {
    if (flags.mandatory && channel) {
      effects.return_message(channel->connection->id, channel->id, ReplyCode::no_route, "NO_ROUTE",
                             content);
    }
    return {};
  }
  Routed routed{.is_duplicate = passage.is_duplicate};
  if (headers && drop_duplicates(queues, passage)) routed.is_duplicate = true;
  if (routed.is_duplicate) ++duplicates_total;
  // The publisher is told that it was refused, so nothing is promised of a copy of it.
  // Source: RabbitMQ, queue length limit, x-overflow=reject-publish-dlx.
  std::erase_if(queues, [&](Queue* queue) {
    const QueueArguments& arguments = queue->arguments;
    if (arguments.overflow == Overflow::drop_head) return false;
    const bool is_full =
        (arguments.length_max && queue->entries.ready_count() >= *arguments.length_max) ||
        (arguments.bytes_max &&
         queue->entries.ready_bytes() + content->body.size() > *arguments.bytes_max);
    if (!is_full) return false;
    routed.is_taken = false;
    if (arguments.overflow == Overflow::reject_publish_dlx) {
      refused_letters.push_back({queue->id, content});
    }
    return true;
  });
  // Without confirms there is no way to refuse: it is kept as long as the journal takes it, and the
  // host stops the publisher.
  const bool can_refuse = channel && channel->mode == Channel::Mode::confirm;
  if (can_refuse && properties.is_persistent() && !effects.has_room() &&
      std::ranges::any_of(queues, [](Queue* queue) { return queue->is_journaled(); })) {
    routed.is_taken = false;
    return routed;
  }
  if (headers) {
    // Who refused it gets it again.
    if (!routed.is_taken) passage.exchanges.clear();
    remember(queues, passage, *headers);
  }
  if (has_blind_copies) {
    // What is delayed is routed again, and needs all keys for that.
    std::vector<Queue*> delayed;
    std::erase_if(queues, [&delayed](Queue* queue) {
      if (queue->delay) delayed.push_back(queue);
      return queue->delay != nullptr;
    });
    if (!delayed.empty()) store(delayed, published, properties, now);
  }
  if (!queues.empty()) store(queues, content, properties, now);
  return routed;
}

bool Broker::Inside::drop_duplicates(std::vector<Queue*>& queues, Passage& passage) {
  return std::erase_if(queues, [&](const Queue* queue) {
           if (!queue->window) return false;
           const auto& id = passage.names.by(queue->window->header());
           return id && queue->window->has(*id, millis_of(passage.now), passage.is_persistent);
         }) > 0;
}

void Broker::Inside::remember(const std::vector<Queue*>& queues, Passage& passage,
                              const wire::Table& headers) {
  const std::int64_t now = millis_of(passage.now);
  bool is_any_written = false;
  for (Queue* queue : queues) {
    const bool is_written = passage.is_persistent && queue->is_journaled();
    is_any_written = is_any_written || is_written;
    if (!queue->window) continue;
    const auto& id = passage.names.by(queue->window->header());
    if (!id) continue;
    const std::int64_t expires_at = queue->window->expires_at(headers, now);
    if (is_written) record(DeduplicationRecord{queue->id, {}, {}, *id, expires_at});
    queue->window->add(*id, expires_at, passage.is_persistent, is_written);
  }
  if (queues.empty()) return;
  for (Exchange* exchange : passage.exchanges) {
    const auto& id = passage.names.by(exchange->window->header());
    if (!id) continue;
    const std::int64_t expires_at = exchange->window->expires_at(headers, now);
    const bool is_written = is_any_written && exchange->is_durable;
    if (is_written) {
      record(
          DeduplicationRecord{{}, queues.front()->virtual_host, exchange->name, *id, expires_at});
    }
    exchange->window->add(*id, expires_at, passage.is_persistent, is_written);
  }
}

void Broker::Inside::store(const std::vector<Queue*>& queues, const ContentPtr& content,
                           const wire::PropertiesView& properties, WallTime now) {
  const bool is_persistent = properties.is_persistent();
  const auto body_bytes = static_cast<std::uint32_t>(content->body.size());
  const auto is_written = [is_persistent](const Queue* queue) {
    return is_persistent && queue->is_journaled();
  };
  const auto written_count = static_cast<std::size_t>(std::ranges::count_if(queues, is_written));
  BodyRef journaled;  // one body for the queues that are written,
  BodyRef kept;       // another for those that are not
  if (written_count > 0) {
    record(BodyRecord{content});
    journaled = {provisional(new_body_count++), body_bytes};
    const auto is_strict = [&](const Queue* queue) {
      return is_written(queue) && queue->arguments.sync_mode == QueueSyncMode::sync;
    };
    if (std::ranges::none_of(queues, is_strict)) relaxed_count += 1 + written_count;
  }
  if (written_count < queues.size()) {
    kept = effects.keep(content, static_cast<std::uint32_t>(queues.size() - written_count));
  }
  for (Queue* queue : queues) {
    Entry entry;
    entry.sequence = ++queue->last_sequence;
    entry.priority = std::min(properties.priority.value_or(0), queue->arguments.priority_max);
    std::optional<std::int64_t> ttl = queue->arguments.message_ttl_ms;
    if (properties.expiration) {
      const std::int64_t own = *parse_expiration(*properties.expiration);
      ttl = ttl ? std::min(*ttl, own) : own;
    }
    if (ttl) entry.expires_at = millis_of(now) + *ttl;
    if (queue->delay) {
      // Its own time to live begins when it is due.
      const auto headers = headers_of(properties);
      entry.expires_at = millis_of(now) + delay_of(headers ? &*headers : nullptr);
      queue->delay->due.push({entry.expires_at, entry.sequence});
    }
    entry.is_journaled = is_written(queue);
    entry.body = entry.is_journaled ? journaled : kept;
    if (entry.is_journaled) {
      record(EnqueueRecord{queue->id, entry.sequence, 0, body_bytes, entry.priority,
                           entry.expires_at});
      new_entries.push_back({queue, entry.id(), journaled});
    }
    ++queue->published_total;
    if (const auto full = queue->entries.append(entry)) note_full(*queue, *full);
    if (queue->delay) continue;
    if (entry.expires_at != 0) watch(*queue);
    enforce_length(*queue);
    touch(*queue);
  }
}

void Broker::Inside::enforce_length(Queue& queue) {
  const QueueArguments& arguments = queue.arguments;
  if (arguments.overflow != Overflow::drop_head) return;
  while (queue.entries.ready_count() > 0 &&
         ((arguments.length_max && queue.entries.ready_count() > *arguments.length_max) ||
          (arguments.bytes_max && queue.entries.ready_bytes() > *arguments.bytes_max))) {
    if (const auto oldest = queue.entries.take_oldest()) {
      discard(queue, *oldest, "maxlen");
    } else {
      read_page(queue, *queue.entries.missing_oldest());
    }
  }
}

std::vector<Queue*> Broker::Inside::route_with_copies(VirtualHost& host, std::string_view exchange,
                                                      std::string_view key,
                                                      const wire::Table* headers,
                                                      Passage* passage) {
  std::vector<Queue*> queues = route(host, exchange, key, headers, passage);
  if (!headers) return queues;
  for (const char* name : {"CC", "BCC"}) {
    for (const std::string& copy : keys_of(*headers, name)) {
      for (Queue* queue : route(host, exchange, copy, headers, passage)) {
        if (std::ranges::find(queues, queue) == queues.end()) queues.push_back(queue);
      }
    }
  }
  return queues;
}

std::vector<Queue*> Broker::Inside::route(VirtualHost& host, std::string_view exchange,
                                          std::string_view key, const wire::Table* headers,
                                          Passage* passage) {
  std::vector<Queue*> queues;
  if (exchange.empty()) {
    const auto found = host.queues_by_name.find(key);
    if (found != host.queues_by_name.end()) queues.push_back(found->second);
    return queues;
  }
  const auto first = host.exchanges.find(exchange);
  if (first == host.exchanges.end()) return queues;
  std::vector<Exchange*> visited{first->second.get()};  // each once, so cycles end
  std::vector<Destination> found;
  const std::int64_t delay = delaying.empty() ? 0 : delay_of(headers);
  for (std::size_t i = 0; i < visited.size(); ++i) {
    if (passage && visited[i]->window && visited[i] != passage->asked_before) {
      const auto& id = passage->names.by(visited[i]->window->header());
      if (id && visited[i]->window->has(*id, millis_of(passage->now), passage->is_persistent)) {
        passage->is_duplicate = true;
        continue;
      }
      if (std::ranges::find(passage->exchanges, visited[i]) == passage->exchanges.end()) {
        passage->exchanges.push_back(visited[i]);
      }
    }
    if (delay > 0 && visited[i]->held) {
      queues.push_back(visited[i]->held.get());
      continue;
    }
    found.clear();
    visited[i]->match(key, headers, found);
    if (found.empty() && !visited[i]->alternate.empty()) {
      const auto other = host.exchanges.find(visited[i]->alternate);
      if (other != host.exchanges.end()) found.push_back({nullptr, other->second.get()});
    }
    for (const Destination& destination : found) {
      if (destination.queue) {
        if (std::ranges::find(queues, destination.queue) == queues.end()) {
          queues.push_back(destination.queue);
        }
      } else if (std::ranges::find(visited, destination.exchange) == visited.end()) {
        visited.push_back(destination.exchange);
      }
    }
  }
  return queues;
}

bool Broker::Inside::reply_directly(std::string_view key, const ContentPtr& content) {
  const auto found = reply_channels.find(std::string{key});
  if (found == reply_channels.end()) return false;
  Channel& channel = *found->second;
  // It waits in no queue, so the outbox would have to hold it. A reply is at most once.
  if (!has_credit(*channel.connection)) {
    ++replies_dropped_total;
    return true;
  }
  const BodyRef body = effects.keep(content, 1);
  effects.deliver({channel.connection->id, channel.id, channel.reply_consumer_tag,
                   ++channel.last_delivery_tag, false, body, std::nullopt});
  effects.release(body);
  return true;
}

Broker::Inside::Outcome Broker::Inside::on(Channel& channel, const wire::ConfirmSelect& method,
                                           WallTime) {
  if (channel.mode == Channel::Mode::transaction) {
    return Fault{ReplyCode::precondition_failed, "cannot switch from tx to confirm mode"};
  }
  channel.mode = Channel::Mode::confirm;
  if (!method.no_wait) send(channel, wire::ConfirmSelectOk{});
  return {};
}

Broker::Inside::Outcome Broker::Inside::on(Channel& channel, const wire::TxSelect&, WallTime) {
  if (channel.mode == Channel::Mode::confirm) {
    return Fault{ReplyCode::precondition_failed, "cannot switch from confirm to tx mode"};
  }
  channel.mode = Channel::Mode::transaction;
  send(channel, wire::TxSelectOk{});
  return {};
}

void Broker::Inside::count_held(Channel& channel, std::size_t bytes) {
  channel.held_bytes += bytes;
  channel.connection->held_bytes += bytes;
  held_bytes += bytes;
}

void Broker::Inside::count_none_held(Channel& channel) {
  channel.connection->held_bytes -= channel.held_bytes;
  held_bytes -= channel.held_bytes;
  channel.held_bytes = 0;
}

Broker::Inside::Outcome Broker::Inside::check_commit(Channel& channel, WallTime now) {
  const auto& publishes = channel.held_publishes;
  const bool has_persistent = std::ranges::any_of(publishes, [](const HeldPublish& held) {
    return properties_of(*held.content).is_persistent();
  });
  if (has_persistent && !effects.has_room()) {
    return on_channel(
        {.code = ReplyCode::resource_error, .text = "no room on the disk for the transaction"});
  }
  VirtualHost& host = *channel.connection->host;
  const std::size_t known = channel.held_bytes + channel.held_answers.size() * unit_overhead_bytes;
  std::size_t most = known + publishes.size() * host.queues.size() * unit_overhead_bytes;
  if (most > limits.unit_bytes_max || has_windows || !delaying.empty()) {
    // Were each message to go to every queue; so it is to be known how many do, and who of them
    // keeps its name, or the message with its blind copies.
    most = known;
    for (const HeldPublish& held : publishes) {
      const std::optional<wire::Table> headers = headers_of(*held.content);
      Passage passage{.now = now,
                      .is_persistent = properties_of(*held.content).is_persistent(),
                      .exchanges = {},
                      .names = MessageNames{headers ? &*headers : nullptr}};
      const std::vector<Queue*> queues =
          route_with_copies(host, held.content->exchange, held.content->routing_key,
                            headers ? &*headers : nullptr, &passage);
      const bool is_delayed = std::ranges::any_of(queues, [](Queue* one) { return !!one->delay; });
      if (is_delayed && headers && headers->find("BCC")) most += held.content->body.size();
      for (const Queue* queue : queues) {
        most += unit_overhead_bytes + (queue->window ? deduplication_bytes_max : 0);
      }
      most += passage.exchanges.size() * deduplication_bytes_max;
    }
  }
  if (most > limits.unit_bytes_max) return transaction_is_large(limits);
  return {};
}

/// All publishes and answers of the transaction are one unit. The commit is answered once it is
/// durable.
Broker::Inside::Outcome Broker::Inside::on(Channel& channel, const wire::TxCommit&, WallTime now) {
  if (channel.mode != Channel::Mode::transaction) {
    return Fault{ReplyCode::precondition_failed, "channel is not transactional"};
  }
  const Outcome checked = check_commit(channel, now);
  if (!checked) return checked.error();
  is_atomic = true;
  count_none_held(channel);
  std::vector<HeldPublish> publishes = std::move(channel.held_publishes);
  std::vector<HeldAnswer> answers = std::move(channel.held_answers);
  channel.held_publishes.clear();
  channel.held_answers.clear();
  const std::size_t bodies_before = new_body_count;
  bool has_duplicates = false;
  for (const HeldPublish& held : publishes) {
    const Routed routed =
        route_and_store(&channel, held.flags, held.content, properties_of(*held.content), now);
    has_duplicates = has_duplicates || routed.is_duplicate;
  }
  for (HeldAnswer& held : answers) {
    settle(channel, held.unacked, held.is_ack, held.requeue);
  }
  if (channel.prefetch_max != 0) serve_waiting(channel);
  // Tag 0 among the unconfirmed stands for the commit itself.
  channel.unconfirmed.push_back({0, has_duplicates ? last_appended : JournalSequence{}, true});
  if (new_body_count > bodies_before || has_records()) {
    new_unconfirmed.push_back(&channel.unconfirmed.back());
  }
  await_confirm(channel);
  return {};
}

Broker::Inside::Outcome Broker::Inside::on(Channel& channel, const wire::TxRollback&, WallTime) {
  if (channel.mode != Channel::Mode::transaction) {
    return Fault{ReplyCode::precondition_failed, "channel is not transactional"};
  }
  channel.held_publishes.clear();
  count_none_held(channel);
  // Answers are taken back: the deliveries are in hand again, as before.
  for (HeldAnswer& held : channel.held_answers) {
    channel.unacked.push_back(std::move(held.unacked));
  }
  channel.held_answers.clear();
  std::ranges::sort(channel.unacked, {}, &Unacked::tag);
  send(channel, wire::TxRollbackOk{});
  return {};
}

void Broker::Inside::await_confirm(Channel& channel) {
  awaiting_confirm.try_emplace({channel.connection->id, channel.id}, &channel);
  publishing = &channel;
}

/// Ends a command for publishers: all of them when more has become durable, else only the one that
/// has just published, so that a publish costs the same however many others wait.
void Broker::Inside::confirm_all() {
  Channel* only = std::exchange(publishing, nullptr);
  if (!std::exchange(has_durable_news, false)) {
    if (!only) return;
    confirm_durable(*only);
    if (only->unconfirmed.empty()) awaiting_confirm.erase({only->connection->id, only->id});
    return;
  }
  for (auto at = awaiting_confirm.begin(); at != awaiting_confirm.end();) {
    Channel& channel = *at->second;
    confirm_durable(channel);
    if (channel.unconfirmed.empty()) {
      at = awaiting_confirm.erase(at);
    } else {
      ++at;
    }
  }
}

/// Tells the publisher of the longest durable prefix, with one ack for all of it.
void Broker::Inside::confirm_durable(Channel& channel) {
  auto& unconfirmed = channel.unconfirmed;
  while (!unconfirmed.empty() && is_safe(unconfirmed.front())) {
    const bool is_ack = unconfirmed.front().is_ack;
    const std::uint64_t first = unconfirmed.front().tag;
    std::uint64_t last = first;
    unconfirmed.pop_front();
    if (first == 0) {
      send(channel, wire::TxCommitOk{});
      continue;
    }
    while (!unconfirmed.empty() && unconfirmed.front().is_ack == is_ack &&
           is_safe(unconfirmed.front())) {
      last = unconfirmed.front().tag;
      unconfirmed.pop_front();
    }
    effects.confirm(channel.connection->id, channel.id, last, last != first, is_ack);
  }
}

}  // namespace pronto::broker
