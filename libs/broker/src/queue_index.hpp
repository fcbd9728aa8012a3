#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "pronto/base/result.hpp"
#include "pronto/broker/records.hpp"
#include "pronto/broker/types.hpp"

namespace pronto::broker {

/// Which entry of a queue is meant.
struct EntryId {
  std::uint64_t sequence = 0;
  std::uint8_t priority = 0;
};

/// A message's place in one queue.
struct Entry {
  std::uint64_t sequence = 0;
  BodyRef body;
  std::int64_t expires_at = 0;  ///< milliseconds since 1970; 0: never
  std::uint32_t delivery_count = 0;
  std::uint8_t priority = 0;
  bool is_journaled = false;
  bool redelivered = false;

  EntryId id() const noexcept { return {sequence, priority}; }
};

/// Which page of a queue's index is meant, of those that were written out.
struct PageId {
  std::uint8_t priority = 0;
  std::uint64_t first_sequence = 0;
  PageRef image;
};

/// The entries of a queue, ready ones and those that are out, by priority and then by sequence.
///
/// An entry is 16 bytes in a page of its priority, so that a backlog of millions fits into memory:
///
///     0        8       12       16
///     +--------+--------+--------+
///     |position| bytes  |delta   |   delta: sequence - the page's first, and three flags
///     +--------+--------+--------+
///
/// It stays where it is while it is out, so what was requeued is at its place again. What few have,
/// an expiry or a delivery count, lies beside.
///
/// A page that is full, and far from what is delivered next, may be written out by the owner; what
/// stays of it is where it is and what it comes to. Its entries are ready and are counted, but none
/// of them is found before the page is here again.
///
///     here --write_out--> out on the disk --put_back--> here
///                              \\--lose--> lost: not counted any more, kept for a purge
///
/// Runs on: the engine's thread. Invariant: an entry is ready or out, never both.
class QueueIndex {
 public:
  /// Takes: the highest priority; how many entries a page holds; where to count the memory that
  /// the index takes, which outlives it.
  QueueIndex(std::uint8_t priority_max, std::size_t page_entries_max, std::uint64_t& memory_bytes);
  ~QueueIndex();
  QueueIndex(const QueueIndex&) = delete;
  QueueIndex& operator=(const QueueIndex&) = delete;

  /// Adds a ready entry, whose sequence is beyond those of all others. Returns: the last entry of
  /// the page that was full, if it was.
  std::optional<EntryId> append(const Entry& entry);

  std::size_t ready_count() const noexcept { return ready_count_; }
  std::uint64_t ready_bytes() const noexcept { return ready_bytes_; }
  /// Entries, ready and out.
  std::size_t live_count() const noexcept { return live_count_; }

  /// The ready entry that would be delivered next: the first of the highest priority whose first
  /// one `may` be. One that may not is not asked about again before `ask_again`. Returns: nothing,
  /// too, while it is in a page that is not here, see `missing`.
  template <class May>
  std::optional<Entry> front(May may);
  /// What may be delivered has become more.
  void ask_again() noexcept { held_levels_ = {}; }
  /// Takes out the first one of a priority that `front` has told.
  Entry take_front(std::uint8_t priority);
  /// Takes out the oldest ready entry of the lowest priority, which is what drop-head drops.
  /// Returns: nothing when it is in a page that is not here, see `missing_oldest`.
  std::optional<Entry> take_oldest();
  /// Takes out a ready entry. Returns: nothing when it is not ready.
  std::optional<Entry> take(EntryId id);
  /// Takes out all that are here and have expired by `now`, milliseconds since 1970. Pages that are
  /// not here and have expired as a whole are wanted first: the next of them are added to `wanted`,
  /// and no more while they are on their way.
  std::vector<Entry> take_expired(std::int64_t now, std::vector<PageId>& wanted);
  bool has_expired(std::int64_t now) const;
  /// When that has to be asked next: not after the next entry expires, if it is here.
  std::optional<std::int64_t> next_expiry() const;
  /// An entry that is out is ready again, at its place.
  void give_back(EntryId id);
  /// An entry, ready or out, has left the queue.
  void remove(EntryId id);

  /// Returns: an entry, ready or out, that is here.
  std::optional<Entry> find(EntryId id) const;
  /// As `find`, of whatever priority.
  std::optional<Entry> find(std::uint64_t sequence) const;
  bool is_ready(EntryId id) const;
  /// Where its body lies, now that it is known. Returns: whether the entry is still there.
  bool set_position(EntryId id, BodyPosition position);
  void set_delivery_count(EntryId id, std::uint32_t count);
  /// All entries up to here may have been delivered before.
  void set_redelivered_upto(std::uint64_t sequence) noexcept { redelivered_upto_ = sequence; }

