#include "pronto/wire/table.hpp"

#include <algorithm>
#include <array>

#include "pronto/wire/reader.hpp"
#include "pronto/wire/writer.hpp"

namespace pronto::wire {

Table::Table(std::initializer_list<Entry> entries) : entries_{entries} {}

const Value* Table::find(std::string_view key) const noexcept {
  const auto found = std::ranges::find(entries_, key, [](const Entry& e) { return e.key.view(); });
  return found == entries_.end() ? nullptr : &found->value;
}

Value* Table::find(std::string_view key) noexcept {
  const auto found = std::ranges::find(entries_, key, [](const Entry& e) { return e.key.view(); });
  return found == entries_.end() ? nullptr : &found->value;
}

std::optional<std::int64_t> Table::find_integer(std::string_view key) const noexcept {
  const Value* value = find(key);
  return value ? value->integer() : std::nullopt;
}

std::optional<std::string_view> Table::find_string(std::string_view key) const noexcept {
  const Value* value = find(key);
  const auto* text = value ? value->get_if<LongString>() : nullptr;
  return text ? std::optional<std::string_view>{*text} : std::nullopt;
}

std::optional<bool> Table::find_bool(std::string_view key) const noexcept {
  const Value* value = find(key);
  const auto* flag = value ? value->get_if<bool>() : nullptr;
  return flag ? std::optional{*flag} : std::nullopt;
}

const Table* Table::find_table(std::string_view key) const noexcept {
  const Value* value = find(key);
  return value ? value->get_if<Table>() : nullptr;
}

const Array* Table::find_array(std::string_view key) const noexcept {
  const Value* value = find(key);
  return value ? value->get_if<Array>() : nullptr;
}

void Table::set(ShortString key, Value value) {
  if (Value* there = find(key)) {
    *there = std::move(value);
  } else {
    append(std::move(key), std::move(value));
  }
}

void Table::append(ShortString key, Value value) {
  entries_.push_back({std::move(key), std::move(value)});
}

bool Table::erase(std::string_view key) {
  return std::erase_if(entries_, [&](const Entry& entry) { return entry.key == key; }) > 0;
}

std::size_t Table::size() const noexcept {
  return entries_.size();
}

bool operator==(const Table& left, const Table& right) {
  return left.entries_ == right.entries_;
}

std::optional<std::int64_t> Value::integer() const noexcept {
  return std::visit(
      []<class T>(const T& content) -> std::optional<std::int64_t> {
        if constexpr (std::integral<T> && !std::same_as<T, bool>) {
          return std::int64_t{content};
        } else {
          return std::nullopt;
        }
      },
      content_);
}

namespace {

// In the order of Value::Variant.
constexpr std::array<std::string_view, std::variant_size_v<Value::Variant>> type_names{
    "void",      "bool",        "byte",   "unsignedbyte", "short",  "unsignedshort",
    "signedint", "unsignedint", "long",   "float",        "double", "decimal",
    "timestamp", "longstr",     "binary", "array",        "table"};
constexpr std::array<char, std::variant_size_v<Value::Variant>> type_letters{
    'V', 't', 'b', 'B', 's', 'u', 'I', 'i', 'l', 'f', 'd', 'D', 'T', 'S', 'x', 'A', 'F'};

}  // namespace

std::string_view Value::type_name() const noexcept {
  return type_names[content_.index()];
}

/// The recursion behind `Reader::read(Table&)` and `Reader::skip_table`. Its depth is bounded.
struct TableReader {
  Reader& in;

  /// Narrows the reader to the announced length, so that nothing inside can reach beyond it.
  template <class ReadOne>
  void within_length(std::size_t depth, ReadOne read_one) {
    std::uint32_t bytes = 0;
    in.read(bytes);
    if (in.failed()) return;
    if (bytes > in.bytes_left()) return in.fail("table or array longer than what holds it");
    if (depth > table_depth_max) return in.fail("tables nested too deep");
    const std::byte* outer_end = std::exchange(in.end_, in.next_ + bytes);
    while (!in.failed() && in.next_ != in.end_) {
      if (in.elements_left_-- == 0) {
        in.elements_left_ = 0;
        in.fail("too many values in tables");
        break;
      }
      read_one();
    }
    if (!in.failed()) in.end_ = outer_end;
  }

  void read_table(Table& out, std::size_t depth) {
    within_length(depth, [&] {
      std::string key{in.read_short_view()};
      if (in.failed()) return;
      Value value;
      read_value(value, depth);
      if (!in.failed()) out.append(std::move(key), std::move(value));
    });
  }

