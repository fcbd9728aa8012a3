#include "pronto/server/outbox.hpp"

#include <utility>

namespace pronto::server {

std::vector<BytesView> Outbox::Batch::parts() const {
  std::vector<BytesView> parts;
  parts.reserve(pieces_.size());
  for (const Piece& piece : pieces_) {
    parts.push_back(piece.owner ? piece.shared
                                : BytesView{copied_}.subspan(piece.begin, piece.end - piece.begin));
  }
  return parts;
}

void Outbox::grow(std::size_t before) {
  const std::size_t after = batch_.copied_.size();
  if (after == before) return;
  if (!batch_.pieces_.empty() && !batch_.pieces_.back().owner) {
    batch_.pieces_.back().end = after;
  } else {
    batch_.pieces_.push_back({.begin = before, .end = after});
  }
  batch_.bytes_ += after - before;
  bytes_total_ += after - before;
}

void Outbox::append_shared(std::shared_ptr<const void> owner, BytesView bytes) {
  if (bytes.empty()) return;
  batch_.pieces_.push_back({.owner = std::move(owner), .shared = bytes});
  batch_.bytes_ += bytes.size();
  bytes_total_ += bytes.size();
}

Outbox::Batch Outbox::take(Batch used) {
  constexpr std::size_t kept_bytes_max = 256 * 1024;
  used.copied_.clear();
  used.pieces_.clear();
  used.bytes_ = 0;
  if (used.copied_.capacity() > kept_bytes_max) used.copied_ = Bytes{};
  return std::exchange(batch_, std::move(used));
}

}  // namespace pronto::server
