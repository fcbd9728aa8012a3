#pragma once

#include <boost/describe/enum.hpp>
#include <boost/describe/enum_to_string.hpp>
#include <boost/describe/enumerators.hpp>
#include <boost/describe/members.hpp>
#include <boost/mp11/algorithm.hpp>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "pronto/base/bytes.hpp"
#include "pronto/base/result.hpp"
#include "pronto/base/time.hpp"

namespace pronto {

namespace detail {

/// Appends JSON text. Runs on: any thread, as everything in this header.
class JsonWriter {
 public:
  void write_null() { out_ += "null"; }
  void write_bool(bool value) { out_ += value ? "true" : "false"; }
  void write_integer(std::int64_t value);
  void write_integer(std::uint64_t value);
  void write_real(double value);
  void write_text(std::string_view value);
  /// Between two members or elements; call it before each.
  void separate(bool is_first) {
    if (!is_first) out_ += ',';
  }
  void write_raw(std::string_view json) { out_ += json; }
  std::string take() && { return std::move(out_); }

 private:
  std::string out_;
};

/// One value inside a parsed document, which it does not own.
class JsonView {
 public:
  explicit JsonView(const void* value) : value_{value} {}

  bool is_null() const;
  bool is_object() const;
  bool is_array() const;
  std::optional<bool> boolean() const;
  std::optional<std::int64_t> integer() const;            ///< any number without a fraction
  std::optional<std::uint64_t> unsigned_integer() const;  ///< the same, not negative
  std::optional<double> real() const;
  std::optional<std::string_view> text() const;
  std::size_t size() const;  ///< of an array
  JsonView operator[](std::size_t index) const;
  std::optional<JsonView> find(std::string_view member) const;
  /// Calls `visit` with each member of an object.
  template <class Visit>
  void for_each_member(Visit visit) const {
    for (std::size_t index = 0; index < member_count(); ++index) {
      visit(member_name(index), member_value(index));
    }
  }

 private:
  std::size_t member_count() const;
  std::string_view member_name(std::size_t index) const;
  JsonView member_value(std::size_t index) const;
  const void* value_;
};

/// A parsed document. Nesting beyond 32 is refused, so a peer cannot grow our stack.
class JsonDocument {
 public:
  /// Errors: what is wrong with the text, for people.
  static Result<JsonDocument, std::string> parse(BytesView text);
  JsonDocument(JsonDocument&&) noexcept;
  JsonDocument& operator=(JsonDocument&&) noexcept;
  ~JsonDocument();
  JsonView root() const;

 private:
  struct Inside;
  explicit JsonDocument(std::unique_ptr<Inside> inside);
  std::unique_ptr<Inside> inside_;
};

/// Where in a document a value is not what the type wants: `items[2].size: not one of ...`.
struct JsonMismatch {
  std::string path;
  std::string text;
  JsonMismatch at(std::string_view step) && {
    const bool needs_dot = !path.empty() && path.front() != '[';
    return {std::string{step} + (needs_dot ? "." : "") + path, std::move(text)};
  }
};

template <class T>
concept Described = boost::describe::has_describe_members<T>::value && !std::is_union_v<T>;
template <class T>
concept DescribedEnum = boost::describe::has_describe_enumerators<T>::value;
template <class T>
using MembersOf = boost::describe::describe_members<T, boost::describe::mod_public |
                                                           boost::describe::mod_inherited>;

template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};
template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};
template <class T>
struct IsMap : std::false_type {};
template <class T>
struct IsMap<std::map<std::string, T>> : std::true_type {};
template <class T>
struct IsDuration : std::false_type {};
template <class Count, class Period>
struct IsDuration<std::chrono::duration<Count, Period>> : std::true_type {};

template <class T>
void write_json(JsonWriter& out, const T& value) {
  if constexpr (std::same_as<T, bool>) {
    out.write_bool(value);
  } else if constexpr (std::unsigned_integral<T>) {
    out.write_integer(std::uint64_t{value});
  } else if constexpr (std::integral<T>) {
    out.write_integer(std::int64_t{value});
  } else if constexpr (std::floating_point<T>) {
    out.write_real(double{value});
  } else if constexpr (std::convertible_to<const T&, std::string_view>) {
    out.write_text(value);
  } else if constexpr (std::same_as<T, WallTime>) {
    out.write_text(to_rfc3339(value));
  } else if constexpr (IsDuration<T>::value) {
    out.write_integer(std::int64_t{std::chrono::duration_cast<milliseconds>(value).count()});
  } else if constexpr (DescribedEnum<T>) {
    out.write_text(boost::describe::enum_to_string(value, "?"));
  } else if constexpr (IsOptional<T>::value) {
    if (value) {
      write_json(out, *value);
    } else {
      out.write_null();
    }
  } else if constexpr (IsVector<T>::value) {
    out.write_raw("[");
    bool is_first = true;
    for (const auto& element : value) {
      out.separate(std::exchange(is_first, false));
      write_json(out, element);
    }
    out.write_raw("]");
  } else if constexpr (IsMap<T>::value) {
    out.write_raw("{");
    bool is_first = true;
    for (const auto& [name, element] : value) {
      out.separate(std::exchange(is_first, false));
      out.write_text(name);
      out.write_raw(":");
      write_json(out, element);
    }
    out.write_raw("}");
  } else {
    static_assert(Described<T>, "describe the type with BOOST_DESCRIBE_STRUCT");
    out.write_raw("{");
    bool is_first = true;
    boost::mp11::mp_for_each<MembersOf<T>>([&](auto member) {
      const auto& part = value.*member.pointer;
      if constexpr (IsOptional<std::remove_cvref_t<decltype(part)>>::value) {
        if (!part) return;  // an absent member, not a null one
      }
      out.separate(std::exchange(is_first, false));
      out.write_text(member.name);
      out.write_raw(":");
      write_json(out, part);
    });
    out.write_raw("}");
  }
}

