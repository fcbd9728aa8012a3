#include "pronto/http/headers.hpp"

#include <algorithm>

#include "pronto/base/text.hpp"

namespace pronto::http {
namespace {

std::string without_controls(std::string_view text) {
  std::string clean{text};
  std::ranges::replace_if(
      clean, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }, ' ');
  return clean;
}

}  // namespace

std::optional<std::string_view> Headers::find(std::string_view name) const {
  for (const Field& field : fields_) {
    if (equal_ignoring_case(field.name, name)) return field.value;
  }
  return std::nullopt;
}

std::string Headers::all(std::string_view name) const {
  std::string joined;
  bool is_first = true;
  for (const Field& field : fields_) {
    if (!equal_ignoring_case(field.name, name)) continue;
    if (!is_first) joined += ", ";
    joined += field.value;
    is_first = false;
  }
  return joined;
}

std::size_t Headers::count(std::string_view name) const {
  return static_cast<std::size_t>(std::ranges::count_if(
      fields_, [&](const Field& field) { return equal_ignoring_case(field.name, name); }));
}

bool Headers::has_token(std::string_view name, std::string_view token) const {
  const std::string joined = all(name);
  return std::ranges::any_of(split(joined, ','), [&](std::string_view member) {
    return equal_ignoring_case(trim(member), token);
  });
}

void Headers::add(std::string_view name, std::string_view value) {
  fields_.push_back({without_controls(name), without_controls(value)});
}

void Headers::set(std::string_view name, std::string_view value) {
  remove(name);
  add(name, value);
}

void Headers::remove(std::string_view name) {
  std::erase_if(fields_, [&](const Field& field) { return equal_ignoring_case(field.name, name); });
}

}  // namespace pronto::http