  // Pages that are written out.
  /// Whether the page that was full with this entry is here.
  bool has_full_page(EntryId last) const;
  /// The entries of the page that holds `id`, to be written out; nothing when it has to stay: the
  /// last one, the one that deliveries are at and the next, and those with entries that are out,
  /// have a delivery count, or have no body in the journal.
  std::vector<Entry> to_write_out(EntryId id) const;
  /// They are written at `image`, and leave the memory.
  void write_out(EntryId id, QueueId queue, const PageRef& image);
  /// Of pages that are not here, without those that are lost.
  std::size_t written_out_count() const noexcept { return written_out_count_; }
  /// The next page that deliveries are to come to, as `front` tells, if it is not here and not on
  /// its way: it is on its way then. Whoever asks has asked for the front before.
  std::optional<PageId> missing();
  /// The page with the oldest entry of the lowest priority, if it is not here.
  std::optional<PageId> missing_oldest();
  /// Those that may hold an entry with a sequence of `first` to `last`; not all of it need be.
  std::vector<PageId> missing_between(std::uint64_t first, std::uint64_t last) const;
  /// Those that refer to a segment of the journal, or lie in it.
  std::vector<PageId> missing_in(std::uint32_t segment) const;
  /// It is being fetched. Returns: whether it was not before.
  bool set_on_its_way(const PageId& id);
  /// What is known of a page that is not here; null when there is none any more at this place.
  const WrittenPage* find_page(const PageId& id) const;
  /// Its entries are here again. Returns: what it was; nothing when there is none any more.
  std::optional<WrittenPage> put_back(const PageId& id,
                                      std::span<const QueuePageRecord::Entry> entries);
  /// It cannot be read.
  void lose(const PageId& id);
  bool has_lost() const noexcept { return !lost_.empty(); }
  /// What is known of entries that have left a page that cannot be read.
  struct Lost {
    WrittenPage page;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> removed;  ///< first and last sequences
  };
  const std::vector<Lost>& lost() const noexcept { return lost_; }
  /// A recovery's: a page that was written out, all of it behind the entries of its priority.
  void append_written(WrittenPage page);
  /// Drops and shows the pages that are not here and lie between two sequences; lost ones, too.
  template <class See>
  void drop_written(std::uint64_t first, std::uint64_t last, See see);
  /// Entries have left of which some may be in pages that cannot be read.
  void remove_from_lost(std::uint64_t first, std::uint64_t last);

  /// How a walk goes on.
  enum class Walk { on, to_the_next_priority, not_at_all };
  /// Shows the entries that would be delivered next, in that order, as `see` tells and as far as
  /// they are here.
  template <class See>
  void for_each_next(See see) const;
  /// Removes the entries that are here for which `is_meant(entry, is_out)` is true; asked once for
  /// each.
  template <class Is>
  void remove_if(Is is_meant);
  /// Of the newest entry of a priority; 0: none.
  std::uint64_t last_sequence(std::uint8_t priority) const {
    const Level& level = level_of(priority);
    return level.pages.empty() ? 0 : last_sequence_of(*level.pages.back());
  }
  /// Shows all entries, ready and out, and the pages that are not here, with those that are lost:
  /// by priority, then by sequence.
  template <class See, class SeePage>
  void for_each(See see, SeePage see_page) const {
    auto lost = lost_.begin();
    for (const Level& level : levels_) {
      const auto priority = static_cast<std::uint8_t>(&level - levels_.data());
      const auto see_lost_before = [&](std::uint64_t sequence) {
        for (; lost != lost_.end() && lost->page.priority == priority &&
               lost->page.first_sequence < sequence;
             ++lost) {
          see_page(lost->page);
        }
      };
      for (Place at; at.page < level.pages.size(); ++at.page) {
        const Page& page = *level.pages[at.page];
        if (page.live_count > 0) see_lost_before(page.first_sequence);
        if (page.written) see_page(*page.written);
        for (at.slot = 0; at.slot < page.slots.size(); ++at.slot) {
          if (!page.slots[at.slot].is_removed) see(entry_at(level, at));
        }
      }
      see_lost_before(nowhere);
    }
  }
  /// Shows the entries, ready and out, whose bodies lie in a segment of the journal: of the pages
  /// that are here.
  template <class See>
  void for_each_in(std::uint32_t segment, See see) {
    for (const Level& level : levels_) {
      for (Place at; at.page < level.pages.size(); ++at.page) {
        Page& page = *level.pages[at.page];
        if (page.written) continue;
        if (segment < segment_of(BodyPosition{page.lowest}) ||
            segment > segment_of(BodyPosition{page.highest})) {
          continue;
        }
        // Entries have moved since, or left: so it is seen where they are now.
        forget_positions(page);
        for (at.slot = 0; at.slot < page.slots.size(); ++at.slot) {
          const Slot& slot = page.slots[at.slot];
          if (slot.is_removed) continue;
          note_position(page, slot.position);
          if (segment_of(BodyPosition{slot.position}) == segment) see(entry_at(level, at));
        }
      }
    }
  }
  struct Seen {
    Entry entry;
    bool is_out = false;
  };
  /// Up to `count_max` entries from the sequence `from` on. Takes: how to read a page that is not
  /// here, and stays so.
  using ReadPage = std::function<Result<QueuePageRecord>(const PageRef& image)>;
  std::vector<Seen> look(std::uint64_t from, std::size_t count_max, const ReadPage& read) const;