  void read_value(Value& out, std::size_t depth) {
    std::uint8_t letter = 0;
    in.read(letter);
    if (in.failed()) return;
    switch (static_cast<char>(letter)) {
      case 't': {
        std::uint8_t octet = 0;
        in.read(octet);
        out = Value{octet != 0};
        return;
      }
      case 'b':
        return read_plain<std::int8_t>(out);
      case 'B':
        return read_plain<std::uint8_t>(out);
      case 's':
        return read_plain<std::int16_t>(out);
      case 'u':
        return read_plain<std::uint16_t>(out);
      case 'I':
        return read_plain<std::int32_t>(out);
      case 'i':
        return read_plain<std::uint32_t>(out);
      case 'l':
      case 'L':
        return read_plain<std::int64_t>(out);
      case 'f':
        return read_plain<float>(out);
      case 'd':
        return read_plain<double>(out);
      case 'T':
        return read_plain<Timestamp>(out);
      case 'S':
        return read_plain<LongString>(out);
      case 'D': {
        Decimal number;
        in.read(number.scale);
        in.read(number.unscaled);
        out = Value{number};
        return;
      }
      case 'x': {
        const BytesView bytes = in.read_long_view();
        out = Value{Bytes{bytes.begin(), bytes.end()}};
        return;
      }
      case 'A': {
        Array& array = out.content().emplace<Array>();
        within_length(depth + 1, [&] { read_value(array.emplace_back(), depth + 1); });
        return;
      }
      case 'F':
        return read_table(out.content().emplace<Table>(), depth + 1);
      case 'V':
        return;
      default:
        return in.fail("unknown type of a table value");
    }
  }

  void skip_table(std::size_t depth) {
    within_length(depth, [&] {
      in.read_short_view();
      skip_value(depth);
    });
  }

  void skip_value(std::size_t depth) {
    std::uint8_t letter = 0;
    in.read(letter);
    if (in.failed()) return;
    switch (static_cast<char>(letter)) {
      case 't':
      case 'b':
      case 'B':
        in.take(1);
        return;
      case 's':
      case 'u':
        in.take(2);
        return;
      case 'I':
      case 'i':
      case 'f':
        in.take(4);
        return;
      case 'D':
        in.take(5);
        return;
      case 'l':
      case 'L':
      case 'd':
      case 'T':
        in.take(8);
        return;
      case 'S':
      case 'x':
        in.read_long_view();
        return;
      case 'A':
        return within_length(depth + 1, [&] { skip_value(depth + 1); });
      case 'F':
        return skip_table(depth + 1);
      case 'V':
        return;
      default:
        return in.fail("unknown type of a table value");
    }
  }

 private:
  template <class T>
  void read_plain(Value& out) {
    in.read(out.content().emplace<T>());
  }
};

void Reader::read(Table& out) {
  TableReader{*this}.read_table(out, 1);
}

BytesView Reader::skip_table() noexcept {
  const std::byte* start = next_;
  TableReader{*this}.skip_table(1);
  return failed() ? BytesView{} : BytesView{start, next_};
}

namespace {

/// Counts values and depth, within bounds: stops as soon as one limit is passed.
struct Measure {
  std::size_t elements_left = table_element_count_max;
  bool fits = true;

  void table(const Table& table, std::size_t depth) {
    if (depth > table_depth_max) fits = false;
    for (const Entry& entry : table) {
      if (!fits) return;
      element(entry.value, depth);
    }
  }
  void array(const Array& array, std::size_t depth) {
    if (depth > table_depth_max) fits = false;
    for (const Value& value : array) {
      if (!fits) return;
      element(value, depth);
    }
  }
  void element(const Value& value, std::size_t depth) {
    if (elements_left-- == 0) {
      elements_left = 0;
      fits = false;
      return;
    }
    if (const auto* inner = value.get_if<Table>()) table(*inner, depth + 1);
    if (const auto* inner = value.get_if<Array>()) array(*inner, depth + 1);
  }
};

struct TableWriter {
  Bytes& bytes;
  Writer& out;

  template <class WriteAll>
  void with_length(WriteAll write_all) {
    out.write(std::uint32_t{0});
    const std::size_t start = bytes.size();
    write_all();
    const std::uint32_t size = std::byteswap(static_cast<std::uint32_t>(bytes.size() - start));
    std::memcpy(bytes.data() + start - sizeof size, &size, sizeof size);
  }

  void write(const Table& table) {
    with_length([&] {
      for (const Entry& entry : table) {
        out.write(entry.key);
        write(entry.value);
      }
    });
  }

  void write(const Value& value) {
    out.write(static_cast<std::uint8_t>(type_letters[value.content().index()]));
    std::visit([&](const auto& content) { write_content(content); }, value.content());
  }

 private:
  void write_content(Void) {}
  void write_content(bool flag) { out.write(std::uint8_t{flag}); }
  void write_content(Decimal number) {
    out.write(number.scale);
    out.write(number.unscaled);
  }
  void write_content(const Bytes& content) { out.write_long(content); }
  void write_content(const Table& content) { write(content); }
  void write_content(const Array& content) {
    with_length([&] {
      for (const Value& value : content) write(value);
    });
  }
  template <class T>
  void write_content(const T& content) {
    out.write(content);
  }
};

}  // namespace

void Writer::write(const Table& table) {
  PRONTO_ASSERT(fits_the_wire(table));
  TableWriter{out_, *this}.write(table);
}

bool fits_the_wire(const Table& table) noexcept {
  Measure measure;
  measure.table(table, 1);
  return measure.fits;
}

}  // namespace pronto::wire
