#include "queue.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "pronto/base/assert.hpp"

namespace pronto::broker {

Queue::Queue(QueueId queue_id, std::string host, std::string queue_name,
             QueueArguments queue_arguments, wire::Table queue_table)
    : id{queue_id},
      virtual_host{std::move(host)},
      name{std::move(queue_name)},
      arguments{std::move(queue_arguments)},
      table{std::move(queue_table)},
      levels_(static_cast<std::size_t>(arguments.priority_max) + 1) {}

std::string Queue::subject() const {
  return fmt::format("queue '{}' in vhost '{}'", name, virtual_host);
}

Queue::Level& Queue::level_of(std::uint8_t priority) {
  return levels_[std::min<std::size_t>(priority, levels_.size() - 1)];
}

const Queue::Level& Queue::level_of(std::uint8_t priority) const {
  return levels_[std::min<std::size_t>(priority, levels_.size() - 1)];
}

const Entry* Queue::find(std::uint8_t priority, std::uint64_t sequence) const {
  const Level& level = level_of(priority);
  const auto found = std::ranges::lower_bound(level, sequence, {}, &Entry::sequence);
  return found == level.end() || found->sequence != sequence ? nullptr : &*found;
}

void Queue::put(const Entry& entry) {
  Level& level = level_of(entry.priority);
  if (level.empty() || level.back().sequence < entry.sequence) {
    level.push_back(entry);
  } else if (entry.sequence < level.front().sequence) {
    level.push_front(entry);
  } else {
    level.insert(std::ranges::lower_bound(level, entry.sequence, {}, &Entry::sequence), entry);
  }
  ++ready_count_;
  ready_bytes_ += entry.message->body.bytes;
  if (entry.expires_at != 0) expiries_.insert({entry.expires_at, entry.priority, entry.sequence});
}

void Queue::taken(const Entry& entry) {
  --ready_count_;
  ready_bytes_ -= entry.message->body.bytes;
  if (entry.expires_at != 0) expiries_.erase({entry.expires_at, entry.priority, entry.sequence});
}

const Entry* Queue::front() const noexcept {
  for (auto level = levels_.rbegin(); level != levels_.rend(); ++level) {
    if (!level->empty()) return &level->front();
  }
  return nullptr;
}

Entry Queue::take_front() {
  for (auto level = levels_.rbegin(); level != levels_.rend(); ++level) {
    if (level->empty()) continue;
    const Entry entry = level->front();
    level->pop_front();
    taken(entry);
    return entry;
  }
  PRONTO_ASSERT(false);
}

Entry Queue::take_oldest() {
  for (Level& level : levels_) {
    if (level.empty()) continue;
    const Entry entry = level.front();
    level.pop_front();
    taken(entry);
    return entry;
  }
  PRONTO_ASSERT(false);
}

std::optional<Entry> Queue::take(std::uint8_t priority, std::uint64_t sequence) {
  Level& level = level_of(priority);
  const auto found = std::ranges::lower_bound(level, sequence, {}, &Entry::sequence);
  if (found == level.end() || found->sequence != sequence) return std::nullopt;
  const Entry entry = *found;
  level.erase(found);
  taken(entry);
  return entry;
}

std::vector<Entry> Queue::take_all() {
  std::vector<Entry> entries;
  entries.reserve(ready_count_);
  for (Level& level : levels_) {
    entries.insert(entries.end(), level.begin(), level.end());
    level.clear();
  }
  ready_count_ = 0;
  ready_bytes_ = 0;
  expiries_.clear();
  return entries;
}

std::vector<Entry> Queue::take_expired(std::int64_t now) {
  std::vector<Entry> entries;
  while (!expiries_.empty() && expiries_.begin()->at <= now) {
    const Expiry due = *expiries_.begin();
    auto entry = take(due.priority, due.sequence);
    PRONTO_ASSERT(entry.has_value());
    entries.push_back(*entry);
  }
  return entries;
}

std::optional<std::int64_t> Queue::next_expiry() const {
  if (expiries_.empty()) return std::nullopt;
  return expiries_.begin()->at;
}

std::vector<Entry> Queue::peek(std::uint64_t from, std::size_t count_max) const {
  std::vector<Entry> seen;
  for (const Level& level : levels_) {
    auto at = std::ranges::lower_bound(level, from, {}, &Entry::sequence);
    for (std::size_t count = 0; at != level.end() && count < count_max; ++at, ++count) {
      seen.push_back(*at);
    }
  }
  std::ranges::sort(seen, {}, &Entry::sequence);
  if (seen.size() > count_max) seen.resize(count_max);
  return seen;
}

}  // namespace pronto::broker
