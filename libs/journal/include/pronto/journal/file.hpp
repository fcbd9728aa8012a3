#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "pronto/base/bytes.hpp"
#include "pronto/base/result.hpp"

namespace pronto::journal {

/// What stands in an allocated file's blocks.
enum class Fill {
  zeros,    ///< written: syncs are fastest from the first one on
  reserved  ///< nothing yet: there at once, but each sync of new blocks takes longer
};

/// A file of fixed places. All that the journal does to a disk goes through this and `Disk`.
/// Runs on: any thread, one call at a time for writing; reads and syncs may come beside. Blocks: on
/// the disk.
class File {
 public:
  File() = default;
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  virtual ~File() = default;

  /// Reads from `offset`. Returns: the count of bytes, short only at the file's end.
  virtual Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) = 0;
  /// Writes all of `parts`, one after the other, from `offset`. Not durable yet.
  virtual Result<void> write_at(std::uint64_t offset, std::span<const BytesView> parts) = 0;
  /// When this returns without an error, all that was written before is on stable storage.
  virtual Result<void> sync_data() = 0;
  virtual Result<std::uint64_t> size() = 0;
  /// Makes the file `bytes` long, reading as zeros, and durable, so that no later write meets a
  /// full disk.
  virtual Result<void> allocate(std::uint64_t bytes, Fill fill) = 0;
};

/// A folder that belongs to one journal.
class Disk {
 public:
  Disk() = default;
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;
  virtual ~Disk() = default;

  /// Opens an existing file. Errors: `Error::not_found`.
  virtual Result<std::unique_ptr<File>> open(const std::string& name) = 0;
  /// Makes an empty file, replacing one of that name.
  virtual Result<std::unique_ptr<File>> create(const std::string& name) = 0;
  virtual Result<void> rename(const std::string& from, const std::string& to) = 0;
  virtual Result<void> remove(const std::string& name) = 0;
  /// Names of all files, sorted.
  virtual Result<std::vector<std::string>> list() = 0;
  /// When this returns, the folder's entries are on stable storage.
  virtual Result<void> sync_folder() = 0;
  /// Holds the folder until this object goes. Errors: `Error::locked`, see `lock_holder`.
  virtual Result<void> lock() = 0;
  /// Who holds the lock, as far as it can be known: "process 4711".
  virtual std::string lock_holder() = 0;
  virtual Result<std::uint64_t> free_bytes() = 0;
  /// The folder's path, for messages.
  virtual std::string path() const = 0;
};

}  // namespace pronto::journal
