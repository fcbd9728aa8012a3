#include "host_inside.hpp"

namespace pronto::server {
namespace {

constexpr seconds after_failed_checkpoint{10};

}  // namespace

bool BrokerHost::Inside::is_checkpoint_due() {
  if (log_->bytes_to_replay() < options.checkpoint_bytes) return false;
  // One that could not be written is not tried again at once: it costs what all queues hold.
  const std::uint64_t failed = log_->statistics().checkpoints_failed_total;
  if (std::exchange(checkpoints_failed_, failed) != failed) {
    checkpoint_again_at_ = loop.now() + after_failed_checkpoint;
  }
  return loop.now() >= checkpoint_again_at_;
}

/// The last checkpoint on the disk knows pages that the engine has released since, and a recovery
/// may fall back to it, so they stay with this one. Those that it does not know go.
void BrokerHost::Inside::need_released_pages(journal::Checkpoint& checkpoint) {
  const std::uint64_t written = log_->statistics().checkpoints_total;
  const bool is_last_written = std::exchange(checkpoints_at_last_, written) != written;
  if (is_last_written) released_before_.clear();
  released_before_.merge(std::exchange(released_since_, {}));
  for (const std::uint32_t segment : released_before_) checkpoint.need(segment);
}

/// The engine's state as it is now, which is what the journal's units have led to: not while some
/// of them are held back and their entries do not know where their bodies lie; and not while bodies
/// are being moved.
void BrokerHost::Inside::take_checkpoint() {
  if (alarms_.failure || has_homeless() || engine_.is_moving()) return;
  if (log_->is_writing_checkpoint()) return;
  journal::Checkpoint checkpoint = log_->begin_checkpoint();
  Bytes payload;
  engine_.state([&](const broker::Record& record) {
    payload.clear();
    broker::append_payload(payload, record);
    checkpoint.add({.type = static_cast<journal::RecordType>(broker::type_of(record)),
                    .parts = {BytesView{payload}, BytesView{}}});
  });
  for (const broker::SegmentUse& use : engine_.segments_in_use()) checkpoint.need(use.segment);
  need_released_pages(checkpoint);
  log_->write_checkpoint(std::move(checkpoint));
  choose_what_to_clean();
}

}  // namespace pronto::server
