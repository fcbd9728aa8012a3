#include "pronto/server/content_store.hpp"

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
  entries_.emplace(position,
                   Entry{.position = position, .content = std::move(content), .holders = holders});
  return {broker::BodyPosition{position}, bytes};
}

void ContentStore::cache(broker::BodyPosition at, broker::ContentPtr content,
                         std::uint32_t holders) {
  const auto position = static_cast<std::uint64_t>(at);
  auto [place, is_new] = entries_.try_emplace(position);
  if (!is_new) return;
  Entry& entry = place->second;
  entry.position = position;
  entry.content = std::move(content);
  entry.holders = holders;
  cached_bytes_ += bytes_of(*entry.content);
  entry.older = newest_;
  (newest_ ? newest_->newer : oldest_) = &entry;
  newest_ = &entry;
  // What has just come is wanted next: it stays, however large.
  while (cached_bytes_ > cached_bytes_max_ && oldest_ != newest_) {
    erase(entries_.find(oldest_->position));
    ++evicted_total_;
  }
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

void ContentStore::erase(std::unordered_map<std::uint64_t, Entry>::iterator entry) {
  if (is_in_memory_only(broker::BodyPosition{entry->first})) {
    kept_bytes_ -= bytes_of(*entry->second.content);
  } else {
    cached_bytes_ -= bytes_of(*entry->second.content);
    unlink(entry->second);
  }
  entries_.erase(entry);
}

void ContentStore::unlink(Entry& entry) {
  (entry.older ? entry.older->newer : oldest_) = entry.newer;
  (entry.newer ? entry.newer->older : newest_) = entry.older;
}

}  // namespace pronto::server
