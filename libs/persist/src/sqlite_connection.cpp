#include "sqlite_connection.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <thread>

#include "pronto/base/text.hpp"

namespace pronto::persist {
namespace {

constexpr std::int64_t application_id = 0x50524E54;  // "PRNT", docs/formats/sqlite.md
constexpr std::int64_t page_bytes = 4096;

DatabaseError::Kind kind_of(int code) {
  switch (code & 0xff) {
    case SQLITE_CONSTRAINT:
      return DatabaseError::Kind::constraint;
    case SQLITE_ERROR:
    case SQLITE_MISMATCH:
    case SQLITE_RANGE:
    case SQLITE_MISUSE:
    case SQLITE_TOOBIG:
    case SQLITE_AUTH:
    case SQLITE_SCHEMA:
      return DatabaseError::Kind::usage;
    default:
      return DatabaseError::Kind::unavailable;
  }
}

[[noreturn]] void unusable(const std::string& path, const std::string& why) {
  throw DatabaseError{DatabaseError::Kind::unavailable, fmt::format("{}: {}", path, why)};
}

/// A file is durable only once its name in the folder is.
void sync_folder_of(const std::string& path) {
  std::filesystem::path folder = std::filesystem::path{path}.parent_path();
  if (folder.empty()) folder = ".";
  const int file = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool is_synced = file >= 0 && ::fsync(file) == 0;
  const int code = errno;
  if (file >= 0) ::close(file);
  if (!is_synced) unusable(path, fmt::format("cannot sync its folder: {}", std::strerror(code)));
}

SqlValue value_of(sqlite3_stmt* row, int column) {
  switch (sqlite3_column_type(row, column)) {
    case SQLITE_INTEGER:
      return std::int64_t{sqlite3_column_int64(row, column)};
    case SQLITE_FLOAT:
      return sqlite3_column_double(row, column);
    case SQLITE_TEXT: {
      const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(row, column));
      return std::string(text, static_cast<std::size_t>(sqlite3_column_bytes(row, column)));
    }
    case SQLITE_BLOB: {
      const auto* data = static_cast<const std::byte*>(sqlite3_column_blob(row, column));
      return Bytes(data, data + sqlite3_column_bytes(row, column));
    }
    default:
      return std::monostate{};
  }
}

}  // namespace

SqliteConnection::SqliteConnection(Options options) : options_{std::move(options)} {
  const bool is_new = !std::filesystem::exists(options_.path);
  const int flags = SQLITE_OPEN_NOMUTEX |
                    (options_.mode == Mode::write ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
                                                  : SQLITE_OPEN_READWRITE);
  sqlite3* opened = nullptr;
  const int code = sqlite3_open_v2(options_.path.c_str(), &opened, flags, nullptr);
  database_.reset(opened);
  if (code != SQLITE_OK) {
    unusable(options_.path, fmt::format("cannot open the database: {}",
                                        opened ? sqlite3_errmsg(opened) : sqlite3_errstr(code)));
  }
  sqlite3_extended_result_codes(opened, 1);
  sqlite3_busy_timeout(opened, static_cast<int>(options_.busy_max.count()));
  set_up();
  if (options_.mode == Mode::write && is_new) sync_folder_of(options_.path);
}

void SqliteConnection::set_up() {
  sqlite3_db_config(database_.get(), SQLITE_DBCONFIG_DQS_DML, 0, nullptr);
  sqlite3_db_config(database_.get(), SQLITE_DBCONFIG_DQS_DDL, 0, nullptr);
  check_kind_of_file();
  enter_wal();
  run("pragma synchronous = full", {});
  run("pragma foreign_keys = on", {});
  run("pragma trusted_schema = off", {});
  if (options_.mode == Mode::read) run("pragma query_only = on", {});
  if (options_.file_bytes_max > 0) {
    run(fmt::format("pragma max_page_count = {}", options_.file_bytes_max / page_bytes), {});
  }
  if (options_.mode == Mode::write) {
    run("pragma journal_size_limit = 67108864", {});
    set_up_new_file();
  }
  statements_.clear();
  statement_by_sql_.clear();
  sqlite3_set_authorizer(database_.get(), &SqliteConnection::authorize, this);
}

