#include "content_store.hpp"

#include <utility>

#include "pronto/base/assert.hpp"

namespace pronto::server {
namespace {

constexpr std::uint64_t entry_bytes = 160;  // what the map and the content cost beside their bytes

}  // namespace

std::uint64_t bytes_of(const broker::Content& content) noexcept {
  return entry_bytes + content.body.size() + content.properties.size() + content.exchange.size() +
         content.routing_key.size();
}

broker::BodyRef ContentStore::keep(broker::ContentPtr content, std::uint32_t holders) {
  const std::uint64_t position = in_memory_bit | ++last_kept_;
  const auto bytes = static_cast<std::uint32_t>(content->body.size());
  kept_bytes_ += bytes_of(*content);
  entries_.emplace(position, Entry{.content = std::move(content), .holders = holders});
  return {broker::BodyPosition{position}, bytes};
}

void ContentStore::cache(broker::BodyPosition at, broker::ContentPtr content,
                         std::uint32_t holders) {
  const auto position = static_cast<std::uint64_t>(at);
  const auto [place, is_new] = entries_.try_emplace(position);
  if (!is_new) return;
  Entry& entry = place->second;
  entry.content = std::move(content);
  entry.holders = holders;
  entry.arrival = ++last_arrival_;
  cached_bytes_ += bytes_of(*entry.content);
  ++cached_count_;
  arrivals_.push_back({position, last_arrival_});
  // What has just come is wanted next: it stays, however large.
  while (cached_bytes_ > cached_bytes_max_ && cached_count_ > 1) evict();
}

bool ContentStore::is_here(const Arrival& arrival) const {
  const auto found = entries_.find(arrival.position);
  return found != entries_.end() && found->second.arrival == arrival.number;
}

/// Takes out the oldest of those that may leave.
void ContentStore::evict() {
  for (;;) {
    const Arrival oldest = arrivals_.front();
    arrivals_.pop_front();
    if (!is_here(oldest)) continue;
    erase(entries_.find(oldest.position));
    ++evicted_total_;
    return;
  }
}

/// Most contents leave in another way, and soon: their arrivals go once they are the most.
void ContentStore::forget_arrivals() {
  constexpr std::size_t few = 1024;
  if (arrivals_.size() < few + 2 * cached_count_) return;
  std::erase_if(arrivals_, [this](const Arrival& arrival) { return !is_here(arrival); });
}

broker::ContentPtr ContentStore::find(broker::BodyPosition position) const {
  const auto found = entries_.find(static_cast<std::uint64_t>(position));
  return found == entries_.end() ? nullptr : found->second.content;
}

bool ContentStore::has(broker::BodyPosition position) const {
  return entries_.contains(static_cast<std::uint64_t>(position));
}

void ContentStore::release(broker::BodyPosition position) {
  const auto found = entries_.find(static_cast<std::uint64_t>(position));
  if (found != entries_.end() && --found->second.holders == 0) erase(found);
}

void ContentStore::erase(Entries::iterator entry) {
  if (is_in_memory_only(broker::BodyPosition{entry->first})) {
    kept_bytes_ -= bytes_of(*entry->second.content);
  } else {
    cached_bytes_ -= bytes_of(*entry->second.content);
    --cached_count_;
  }
  entries_.erase(entry);
  forget_arrivals();
  // What a backlog took is given back when it has gone, a table's worth at a time.
  constexpr std::size_t slots_kept = 64 * 1024;
  if (entries_.bucket_count() > slots_kept && entries_.size() < entries_.bucket_count() / 16) {
    entries_.rehash(0);
  }
}

}  // namespace pronto::server
