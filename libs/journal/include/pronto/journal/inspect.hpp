#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "pronto/base/bytes.hpp"
#include "pronto/base/result.hpp"
#include "pronto/base/time.hpp"
#include "pronto/journal/checkpoint.hpp"
#include "pronto/journal/file.hpp"
#include "pronto/journal/record.hpp"

namespace pronto::journal {

/// A file of a journal's folder, as its header has it.
struct FileView {
  enum class Kind { segment, checkpoint, other };
  std::string name;
  Kind kind = Kind::other;
  std::uint64_t bytes = 0;
  bool is_sound = false;  ///< the header
  std::uint32_t version = 0;
  std::uint64_t epoch = 0;
  WallTime made_at{};  ///< of a segment; 1970: not known
  Mark mark;           ///< of a checkpoint
};

/// A record where it lies. `payload` lives until the call returns.
struct RecordInfo {
  RecordType type{};
  Position position{};  ///< in a checkpoint: as if it were segment 0
  bool is_last_of_unit = false;
  BytesView payload;
};

/// A sound batch.
struct BatchView {
  std::uint64_t offset = 0;  ///< in the file
  std::uint64_t bytes = 0;
  std::uint16_t version = 0;
  std::uint64_t epoch = 0;
  std::uint64_t sequence = 0;
  std::uint64_t first_unit = 0;
  std::uint64_t durable_upto = 0;
  bool is_stale = false;  ///< left by what the file was before, and read by nobody
  std::vector<RecordInfo> records;
};

/// Who is shown a folder's files in the order of their names, each followed by its batches.
struct Inspector {
  std::function<bool(const FileView&)> on_file;    ///< false: not its batches
  std::function<bool(const BatchView&)> on_batch;  ///< false: not those behind it
};

/// Shows what a journal's folder holds, and touches nothing: for people, not for a recovery, which
/// `Log::look` plays. Errors: the disk's. Blocks: for as long as reading all takes.
Result<void> inspect(Disk& disk, const Inspector& to);

/// The payload of a record in a journal's folder: for people, and for an owner whose log is still
/// being opened, see `Log::read`. Errors: `Error::not_found`, `Error::damaged`, the disk's.
/// Blocks: on the disk.
Result<Bytes> read_record(Disk& disk, Position position);

}  // namespace pronto::journal