 private:
  static constexpr std::uint64_t nowhere = std::numeric_limits<std::uint64_t>::max();
  static constexpr std::uint32_t delta_max = (1U << 29U) - 1;
  struct Slot {
    std::uint64_t position;
    std::uint32_t bytes;
    std::uint32_t delta : 29;
    std::uint32_t is_removed : 1;
    std::uint32_t is_out : 1;
    std::uint32_t is_journaled : 1;
  };
  static_assert(sizeof(Slot) == 16);
  struct Page {
    std::uint64_t first_sequence = 0;
    // Between them lie the positions of its bodies, as far as they are known.
    std::uint64_t lowest = nowhere;
    std::uint64_t highest = 0;
    std::vector<Slot> slots;               // by delta
    std::vector<std::int64_t> expires;     // beside the slots; empty while none expires
    std::int64_t next_expiry = 0;          // not after the first of its ready ones; 0: none
    std::unique_ptr<WrittenPage> written;  // then without slots
    std::uint64_t full_upto = 0;           // its last entry when it was full; 0: it was not
    bool is_on_its_way = false;
    bool is_wanted_to_expire = false;
    std::uint32_t live_count = 0;
    std::uint32_t returned_count = 0;  // ready, and before the level's cursor
    std::uint32_t returned_slot = 0;   // none of them before it
    std::uint32_t counted_bytes = 0;   // in the memory of all indexes
    std::uint8_t priority = 0;
  };
  /// A slot of a level: by number of page and of slot.
  struct Place {
    std::size_t page = 0;
    std::size_t slot = 0;
    auto operator<=>(const Place&) const = default;
  };
  struct Level {
    std::vector<std::unique_ptr<Page>> pages;
    Place cursor;  // what was never out begins here: not before it
    std::size_t ready_count = 0;
    std::size_t live_count = 0;
    std::size_t returned_count = 0;  // ready ones before the cursor
    std::size_t returned_page = 0;   // none of them before it
  };

  Level& level_of(std::uint8_t priority);
  const Level& level_of(std::uint8_t priority) const;
  std::optional<Place> place_of(const Level& level, std::uint64_t sequence) const;
  static std::uint64_t last_sequence_of(const Page& page) {
    if (page.written) return page.written->last_sequence;
    return page.slots.empty() ? 0 : page.first_sequence + page.slots.back().delta;
  }
  /// The number of a page that is not here.
  std::optional<std::size_t> find_written(const PageId& id) const;
  static PageId id_of(const Page& page) {
    return {page.priority, page.first_sequence, page.written->image};
  }
  /// Its count of ready entries has changed.
  void note_ready(const Level& level);
  void count_page(Level& level, const WrittenPage& page, bool is_more);
  void drop_written_page(Level& level, std::size_t page);
  bool has_counts(const Page& page) const;
  Entry entry_at(const Level& level, Place place) const;
  static Slot& slot_at(Level& level, Place place) {
    return level.pages[place.page]->slots[place.slot];
  }
  /// The page that would hold `sequence`, by number; nothing when all begin after it.
  static std::optional<std::size_t> page_of(const Level& level, std::uint64_t sequence);
  /// The level of the highest priority that has a ready entry and is not held, or null.
  Level* highest_free();
  /// The one of the lowest priority, or null.
  Level* lowest_ready();
  /// Nothing when its page is not here.
  static std::optional<Place> first_ready(Level& level);
  Entry take_at(Level& level, Place place);
  /// What was given back, and all before it has left or is here: deliveries go on from there.
  static void rewind(Level& level);
  void take_out(Level& level, Place place);
  void mark_removed(Level& level, Place place);
  void tidy(Level& level, std::size_t page);
  void drop_page(Level& level, std::size_t page);
  void compact(Level& level, std::size_t page);
  void clear(Level& level);
  void count_ready(Level& level, const Slot& slot, bool is_more);
  void set_expiry(Page& page, std::int64_t at);
  void forget_expiry(Page& page);
  void count_memory(Page& page);
  /// A ready entry, behind the page's others.
  static void add_slot(Page& page, std::uint64_t sequence, const BodyRef& body, bool is_journaled);
  static void note_position(Page& page, std::uint64_t position);
  static void forget_positions(Page& page);

