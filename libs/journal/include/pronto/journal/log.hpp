#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "pronto/base/bytes.hpp"
#include "pronto/base/result.hpp"
#include "pronto/base/time.hpp"
#include "pronto/journal/checkpoint.hpp"
#include "pronto/journal/file.hpp"
#include "pronto/journal/record.hpp"

namespace pronto::journal {

/// What a unit needs the disk to have.
enum class Need {
  space,   ///< room for more, beside the reserve: publishes
  reserve  ///< may use the reserve, so that a full disk can be drained: acks, deletes
};

/// When a unit is to be on stable storage.
enum class Urgency {
  now,      ///< somebody waits for it
  written,  ///< as `later`, and somebody waits for it to be written: see `Options::on_written`
  later     ///< with what is synced next, or after `Options::interval`: acks force no sync
};

struct Appended {
  std::vector<Position> positions;  ///< of each record of the unit
  Sequence sequence{};              ///< of the unit
};

/// Bytes that a recovery could not read.
struct Damage {
  std::string file;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::string reason;
};

/// What a recovery tells: the records of the newest sound checkpoint, then those behind its mark,
/// in the journal's order.
struct Replay {
  /// `payload` lives until the call returns; a checkpoint's records have no position.
  std::function<void(RecordType type, Position position, BytesView payload)> on_record;
  std::function<void(const Damage& damage)> on_damage;
};

enum class SyncMode {
  sync,      ///< each group is synced before it counts as durable
  interval,  ///< it counts as durable when written; synced within `interval`
  none       ///< it counts as durable when written; the system syncs when it likes
};

enum class Threading {
  own_thread,  ///< a thread writes and syncs
  manual       ///< `write_once` does, called by a test or a simulation
};

struct Options {
  std::uint64_t segment_bytes = 64 * 1024 * 1024;   ///< 4 KiB to 1 GiB
  std::uint64_t batch_bytes_max = 8 * 1024 * 1024;  ///< of one write; units beyond it are parted
  std::uint64_t free_bytes_min =
      64 * 1024 * 1024;  ///< kept free on the disk; below it there is no room
  SyncMode mode = SyncMode::sync;
  std::chrono::milliseconds interval{200};  ///< at most, until what is written is synced
  Threading threading = Threading::own_thread;
  /// When a segment was made. Called on any of the log's threads.
  std::function<WallTime()> clock = [] {
    return std::chrono::time_point_cast<WallTime::duration>(std::chrono::system_clock::now());
  };
  /// Called on the log thread (manual: by `write_once`) after `durable_upto` has moved.
  std::function<void(Sequence)> on_durable;
  /// Called there, too: units up to this one are written, one of them with `Urgency::written`, and
  /// not all are durable yet.
  std::function<void(Sequence)> on_written;
  /// Called once, there too, when a write or sync has failed: for ever.
  std::function<void(std::error_code)> on_failure;
};

struct SegmentView {
  std::uint32_t number = 0;
  std::uint64_t bytes = 0;  ///< written
  WallTime made_at{};       ///< 1970: not known
};

struct Statistics {
  std::uint64_t batches_total = 0;
  std::uint64_t syncs_total = 0;
  std::uint64_t written_bytes_total = 0;
  std::chrono::nanoseconds last_sync{0};
  std::chrono::nanoseconds longest_sync{0};
  std::uint64_t checkpoints_total = 0;
  std::uint64_t checkpoints_failed_total = 0;
  std::uint64_t checkpoint_bytes = 0;  ///< of the last one
  std::uint64_t segments_freed_total = 0;
  std::uint64_t segments_recycled_total = 0;
};

/// An append-only log of records in atomic units. Source: docs/formats/journal.md; BROKER.md 3
/// and 4.
class Log {
 public:
  /// Locks the folder, replays what is there, and opens the log for appending.
  ///
  /// Errors: `Error::locked`; `Error::too_new` (nothing was touched); the disk's.
  /// Blocks: for the length of the replay.
  static Result<std::unique_ptr<Log>> open(std::unique_ptr<Disk> disk, Options options,
                                           const Replay& replay);
  /// Reads what `open` would, and touches nothing; the folder need not be free, though what another
  /// process is just writing may look damaged. Returns: where the log ends. Errors, blocks: as
  /// `open`.
  static Result<Mark> look(std::unique_ptr<Disk> disk, const Replay& replay);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  /// Adds a unit to the pending batch: after a crash all of it is there, or nothing.
  ///
  /// Returns at once; the unit counts when `durable_upto` has reached its sequence.
  /// Errors: `no_space_on_device` for `Need::space` on a full disk; after a failed write or sync
  /// always that error. Runs on: one thread, the owner's.
  Result<Appended> append(std::span<const Record> unit, Need need, Urgency urgency = Urgency::now);
  /// Whether `Need::space` would be met now. Runs on: the owner's thread.
  bool has_room();
  /// What still fits without another segment from the disk, the reserve included, about.
  std::uint64_t bytes_left() const;

  /// The payload of a record, from memory while it is not written, else from the disk.
  /// Errors: `Error::damaged`, the disk's. Runs on: any thread. Blocks: on the disk.
  Result<Bytes> read(Position position);

  /// Runs on: any thread.
  Sequence durable_upto() const;
  /// Waits until all that was appended is durable. Errors: as `append`. Blocks: on the disk.
  Result<void> flush();
  /// Does what the log thread does, once: writes what waits, and syncs when somebody waits for it;
  /// with nothing to write, syncs what is not. Returns: whether there was something.
  /// `Threading::manual` only.
  Result<bool> write_once();
  /// Whether something is written and not synced, and is to be. Runs on: any thread.
  bool has_unsynced() const;

  /// A checkpoint of the units appended so far, to be filled from the state that they have led to
  /// before anything more is appended. Runs on: the owner's thread.
  Checkpoint begin_checkpoint();
  /// Writes it beside what is going on, once all before its mark is durable: a file that is there
  /// whole or not at all. Then the one before the last goes, and the segments before the last but
  /// one's mark that this one does not need. One that cannot be written is given up; nothing is
  /// lost by it. Not while `is_writing_checkpoint`. Runs on: the owner's thread.
  void write_checkpoint(Checkpoint checkpoint);
  bool is_writing_checkpoint() const;
  /// Waits for the one that is being written. Blocks: on the disk.
  void wait_for_checkpoint();
  /// Of the log behind the last checkpoint's mark: what a replay would read.
  std::uint64_t bytes_to_replay() const;

  /// Those that are kept, in order.
  std::vector<SegmentView> segments() const;
  Statistics statistics() const;

 private:
  class Inside;
  explicit Log(std::unique_ptr<Inside> inside);
  std::unique_ptr<Inside> inside_;
};

}  // namespace pronto::journal
