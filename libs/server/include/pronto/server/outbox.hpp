#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "pronto/base/bytes.hpp"

namespace pronto::server {

/// Bytes on their way to one peer: small ones copied, large bodies by reference.
///
/// One gathered write takes all of it. Runs on: the loop's thread.
class Outbox {
 public:
  /// Bodies from this size on are not copied.
  static constexpr std::size_t shared_bytes_min = 4096;

  /// What one write sends. Holds what its parts refer to.
  class Batch {
   public:
    /// Pieces in order; they live as long as the batch and do not move with it.
    std::vector<BytesView> parts() const;
    std::size_t bytes() const noexcept { return bytes_; }

   private:
    friend class Outbox;
    struct Piece {
      std::size_t begin = 0;  // in `copied_`, when nothing is shared
      std::size_t end = 0;
      std::shared_ptr<const void> owner;
      BytesView shared;
    };
    Bytes copied_;
    std::vector<Piece> pieces_;
    std::size_t bytes_ = 0;
  };

  /// Where to append what is copied. What `write` appends counts once it returns.
  template <class Write>
  void append(Write write) {
    const std::size_t before = batch_.copied_.size();
    write(batch_.copied_);
    grow(before);
  }
  /// Appends `bytes`, which live as long as `owner`.
  void append_shared(std::shared_ptr<const void> owner, BytesView bytes);

  bool empty() const noexcept { return batch_.bytes_ == 0; }
  std::size_t bytes() const noexcept { return batch_.bytes_; }
  /// Bytes ever appended.
  std::uint64_t bytes_total() const noexcept { return bytes_total_; }

  /// Takes all that waits. Takes: `used`, a batch that was sent, whose memory serves again.
  Batch take(Batch used);

 private:
  void grow(std::size_t before);

  Batch batch_;
  std::uint64_t bytes_total_ = 0;
};

}  // namespace pronto::server