  std::vector<Level> levels_;                    // by priority, lowest first
  std::array<std::uint64_t, 4> ready_levels_{};  // a bit for each that has ready entries
  std::array<std::uint64_t, 4> held_levels_{};   // whose first one may not be delivered
  const std::size_t page_entries_max_;
  std::uint64_t& memory_bytes_;
  std::size_t ready_count_ = 0;
  std::uint64_t ready_bytes_ = 0;
  std::size_t live_count_ = 0;
  std::uint64_t redelivered_upto_ = 0;
  std::size_t written_out_count_ = 0;  // pages
  std::size_t wanted_to_expire_count_ = 0;
  std::vector<Lost> lost_;  // by priority, then by sequence
  std::unordered_map<std::uint64_t, std::uint32_t> delivery_counts_;  // that are not 0
  using Expiries = std::set<std::pair<std::int64_t, Page*>>;
  Expiries& expiries_of(const Page& page) { return page.written ? written_expiries_ : expiries_; }
  Expiries expiries_;          // of pages: of the first entry
  Expiries written_expiries_;  // of pages that are not here: of the last entry
};

template <class May>
std::optional<Entry> QueueIndex::front(May may) {
  while (Level* level = highest_free()) {
    const auto place = first_ready(*level);
    if (!place) return std::nullopt;
    const Entry first = entry_at(*level, *place);
    if (may(first)) return first;
    held_levels_[first.priority / 64] |= std::uint64_t{1} << first.priority % 64;
  }
  return std::nullopt;
}

template <class See>
void QueueIndex::for_each_next(See see) const {
  for (std::size_t number = levels_.size(); number-- > 0;) {
    const Level& level = levels_[number];
    if (level.ready_count == 0) continue;
    Walk walk = Walk::on;
    std::size_t returned = level.returned_count;
    for (Place at{level.returned_page, 0}; returned > 0 && walk == Walk::on;
         at = {at.page + 1, 0}) {
      const Page& page = *level.pages[at.page];
      std::uint32_t of_page = page.returned_count;
      returned -= of_page;
      for (at.slot = page.returned_slot; of_page > 0 && walk == Walk::on; ++at.slot) {
        if (page.slots[at.slot].is_removed || page.slots[at.slot].is_out) continue;
        --of_page;
        walk = see(entry_at(level, at));
      }
    }
    for (Place at = level.cursor; at.page < level.pages.size() && walk == Walk::on;
         at = {at.page + 1, 0}) {
      const Page& page = *level.pages[at.page];
      if (page.written) return;
      for (; at.slot < page.slots.size() && walk == Walk::on; ++at.slot) {
        if (page.slots[at.slot].is_removed || page.slots[at.slot].is_out) continue;
        walk = see(entry_at(level, at));
      }
    }
    if (walk == Walk::not_at_all) return;
  }
}

template <class See>
void QueueIndex::drop_written(std::uint64_t first, std::uint64_t last, See see) {
  for (auto at = lost_.begin(); at != lost_.end();) {
    if (at->page.first_sequence >= first && at->page.last_sequence <= last) {
      see(std::as_const(at->page));
      at = lost_.erase(at);
    } else {
      ++at;
    }
  }
  if (written_out_count_ == 0) return;
  for (Level& level : levels_) {
    const std::size_t begin = page_of(level, first).value_or(0);
    const auto behind = page_of(level, last);
    // From the back: what moves up then is short.
    for (std::size_t number = behind ? *behind + 1 : 0; number-- > begin;) {
      if (number >= level.pages.size()) continue;
      const Page& page = *level.pages[number];
      if (!page.written || page.first_sequence < first || page.written->last_sequence > last) {
        continue;
      }
      see(std::as_const(*page.written));
      drop_written_page(level, number);
    }
  }
}

template <class Is>
void QueueIndex::remove_if(Is is_meant) {
  for (Level& level : levels_) {
    for (std::size_t page = 0; page < level.pages.size() && level.live_count > 0;) {
      if (level.pages[page]->written) {
        ++page;
        continue;
      }
      for (std::size_t slot = 0; slot < level.pages[page]->slots.size(); ++slot) {
        const Slot& one = level.pages[page]->slots[slot];
        if (one.is_removed || !is_meant(entry_at(level, {page, slot}), one.is_out != 0)) continue;
        mark_removed(level, {page, slot});
      }
      const std::size_t pages_before = level.pages.size();
      tidy(level, page);
      if (level.pages.size() == pages_before) ++page;
    }
  }
}

}  // namespace pronto::broker
