#include <algorithm>

#include "host_inside.hpp"

namespace pronto::server {
namespace {

/// What an entry takes in the journal beside its body, about.
constexpr std::uint64_t entry_bytes = 160;
/// A segment is worth cleaning when at most this part of it is still needed; on a full disk.
constexpr std::uint64_t sparse_part = 4;
constexpr std::uint64_t sparse_part_when_full = 2;
constexpr seconds free_space_every{1};

}  // namespace

/// After a checkpoint: which segments are to be given back before the next one. What is copied is
/// at most a fourth of what the journal grows by between two checkpoints, so that cleaning never
/// costs more than a fourth of what publishing does, and the journal stays within about four times
/// what is still needed. Source: Rosenblum and Ousterhout, The design and implementation of a
/// log-structured file system, section 3.
void BrokerHost::Inside::choose_what_to_clean() {
  if (!to_clean_.empty()) return;  // goes on
  const std::vector<journal::SegmentView> segments = log_->segments();
  if (segments.empty()) return;
  const std::uint32_t current = segments.back().number;
  const std::uint64_t part = alarms_.disk ? sparse_part_when_full : sparse_part;
  struct Sparse {
    std::uint32_t segment;
    std::uint64_t bytes;
  };
  std::vector<Sparse> sparse;
  for (const broker::SegmentUse& use : engine_.segments_in_use()) {
    const std::uint64_t bytes = use.body_bytes + use.entry_count * entry_bytes;
    if (use.segment >= current || bytes > options.journal.segment_bytes / part) continue;
    sparse.push_back({use.segment, bytes});
  }
  std::ranges::sort(sparse, {}, &Sparse::bytes);
  std::uint64_t left = options.checkpoint_bytes / sparse_part;
  if (alarms_.disk) left = std::min(left, room_for_copies());
  for (const Sparse& one : sparse) {
    if (one.bytes > left) break;
    left -= one.bytes;
    to_clean_.push_back(one.segment);
  }
}

/// A part further, between two commands. A checkpoint goes first: it waits for what is on its way.
void BrokerHost::Inside::clean() {
  if (alarms_.failure || has_homeless() || is_shutting_down) return;
  while (!to_clean_.empty() && !is_checkpoint_due()) {
    if (engine_.clean(to_clean_.front(), loop.wall_now())) return;
    to_clean_.pop_front();
    ++cleaned_total_;
  }
}

/// Whether the log has a segment that nothing needs any more: it goes with the second checkpoint
/// from now on.
bool BrokerHost::Inside::is_segment_free() const {
  const std::vector<journal::SegmentView> segments = log_->segments();
  const std::vector<broker::SegmentUse> uses = engine_.segments_in_use();
  return std::ranges::any_of(segments, [&](const journal::SegmentView& segment) {
    return segment.number != segments.back().number &&
           !std::ranges::binary_search(uses, segment.number, {}, &broker::SegmentUse::segment);
  });
}

/// On a full disk consumers go on, and what they have answered gives space back only behind a
/// checkpoint: so one is taken without waiting for the journal to grow, which it cannot. Only where
/// that frees something: it costs what all queues hold.
void BrokerHost::Inside::free_space() {
  if (loop.now() < freed_at_ + free_space_every) return;
  freed_at_ = loop.now();
  if (log_->is_writing_checkpoint()) return;
  if (checkpoints_to_free_ > 0 && log_->statistics().checkpoints_total > checkpoints_when_begun_) {
    --checkpoints_to_free_;
  }
  if (checkpoints_to_free_ == 0 && is_segment_free()) checkpoints_to_free_ = 2;
  if (checkpoints_to_free_ > 0) {
    checkpoints_when_begun_ = log_->statistics().checkpoints_total;
    take_checkpoint();
    return;
  }
  if (to_clean_.empty()) choose_what_to_clean();
  clean();
}

}  // namespace pronto::server
