#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "pronto/async/sync.hpp"

namespace pronto::detail {

/// Lets one at a time through for each key, in the order in which they came.
/// Runs on: the loop's thread.
class KeyTurns {
 public:
  class Turn {
   public:
    Turn() = default;
    Turn(KeyTurns& turns, std::string key) : turns_{&turns}, key_{std::move(key)} {
      ++turns.lines_[key_].user_count;
    }
    Turn(Turn&& other) noexcept
        : turns_{std::exchange(other.turns_, nullptr)},
          key_{std::move(other.key_)},
          held_{std::move(other.held_)} {}
    Turn& operator=(Turn&& other) noexcept {
      std::swap(turns_, other.turns_);
      std::swap(key_, other.key_);
      std::swap(held_, other.held_);
      return *this;
    }
    ~Turn() {
      if (turns_ == nullptr) return;
      held_ = Slots::Held{};
      const auto line = turns_->lines_.find(key_);
      if (--line->second.user_count == 0) turns_->lines_.erase(line);
    }

   private:
    friend class KeyTurns;
    KeyTurns* turns_ = nullptr;
    std::string key_;
    Slots::Held held_;
  };

  /// Waits for the turn of `key`; an empty key never waits. Errors: throws `Cancelled`.
  Task<Turn> take(std::string key) {
    if (key.empty()) co_return Turn{};
    Turn turn{*this, std::move(key)};
    turn.held_ = co_await lines_[turn.key_].slots.take();
    co_return turn;
  }

 private:
  struct Line {
    Slots slots{1};
    std::size_t user_count = 0;
  };
  std::unordered_map<std::string, Line> lines_;
};

}  // namespace pronto::detail
