#include "cleaner.hpp"

#include <algorithm>

#include "inside.hpp"

namespace pronto::broker {

/// Fetches the pages that have to be here to know what is needed of the segment, a part at a time.
/// Returns: whether all are.
bool Broker::Inside::fetch_pages_to_clean() {
  bool are_here = true;
  for (const auto& [id, queue] : queues_by_id) {
    if (!queue->segments.contains(cleaning->segment)) continue;
    for (const PageId& page : queue->entries.missing_in(cleaning->segment)) {
      are_here = false;
      if (page_loads.size() >= limits.load_count_max) return false;
      if (queue->entries.set_on_its_way(page)) fetch_page(*queue, page);
    }
  }
  return are_here;
}

/// Notes what is needed of the segment: queue by queue, as it will be read again.
void Broker::Inside::gather_moves() {
  const std::uint32_t segment = cleaning->segment;
  cleaning->is_gathered = true;
  std::unordered_map<std::uint64_t, std::size_t> known;  // bodies of several queues
  for (const auto& [id, queue] : queues_by_id) {
    if (!queue->segments.contains(segment)) continue;
    queue->entries.for_each_in(segment, [&](const Entry& entry) {
      const auto [place, is_new] =
          known.try_emplace(static_cast<std::uint64_t>(entry.body.position), cleaning->left.size());
      if (is_new) cleaning->left.push_back({.from = entry.body, .to = {}, .holders = {}});
      cleaning->left[place->second].holders.push_back({queue->id, entry.id()});
    });
  }
  std::ranges::reverse(cleaning->left);
}

/// The entry of a holder, if it is still there and still where it was.
std::optional<Entry> Broker::Inside::holder_of(const Move& move, const Move::Holder& holder) const {
  const auto queue = queues_by_id.find(static_cast<std::uint64_t>(holder.queue));
  if (queue == queues_by_id.end()) return std::nullopt;
  const auto entry = queue->second->entries.find(holder.id);
  if (!entry || entry->body != move.from) return std::nullopt;
  return entry;
}

void Broker::Inside::read_moves() {
  std::uint64_t bytes = 0;
  for (const auto& [ticket, move] : cleaning->reading) bytes += move.from.bytes;
  while (!cleaning->left.empty() && cleaning->reading.size() < limits.load_count_max &&
         bytes < limits.load_bytes_max) {
    Move move = std::move(cleaning->left.back());
    cleaning->left.pop_back();
    const auto is_there = [&](const Move::Holder& holder) {
      return holder_of(move, holder).has_value();
    };
    if (std::ranges::none_of(move.holders, is_there)) continue;
    bytes += move.from.bytes;
    const FetchTicket ticket{++last_ticket};
    effects.fetch(move.from, ticket);
    cleaning->reading.emplace(ticket, std::move(move));
  }
}

/// A body's copy, and where its entries find it, in one unit. One that cannot be read, or for which
/// there is no room, stays where it is, and keeps its segment.
void Broker::Inside::on_move_read(Move move, const ContentPtr& content) {
  if (!content || !effects.may_copy(content->body.size())) return;
  std::erase_if(move.holders, [&](const Move::Holder& holder) { return !holder_of(move, holder); });
  if (move.holders.empty()) return;
  record(BodyRecord{content});
  move.to = {provisional(new_body_count++), move.from.bytes};
  for (const Move::Holder& holder : move.holders) {
    record(MovedRecord{holder.queue, holder.id.sequence, 0});
  }
  cleaning->new_ones.push_back(std::move(move));
}

bool Broker::Inside::fetch_again(FetchTicket ticket) {
  const Queue* queue = nullptr;
  EntryId id;
  BodyRef* asked = nullptr;
  const auto find_queue = [this](QueueId number) -> const Queue* {
    const auto found = queues_by_id.find(static_cast<std::uint64_t>(number));
    return found == queues_by_id.end() ? nullptr : found->second;
  };
  if (const auto load = loads.find(ticket); load != loads.end()) {
    queue = find_queue(load->second.queue);
    id = load->second.id;
    asked = &load->second.body;
  } else if (const auto job = dead_letters.find(ticket); job != dead_letters.end()) {
    queue = job->second.queue;
    id = job->second.id;
    asked = &job->second.body;
  } else if (const auto release = releases.find(ticket); release != releases.end()) {
    queue = find_queue(release->second);
    if (!queue) return false;
    const auto one = std::ranges::find(queue->delay->releasing, ticket, &Delay::Release::ticket);
    id = one->id;
    asked = &one->body;
  }
  const auto entry = queue ? queue->entries.find(id) : std::nullopt;
  // One that was still to be written was asked for by its number.
  if (!entry || is_provisional(asked->position) || entry->body == *asked) return false;
  *asked = entry->body;
  effects.fetch(entry->body, ticket);
  return true;
}

void Broker::Inside::settle_moves() {
  if (!cleaning) return;
  std::deque<Move>& appended = cleaning->appended;
  while (!appended.empty() && appended.front().sequence <= durable_upto) {
    const Move move = std::move(appended.front());
    appended.pop_front();
    // A disk without any room has it in memory only, for now.
    if (!is_in_journal(move.to.position)) continue;
    refer_to(move);
  }
  if (cleaning->is_done()) cleaning.reset();
}

void Broker::Inside::refer_to(const Move& move) {
  for (const Move::Holder& holder : move.holders) {
    if (!holder_of(move, holder)) continue;
    Queue& queue = *queues_by_id.at(static_cast<std::uint64_t>(holder.queue));
    queue.entries.set_position(holder.id, move.to.position);
    count_live(queue, move.from, false);
    count_live(queue, move.to, true);
    effects.release(move.from);
  }
}

bool Broker::clean(std::uint32_t segment, WallTime now) {
  if (!inside_->cleaning) inside_->cleaning.emplace().segment = segment;
  if (!inside_->cleaning->is_gathered && inside_->fetch_pages_to_clean()) inside_->gather_moves();
  inside_->read_moves();
  if (inside_->cleaning->is_done()) inside_->cleaning.reset();
  inside_->finish(now);
  return inside_->cleaning.has_value();
}

void Broker::on_stored(QueueId queue, std::uint64_t sequence, std::uint8_t priority,
                       BodyRef in_memory, BodyPosition position) {
  inside_->refer_to({.from = in_memory,
                     .to = {position, in_memory.bytes},
                     .holders = {{queue, {sequence, priority}}}});
}

bool Broker::is_moving() const noexcept {
  return inside_->cleaning && !inside_->cleaning->appended.empty();
}

}  // namespace pronto::broker
