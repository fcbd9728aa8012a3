#include "queue.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "pronto/base/assert.hpp"

namespace pronto::broker {

void BodyCounts::add(std::uint32_t segment, std::uint64_t count) {
  auto at = counts_.end();
  if (!counts_.empty() && counts_.back().segment >= segment) {
    at = std::ranges::lower_bound(counts_, segment, {}, &Count::segment);
  }
  if (at == counts_.end() || at->segment != segment) at = counts_.insert(at, {segment, 0});
  at->bodies += count;
}

void BodyCounts::subtract(std::uint32_t segment, std::uint64_t count) {
  const auto at = std::ranges::lower_bound(counts_, segment, {}, &Count::segment);
  PRONTO_ASSERT(at != counts_.end() && at->segment == segment && at->bodies >= count);
  at->bodies -= count;
  if (at->bodies == 0) counts_.erase(at);
}

bool BodyCounts::contains(std::uint32_t segment) const {
  return std::ranges::binary_search(counts_, segment, {}, &Count::segment);
}

Queue::Queue(QueueId queue_id, std::string host, std::string queue_name,
             QueueArguments queue_arguments, wire::Table queue_table, Paging paging)
    : id{queue_id},
      virtual_host{std::move(host)},
      name{std::move(queue_name)},
      arguments{std::move(queue_arguments)},
      table{std::move(queue_table)},
      entries{arguments.priority_max, paging.page_entries_max, paging.page_bytes} {
  if (arguments.deduplication) window.emplace(*arguments.deduplication, paging.memory_bytes);
}

std::string Queue::subject() const {
  return fmt::format("queue '{}' in vhost '{}'", name, virtual_host);
}

}  // namespace pronto::broker