void SqliteConnection::enter_wal() {
  constexpr std::chrono::milliseconds step{5};
  const auto end = std::chrono::steady_clock::now() + options_.busy_max;
  for (;;) {
    try {
      if (run("pragma journal_mode = wal", {})[0].text(0) == "wal") return;
      unusable(options_.path, "this file system cannot hold a database with a write-ahead log");
    } catch (const DatabaseError&) {
      // Where two processes make the file, SQLite does not wait for the other one by itself.
      const bool is_busy = (sqlite3_errcode(database_.get()) & 0xff) == SQLITE_BUSY;
      if (!is_busy || std::chrono::steady_clock::now() >= end) throw;
    }
    std::this_thread::sleep_for(step);
  }
}

void SqliteConnection::check_kind_of_file() {
  // Both answers from one state of the file: another process of ours may be making it right now.
  control("begin");
  const bool is_empty = run("select 1 from sqlite_schema limit 1", {}).empty();
  const std::int64_t id = run("pragma application_id", {})[0].integer(0);
  control("commit");
  if (id == application_id) return;
  if (id != 0 || !is_empty) {
    unusable(options_.path, "is a database of another program; nothing was touched");
  }
}

void SqliteConnection::set_up_new_file() {
  control("begin immediate");
  try {
    run_script(
        fmt::format("pragma application_id = {};"
                    "create table if not exists schema_versions (component text primary key, "
                    "version integer not null) strict, without rowid",
                    application_id));
    control("commit");
  } catch (const DatabaseError&) {
    if (is_in_transaction()) control("rollback");
    throw;
  }
}

int SqliteConnection::authorize(void* self, int action, const char*, const char*, const char*,
                                const char*) {
  const bool is_control = action == SQLITE_TRANSACTION || action == SQLITE_SAVEPOINT;
  const bool is_allowed = !is_control || static_cast<SqliteConnection*>(self)->is_controlling_;
  return is_allowed ? SQLITE_OK : SQLITE_DENY;
}

void SqliteConnection::fail(int code, const std::string& sql) const {
  constexpr std::size_t sql_shown_max = 120;
  const char* text = sqlite3_errmsg(database_.get());
  throw DatabaseError{kind_of(code), fmt::format("{}: {}, in: {}", options_.path, text,
                                                 sql.substr(0, sql_shown_max))};
}

bool SqliteConnection::is_in_transaction() const noexcept {
  return sqlite3_get_autocommit(database_.get()) == 0;
}

void SqliteConnection::control(const char* sql) {
  is_controlling_ = true;
  try {
    run(sql, {});
  } catch (const DatabaseError&) {
    is_controlling_ = false;
    throw;
  }
  is_controlling_ = false;
}

void SqliteConnection::run_script(const std::string& sql) {
  const int code = sqlite3_exec(database_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) fail(code, sql);
}

