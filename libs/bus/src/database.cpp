#include "pronto/bus/database.hpp"

#include <fmt/format.h>

#include <array>

namespace pronto {
namespace {

const char* type_name(const SqlValue& value) {
  constexpr std::array names = {"null", "an integer", "a real", "text", "bytes"};
  return names.at(value.index());
}

template <class T>
const T& value_as(const SqlValue& value, std::size_t column, const char* wanted) {
  if (const T* held = std::get_if<T>(&value)) return *held;
  throw DatabaseError{DatabaseError::Kind::usage, fmt::format("column {} of a row holds {}, not {}",
                                                              column, type_name(value), wanted)};
}

}  // namespace

const SqlValue& Row::at(std::size_t column) const {
  if (column < values_.size()) return values_[column];
  throw DatabaseError{DatabaseError::Kind::usage,
                      fmt::format("no column {} in a row of {}", column, values_.size())};
}

std::int64_t Row::integer(std::size_t column) const {
  return value_as<std::int64_t>(at(column), column, "an integer");
}

double Row::real(std::size_t column) const {
  return value_as<double>(at(column), column, "a real");
}

const std::string& Row::text(std::size_t column) const {
  return value_as<std::string>(at(column), column, "text");
}

const Bytes& Row::bytes(std::size_t column) const {
  return value_as<Bytes>(at(column), column, "bytes");
}

bool Row::is_null(std::size_t column) const {
  return std::holds_alternative<std::monostate>(at(column));
}

}  // namespace pronto
