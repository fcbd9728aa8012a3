#pragma once

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "batch.hpp"
#include "pronto/journal/log.hpp"

namespace pronto::journal {

/// A batch that is not on the disk yet.
struct PendingBatch {
  std::uint32_t segment = 0;
  std::uint64_t offset = 0;
  std::uint64_t first_unit = 0;
  std::uint64_t last_unit = 0;  ///< the last that ends in it; 0: none
  bool goes_on = false;         ///< with a unit that began before it
  bool wants_sync = false;      ///< somebody waits for one of its units
  bool is_told_of = false;      ///< when it is written
  Bytes bytes;                  ///< room for the header, then records
};

/// A checkpoint on the disk.
struct KeptCheckpoint {
  std::uint32_t number = 0;
  std::uint64_t epoch = 0;
  Mark mark;
};

inline constexpr const char* spare_name = "spare";
inline constexpr const char* new_checkpoint_name = "checkpoint.new";

std::string checkpoint_name(std::uint32_t number);
/// Returns: nothing when `name` is no checkpoint's.
std::optional<std::uint32_t> checkpoint_number(const std::string& name);

std::string segment_name(std::uint32_t number);
/// Returns: nothing when `name` is no segment's.
std::optional<std::uint32_t> segment_number(const std::string& name);

inline Position make_position(std::uint32_t segment, std::uint64_t offset) {
  return Position{std::uint64_t{segment} << 32 | offset};
}
inline std::uint32_t segment_of(Position position) {
  return static_cast<std::uint32_t>(static_cast<std::uint64_t>(position) >> 32);
}
inline std::uint64_t offset_of(Position position) {
  return static_cast<std::uint64_t>(position) & 0xFFFF'FFFF;
}

/// Shared by the owner's thread and the log thread; what both touch stands under `mutex`.
class Log::Inside {
 public:
  Inside(std::unique_ptr<Disk> disk, Options options);
  ~Inside();

  // recovery.cpp, before any thread runs.
  struct FoundSegment {
    std::uint32_t number;
    std::shared_ptr<File> file;
    std::uint64_t size;
    bool is_sound;
    bool other_number;  // it says that it is another one
  };
  /// What was read, and where the log goes on.
  struct Read {
    std::vector<std::string> names;
    std::vector<FoundSegment> segments;
    std::optional<Mark> mark;
    std::size_t end_index = 0;
    std::uint64_t end_offset = 0;
  };
  /// Touches nothing.
  Result<Read> read_all(const Replay& replay);
  Result<void> recover(const Replay& replay);
  Result<std::optional<Mark>> recover_checkpoint(const std::vector<std::string>& names,
                                                 const Replay& replay);

  // log.cpp
  Result<void> start();
  Result<bool> write_once();
  Result<bool> sync_written();
  void tell_durable(std::uint64_t unit);
  /// Behind what is appended, for batches and their headers. Called with the lock.
  std::uint64_t left_in_segment() const {
    const std::uint64_t at =
        is_open_batch ? waiting.back().offset + waiting.back().bytes.size() : offset;
    return options.segment_bytes - std::min(at, options.segment_bytes);
  }
  Result<void> prepare_spare();
  /// Between two pieces of a checkpoint: whoever waits for a segment does not wait for the rest.
  void serve_appends();

  // checkpoint.cpp
  void write_due_checkpoint();
  Result<void> sync_before(const Mark& mark);
  Result<void> write_checkpoint_file(Checkpoint& checkpoint, std::uint32_t number,
                                     std::uint64_t& bytes);
  Result<void> free_segments(const std::set<std::uint32_t>& needed);
  /// Whether the one to be written may be: called under the lock.
  bool is_checkpoint_due() const {
    return checkpoint && !broken &&
           durable_unit >= static_cast<std::uint64_t>(checkpoint->mark().last_unit);
  }

  /// The place for the next `bytes` of records; seals the open batch when it cannot take them.
  Result<PendingBatch*> room_for(std::uint64_t bytes, bool is_inside_unit);
  void seal_open();
  void fail(std::error_code error);
  void run();
  void run_preparer();
  Result<std::unique_ptr<File>> make_segment(std::uint32_t number, Fill fill);
  Result<std::unique_ptr<File>> new_file(Fill fill);
  std::unique_ptr<File> recycled_file();

  std::unique_ptr<Disk> disk;
  Options options;

  mutable std::mutex mutex;
  std::condition_variable work;         // for the log thread
  std::condition_variable done;         // for `flush`
  std::deque<PendingBatch> waiting;     // sealed, then the open one
  bool is_open_batch = false;           // whether the last of `waiting` takes more
  std::deque<PendingBatch> in_writing;  // taken by the log thread
  std::map<std::uint32_t, std::shared_ptr<File>> files;
  std::map<std::uint32_t, std::uint64_t> made_at;  // of segments, milliseconds since 1970
  std::uint32_t segment = 0;                       // where the next batch goes
  std::uint64_t offset = 0;
  std::shared_ptr<File> spare;  // segment + 1, ready for use
  bool wants_spare = false;
  bool is_full = false;  // the last try to make a segment has failed
  std::error_code broken;
  bool failure_told = false;
  std::uint64_t epoch = 0;
  std::uint64_t last_batch = 0;  // sequence of the last sealed batch
  std::uint64_t last_durable_batch = 0;
  std::uint64_t last_unit = 0;
  std::uint64_t durable_unit = 0;
  std::uint64_t told_unit = 0;  // of them, those that `on_durable` was told of
  Statistics statistics;
  bool stopping = false;
  // What is written and not synced: of the log thread, changed under the lock.
  std::vector<std::shared_ptr<File>> unsynced;
  std::chrono::steady_clock::time_point unsynced_since{};
  std::uint64_t written_unit = 0;
  std::uint64_t written_batch = 0;
  bool is_flushing = false;

  std::uint64_t appended_bytes = 0;              // in all, and read at the start
  std::uint64_t appended_at_mark = 0;            // of the last checkpoint
  std::uint64_t appended_at_last_mark = 0;       // of the one before it
  std::optional<Checkpoint> checkpoint;          // to be written
  bool is_writing_checkpoint = false;            // or waiting for it
  std::deque<KeptCheckpoint> kept;               // the last two, oldest first
  std::uint32_t last_checkpoint = 0;             // its number
  std::vector<std::string> damaged_checkpoints;  // to be put out of the way
  std::deque<std::uint32_t> recyclable;          // segments that nobody reads, still on the disk

  std::thread log_thread;
  std::condition_variable prepare;
  std::thread preparer;
};

}  // namespace pronto::journal
