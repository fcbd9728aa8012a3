#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include "pronto/async/task.hpp"
#include "pronto/base/bytes.hpp"

namespace pronto {

/// A value of a row or of a parameter: null, integer, real, text or bytes.
using SqlValue = std::variant<std::monostate, std::int64_t, double, std::string, Bytes>;

/// What a database refuses: a broken constraint, a full disk, a lost connection.
class DatabaseError : public std::runtime_error {
 public:
  enum class Kind {
    constraint,   ///< a unique key, a check: trying again is of no use
    unavailable,  ///< busy, disk full, connection lost: trying again may help
    usage         ///< wrong SQL or a value of another type: our bug
  };
  DatabaseError(Kind kind, const std::string& what) : std::runtime_error{what}, kind_{kind} {}
  Kind kind() const noexcept { return kind_; }

 private:
  Kind kind_;
};

/// One row of an answer. Columns are counted from 0.
class Row {
 public:
  explicit Row(std::vector<SqlValue> values) : values_{std::move(values)} {}

  /// Errors: throws `DatabaseError` (usage) when there is no such column or it holds another type
  /// or null.
  std::int64_t integer(std::size_t column) const;
  double real(std::size_t column) const;
  const std::string& text(std::size_t column) const;
  const Bytes& bytes(std::size_t column) const;
  bool is_null(std::size_t column) const;
  std::size_t size() const noexcept { return values_.size(); }

 private:
  const SqlValue& at(std::size_t column) const;
  std::vector<SqlValue> values_;
};

/// The answer to one statement.
struct Rows {
  std::vector<Row> rows;           ///< of a select, or of `returning`
  std::int64_t changed_count = 0;  ///< rows inserted, updated or deleted

  bool empty() const noexcept { return rows.empty(); }
  std::size_t size() const noexcept { return rows.size(); }
  const Row& operator[](std::size_t index) const { return rows.at(index); }
  auto begin() const noexcept { return rows.begin(); }
  auto end() const noexcept { return rows.end(); }
};

namespace detail {
template <class T>
SqlValue to_sql(T&& value) {
  using Plain = std::remove_cvref_t<T>;
  if constexpr (std::same_as<Plain, SqlValue>) {
    return std::forward<T>(value);
  } else if constexpr (std::same_as<Plain, std::nullopt_t> || std::same_as<Plain, std::nullptr_t>) {
    return std::monostate{};
  } else if constexpr (requires {
                         value.has_value();
                         *value;
                       }) {
    return value.has_value() ? to_sql(*std::forward<T>(value)) : SqlValue{};
  } else if constexpr (std::integral<Plain>) {
    return static_cast<std::int64_t>(value);
  } else if constexpr (std::floating_point<Plain>) {
    return static_cast<double>(value);
  } else if constexpr (std::same_as<Plain, Bytes>) {
    return std::forward<T>(value);
  } else {
    return std::string(std::forward<T>(value));
  }
}
template <class... Values>
std::vector<SqlValue> to_parameters(Values&&... values) {
  std::vector<SqlValue> parameters;
  parameters.reserve(sizeof...(values));
  (parameters.push_back(to_sql(std::forward<Values>(values))), ...);
  return parameters;
}
}  // namespace detail

/// Statements that become durable together or not at all.
///
/// SQL is the part that SQLite and PostgreSQL share, parameters are `$1`, `$2`, ...
/// Runs on: the loop's thread; the statement itself runs elsewhere. One statement at a time.
class Transaction {
 public:
  Transaction() = default;
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  virtual ~Transaction() = default;

  /// `co_await tx.execute("insert into history values ($1, $2)", order, status);`
  /// Errors: throws `DatabaseError`, after which the transaction can only be rolled back;
  /// `Cancelled`.
  template <class... Values>
  Task<Rows> execute(std::string sql, Values&&... values) {
    return run(std::move(sql), detail::to_parameters(std::forward<Values>(values)...));
  }
  virtual Task<Rows> run(std::string sql, std::vector<SqlValue> parameters) = 0;
};

/// One step of a component's schema; versions count from 1 without gaps and are never changed once
/// released.
///
/// The statements are what SQLite and PostgreSQL both understand: `bigint` for numbers, also of
/// milliseconds. `{identity}` stands for the type of a key that the database counts up and never
/// uses twice.
struct Migration {
  int version;
  std::string sql;  ///< one or more statements, separated by ';'
};

/// A database that services keep their rows in.
///
/// Concurrent transactions may share a commit; one that fails does not take the others with it.
/// Runs on: the loop's thread.
class Database {
 public:
  Database() = default;
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  virtual ~Database() = default;

  using Work = std::move_only_function<Task<>(Transaction&)>;

  /// Runs `work` in a transaction and commits it.
  ///
  /// When this returns, what `work` did is on stable storage. When `work` throws, nothing of it is
  /// done, and the exception goes on to the caller. `work` awaits nothing but its statements:
  /// others may wait for it. Errors: throws what `work` throws; `DatabaseError`; `Cancelled` (then
  /// nothing was done, or all of it).
  virtual Task<> transact(Work work) = 0;

  /// Reads outside of any transaction: what is committed. Errors: throws `DatabaseError`,
  /// `Cancelled`.
  template <class... Values>
  Task<Rows> query(std::string sql, Values&&... values) {
    return run_query(std::move(sql), detail::to_parameters(std::forward<Values>(values)...));
  }
  virtual Task<Rows> run_query(std::string sql, std::vector<SqlValue> parameters) = 0;

  /// Brings `component`'s tables to the newest of `steps`, each step in a transaction with its
  /// version. Errors: throws `DatabaseError`; (usage) naming both versions when the database is
  /// newer than `steps`.
  virtual Task<> migrate(std::string component, std::vector<Migration> steps) = 0;

  /// Ends pending work, then closes. Afterwards every call fails (unavailable).
  virtual Task<> close() = 0;
};

}  // namespace pronto
