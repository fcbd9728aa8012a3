#include "queue_index.hpp"

#include <algorithm>
#include <bit>
#include <map>

#include "pronto/base/assert.hpp"

namespace pronto::broker {
namespace {

constexpr std::size_t slots_kept_max = 64;  // of a queue that has run empty
constexpr std::size_t slots_sparse_min = 64;
constexpr std::size_t wanted_to_expire_max = 4;  // pages of a queue at a time

}  // namespace

QueueIndex::QueueIndex(std::uint8_t priority_max, std::size_t page_entries_max,
                       std::uint64_t& memory_bytes)
    : levels_(static_cast<std::size_t>(priority_max) + 1),
      page_entries_max_{page_entries_max},
      memory_bytes_{memory_bytes} {}

QueueIndex::~QueueIndex() {
  for (const Level& level : levels_) {
    for (const auto& page : level.pages) memory_bytes_ -= page->counted_bytes;
  }
}

QueueIndex::Level& QueueIndex::level_of(std::uint8_t priority) {
  return levels_[std::min<std::size_t>(priority, levels_.size() - 1)];
}

const QueueIndex::Level& QueueIndex::level_of(std::uint8_t priority) const {
  return levels_[std::min<std::size_t>(priority, levels_.size() - 1)];
}

void QueueIndex::count_memory(Page& page) {
  std::size_t size = sizeof(Page) + sizeof(void*) + page.slots.capacity() * sizeof(Slot) +
                     page.expires.capacity() * sizeof(std::int64_t);
  if (page.written) {
    size += sizeof(WrittenPage) + page.written->segments.capacity() * sizeof(SegmentUse);
  }
  const auto bytes = static_cast<std::uint32_t>(size);
  memory_bytes_ += bytes;
  memory_bytes_ -= page.counted_bytes;
  page.counted_bytes = bytes;
}

void QueueIndex::count_ready(Level& level, const Slot& slot, bool is_more) {
  const std::uint64_t one = is_more ? 1 : std::numeric_limits<std::uint64_t>::max();
  ready_count_ += one;
  ready_bytes_ += one * slot.bytes;
  level.ready_count += one;
  note_ready(level);
}

void QueueIndex::count_page(Level& level, const WrittenPage& page, bool is_more) {
  const std::uint64_t one = is_more ? 1 : std::numeric_limits<std::uint64_t>::max();
  ready_count_ += one * page.count;
  live_count_ += one * page.count;
  level.ready_count += one * page.count;
  level.live_count += one * page.count;
  ready_bytes_ += one * page.body_bytes;
  note_ready(level);
}

void QueueIndex::note_ready(const Level& level) {
  const auto number = static_cast<std::size_t>(&level - levels_.data());
  const std::uint64_t bit = std::uint64_t{1} << (number % 64);
  held_levels_[number / 64] &= ~bit;  // another may be the first now
  if (level.ready_count > 0) {
    ready_levels_[number / 64] |= bit;
  } else {
    ready_levels_[number / 64] &= ~bit;
  }
}

std::optional<EntryId> QueueIndex::append(const Entry& entry) {
  Level& level = level_of(entry.priority);
  // The one behind it may be gone, and not all pages are full: none takes more behind the cursor.
  const bool needs_page = level.pages.empty() || level.pages.back()->written ||
                          level.cursor.page >= level.pages.size() ||
                          level.pages.back()->slots.size() >= page_entries_max_ ||
                          entry.sequence - level.pages.back()->first_sequence > delta_max;
  std::optional<EntryId> full;
  const bool is_empty_one =
      level.pages.size() == 1 && level.pages.back()->slots.empty() && !level.pages.back()->written;
  if (needs_page && !is_empty_one) {
    if (!level.pages.empty() && !level.pages.back()->written) {
      Page& page = *level.pages.back();
      page.full_upto = last_sequence_of(page);
      full = EntryId{page.full_upto, page.priority};
    }
    level.pages.push_back(std::make_unique<Page>());
    level.pages.back()->priority = static_cast<std::uint8_t>(&level - levels_.data());
  }
  Page& page = *level.pages.back();
  if (page.slots.empty()) page.first_sequence = entry.sequence;
  PRONTO_ASSERT(page.slots.empty() ||
                page.first_sequence + page.slots.back().delta < entry.sequence);
  const std::size_t slots_before = page.slots.capacity();
  const std::size_t expires_before = page.expires.capacity();
  add_slot(page, entry.sequence, entry.body, entry.is_journaled);
  if (entry.expires_at != 0 || !page.expires.empty()) {
    page.expires.resize(page.slots.size() - 1);
    page.expires.push_back(entry.expires_at);
    set_expiry(page, entry.expires_at);
  }
  if (page.slots.capacity() != slots_before || page.expires.capacity() != expires_before) {
    count_memory(page);
  }
  ++page.live_count;
  ++level.live_count;
  ++live_count_;
  count_ready(level, page.slots.back(), true);
  return full;
}

void QueueIndex::add_slot(Page& page, std::uint64_t sequence, const BodyRef& body,
                          bool is_journaled) {
  page.slots.push_back(
      {.position = static_cast<std::uint64_t>(body.position),
       .bytes = body.bytes,
       .delta = static_cast<std::uint32_t>(sequence - page.first_sequence) & delta_max,
       .is_removed = 0,
       .is_out = 0,
       .is_journaled = is_journaled});
  note_position(page, page.slots.back().position);
}

void QueueIndex::note_position(Page& page, std::uint64_t position) {
  if (position >> 62U != 0) return;  // not in the journal, or not yet
  page.lowest = std::min(page.lowest, position);
  page.highest = std::max(page.highest, position);
}

void QueueIndex::forget_positions(Page& page) {
  page.lowest = nowhere;
  page.highest = 0;
}

std::optional<std::size_t> QueueIndex::page_of(const Level& level, std::uint64_t sequence) {
  const auto after = std::ranges::upper_bound(
      level.pages, sequence, {},
      [](const std::unique_ptr<Page>& page) { return page->first_sequence; });
  if (after == level.pages.begin()) return std::nullopt;
  return static_cast<std::size_t>(after - level.pages.begin()) - 1;
}

std::optional<QueueIndex::Place> QueueIndex::place_of(const Level& level,
                                                      std::uint64_t sequence) const {
  const auto number = page_of(level, sequence);
  if (!number) return std::nullopt;
  const Page& page = *level.pages[*number];
  if (page.written) return std::nullopt;
  const auto& slots = page.slots;
  const std::uint64_t delta = sequence - page.first_sequence;
  if (slots.empty() || delta > slots.back().delta) return std::nullopt;
  // Where nothing has left and nothing went to another priority, it is the one of that number.
  std::size_t slot = std::min<std::uint64_t>(delta, slots.size() - 1);
  if (slots[slot].delta != delta) {
    const auto at = std::ranges::lower_bound(
        slots, delta, {}, [](const Slot& one) { return static_cast<std::uint64_t>(one.delta); });
    slot = static_cast<std::size_t>(at - slots.begin());
    if (slots[slot].delta != delta) return std::nullopt;
  }
  if (slots[slot].is_removed) return std::nullopt;
  return Place{*number, slot};
}

Entry QueueIndex::entry_at(const Level& level, Place place) const {
  const Page& page = *level.pages[place.page];
  const Slot& slot = page.slots[place.slot];
  Entry entry;
  entry.sequence = page.first_sequence + slot.delta;
  entry.body = {BodyPosition{slot.position}, slot.bytes};
  if (!page.expires.empty()) entry.expires_at = page.expires[place.slot];
  if (!delivery_counts_.empty()) {
    const auto count = delivery_counts_.find(entry.sequence);
    if (count != delivery_counts_.end()) entry.delivery_count = count->second;
  }
  entry.priority = page.priority;
  entry.is_journaled = slot.is_journaled;
  entry.redelivered = entry.delivery_count > 0 || entry.sequence <= redelivered_upto_;
  return entry;
}

/// Where the oldest ready entry of a level that has one lies.
std::optional<QueueIndex::Place> QueueIndex::first_ready(Level& level) {
  if (level.returned_count > 0) {
    while (level.pages[level.returned_page]->returned_count == 0) ++level.returned_page;
    Page& page = *level.pages[level.returned_page];
    while (page.slots[page.returned_slot].is_removed || page.slots[page.returned_slot].is_out) {
      ++page.returned_slot;
    }
    return Place{level.returned_page, page.returned_slot};
  }
  for (Place& at = level.cursor;; at = {at.page + 1, 0}) {
    PRONTO_ASSERT(at.page < level.pages.size());
    if (level.pages[at.page]->written) return std::nullopt;
    const auto& slots = level.pages[at.page]->slots;
    for (; at.slot < slots.size(); ++at.slot) {
      if (!slots[at.slot].is_removed && !slots[at.slot].is_out) return at;
    }
  }
}

void QueueIndex::take_out(Level& level, Place place) {
  Slot& slot = slot_at(level, place);
  slot.is_out = 1;
  count_ready(level, slot, false);
  if (place < level.cursor) {
    --level.pages[place.page]->returned_count;
    --level.returned_count;
  } else if (place == level.cursor) {
    ++level.cursor.slot;
  }
}

QueueIndex::Level* QueueIndex::highest_free() {
  for (std::size_t word = ready_levels_.size(); word-- > 0;) {
    const std::uint64_t free = ready_levels_[word] & ~held_levels_[word];
    if (free == 0) continue;
    return &levels_[word * 64 + static_cast<std::size_t>(std::bit_width(free)) - 1];
  }
  return nullptr;
}

QueueIndex::Level* QueueIndex::lowest_ready() {
  for (std::size_t word = 0; word < ready_levels_.size(); ++word) {
    if (ready_levels_[word] == 0) continue;
    return &levels_[word * 64 + static_cast<std::size_t>(std::countr_zero(ready_levels_[word]))];
  }
  return nullptr;
}

Entry QueueIndex::take_at(Level& level, Place place) {
  const Entry entry = entry_at(level, place);
  take_out(level, place);
  return entry;
}

Entry QueueIndex::take_front(std::uint8_t priority) {
  Level& level = level_of(priority);
  const auto place = first_ready(level);
  PRONTO_ASSERT(place.has_value());
  return take_at(level, *place);
}

std::optional<Entry> QueueIndex::take_oldest() {
  Level* level = lowest_ready();
  if (!level) return std::nullopt;
  const auto place = first_ready(*level);
  if (!place) return std::nullopt;
  return take_at(*level, *place);
}

std::optional<Entry> QueueIndex::take(EntryId id) {
  Level& level = level_of(id.priority);
  const auto place = place_of(level, id.sequence);
  if (!place || slot_at(level, *place).is_out) return std::nullopt;
  const Entry entry = entry_at(level, *place);
  take_out(level, *place);
  return entry;
}

void QueueIndex::give_back(EntryId id) {
  Level& level = level_of(id.priority);
  const auto place = place_of(level, id.sequence);
  PRONTO_ASSERT(place && slot_at(level, *place).is_out);
  Slot& slot = slot_at(level, *place);
  Page& page = *level.pages[place->page];
  slot.is_out = 0;
  count_ready(level, slot, true);
  if (*place < level.cursor) {
    ++level.returned_count;
    level.returned_page = std::min(level.returned_page, place->page);
    page.returned_slot =
        page.returned_count == 0
            ? static_cast<std::uint32_t>(place->slot)
            : std::min(page.returned_slot, static_cast<std::uint32_t>(place->slot));
    ++page.returned_count;
    if (level.ready_count == level.live_count) rewind(level);
  }
  if (!page.expires.empty()) set_expiry(page, page.expires[place->slot]);
}

void QueueIndex::rewind(Level& level) {
  const Place first = *first_ready(level);
  for (std::size_t number = first.page; level.returned_count > 0; ++number) {
    Page& page = *level.pages[number];
    level.returned_count -= page.returned_count;
    page.returned_count = 0;
  }
  level.cursor = first;
  level.returned_page = first.page;
}

void QueueIndex::remove(EntryId id) {
  Level& level = level_of(id.priority);
  const auto place = place_of(level, id.sequence);
  PRONTO_ASSERT(place.has_value());
  mark_removed(level, *place);
  tidy(level, place->page);
}

void QueueIndex::mark_removed(Level& level, Place place) {
  Page& page = *level.pages[place.page];
  Slot& slot = page.slots[place.slot];
  if (!slot.is_out) {
    count_ready(level, slot, false);
    if (place < level.cursor) {
      --page.returned_count;
      --level.returned_count;
    }
  }
  slot.is_removed = 1;
  --page.live_count;
  --level.live_count;
  --live_count_;
  if (!delivery_counts_.empty()) delivery_counts_.erase(page.first_sequence + slot.delta);
}

/// Gives back the memory of what has left a page.
void QueueIndex::tidy(Level& level, std::size_t number) {
  Page& page = *level.pages[number];
  if (level.live_count == 0) {
    clear(level);
  } else if (page.live_count == 0) {
    drop_page(level, number);
  } else if (page.slots.size() >= slots_sparse_min &&
             std::size_t{page.live_count} * 4 < page.slots.size()) {
    compact(level, number);
  }
}

void QueueIndex::drop_written_page(Level& level, std::size_t number) {
  count_page(level, *level.pages[number]->written, false);
  drop_page(level, number);
  if (level.live_count == 0) clear(level);
}

void QueueIndex::drop_page(Level& level, std::size_t number) {
  forget_expiry(*level.pages[number]);
  if (level.pages[number]->written) --written_out_count_;
  if (level.pages[number]->is_wanted_to_expire) --wanted_to_expire_count_;
  memory_bytes_ -= level.pages[number]->counted_bytes;
  level.pages.erase(level.pages.begin() + static_cast<std::ptrdiff_t>(number));
  if (level.cursor.page > number) {
    --level.cursor.page;
  } else if (level.cursor.page == number) {
    level.cursor.slot = 0;
  }
  if (level.returned_page > number) --level.returned_page;
}

void QueueIndex::compact(Level& level, std::size_t number) {
  Page& page = *level.pages[number];
  std::vector<Slot> slots;
  slots.reserve(std::size_t{page.live_count} * 2);
  std::vector<std::int64_t> expires;
  std::size_t before_cursor = 0;
  const std::uint64_t first_before = page.first_sequence;
  for (std::size_t slot = 0; slot < page.slots.size(); ++slot) {
    if (page.slots[slot].is_removed) continue;
    if (slots.empty()) page.first_sequence += page.slots[slot].delta;
    slots.push_back(page.slots[slot]);
    slots.back().delta =
        static_cast<std::uint32_t>(slots.back().delta - (page.first_sequence - first_before)) &
        delta_max;
    if (!page.expires.empty()) expires.push_back(page.expires[slot]);
    if (level.cursor.page == number && slot < level.cursor.slot) ++before_cursor;
  }
  page.slots = std::move(slots);
  page.expires = std::move(expires);
  page.returned_slot = 0;
  if (level.cursor.page == number) level.cursor.slot = before_cursor;
  count_memory(page);
}

void QueueIndex::clear(Level& level) {
  while (level.pages.size() > 1) drop_page(level, level.pages.size() - 1);
  if (!level.pages.empty()) {
    Page& page = *level.pages.front();
    if (page.slots.capacity() > slots_kept_max) {
      drop_page(level, 0);
    } else {
      forget_expiry(page);
      forget_positions(page);
      page.slots.clear();
      page.expires.clear();
    }
  }
  level.cursor = {};
  level.returned_page = 0;
}

void QueueIndex::set_expiry(Page& page, std::int64_t at) {
  if (at == 0 || (page.next_expiry != 0 && page.next_expiry <= at)) return;
  forget_expiry(page);
  page.next_expiry = at;
  expiries_of(page).emplace(at, &page);
}

void QueueIndex::forget_expiry(Page& page) {
  if (page.next_expiry != 0) expiries_of(page).erase({page.next_expiry, &page});
  page.next_expiry = 0;
}

std::vector<Entry> QueueIndex::take_expired(std::int64_t now, std::vector<PageId>& wanted) {
  while (!written_expiries_.empty() && written_expiries_.begin()->first <= now &&
         wanted_to_expire_count_ < wanted_to_expire_max) {
    Page& page = *written_expiries_.begin()->second;
    forget_expiry(page);
    page.is_wanted_to_expire = true;
    ++wanted_to_expire_count_;
    if (!std::exchange(page.is_on_its_way, true)) wanted.push_back(id_of(page));
  }
  std::vector<Entry> entries;
  while (!expiries_.empty() && expiries_.begin()->first <= now) {
    Page& page = *expiries_.begin()->second;
    forget_expiry(page);
    Level& level = levels_[page.priority];
    Place at{*page_of(level, page.first_sequence), 0};
    std::int64_t next = 0;
    for (; at.slot < page.slots.size(); ++at.slot) {
      const std::int64_t expires = page.expires[at.slot];
      if (expires == 0 || page.slots[at.slot].is_removed || page.slots[at.slot].is_out) continue;
      if (expires <= now) {
        entries.push_back(entry_at(level, at));
        take_out(level, at);
      } else {
        next = next == 0 ? expires : std::min(next, expires);
      }
    }
    set_expiry(page, next);
  }
  return entries;
}

bool QueueIndex::has_expired(std::int64_t now) const {
  return (!expiries_.empty() && expiries_.begin()->first <= now) ||
         (!written_expiries_.empty() && written_expiries_.begin()->first <= now &&
          wanted_to_expire_count_ < wanted_to_expire_max);
}

std::optional<std::int64_t> QueueIndex::next_expiry() const {
  std::optional<std::int64_t> next;
  if (!expiries_.empty()) next = expiries_.begin()->first;
  // While some are on their way the rest waits for them.
  if (!written_expiries_.empty() && wanted_to_expire_count_ == 0) {
    next =
        std::min(next.value_or(written_expiries_.begin()->first), written_expiries_.begin()->first);
  }
  return next;
}

std::optional<Entry> QueueIndex::find(EntryId id) const {
  const Level& level = level_of(id.priority);
  const auto place = place_of(level, id.sequence);
  if (!place) return std::nullopt;
  return entry_at(level, *place);
}

std::optional<Entry> QueueIndex::find(std::uint64_t sequence) const {
  for (const Level& level : levels_) {
    if (const auto place = place_of(level, sequence)) return entry_at(level, *place);
  }
  return std::nullopt;
}

bool QueueIndex::is_ready(EntryId id) const {
  const Level& level = level_of(id.priority);
  const auto place = place_of(level, id.sequence);
  return place && !level.pages[place->page]->slots[place->slot].is_out;
}

bool QueueIndex::set_position(EntryId id, BodyPosition position) {
  Level& level = level_of(id.priority);
  const auto place = place_of(level, id.sequence);
  if (!place) return false;
  slot_at(level, *place).position = static_cast<std::uint64_t>(position);
  note_position(*level.pages[place->page], static_cast<std::uint64_t>(position));
  return true;
}

void QueueIndex::set_delivery_count(EntryId id, std::uint32_t count) {
  delivery_counts_[id.sequence] = count;
}

bool QueueIndex::has_counts(const Page& page) const {
  if (delivery_counts_.size() < page.slots.size()) {
    return std::ranges::any_of(delivery_counts_, [&](const auto& one) {
      return one.first >= page.first_sequence && one.first <= last_sequence_of(page);
    });
  }
  return std::ranges::any_of(page.slots, [&](const Slot& slot) {
    return delivery_counts_.contains(page.first_sequence + slot.delta);
  });
}

bool QueueIndex::has_full_page(EntryId last) const {
  const Level& level = level_of(last.priority);
  const auto number = page_of(level, last.sequence);
  if (!number) return false;
  const Page& page = *level.pages[*number];
  return !page.written && page.full_upto == last.sequence;
}

std::vector<Entry> QueueIndex::to_write_out(EntryId id) const {
  const Level& level = level_of(id.priority);
  const auto number = page_of(level, id.sequence);
  if (!number || *number + 1 >= level.pages.size()) return {};
  if (*number == level.cursor.page || *number == level.cursor.page + 1) return {};
  const Page& page = *level.pages[*number];
  if (page.written || page.returned_count > 0) return {};
  const bool has_to_stay = std::ranges::any_of(page.slots, [](const Slot& slot) {
    return !slot.is_removed && (slot.is_out || !slot.is_journaled || slot.position >> 62U != 0);
  });
  if (has_to_stay || has_counts(page)) return {};
  std::vector<Entry> entries;
  entries.reserve(page.live_count);
  for (Place at{*number, 0}; at.slot < page.slots.size(); ++at.slot) {
    if (!page.slots[at.slot].is_removed) entries.push_back(entry_at(level, at));
  }
  return entries;
}

void QueueIndex::write_out(EntryId id, QueueId queue, const PageRef& image) {
  Level& level = level_of(id.priority);
  Page& page = *level.pages[*page_of(level, id.sequence)];
  auto written = std::make_unique<WrittenPage>();
  written->queue = queue;
  written->priority = page.priority;
  written->count = page.live_count;
  written->image = image;
  bool expire = true;
  std::map<std::uint32_t, SegmentUse> segments;
  for (std::size_t i = 0; i < page.slots.size(); ++i) {
    const Slot& slot = page.slots[i];
    if (slot.is_removed) continue;
    const std::uint64_t sequence = page.first_sequence + slot.delta;
    if (written->first_sequence == 0) written->first_sequence = sequence;
    written->last_sequence = sequence;
    written->body_bytes += slot.bytes;
    const auto segment = segment_of(BodyPosition{slot.position});
    SegmentUse& use = segments.try_emplace(segment, SegmentUse{segment, 0, 0}).first->second;
    ++use.entry_count;
    use.body_bytes += slot.bytes;
    const std::int64_t expires = page.expires.empty() ? 0 : page.expires[i];
    expire = expire && expires != 0;
    written->all_expired_at = std::max(written->all_expired_at, expires);
  }
  if (!expire) written->all_expired_at = 0;
  written->segments.reserve(segments.size());
  for (const auto& [number, use] : segments) written->segments.push_back(use);
  forget_expiry(page);
  page.first_sequence = written->first_sequence;
  page.slots = {};
  page.expires = {};
  page.returned_slot = 0;
  page.written = std::move(written);
  set_expiry(page, page.written->all_expired_at);
  ++written_out_count_;
  count_memory(page);
}

std::optional<std::size_t> QueueIndex::find_written(const PageId& id) const {
  const Level& level = level_of(id.priority);
  const auto number = page_of(level, id.first_sequence);
  if (!number) return std::nullopt;
  const Page& page = *level.pages[*number];
  if (!page.written || page.written->image != id.image) return std::nullopt;
  return number;
}

std::optional<PageId> QueueIndex::missing() {
  if (written_out_count_ == 0) return std::nullopt;
  Level* level = highest_free();
  if (!level) return std::nullopt;
  const std::size_t end = std::min(level->cursor.page + 2, level->pages.size());
  for (std::size_t number = level->cursor.page; number < end; ++number) {
    Page& page = *level->pages[number];
    if (page.written && !std::exchange(page.is_on_its_way, true)) return id_of(page);
  }
  return std::nullopt;
}

std::optional<PageId> QueueIndex::missing_oldest() {
  Level* level = lowest_ready();
  if (!level || first_ready(*level)) return std::nullopt;
  return id_of(*level->pages[level->cursor.page]);
}

std::vector<PageId> QueueIndex::missing_between(std::uint64_t first, std::uint64_t last) const {
  std::vector<PageId> pages;
  if (written_out_count_ == 0) return pages;
  for (const Level& level : levels_) {
    for (std::size_t number = page_of(level, first).value_or(0);
         number < level.pages.size() && level.pages[number]->first_sequence <= last; ++number) {
      const Page& page = *level.pages[number];
      if (page.written && page.written->last_sequence >= first) pages.push_back(id_of(page));
    }
  }
  return pages;
}

std::vector<PageId> QueueIndex::missing_in(std::uint32_t segment) const {
  std::vector<PageId> pages;
  if (written_out_count_ == 0) return pages;
  for (const Level& level : levels_) {
    for (const auto& page : level.pages) {
      if (!page->written) continue;
      const bool is_there =
          segment_of(page->written->image.position) == segment ||
          std::ranges::binary_search(page->written->segments, segment, {}, &SegmentUse::segment);
      if (is_there) pages.push_back(id_of(*page));
    }
  }
  return pages;
}

bool QueueIndex::set_on_its_way(const PageId& id) {
  const auto number = find_written(id);
  return number && !std::exchange(level_of(id.priority).pages[*number]->is_on_its_way, true);
}

const WrittenPage* QueueIndex::find_page(const PageId& id) const {
  const auto number = find_written(id);
  return number ? level_of(id.priority).pages[*number]->written.get() : nullptr;
}

std::optional<WrittenPage> QueueIndex::put_back(const PageId& id,
                                                std::span<const QueuePageRecord::Entry> entries) {
  const auto number = find_written(id);
  if (!number) return std::nullopt;
  Page& page = *level_of(id.priority).pages[*number];
  forget_expiry(page);
  const WrittenPage was = std::move(*page.written);
  page.written.reset();
  page.is_on_its_way = false;
  if (std::exchange(page.is_wanted_to_expire, false)) --wanted_to_expire_count_;
  --written_out_count_;
  page.full_upto = was.last_sequence;
  forget_positions(page);
  page.slots.reserve(entries.size());
  for (const QueuePageRecord::Entry& entry : entries) {
    add_slot(page, entry.sequence, entry.body, true);
    if (entry.expires_at == 0) continue;
    page.expires.resize(entries.size());
    page.expires[page.slots.size() - 1] = entry.expires_at;
    set_expiry(page, entry.expires_at);
  }
  count_memory(page);
  return was;
}

void QueueIndex::lose(const PageId& id) {
  const auto number = find_written(id);
  if (!number) return;
  Level& level = level_of(id.priority);
  const WrittenPage& page = *level.pages[*number]->written;
  const auto place = std::ranges::upper_bound(
      lost_, std::pair{page.priority, page.first_sequence}, {},
      [](const Lost& one) { return std::pair{one.page.priority, one.page.first_sequence}; });
  lost_.insert(place, Lost{page, {}});
  drop_written_page(level, *number);
}

void QueueIndex::remove_from_lost(std::uint64_t first, std::uint64_t last) {
  for (Lost& lost : lost_) {
    if (lost.page.first_sequence > last || lost.page.last_sequence < first) continue;
    if (!lost.removed.empty() && lost.removed.back().second + 1 == first) {
      lost.removed.back().second = last;
    } else {
      lost.removed.emplace_back(first, last);
    }
  }
}

void QueueIndex::append_written(WrittenPage page) {
  Level& level = level_of(page.priority);
  if (level.live_count == 0 && !level.pages.empty()) drop_page(level, 0);
  level.pages.push_back(std::make_unique<Page>());
  Page& made = *level.pages.back();
  made.priority = static_cast<std::uint8_t>(&level - levels_.data());
  made.first_sequence = page.first_sequence;
  made.live_count = page.count;
  count_page(level, page, true);
  made.written = std::make_unique<WrittenPage>(std::move(page));
  set_expiry(made, made.written->all_expired_at);
  ++written_out_count_;
  count_memory(made);
}

std::vector<QueueIndex::Seen> QueueIndex::look(std::uint64_t from, std::size_t count_max,
                                               const ReadPage& read) const {
  std::vector<Seen> seen;
  for (const Level& level : levels_) {
    std::size_t count = 0;
    for (Place at; at.page < level.pages.size() && count < count_max; ++at.page) {
      const Page& page = *level.pages[at.page];
      if (last_sequence_of(page) < from) continue;
      if (page.written) {
        const auto entries = read(page.written->image);
        if (!entries) continue;
        for (const QueuePageRecord::Entry& one : entries->entries) {
          if (one.sequence < from || count >= count_max) continue;
          Entry entry;
          entry.sequence = one.sequence;
          entry.body = one.body;
          entry.priority = page.priority;
          seen.push_back({entry, false});
          ++count;
        }
        continue;
      }
      for (at.slot = 0; at.slot < page.slots.size() && count < count_max; ++at.slot) {
        const Slot& slot = page.slots[at.slot];
        if (slot.is_removed || page.first_sequence + slot.delta < from) continue;
        seen.push_back({entry_at(level, at), slot.is_out != 0});
        ++count;
      }
    }
  }
  std::ranges::sort(seen, {}, [](const Seen& one) { return one.entry.sequence; });
  if (seen.size() > count_max) seen.resize(count_max);
  return seen;
}

}  // namespace pronto::broker
