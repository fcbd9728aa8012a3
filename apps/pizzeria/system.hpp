#pragma once

#include <memory>
#include <string>

#include "config.hpp"
#include "pronto/async/system_loop.hpp"

namespace pizzeria {

/// One process of the pizzeria: its parts, wired.
class System {
 public:
  /// `name`: the command, "up" or a service's.
  System(pronto::SystemLoop& loop, std::string name, Config config, Roles roles);
  System(const System&) = delete;
  System& operator=(const System&) = delete;
  ~System();

  /// Starts everything; when this returns it can be used and the ports file is written.
  /// Errors: throws `StartError`; then nothing is left half-started.
  pronto::Task<> start();
  /// What a person reads at the start: at most ten lines.
  std::string greeting() const;
  /// Stops in order, within the drain limit. Returns: whether all work under way was finished or
  /// handed back.
  pronto::Task<bool> stop();
  /// Becomes set when the embedded journal has failed: nothing can be stored any more.
  const pronto::Promise<std::string>& failure() const;

 private:
  class Inside;
  std::unique_ptr<Inside> inside_;
};

}  // namespace pizzeria
