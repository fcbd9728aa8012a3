#pragma once

#include <initializer_list>
#include <memory>

#include "pronto/async/loop.hpp"
#include "pronto/async/stream.hpp"
#include "pronto/async/task.hpp"

namespace pronto {

/// The loop of real time, real sockets and real randomness.
class SystemLoop final : public Loop {
 public:
  SystemLoop();
  ~SystemLoop() override;

  /// Runs until `stop`. Blocks: the calling thread, which is the loop's thread from then on.
  void run();
  /// Ends `run` after its current turn. Runs on: any thread.
  void stop();

  void post(std::move_only_function<void()> work) override;
  SteadyTime now() const override;
  WallTime wall_now() const override;
  Random& random() override;
  Network& network() override;

  /// Waits for one of `signals` (SIGTERM, SIGHUP, ...), which no longer end the process.
  /// Returns: its number. Errors: throws `Cancelled`.
  Task<int> next_signal(std::initializer_list<int> signals);

  struct Inside;  ///< Asio's objects, for this layer only

 private:
  std::unique_ptr<Inside> inside_;
};

}  // namespace pronto
