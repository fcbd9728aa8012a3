#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <string>

namespace pronto {

/// Where randomness comes from; injected, so that a simulation can replay it from a seed.
class Random {
 public:
  Random() = default;
  Random(const Random&) = delete;
  Random& operator=(const Random&) = delete;
  virtual ~Random() = default;

  virtual void fill(std::span<std::byte> out) = 0;

  std::uint64_t next();
  /// Returns: an even draw from [0, bound). `bound` is at least 1.
  std::uint64_t below(std::uint64_t bound);
  /// Returns: a draw from [0, 1).
  double unit();
  /// Returns: `bytes` random bytes as base64url without padding: unguessable from 16 bytes on.
  std::string url_safe_id(std::size_t bytes = 16);
};

/// The system's generator (getrandom). Runs on: any thread.
class SystemRandom final : public Random {
 public:
  void fill(std::span<std::byte> out) override;
};

/// The same draws for the same seed. Runs on: one thread at a time. Not for secrets.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : engine_{seed} {}
  void fill(std::span<std::byte> out) override;

 private:
  std::mt19937_64 engine_;
};

}  // namespace pronto