template <class T>
Result<void, JsonMismatch> read_json(JsonView in, T& value) {
  if constexpr (std::same_as<T, bool>) {
    const auto read = in.boolean();
    if (!read) return JsonMismatch{"", "not true or false"};
    value = *read;
  } else if constexpr (std::unsigned_integral<T>) {
    const auto read = in.unsigned_integer();
    if (!read || *read > std::numeric_limits<T>::max()) {
      return JsonMismatch{"", "not a whole number in range"};
    }
    value = static_cast<T>(*read);
  } else if constexpr (std::integral<T>) {
    const auto read = in.integer();
    if (!read || *read > std::numeric_limits<T>::max() || *read < std::numeric_limits<T>::min()) {
      return JsonMismatch{"", "not a whole number in range"};
    }
    value = static_cast<T>(*read);
  } else if constexpr (std::floating_point<T>) {
    const auto read = in.real();
    if (!read) return JsonMismatch{"", "not a number"};
    value = static_cast<T>(*read);
  } else if constexpr (std::same_as<T, std::string>) {
    const auto read = in.text();
    if (!read) return JsonMismatch{"", "not a text"};
    value = *read;
  } else if constexpr (std::same_as<T, WallTime>) {
    const auto read = in.text();
    const auto time = read ? from_rfc3339(*read) : std::nullopt;
    if (!time) return JsonMismatch{"", "not a time as RFC 3339 has it"};
    value = *time;
  } else if constexpr (IsDuration<T>::value) {
    const auto read = in.integer();
    if (!read) return JsonMismatch{"", "not a whole number of milliseconds"};
    value = std::chrono::duration_cast<T>(milliseconds{*read});
  } else if constexpr (DescribedEnum<T>) {
    const auto read = in.text();
    bool is_known = false;
    std::string names;
    boost::mp11::mp_for_each<boost::describe::describe_enumerators<T>>([&](auto enumerator) {
      names += (names.empty() ? "" : ", ") + std::string{enumerator.name};
      if (read && *read == enumerator.name) {
        value = enumerator.value;
        is_known = true;
      }
    });
    if (!is_known) return JsonMismatch{"", "not one of " + names};
  } else if constexpr (IsOptional<T>::value) {
    if (in.is_null()) {
      value.reset();
      return {};
    }
    return read_json(in, value.emplace());
  } else if constexpr (IsVector<T>::value) {
    if (!in.is_array()) return JsonMismatch{"", "not a list"};
    value.clear();
    value.reserve(in.size());
    for (std::size_t index = 0; index < in.size(); ++index) {
      auto read = read_json(in[index], value.emplace_back());
      if (!read) return JsonMismatch{read.error()}.at("[" + std::to_string(index) + "]");
    }
  } else if constexpr (IsMap<T>::value) {
    if (!in.is_object()) return JsonMismatch{"", "not an object"};
    std::optional<JsonMismatch> mismatch;
    in.for_each_member([&](std::string_view name, JsonView element) {
      if (mismatch) return;
      auto read = read_json(element, value[std::string{name}]);
      if (!read) mismatch = JsonMismatch{read.error()}.at(name);
    });
    if (mismatch) return std::move(*mismatch);
  } else {
    static_assert(Described<T>, "describe the type with BOOST_DESCRIBE_STRUCT");
    if (!in.is_object()) return JsonMismatch{"", "not an object"};
    std::optional<JsonMismatch> mismatch;
    boost::mp11::mp_for_each<MembersOf<T>>([&](auto member) {
      if (mismatch) return;
      auto& part = value.*member.pointer;
      const auto found = in.find(member.name);
      if (!found) {
        if constexpr (!IsOptional<std::remove_cvref_t<decltype(part)>>::value) {
          mismatch = JsonMismatch{member.name, "missing"};
        }
        return;
      }
      auto read = read_json(*found, part);
      if (!read) mismatch = JsonMismatch{read.error()}.at(member.name);
    });
    if (mismatch) return std::move(*mismatch);
  }
  return {};
}

}  // namespace detail

/// `value` as JSON text: described structs as objects, described enumerations by their name,
/// `WallTime` as RFC 3339, durations as whole milliseconds, an absent optional as no member.
template <class T>
std::string to_json(const T& value) {
  detail::JsonWriter out;
  detail::write_json(out, value);
  return std::move(out).take();
}

/// Reads what `to_json` writes. Members that T does not know are passed over; those that it has
/// must be there, unless they are optional.
/// Errors: where the text and the type disagree, for people: `items[0].size: missing`.
template <class T>
Result<T, std::string> from_json(BytesView text) {
  auto document = detail::JsonDocument::parse(text);
  if (!document) return document.error();
  T value{};
  auto read = detail::read_json(document->root(), value);
  if (read) return value;
  const detail::JsonMismatch& mismatch = read.error();
  return mismatch.path.empty() ? mismatch.text : mismatch.path + ": " + mismatch.text;
}
template <class T>
Result<T, std::string> from_json(std::string_view text) {
  return from_json<T>(as_bytes(text));
}

}  // namespace pronto