SqliteConnection::Statement& SqliteConnection::prepare(const std::string& sql) {
  // A control statement in the cache must not be found by others: SQLite asks `authorize` when it
  // prepares, not when it runs.
  const std::string key = is_controlling_ ? "!" + sql : sql;
  if (const auto found = statement_by_sql_.find(key); found != statement_by_sql_.end()) {
    statements_.splice(statements_.begin(), statements_, found->second);
    return statements_.front();
  }
  Statement statement{.key = key};
  sqlite3_stmt* handle = nullptr;
  const char* tail = nullptr;
  const int code =
      sqlite3_prepare_v3(database_.get(), sql.c_str(), static_cast<int>(sql.size() + 1),
                         SQLITE_PREPARE_PERSISTENT, &handle, &tail);
  statement.handle.reset(handle);
  if (code != SQLITE_OK) fail(code, sql);
  if (handle == nullptr || !trim(tail).empty()) {
    throw DatabaseError{DatabaseError::Kind::usage,
                        fmt::format("{}: not exactly one statement: {}", options_.path, sql)};
  }
  const int count = sqlite3_bind_parameter_count(handle);
  for (int index = 1; index <= count; ++index) {
    const char* name = sqlite3_bind_parameter_name(handle, index);
    const auto number = name != nullptr && *name == '$' ? parse_unsigned(name + 1) : std::nullopt;
    if (!number || *number == 0) {
      throw DatabaseError{
          DatabaseError::Kind::usage,
          fmt::format("{}: parameters are $1, $2, ..., in: {}", options_.path, sql)};
    }
    statement.parameter_numbers.push_back(*number);
    statement.parameter_count = std::max<std::size_t>(statement.parameter_count, *number);
  }
  statements_.push_front(std::move(statement));
  statement_by_sql_.emplace(key, statements_.begin());
  if (statements_.size() > options_.statements_cached_max) {
    statement_by_sql_.erase(statements_.back().key);
    statements_.pop_back();
  }
  return statements_.front();
}

void SqliteConnection::bind(Statement& statement, const std::vector<SqlValue>& parameters) {
  if (parameters.size() != statement.parameter_count) {
    throw DatabaseError{DatabaseError::Kind::usage,
                        fmt::format("{}: {} values for {} parameters, in: {}", options_.path,
                                    parameters.size(), statement.parameter_count, statement.key)};
  }
  sqlite3_stmt* handle = statement.handle.get();
  int index = 0;
  for (const std::size_t number : statement.parameter_numbers) {
    ++index;
    const SqlValue& value = parameters[number - 1];
    int code = SQLITE_OK;
    // The values outlive the step, so SQLite need not copy them.
    if (const auto* integer = std::get_if<std::int64_t>(&value)) {
      code = sqlite3_bind_int64(handle, index, *integer);
    } else if (const auto* real = std::get_if<double>(&value)) {
      code = sqlite3_bind_double(handle, index, *real);
    } else if (const auto* text = std::get_if<std::string>(&value)) {
      code = sqlite3_bind_text64(handle, index, text->data(), text->size(), SQLITE_STATIC,
                                 SQLITE_UTF8);
    } else if (const auto* bytes = std::get_if<Bytes>(&value)) {
      code = bytes->empty()
                 ? sqlite3_bind_zeroblob(handle, index, 0)
                 : sqlite3_bind_blob64(handle, index, bytes->data(), bytes->size(), SQLITE_STATIC);
    } else {
      code = sqlite3_bind_null(handle, index);
    }
    if (code != SQLITE_OK) fail(code, statement.key);
  }
}

Rows SqliteConnection::run(const std::string& sql, const std::vector<SqlValue>& parameters) {
  Statement& statement = prepare(sql);
  sqlite3_stmt* handle = statement.handle.get();
  struct Reset {
    ~Reset() {
      sqlite3_reset(handle);
      sqlite3_clear_bindings(handle);
    }
    sqlite3_stmt* handle;
  } const reset{handle};
  bind(statement, parameters);
  Rows rows;
  int code = SQLITE_OK;
  while ((code = sqlite3_step(handle)) == SQLITE_ROW) {
    if (rows.rows.size() >= options_.rows_max) {
      throw DatabaseError{DatabaseError::Kind::usage,
                          fmt::format("{}: an answer of more than {} rows, to: {}", options_.path,
                                      options_.rows_max, sql)};
    }
    const int count = sqlite3_column_count(handle);
    std::vector<SqlValue> values;
    values.reserve(static_cast<std::size_t>(count));
    for (int column = 0; column < count; ++column) values.push_back(value_of(handle, column));
    rows.rows.emplace_back(std::move(values));
  }
  if (code != SQLITE_DONE) fail(code, sql);
  if (sqlite3_stmt_readonly(handle) == 0) rows.changed_count = sqlite3_changes64(database_.get());
  return rows;
}

}  // namespace pronto::persist
