#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "pronto/base/assert.hpp"
#include "pronto/base/bytes.hpp"
#include "pronto/wire/types.hpp"

namespace pronto::wire {

/// How deep tables and arrays may nest, the outermost table being level 1. RabbitMQ has no limit,
/// so a peer could grow its stack; what real clients send stays in single digits.
inline constexpr std::size_t table_depth_max = 64;
/// How many values one method or content header may hold in all its tables and arrays together.
/// Without it, the one-byte value `V` costs a hundred times its size in memory.
inline constexpr std::size_t table_element_count_max = 16'384;

struct Entry;
class Value;

/// `V`: a value without content.
struct Void {
  bool operator==(const Void&) const = default;
};

/// `D`: `unscaled / 10^scale`.
struct Decimal {
  std::uint8_t scale = 0;
  std::uint32_t unscaled = 0;
  bool operator==(const Decimal&) const = default;
};

using Array = std::vector<Value>;

/// Names with values, in the order of the wire. RabbitMQ keeps duplicates and looks at the first;
/// so do we.
class Table {
 public:
  Table() noexcept;
  Table(std::initializer_list<Entry> entries);
  Table(const Table&);
  Table(Table&&) noexcept;
  Table& operator=(const Table&);
  Table& operator=(Table&&) noexcept;
  ~Table();

  /// Returns: the first value under `key`, or null.
  const Value* find(std::string_view key) const noexcept;
  Value* find(std::string_view key) noexcept;
  /// Returns: the value when it is of any integer type.
  std::optional<std::int64_t> find_integer(std::string_view key) const noexcept;
  /// Returns: the text when it is a long string (`S`); a view into this table.
  std::optional<std::string_view> find_string(std::string_view key) const noexcept;
  std::optional<bool> find_bool(std::string_view key) const noexcept;
  const Table* find_table(std::string_view key) const noexcept;
  const Array* find_array(std::string_view key) const noexcept;

  /// Replaces the first value under `key`, or appends one.
  void set(ShortString key, Value value);
  /// Appends without looking whether `key` is there.
  void append(ShortString key, Value value);
  /// Removes every value under `key`. Returns: whether there was one.
  bool erase(std::string_view key);

  std::size_t size() const noexcept;
  bool empty() const noexcept { return entries_.empty(); }
  auto begin() const noexcept { return entries_.begin(); }
  auto end() const noexcept { return entries_.end(); }

  friend bool operator==(const Table& left, const Table& right);

 private:
  std::vector<Entry> entries_;
};

/// One field value in RabbitMQ's dialect: `t b B s u I i l f d D T S x A F V`.
///
/// RabbitMQ reads `l` and `L` both as a signed 64-bit number and writes `l`. Integers of C++ map to
/// the type of their width and sign; an unsigned 64-bit one must fit into the signed type. Source:
/// RabbitMQ's errata to AMQP 0-9-1, section 3; AMQP 0-9-1 section 4.2.1.
class Value {
 public:
  using Variant = std::variant<Void, bool, std::int8_t, std::uint8_t, std::int16_t, std::uint16_t,
                               std::int32_t, std::uint32_t, std::int64_t, float, double, Decimal,
                               Timestamp, LongString, Bytes, Array, Table>;

  Value() = default;
  Value(Void) {}                                           // NOLINT: implicit
  Value(std::same_as<bool> auto flag) : content_{flag} {}  // NOLINT: implicit
  template <std::integral Number>
    requires(!std::same_as<Number, bool>)
  Value(Number number) : content_{widened(number)} {}           // NOLINT: implicit
  Value(float number) : content_{number} {}                     // NOLINT: implicit
  Value(double number) : content_{number} {}                    // NOLINT: implicit
  Value(Decimal number) : content_{number} {}                   // NOLINT: implicit
  Value(Timestamp time) : content_{time} {}                     // NOLINT: implicit
  Value(const char* text) : content_{LongString{text}} {}       // NOLINT: implicit
  Value(std::string_view text) : content_{LongString{text}} {}  // NOLINT: implicit
  Value(LongString text) : content_{std::move(text)} {}         // NOLINT: implicit
  Value(Bytes bytes) : content_{std::move(bytes)} {}            // NOLINT: implicit
  Value(Array array) : content_{std::move(array)} {}            // NOLINT: implicit
  Value(Table table) : content_{std::move(table)} {}            // NOLINT: implicit

  const Variant& content() const noexcept { return content_; }
  Variant& content() noexcept { return content_; }

  template <class T>
  const T* get_if() const noexcept {
    return std::get_if<T>(&content_);
  }
  template <class T>
  T* get_if() noexcept {
    return std::get_if<T>(&content_);
  }
  /// Returns: the number when this is of any integer type.
  std::optional<std::int64_t> integer() const noexcept;
  /// Returns: RabbitMQ's name of the type, as its error texts have it: `longstr`, `signedint`.
  std::string_view type_name() const noexcept;

  friend bool operator==(const Value&, const Value&) = default;

 private:
  template <std::integral Number>
  static auto widened(Number number) {
    if constexpr (std::same_as<Number, std::uint64_t> || std::same_as<Number, unsigned long long>) {
      PRONTO_ASSERT(number <= std::uint64_t{std::numeric_limits<std::int64_t>::max()});
      return static_cast<std::int64_t>(number);
    } else if constexpr (sizeof(Number) == 8) {
      return std::int64_t{number};
    } else {
      return number;
    }
  }

  Variant content_;
};

/// One name with its value.
struct Entry {
  ShortString key;
  Value value;
  bool operator==(const Entry&) const = default;
};

// A table holds entries, an entry a value, a value perhaps a table: only here is each of them
// complete.
inline Table::Table() noexcept = default;
inline Table::Table(const Table&) = default;
inline Table::Table(Table&&) noexcept = default;
inline Table& Table::operator=(const Table&) = default;
inline Table& Table::operator=(Table&&) noexcept = default;
inline Table::~Table() = default;

}  // namespace pronto::wire
