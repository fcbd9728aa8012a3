#include "host_inside.hpp"

namespace pronto::server {

/// Looked at when units have become durable: between two commands.
void BrokerHost::Inside::take_checkpoint_if_due() {
  if (log_->bytes_to_replay() >= options.checkpoint_bytes) take_checkpoint();
}

/// The engine's state as it is now, which is what the journal's units have led to: not while some
/// of them are held back, or were, since their entries do not know where their bodies lie.
void BrokerHost::Inside::take_checkpoint() {
  if (alarms_.failure || has_homeless_entries_ || log_->is_writing_checkpoint()) return;
  journal::Checkpoint checkpoint = log_->begin_checkpoint();
  Bytes payload;
  engine_.state([&](const broker::Record& record) {
    payload.clear();
    broker::append_payload(payload, record);
    checkpoint.add({.type = static_cast<journal::RecordType>(broker::type_of(record)),
                    .parts = {BytesView{payload}, BytesView{}}});
  });
  for (const broker::SegmentUse& use : engine_.segments_in_use()) checkpoint.need(use.segment);
  log_->write_checkpoint(std::move(checkpoint));
}

}  // namespace pronto::server
