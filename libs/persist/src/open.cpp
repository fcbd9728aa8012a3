#include "pronto/persist/open.hpp"

#include <fmt/format.h>

#include "pronto/persist/sqlite.hpp"

namespace pronto::persist {

std::unique_ptr<Database> open_database(Loop& loop, const std::string& url) {
  constexpr std::string_view sqlite = "sqlite:";
  if (url.starts_with("postgresql:") || url.starts_with("postgres:")) {
    // The address itself may hold a password, so it is not repeated.
    throw DatabaseError{DatabaseError::Kind::usage,
                        "PostgreSQL is not in this build of Pronto; use sqlite:PATH"};
  }
  if (!url.starts_with(sqlite) || url.size() == sqlite.size()) {
    throw DatabaseError{
        DatabaseError::Kind::usage,
        fmt::format("'{}' names no database; use sqlite:PATH", url.substr(0, url.find(':')))};
  }
  return std::make_unique<SqliteDatabase>(
      loop, SqliteDatabase::Options{.path = url.substr(sqlite.size())});
}

}  // namespace pronto::persist
