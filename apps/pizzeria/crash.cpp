#include "crash.hpp"

#include <csignal>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "pronto/base/text.hpp"

namespace pizzeria {

using pronto::Task;
using pronto::Transaction;

namespace {

struct Plan {
  std::uint64_t left;
  std::string name;
};

/// What PIZZERIA_CRASH_AFTER asks for; nothing when it is unset or not "N:NAME".
std::optional<Plan>& plan() {
  static std::optional<Plan> made = []() -> std::optional<Plan> {
    const char* text = std::getenv("PIZZERIA_CRASH_AFTER");
    if (!text) return std::nullopt;
    const std::string_view whole{text};
    const std::size_t colon = whole.find(':');
    const auto count = pronto::parse_unsigned(whole.substr(0, colon));
    if (colon == whole.npos || !count || *count == 0) return std::nullopt;
    return Plan{*count, std::string{whole.substr(colon + 1)}};
  }();
  return made;
}

class Watching final : public Transaction {
 public:
  Watching(Transaction& inner, std::vector<std::string>& seen) : inner_{inner}, seen_{seen} {}
  Task<pronto::Rows> run(std::string sql, std::vector<pronto::SqlValue> parameters) override {
    seen_.push_back(sql);
    return inner_.run(std::move(sql), std::move(parameters));
  }

 private:
  Transaction& inner_;
  std::vector<std::string>& seen_;
};

class CrashingDatabase final : public pronto::Database {
 public:
  explicit CrashingDatabase(std::unique_ptr<pronto::Database> inner) : inner_{std::move(inner)} {}

  Task<> transact(Work work) override {
    std::vector<std::string> seen;
    co_await inner_->transact([&work, &seen](Transaction& tx) -> Task<> {
      Watching watching{tx, seen};
      co_await work(watching);
    });
    for (const std::string& statement : seen) crash_point(statement);
  }
  Task<pronto::Rows> run_query(std::string sql, std::vector<pronto::SqlValue> parameters) override {
    return inner_->run_query(std::move(sql), std::move(parameters));
  }
  Task<> migrate(std::string component, std::vector<pronto::Migration> steps) override {
    return inner_->migrate(std::move(component), std::move(steps));
  }
  Task<> close() override { return inner_->close(); }

 private:
  std::unique_ptr<pronto::Database> inner_;
};

}  // namespace

void crash_point(std::string_view name) {
  auto& planned = plan();
  if (!planned || !name.starts_with(planned->name)) return;
  if (--planned->left > 0) return;
  planned.reset();
  (void)std::raise(SIGKILL);
}

std::unique_ptr<pronto::Database> with_crash_points(std::unique_ptr<pronto::Database> database) {
  if (!plan()) return database;
  return std::make_unique<CrashingDatabase>(std::move(database));
}

}  // namespace pizzeria
