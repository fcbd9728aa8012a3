#include <algorithm>

#include "host_inside.hpp"
#include "pronto/base/log.hpp"

namespace pronto::server {
namespace {

constexpr milliseconds tick_time{5};
constexpr milliseconds tick_time_blocked{50};
constexpr seconds engine_wait_max{30};  // so that a clock that was set is followed
constexpr seconds room_stays_for{1};    // before a full disk counts as drained
constexpr seconds slow_disk_after{1};
constexpr seconds due_on_full_disk_every{1};

}  // namespace

/// Something was done: limits and timers are to be looked at soon, once for all of it.
void BrokerHost::Inside::touch() {
  if (is_tick_armed_) return;
  is_tick_armed_ = true;
  // An alarm takes its time; those that are only slowed down go on as soon as they can.
  const milliseconds wait = blocked_reason_.empty() ? tick_time : tick_time_blocked;
  tick_ = Timer{loop, wait, [this] { tick(); }};
}

void BrokerHost::Inside::tick() {
  is_tick_armed_ = false;
  arm_engine();
  look_at_alarms();
  if (is_blocked_) touch();
}

void BrokerHost::Inside::arm_engine() {
  auto due = engine_.next_due();
  // What would be written again waits for room, and is asked for from time to time.
  if (due && alarms_.disk) {
    const WallTime again_at = loop.wall_now() + due_on_full_disk_every;
    if (engine_due_ && *engine_due_ <= again_at) return;
    due = std::max(*due, again_at);
  }
  if (due == engine_due_) return;
  engine_due_ = due;
  if (!due) {
    engine_timer_.stop();
    return;
  }
  const auto wait = std::clamp<SteadyTime::duration>(*due - loop.wall_now(),
                                                     SteadyTime::duration::zero(), engine_wait_max);
  engine_timer_ = Timer{loop, wait, [this] {
                          engine_due_.reset();
                          engine_.on_time(loop.wall_now());
                          settle_all();
                          touch();
                        }};
}

/// While something waits to be stored, it is seen whether that takes long: a disk may hang for a
/// minute without an error.
void BrokerHost::Inside::watch_disk() {
  if (std::exchange(is_disk_watched_, true)) return;
  disk_watch_ = Timer{loop, slow_disk_after, [this] {
                        is_disk_watched_ = false;
                        look_at_disk();
                        if (!undurable_.empty()) watch_disk();
                      }};
}

void BrokerHost::Inside::look_at_disk() {
  const bool was_slow = alarms_.slow_disk;
  alarms_.slow_disk = !undurable_.empty() && held_units_.empty() &&
                      loop.now() - undurable_.front().since >= slow_disk_after;
  if (alarms_.slow_disk && !was_slow) {
    log::warning("the disk takes long: what was published waits for its confirm",
                 {{"undurable_bytes", undurable_bytes_}});
  } else if (was_slow && !alarms_.slow_disk) {
    log::info("the disk stores again without delay");
  }
}

std::uint64_t BrokerHost::Inside::memory_bytes() const {
  std::uint64_t bytes = store_.kept_bytes() + store_.cached_bytes() + undurable_bytes_ +
                        engine_.held_bytes() + engine_.index_bytes();
  for (const auto& [id, connection] : connections) {
    bytes += connection->session.unsent_bytes() + connection->session.held_bytes();
  }
  return bytes;
}

/// Raises and lowers alarms; the way back is longer, so that they do not flap.
void BrokerHost::Inside::look_at_alarms() {
  const std::uint64_t used = memory_bytes();
  const std::uint64_t limit = options.memory_bytes_max;
  const bool had_memory = alarms_.memory;
  alarms_.memory = used > (had_memory ? limit / 10 * 8 : limit);
  if (alarms_.memory != had_memory) {
    log::warning(alarms_.memory ? "memory alarm: publishers are blocked" : "memory alarm is over",
                 {{"used_bytes", used}, {"limit_bytes", limit}});
  }
  const bool had_disk = alarms_.disk;
  write_held();
  if (!held_units_.empty() || !log_->has_room()) {
    no_room_at_ = loop.now();
    alarms_.disk = true;
  } else if (alarms_.disk && loop.now() >= no_room_at_ + room_stays_for) {
    alarms_.disk = false;
  }
  if (alarms_.disk) free_space();
  if (alarms_.disk != had_disk) {
    log::warning(alarms_.disk ? "disk alarm: publishers are blocked" : "disk alarm is over");
  }
  const std::uint64_t undurable_max = options.undurable_bytes_max;
  const bool is_slow = undurable_bytes_ > (is_blocked_ ? undurable_max / 2 : undurable_max);

  std::string reason;
  if (alarms_.failure) {
    reason = "the journal has failed";
  } else if (alarms_.memory) {
    reason = "low on memory";
  } else if (alarms_.disk) {
    reason = "low on disk";
  }
  if (alarms_.any() || is_slow) {
    if (!is_blocked_ || (!reason.empty() && reason != blocked_reason_)) set_blocked(reason);
  } else if (is_blocked_) {
    is_blocked_ = false;
    blocked_reason_.clear();
    std::vector<std::shared_ptr<Connection>> all;
    for (const auto& [id, connection] : connections) all.push_back(connection);
    for (const auto& connection : all) {
      connection->session.unblock(now());
      after(*connection);
    }
  }
}

void BrokerHost::Inside::set_blocked(const std::string& reason) {
  is_blocked_ = true;
  blocked_reason_ = reason;
  for (const auto& [id, connection] : connections) block(*connection);
}

void BrokerHost::Inside::block(Connection& connection) {
  connection.session.block(blocked_reason_);
  wake(connection);
}

}  // namespace pronto::server
