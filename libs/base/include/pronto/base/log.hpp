#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <system_error>

namespace pronto::log {

enum class Level { debug, info, warning, error, off };

/// One `key=value` of a log line. Text is quoted when it needs it; never pass a payload or a
/// secret.
struct Field {
  Field(std::string_view key, std::string_view text) : key{key}, value{text} {}
  Field(std::string_view key, const char* text) : key{key}, value{text} {}
  Field(std::string_view key, const std::string& text) : key{key}, value{text} {}
  Field(std::string_view key, const std::error_code& code) : key{key}, value{code.message()} {}
  template <std::integral Number>
  Field(std::string_view key, Number number) : key{key}, value{std::to_string(number)} {}
  Field(std::string_view key, double number) : key{key}, value{std::to_string(number)} {}

  std::string_view key;
  std::string value;
};
using Fields = std::initializer_list<Field>;

/// Lines below `level` are dropped. Runs on: any thread. `info` until it is set.
void set_level(Level level) noexcept;
bool is_on(Level level) noexcept;

/// Writes one line to standard error: time, level, `what` (a short sentence without variables),
/// fields. Runs on: any thread.
void write(Level level, std::string_view what, Fields fields = {});

inline void debug(std::string_view what, Fields fields = {}) {
  write(Level::debug, what, fields);
}
inline void info(std::string_view what, Fields fields = {}) {
  write(Level::info, what, fields);
}
inline void warning(std::string_view what, Fields fields = {}) {
  write(Level::warning, what, fields);
}
inline void error(std::string_view what, Fields fields = {}) {
  write(Level::error, what, fields);
}

}  // namespace pronto::log
