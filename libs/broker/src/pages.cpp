#include <algorithm>

#include "inside.hpp"

namespace pronto::broker {
namespace {

constexpr std::size_t written_per_command_max = 2;
constexpr std::size_t pages_kept_min = 1024;
/// How many commands those that had to stay are left alone.
constexpr std::size_t commands_between_tries = 1024;

/// Whether an image is what the engine knows of the page: the journal has kept it whole, but it may
/// have been asked for another one.
bool is_image_of(const QueuePageRecord& image, const WrittenPage& page) {
  if (image.queue != page.queue || image.priority != page.priority ||
      image.entries.size() != page.count || image.entries.front().sequence != page.first_sequence ||
      image.entries.back().sequence != page.last_sequence) {
    return false;
  }
  return std::ranges::is_sorted(image.entries, std::ranges::less_equal{},
                                &QueuePageRecord::Entry::sequence);
}

bool refers_to(const std::vector<Entry>& entries, std::uint32_t segment) {
  return std::ranges::any_of(
      entries, [&](const Entry& entry) { return segment_of(entry.body.position) == segment; });
}

}  // namespace

void Broker::Inside::note_full(const Queue& queue, EntryId id) {
  if (queue.delay || !queue.is_journaled()) return;
  if (full_pages.size() >= full_pages_max) {
    // Most have left meanwhile: what is consumed is never written out.
    std::erase_if(full_pages, [this](const FullPage& page) {
      const auto found = queues_by_id.find(static_cast<std::uint64_t>(page.queue));
      return found == queues_by_id.end() || !found->second->entries.has_full_page(page.id);
    });
    full_pages_max = std::max(pages_kept_min, 2 * full_pages.size());
  }
  full_pages.push_back({queue.id, id});
}

/// Writes pages to the journal until the others have room in memory, the last that became full
/// first: what is delivered next stays.
void Broker::Inside::write_out_pages() {
  // A full disk needs its reserve for what drains it.
  if (page_bytes <= limits.page_bytes_max || !effects.has_room()) return;
  if (full_pages.empty() && ++commands_since_tried >= commands_between_tries) {
    full_pages.swap(stuck_pages);
    commands_since_tried = 0;
  }
  for (std::size_t count = 0;
       count < written_per_command_max && !full_pages.empty() && page_bytes > limits.page_bytes_max;
       ++count) {
    const FullPage page = full_pages.back();
    full_pages.pop_back();
    const auto found = queues_by_id.find(static_cast<std::uint64_t>(page.queue));
    if (found == queues_by_id.end() || !found->second->entries.has_full_page(page.id)) continue;
    if (!write_out(*found->second, page.id)) stuck_pages.push_back(page);
  }
}

bool Broker::Inside::write_out(Queue& queue, EntryId id) {
  const std::vector<Entry> entries = queue.entries.to_write_out(id);
  if (entries.empty() || (cleaning && refers_to(entries, cleaning->segment))) return false;
  QueuePageRecord image{queue.id, entries.front().priority, {}};
  image.entries.reserve(entries.size());
  for (const Entry& entry : entries) {
    image.entries.push_back({entry.sequence, entry.body, entry.expires_at});
  }
  const auto at = effects.write_page(std::move(image));
  if (!at) return false;
  queue.entries.write_out(id, queue.id, *at);
  count_live(queue, *at, true);
  ++page_counts.written_total;
  return true;
}

void Broker::Inside::load_pages(Queue& queue) {
  while (const auto id = queue.entries.missing()) fetch_page(queue, *id);
}

void Broker::Inside::fetch_page(const Queue& queue, const PageId& id) {
  const FetchTicket ticket{++last_ticket};
  page_loads.emplace(ticket, PageLoad{queue.id, id});
  effects.fetch_page(id.image, ticket);
}

void Broker::Inside::read_page(Queue& queue, const PageId& id) {
  const auto image = effects.read_page(id.image);
  put_back(queue, id, image ? &*image : nullptr);
}

void Broker::Inside::read_pages(Queue& queue, std::uint64_t first, std::uint64_t last) {
  for (const PageId& id : queue.entries.missing_between(first, last)) read_page(queue, id);
}

void Broker::Inside::put_back(Queue& queue, const PageId& id, const QueuePageRecord* image) {
  const WrittenPage* page = queue.entries.find_page(id);
  if (!page) return;  // it has come, or left, by another way
  if (!image || !is_image_of(*image, *page)) {
    queue.entries.lose(id);
    ++page_counts.lost_total;
    return;
  }
  const std::uint64_t last = page->last_sequence;
  queue.entries.put_back(id, image->entries);
  count_live(queue, id.image, false);
  effects.release_page(id.image, false);
  note_full(queue, {last, id.priority});
  ++page_counts.read_total;
}

void Broker::Inside::release_written(Queue& queue, const WrittenPage& page) {
  for (const SegmentUse& use : page.segments) count_live(queue, use, false);
  count_live(queue, page.image, false);
  effects.release_page(page.image, true);
}

void Broker::Inside::drop_pages(Queue& queue, std::uint64_t first, std::uint64_t last) {
  queue.entries.drop_written(first, last,
                             [&](const WrittenPage& page) { release_written(queue, page); });
}

bool Broker::on_page(FetchTicket ticket, const std::optional<QueuePageRecord>& page, WallTime now) {
  Inside& inside = *inside_;
  const auto load = inside.page_loads.extract(ticket);
  if (!load) return false;
  const auto found = inside.queues_by_id.find(static_cast<std::uint64_t>(load.mapped().queue));
  if (found == inside.queues_by_id.end()) return false;
  Queue& queue = *found->second;
  const std::uint64_t lost_before = inside.page_counts.lost_total;
  inside.put_back(queue, load.mapped().page, page ? &*page : nullptr);
  const bool is_lost = inside.page_counts.lost_total != lost_before;
  inside.expire(queue, millis_of(now));  // before it may be written out again
  inside.watch(queue);
  inside.touch(queue);
  inside.finish(now);
  return is_lost;
}

Broker::PageCounts Broker::pages() const noexcept {
  PageCounts counts = inside_->page_counts;
  for (const auto& [id, queue] : inside_->queues_by_id) {
    counts.out += queue->entries.written_out_count();
  }
  return counts;
}

}  // namespace pronto::broker
