#pragma once

#include <cstdint>
#include <map>
#include <vector>

namespace pronto::bench {

/// Numbers from 0 on, of which most come in order; holds runs, so what is complete costs one entry.
class SequenceSet {
 public:
  /// Returns: false when `sequence` was there already.
  bool add(std::uint64_t sequence);
  bool contains(std::uint64_t sequence) const;
  std::uint64_t size() const noexcept { return size_; }

 private:
  std::map<std::uint64_t, std::uint64_t> runs_;  // first to one past the last; never adjacent
  std::uint64_t size_ = 0;
};

/// What is wrong with what was delivered; all zero when nothing is.
struct CheckTotals {
  std::uint64_t lost = 0;          ///< confirmed (or sent, without confirms) and never delivered
  std::uint64_t duplicates = 0;    ///< delivered again
  std::uint64_t out_of_order = 0;  ///< delivered to a consumer after a later one of its stream
  std::uint64_t foreign = 0;       ///< not a message of this run, or never sent

  bool is_clean() const noexcept {
    return lost == 0 && duplicates == 0 && out_of_order == 0 && foreign == 0;
  }
  bool operator==(const CheckTotals&) const = default;
};

/// Checks that each queue hands out every message of every publisher once and in order.
///
/// A stream is what one publisher sends into one queue; its messages are numbered from 0 on.
/// A queue with several consumers keeps the order only for each of them.
/// Runs on: one thread.
class DeliveryCheck {
 public:
  struct Shape {
    std::size_t queue_count = 1;
    std::size_t publisher_count = 1;
    std::size_t consumers_of_queue = 1;
  };
  explicit DeliveryCheck(Shape shape);

  /// Returns: the number of the next message of `publisher` into `queue`.
  std::uint64_t on_sent(std::size_t queue, std::size_t publisher);
  /// The broker has said that it did not take this one: it may be delivered or not.
  void on_refused(std::size_t queue, std::size_t publisher, std::uint64_t sequence);
  /// Takes: `consumer`, counted within its queue; `publisher` and `sequence` as the body has them.
  void on_delivered(std::size_t queue, std::size_t consumer, std::uint64_t publisher,
                    std::uint64_t sequence);
  void on_foreign() { ++totals_.foreign; }

  /// Messages that must still come.
  std::uint64_t missing_count() const noexcept { return expected_ - arrived_; }
  /// What is missing now counts as lost.
  CheckTotals totals() const noexcept;

 private:
  struct Stream {
    std::uint64_t sent = 0;
    SequenceSet delivered;
    SequenceSet refused;
    std::vector<std::uint64_t> next_of_consumer;
  };
  Stream& stream(std::size_t queue, std::size_t publisher) {
    return streams_[queue * shape_.publisher_count + publisher];
  }

  Shape shape_;
  std::vector<Stream> streams_;
  std::uint64_t expected_ = 0;
  std::uint64_t arrived_ = 0;
  CheckTotals totals_;
};

}  // namespace pronto::bench
