#pragma once

#include <sqlite3.h>

#include <chrono>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "pronto/bus/database.hpp"

namespace pronto::persist {

/// One open SQLite file: prepares, binds, steps, and turns SQLite's codes into `DatabaseError`.
///
/// Runs on: one thread at a time. Blocks: on the disk and on other processes' locks.
class SqliteConnection {
 public:
  enum class Mode { write, read };
  struct Options {
    std::string path;
    Mode mode = Mode::write;
    std::chrono::milliseconds busy_max{5'000};
    std::size_t rows_max = 100'000;
    std::size_t statements_cached_max = 256;
    std::int64_t file_bytes_max = 0;
  };

  /// Opens the file; the writing mode makes it, marks it as ours and syncs its folder when it is
  /// new. Errors: throws `DatabaseError`.
  explicit SqliteConnection(Options options);

  /// Runs one statement. Errors: throws `DatabaseError`.
  Rows run(const std::string& sql, const std::vector<SqlValue>& parameters);
  /// Runs statements separated by ';', none of which may begin or end a transaction.
  void run_script(const std::string& sql);
  /// Runs a statement that begins or ends a transaction or savepoint; nobody else may.
  void control(const char* sql);
  /// Whether a transaction is open; SQLite ends it by itself on some errors.
  bool is_in_transaction() const noexcept;

 private:
  struct CloseDatabase {
    void operator()(sqlite3* database) const noexcept { sqlite3_close_v2(database); }
  };
  struct FinalizeStatement {
    void operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }
  };
  struct Statement {
    std::string key;
    std::unique_ptr<sqlite3_stmt, FinalizeStatement> handle;
    std::vector<std::size_t> parameter_numbers;  // of SQLite's first, second, ... parameter: $N
    std::size_t parameter_count = 0;             // the greatest N
  };

  void set_up();
  void set_up_new_file();
  void check_kind_of_file();
  void enter_wal();
  Statement& prepare(const std::string& sql);
  void bind(Statement& statement, const std::vector<SqlValue>& parameters);
  [[noreturn]] void fail(int code, const std::string& sql) const;
  static int authorize(void* self, int action, const char*, const char*, const char*, const char*);

  Options options_;
  std::unique_ptr<sqlite3, CloseDatabase> database_;
  std::list<Statement> statements_;  // the most recently used first
  std::unordered_map<std::string, std::list<Statement>::iterator> statement_by_sql_;
  bool is_controlling_ = false;
};

}  // namespace pronto::persist
