#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "pronto/base/time.hpp"

namespace pronto::http {

/// Keeps requests from a destination that does not answer; lets a probe through now and then.
///
/// ```
/// closed --failures_max + 1 in a row--> open --time--> one probe --taken--> closed
///                                        ^-- fails, twice the time --/
/// ```
class Circuit {
 public:
  struct Options {
    std::uint32_t failures_max;
    milliseconds open_min;
    milliseconds open_max;
  };
  explicit Circuit(const Options& options) : options_{options} {}

  /// Until when nothing may be sent; nothing when something may.
  std::optional<WallTime> open_until(WallTime now) const {
    return open_until_ && now < *open_until_ ? open_until_ : std::nullopt;
  }
  /// Whether only one request at a time may be sent: the probe.
  bool is_probing() const noexcept { return open_until_.has_value(); }
  bool is_calm() const noexcept { return failures_ == 0 && !open_until_; }

  void on_answer() {
    failures_ = 0;
    open_until_.reset();
    open_for_ = {};
  }
  void on_failure(WallTime now) {
    ++failures_;
    if (!open_until_ && failures_ <= options_.failures_max) return;
    // Failures of requests that were begun before it opened do not make it longer.
    if (open_until(now)) return;
    open_for_ = std::clamp(open_for_ * 2, options_.open_min, options_.open_max);
    open_until_ = now + open_for_;
  }
  /// The next request is a probe, now.
  void allow_probe(WallTime now) {
    if (open_until_) open_until_ = std::min(*open_until_, now);
  }

 private:
  Options options_;
  std::uint32_t failures_ = 0;
  milliseconds open_for_{0};
  std::optional<WallTime> open_until_;
};

}  // namespace pronto::http
