#pragma once

#include <optional>
#include <string>
#include <utility>

namespace pizzeria {

/// A name that no other process on the same store has, for as long as this lives.
///
/// The lock goes with its process, however that ends; the file stays. Runs on: any thread.
class InstanceLock {
 public:
  /// Takes: a store's URL, `sqlite:PATH`; the lock is on a file beside it.
  /// Returns: nothing when another process has the name. Errors: throws `StartError`.
  static std::optional<InstanceLock> take(const std::string& store, const std::string& instance);

  InstanceLock(InstanceLock&& other) noexcept : descriptor_{std::exchange(other.descriptor_, -1)} {}
  InstanceLock& operator=(InstanceLock&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~InstanceLock();

 private:
  explicit InstanceLock(int descriptor) : descriptor_{descriptor} {}
  int descriptor_;
};

}  // namespace pizzeria
