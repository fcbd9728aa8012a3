#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "pronto/async/loop.hpp"
#include "pronto/bus/database.hpp"

namespace pronto::persist {

/// Rows in one SQLite file (WAL, synchronous=FULL): one writing and one reading connection.
///
/// Transactions run one after another. Those that wait for their turn while another one runs become
/// durable with it, in one commit; each has a savepoint, so one that fails takes nobody with it. A
/// `transact` returns once that commit is on stable storage. Queries read what is committed.
/// Destroyed without `close` it ends like a crash: what was committed is there.
/// Source: docs/formats/sqlite.md.
class SqliteDatabase final : public Database {
 public:
  struct Options {
    std::string path;
    /// How long another process may hold the file before a transaction fails (unavailable).
    std::chrono::milliseconds busy_max{5'000};
    /// A commit is shared by at most so many transactions, begun within so much time.
    std::size_t shared_commit_count_max = 256;
    std::chrono::milliseconds shared_commit_time_max{20};
    /// A transaction that takes longer is cancelled (unavailable), since all others wait for it.
    std::chrono::milliseconds transaction_time_max{30'000};
    /// Transactions that may wait for their turn; one more fails (unavailable).
    std::size_t waiting_count_max = 100'000;
    std::size_t rows_max = 100'000;  ///< of one answer; more is a usage error
    std::size_t statements_cached_max = 256;
    /// False: statements run on the loop's thread. For a `VirtualLoop`.
    bool has_threads = true;
    /// The file may not grow beyond this; 0: no limit. A full disk for tests.
    std::int64_t file_bytes_max = 0;
  };
  struct Counts {
    std::uint64_t committed = 0;    ///< transactions
    std::uint64_t rolled_back = 0;  ///< transactions
    std::uint64_t commits = 0;      ///< of the database, each one sync
  };

  /// Opens or makes the file. Blocks: on the disk. Errors: throws `DatabaseError`.
  SqliteDatabase(Loop& loop, Options options);
  ~SqliteDatabase() override;

  Task<> transact(Work work) override;
  Task<Rows> run_query(std::string sql, std::vector<SqlValue> parameters) override;
  Task<> migrate(std::string component, std::vector<Migration> steps) override;
  Task<> close() override;

  const Counts& counts() const noexcept;

 private:
  class Inside;
  std::unique_ptr<Inside> inside_;
};

}  // namespace pronto::persist
