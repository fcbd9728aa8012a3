#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pronto::http {

/// Field names and values in their order; names compare without regard to case.
/// Runs on: any thread. Source: RFC 9110 section 5.
class Headers {
 public:
  struct Field {
    std::string name;
    std::string value;
  };

  /// Returns: the first value of `name`. It lives until the headers change.
  std::optional<std::string_view> find(std::string_view name) const;
  /// Returns: all values of `name`, joined by ", "; empty when there is none.
  std::string all(std::string_view name) const;
  std::size_t count(std::string_view name) const;
  /// Whether one of the comma-separated members of `name`'s values is `token` (without case).
  bool has_token(std::string_view name, std::string_view token) const;

  /// Adds a field beside those of the same name. Control characters become spaces, so that no value
  /// can begin a field of its own.
  void add(std::string_view name, std::string_view value);
  /// Puts this field in the place of all of the same name.
  void set(std::string_view name, std::string_view value);
  void remove(std::string_view name);

  auto begin() const noexcept { return fields_.begin(); }
  auto end() const noexcept { return fields_.end(); }
  std::size_t size() const noexcept { return fields_.size(); }
  bool empty() const noexcept { return fields_.empty(); }

 private:
  std::vector<Field> fields_;
};

}  // namespace pronto::http
