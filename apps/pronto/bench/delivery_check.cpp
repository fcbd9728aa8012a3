#include "bench/delivery_check.hpp"

#include <iterator>

#include "pronto/base/assert.hpp"

namespace pronto::bench {

bool SequenceSet::add(std::uint64_t sequence) {
  const auto after = runs_.upper_bound(sequence);
  const auto before = after == runs_.begin() ? runs_.end() : std::prev(after);
  if (before != runs_.end() && sequence < before->second) return false;
  ++size_;
  const bool joins_before = before != runs_.end() && before->second == sequence;
  const bool joins_after = after != runs_.end() && after->first == sequence + 1;
  if (joins_before) {
    before->second = joins_after ? after->second : sequence + 1;
    if (joins_after) runs_.erase(after);
  } else if (joins_after) {
    auto run = runs_.extract(after);
    run.key() = sequence;
    runs_.insert(std::move(run));
  } else {
    runs_.emplace_hint(after, sequence, sequence + 1);
  }
  return true;
}

bool SequenceSet::contains(std::uint64_t sequence) const {
  const auto after = runs_.upper_bound(sequence);
  return after != runs_.begin() && sequence < std::prev(after)->second;
}

DeliveryCheck::DeliveryCheck(Shape shape) : shape_{shape} {
  streams_.resize(shape.queue_count * shape.publisher_count);
  for (Stream& one : streams_) one.next_of_consumer.resize(shape.consumers_of_queue);
}

std::uint64_t DeliveryCheck::on_sent(std::size_t queue, std::size_t publisher) {
  ++expected_;
  return stream(queue, publisher).sent++;
}

void DeliveryCheck::on_refused(std::size_t queue, std::size_t publisher, std::uint64_t sequence) {
  Stream& of = stream(queue, publisher);
  PRONTO_ASSERT(sequence < of.sent);
  // One that came before its refusal has been counted as it came.
  if (!of.delivered.add(sequence)) return;
  of.refused.add(sequence);
  --expected_;
}

void DeliveryCheck::on_delivered(std::size_t queue, std::size_t consumer, std::uint64_t publisher,
                                 std::uint64_t sequence) {
  if (publisher >= shape_.publisher_count) return on_foreign();
  Stream& of = stream(queue, static_cast<std::size_t>(publisher));
  if (sequence >= of.sent) return on_foreign();
  if (!of.delivered.add(sequence)) {
    if (!of.refused.contains(sequence)) ++totals_.duplicates;
    return;
  }
  ++arrived_;
  std::uint64_t& next = of.next_of_consumer[consumer];
  if (sequence < next) {
    ++totals_.out_of_order;
  } else {
    next = sequence + 1;
  }
}

CheckTotals DeliveryCheck::totals() const noexcept {
  CheckTotals totals = totals_;
  totals.lost = missing_count();
  return totals;
}

}  // namespace pronto::bench
