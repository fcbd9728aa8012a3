#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "pronto/base/random.hpp"
#include "pronto/journal/file.hpp"

namespace pronto::journal {

/// A disk in memory that can lose power, fail and be full. Handles (`open`) share it.
///
/// Runs on: one thread, or under the caller's lock.
class SimulatedDisk {
 public:
  SimulatedDisk();
  ~SimulatedDisk();

  /// A handle for one journal; when it goes the lock is free again.
  std::unique_ptr<Disk> open();

  /// Loses power: files keep what was synced; of what was not, each 512-byte sector is kept or lost
  /// by chance; entries of the folder that were not synced may be lost or have come. Handles fail
  /// from now on.
  void crash(Random& random);
  /// From now on every call fails (power is gone), until `crash`. For a cut after the n-th write.
  void cut_after_writes(std::uint64_t count);
  bool was_cut() const;
  /// The `count`-th call from now (0: the next) fails once with `code`.
  void fail_call(std::uint64_t count, std::error_code code);
  bool has_failed() const;
  /// How many bytes all files may have together.
  void set_capacity(std::uint64_t bytes);

  std::uint64_t write_count() const;
  std::uint64_t sync_count() const;

  /// Turns bits of a stored byte, as rot does. Errors: none; `name` exists.
  void flip(const std::string& name, std::uint64_t offset, std::byte bits);
  std::uint64_t size_of(const std::string& name) const;
  std::vector<std::string> names() const;
  void truncate(const std::string& name, std::uint64_t bytes);

  struct State;

 private:
  std::shared_ptr<State> state_;
};

}  // namespace pronto::journal
