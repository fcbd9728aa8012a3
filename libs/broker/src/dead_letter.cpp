#include <fmt/format.h>

#include <algorithm>

#include "content.hpp"
#include "inside.hpp"
#include "pronto/wire/properties.hpp"

namespace pronto::broker {

namespace {

using wire::Table;
using wire::Value;

/// Notes in the header x-death that `queue` gave the message up for `reason`.
/// The newest entry comes first; one of the same queue and reason is counted up.
/// Source: RabbitMQ, dead letter exchanges, "Dead-Lettered Message Headers".
void add_death(Table& headers, const Queue& queue, std::string_view reason, const Content& content,
               const std::optional<std::string>& expiration, WallTime now) {
  wire::Array deaths;
  const bool is_first = !headers.find("x-death");
  // Anything but a list there is a client's doing, and begins anew.
  if (const wire::Array* known = headers.find_array("x-death")) deaths = *known;
  Table death;
  const auto found = std::ranges::find_if(deaths, [&](const Value& value) {
    const Table* table = value.get_if<Table>();
    return table && table->find_string("queue") == queue.name &&
           table->find_string("reason") == reason;
  });
  if (found != deaths.end()) {
    death = *found->get_if<Table>();
    death.set("count", death.find_integer("count").value_or(0) + 1);
    deaths.erase(found);
  } else {
    wire::Array keys{Value{content.routing_key}};
    if (const wire::Array* copies = headers.find_array("CC")) {
      keys.insert(keys.end(), copies->begin(), copies->end());
    }
    death.append("count", std::int64_t{1});
    death.append("reason", reason);
    death.append("queue", queue.name);
    death.append("time", wire::Timestamp{static_cast<std::uint64_t>(
                             std::chrono::floor<seconds>(now).time_since_epoch().count())});
    death.append("exchange", content.exchange);
    death.append("routing-keys", std::move(keys));
    if (expiration) death.append("original-expiration", *expiration);
  }
  deaths.insert(deaths.begin(), Value{std::move(death)});
  headers.set("x-death", std::move(deaths));
  if (is_first) {
    headers.set("x-first-death-reason", reason);
    headers.set("x-first-death-queue", queue.name);
    headers.set("x-first-death-exchange", content.exchange);
  }
}

/// Whether the message has gone round since it was last in `queue` without anybody rejecting it: it
/// would for ever. Source: RabbitMQ, rabbit_dead_letter:is_cycle.
bool is_cycle(const Table& headers, const Queue& queue) {
  const wire::Array* deaths = headers.find_array("x-death");
  if (!deaths) return false;
  for (const Value& value : *deaths) {  // the newest first
    const Table* death = value.get_if<Table>();
    // What is no table is a client's doing, and so was the way here.
    if (!death || death->find_string("reason") == "rejected") return false;
    if (death->find_string("queue") == queue.name) return true;
  }
  return false;
}

}  // namespace

void Broker::Inside::release(Queue& queue, const Entry& entry) {
  if (is_provisional(entry.body.position)) {
    new_releases.push_back(entry.body);
    return;
  }
  if (entry.is_journaled) count_live(queue, entry.body, false);
  effects.release(entry.body);
}

void Broker::Inside::count_live(Queue& queue, BodyRef body, bool is_more) {
  if (!is_in_journal(body.position)) return;
  count_live(queue, SegmentUse{segment_of(body.position), 1, body.bytes}, is_more);
}

void Broker::Inside::count_live(Queue& queue, const SegmentUse& some, bool is_more) {
  const auto use = segments.try_emplace(some.segment, SegmentUse{some.segment, 0, 0}).first;
  const std::uint64_t sign = is_more ? 1 : std::numeric_limits<std::uint64_t>::max();
  use->second.entry_count += sign * some.entry_count;
  use->second.body_bytes += sign * some.body_bytes;
  if (is_more) {
    queue.segments.add(some.segment, some.entry_count);
  } else {
    queue.segments.subtract(some.segment, some.entry_count);
  }
  if (use->second.entry_count == 0) segments.erase(use);
}

void Broker::Inside::drop(Queue& queue, const Entry& entry) {
  if (entry.is_journaled) record_removed(queue, entry.sequence);
  queue.entries.remove(entry.id());
  release(queue, entry);
}

void Broker::Inside::set_aside(Queue& queue, const Entry& entry) {
  queue.set_aside.push_back(entry.id());
}

const Exchange* Broker::Inside::dead_letter_exchange(const Queue& queue) {
  if (!queue.arguments.dead_letter_exchange) return nullptr;
  const auto& exchanges = virtual_host(queue.virtual_host).exchanges;
  const auto found = exchanges.find(*queue.arguments.dead_letter_exchange);
  return found == exchanges.end() ? nullptr : found->second.get();
}

void Broker::Inside::discard(Queue& queue, const Entry& entry, std::string_view reason) {
  if (!dead_letter_exchange(queue)) {
    drop(queue, entry);
    return;
  }
  const FetchTicket ticket{++last_ticket};
  dead_letters.emplace(ticket, DeadLetterJob{&queue, entry.id(), reason, entry.body});
  if (is_provisional(entry.body.position)) {
    new_fetches.emplace_back(entry.body, ticket);
  } else {
    effects.fetch(entry.body, ticket);
  }
}

/// What moves to a dead-letter exchange is written again, so on a full disk it stays.
void Broker::Inside::expire(Queue& queue, std::int64_t upto) {
  if (!queue.entries.has_expired(upto)) return;
  if (dead_letter_exchange(queue) && !effects.has_room()) return;
  std::vector<PageId> wanted;
  for (const Entry& entry : queue.entries.take_expired(upto, wanted)) {
    discard(queue, entry, expired);
  }
  for (const PageId& page : wanted) fetch_page(queue, page);
  // What comes to the front may expire before all of its page has.
  if (queue.entries.written_out_count() > 0) load_pages(queue);
}

void Broker::Inside::dead_letter(Queue& queue, const Content& content, std::string_view reason,
                                 WallTime now) {
  auto properties = wire::decode_properties(content.properties);
  PRONTO_ASSERT(properties.has_value());
  Table headers = properties->headers.value_or(Table{});
  std::optional<std::string> expiration;
  if (properties->expiration) expiration = properties->expiration->text();
  add_death(headers, queue, reason, content, expiration, now);
  // A key of the queue's own stands for all keys of the message.
  if (queue.arguments.dead_letter_routing_key) headers.erase("CC");
  if (!wire::fits_the_wire(headers)) {
    // A client's own that are as many as there may be leave no room: why it died is kept.
    headers = Table{};
    add_death(headers, queue, reason, content, expiration, now);
  }
  properties->headers = headers;
  properties->expiration.reset();

  auto letter = std::make_shared<Content>();
  letter->exchange = *queue.arguments.dead_letter_exchange;
  // A queue that an older version declared may have a key that is none.
  letter->routing_key = queue.arguments.dead_letter_routing_key.value_or(content.routing_key)
                            .substr(0, wire::ShortString::bytes_max);
  letter->properties = wire::encode_properties(*properties);
  letter->body = content.body;
  std::vector<Queue*> queues = route_with_copies(virtual_host(queue.virtual_host), letter->exchange,
                                                 letter->routing_key, &headers);
  std::erase_if(queues,
                [&](Queue* target) { return !target->delay && is_cycle(headers, *target); });
  if (!queues.empty()) store(queues, letter, properties_of(*letter), now);
}

void Broker::on_fetched(FetchTicket ticket, ContentPtr content, WallTime now) {
  Inside& inside = *inside_;
  if (!content && inside.fetch_again(ticket)) return;
  if (const auto load = inside.loads.extract(ticket)) {
    inside.on_loaded(load.mapped(), content);
    inside.finish(now);
    return;
  }
  if (const auto release = inside.releases.extract(ticket)) {
    inside.on_release(release.mapped(), ticket, content, now);
    inside.finish(now);
    return;
  }
  if (inside.cleaning) {
    if (auto move = inside.cleaning->reading.extract(ticket)) {
      inside.on_move_read(std::move(move.mapped()), content);
      inside.finish(now);
      return;
    }
  }
  const auto found = inside.dead_letters.find(ticket);
  if (found == inside.dead_letters.end()) return;
  const DeadLetterJob job = found->second;
  inside.dead_letters.erase(found);
  if (!job.queue) return;
  const auto entry = job.queue->entries.find(job.id);
  PRONTO_ASSERT(entry.has_value());
  if (content && job.reason == Inside::expired && !inside.effects.has_room()) {
    job.queue->entries.give_back(job.id);
    inside.watch(*job.queue);
    inside.finish(now);
    return;
  }
  // The move is one unit: the letter's records and this removal.
  if (content) {
    inside.dead_letter(*job.queue, *content, job.reason, now);
    inside.drop(*job.queue, *entry);
  } else {
    inside.set_aside(*job.queue, *entry);
  }
  inside.finish(now);
}

}  // namespace pronto::broker
