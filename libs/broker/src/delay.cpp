#include "delay.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "content.hpp"
#include "inside.hpp"

namespace pronto::broker {

namespace {

constexpr const char* header = "x-delay";

/// What is routed after its delay says so by the sign, and no exchange delays it again.
ContentPtr delayed(const Content& content) {
  return with_properties(content, [](wire::BasicProperties& changed) {
    const std::int64_t delay = changed.headers->find_integer(header).value_or(0);
    const auto least = std::int64_t{std::numeric_limits<std::int32_t>::min()};
    if (-delay < least) {
      changed.headers->set(header, -delay);
    } else {
      changed.headers->set(header, static_cast<std::int32_t>(-delay));
    }
  });
}

}  // namespace

std::int64_t delay_of(const wire::Table* headers) {
  if (!headers) return 0;
  return std::clamp<std::int64_t>(headers->find_integer(header).value_or(0), 0, milliseconds_max);
}

Result<void, wire::Fault> check_delay(const wire::Table& headers) {
  const std::int64_t delay = headers.find_integer(header).value_or(0);
  if (delay <= milliseconds_max) return {};
  return wire::Fault{wire::ReplyCode::precondition_failed,
                     fmt::format("invalid {} '{}': {{value_too_large,{}}}", header, delay, delay)};
}

void Broker::Inside::make_delayed(Exchange& exchange, const VirtualHost& host, QueueId id) {
  exchange.held = std::make_unique<Queue>(id, host.name, exchange.name, QueueArguments{},
                                          wire::Table{}, paging());
  exchange.held->is_durable = exchange.is_durable;
  exchange.held->delay = std::make_unique<Delay>(exchange);
  last_queue_id = std::max(last_queue_id, static_cast<std::uint64_t>(id));
  queues_by_id.emplace(static_cast<std::uint64_t>(id), exchange.held.get());
  delaying.emplace(static_cast<std::uint64_t>(id), exchange.held.get());
}

void Broker::Inside::forget_delayed(Exchange& exchange) {
  Queue& held = *exchange.held;
  held.entries.remove_if([this, &held](const Entry& entry, bool) {
    release(held, entry);
    return true;
  });
  std::erase_if(new_entries, [&held](const NewEntry& entry) { return entry.queue == &held; });
  queues_by_id.erase(static_cast<std::uint64_t>(held.id));
  delaying.erase(static_cast<std::uint64_t>(held.id));
}

void Broker::Inside::release_due(Queue& held, WallTime now) {
  Delay& delay = *held.delay;
  const std::int64_t time = millis_of(now);
  // What moves is written again.
  if (!effects.has_room()) return;
  while (!delay.due.empty() && delay.due.top().at <= time &&
         delay.releasing.size() < limits.load_count_max) {
    const std::uint64_t sequence = delay.due.top().sequence;
    delay.due.pop();
    const auto entry = held.entries.take({sequence, 0});
    if (!entry) continue;
    const FetchTicket ticket{++last_ticket};
    delay.releasing.push_back(
        {.ticket = ticket, .id = entry->id(), .body = entry->body, .content = {}});
    releases.emplace(ticket, held.id);
    effects.fetch(entry->body, ticket);
  }
}

void Broker::Inside::on_release(QueueId id, FetchTicket ticket, const ContentPtr& content,
                                WallTime now) {
  const auto known = delaying.find(static_cast<std::uint64_t>(id));
  if (known == delaying.end()) return;  // deleted since
  Queue& held = *known->second;
  std::deque<Delay::Release>& releasing = held.delay->releasing;
  const auto found = std::ranges::find(releasing, ticket, &Delay::Release::ticket);
  PRONTO_ASSERT(found != releasing.end());
  found->is_answered = true;
  found->content = content;
  while (!releasing.empty() && releasing.front().is_answered) {
    const Delay::Release release = std::move(releasing.front());
    releasing.pop_front();
    const auto entry = held.entries.find(release.id);
    PRONTO_ASSERT(entry.has_value());
    if (!release.content) {
      set_aside(held, *entry);
      continue;
    }
    // The move is one unit: the records of where it goes, and this removal.
    ContentPtr due = delayed(*release.content);
    const auto headers = headers_of(*due);
    PRONTO_ASSERT(headers.has_value());
    Passage passage{.now = now,
                    .is_persistent = properties_of(*due).is_persistent(),
                    .asked_before = &held.delay->exchange,
                    .exchanges = {},
                    .names = MessageNames{&*headers}};
    std::vector<Queue*> queues =
        route_with_copies(virtual_host(held.virtual_host), held.delay->exchange.name,
                          due->routing_key, &*headers, &passage);
    if (headers->find("BCC")) due = without_blind_copies(*due);
    // For the queues it is new, and for the exchanges behind its own.
    const bool was_there = drop_duplicates(queues, passage);
    if (was_there || passage.is_duplicate) ++duplicates_total;
    remember(queues, passage, *headers);
    if (!queues.empty()) store(queues, due, properties_of(*due), now);
    drop(held, *entry);
    finish(now);
  }
  release_due(held, now);
}

}  // namespace pronto::broker
