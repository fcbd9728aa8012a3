#include "pronto/base/time.hpp"

#include <fmt/format.h>

#include <array>

#include "pronto/base/text.hpp"

namespace pronto {
namespace {

struct Fields {
  std::chrono::year_month_day date;
  std::chrono::hh_mm_ss<std::chrono::milliseconds> time;
  std::chrono::weekday weekday;
};

Fields fields_of(WallTime time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  return {std::chrono::year_month_day{day}, std::chrono::hh_mm_ss{time - day},
          std::chrono::weekday{day}};
}

std::optional<int> number(std::string_view text, std::size_t at, std::size_t digits) {
  if (text.size() < at + digits) return std::nullopt;
  const auto value = parse_unsigned(text.substr(at, digits));
  if (!value) return std::nullopt;
  return static_cast<int>(*value);
}

}  // namespace

std::string to_rfc3339(WallTime time) {
  const Fields at = fields_of(time);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", static_cast<int>(at.date.year()),
                     static_cast<unsigned>(at.date.month()), static_cast<unsigned>(at.date.day()),
                     at.time.hours().count(), at.time.minutes().count(), at.time.seconds().count(),
                     at.time.subseconds().count());
}

std::optional<WallTime> from_rfc3339(std::string_view text) {
  const auto year = number(text, 0, 4), month = number(text, 5, 2), day = number(text, 8, 2);
  const auto hour = number(text, 11, 2), minute = number(text, 14, 2), second = number(text, 17, 2);
  if (!year || !month || !day || !hour || !minute || !second) return std::nullopt;
  if (text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != 't' && text[10] != ' ') ||
      text[13] != ':' || text[16] != ':') {
    return std::nullopt;
  }
  const std::chrono::year_month_day date{std::chrono::year{*year},
                                         std::chrono::month{static_cast<unsigned>(*month)},
                                         std::chrono::day{static_cast<unsigned>(*day)}};
  if (!date.ok() || *hour > 23 || *minute > 59 || *second > 60) return std::nullopt;
  std::size_t at = 19;
  int fraction = 0;
  if (at < text.size() && text[at] == '.') {
    std::size_t digits = 0;
    for (++at; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, ++digits) {
      if (digits < 3) fraction = fraction * 10 + (text[at] - '0');
    }
    if (digits == 0) return std::nullopt;
    for (; digits < 3; ++digits) fraction *= 10;
  }
  std::chrono::minutes offset{0};
  if (text.substr(at) != "Z" && text.substr(at) != "z") {
    const auto hours = number(text, at + 1, 2), minutes = number(text, at + 4, 2);
    if (text.size() != at + 6 || !hours || !minutes || text[at + 3] != ':' || *hours > 23 ||
        *minutes > 59 || (text[at] != '+' && text[at] != '-')) {
      return std::nullopt;
    }
    offset = std::chrono::hours{*hours} + std::chrono::minutes{*minutes};
    if (text[at] == '-') offset = -offset;
  }
  return WallTime{std::chrono::sys_days{date} + std::chrono::hours{*hour} +
                  std::chrono::minutes{*minute} + seconds{*second} + milliseconds{fraction} -
                  offset};
}

std::string to_http_date(WallTime time) {
  constexpr std::array days{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::array months{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                              "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const Fields at = fields_of(time);
  return fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", days[at.weekday.c_encoding()],
                     static_cast<unsigned>(at.date.day()),
                     months[static_cast<unsigned>(at.date.month()) - 1],
                     static_cast<int>(at.date.year()), at.time.hours().count(),
                     at.time.minutes().count(), at.time.seconds().count());
}

}  // namespace pronto
