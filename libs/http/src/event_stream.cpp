#include "pronto/http/event_stream.hpp"

#include <algorithm>

#include "pronto/base/text.hpp"
#include "pronto/base/time.hpp"

namespace pronto::http {
namespace {

std::string one_line(std::string_view text) {
  std::string line{text};
  std::ranges::replace_if(line, [](char c) { return c == '\r' || c == '\n' || c == '\0'; }, ' ');
  return line;
}

}  // namespace

std::string to_text(const Event& event) {
  std::string text;
  text.reserve(event.data.size() + 64);
  if (!event.id.empty()) text += "id: " + one_line(event.id) + '\n';
  if (!event.name.empty()) text += "event: " + one_line(event.name) + '\n';
  if (event.retry) text += "retry: " + std::to_string(event.retry->count()) + '\n';
  // A line of data may end in CR, LF or both; each becomes a field of its own.
  std::string_view rest = event.data;
  for (;;) {
    const std::size_t end = rest.find_first_of("\r\n");
    text += "data: ";
    text += rest.substr(0, end);
    text += '\n';
    if (end == rest.npos) break;
    const bool is_pair = rest[end] == '\r' && end + 1 < rest.size() && rest[end + 1] == '\n';
    rest.remove_prefix(end + (is_pair ? 2 : 1));
  }
  text += '\n';
  return text;
}

Result<std::vector<Event>> EventReader::put(std::string_view bytes) {
  std::vector<Event> events;
  for (const char c : bytes) {
    if (std::exchange(after_return_, false) && c == '\n') continue;
    if (c == '\r' || c == '\n') {
      after_return_ = c == '\r';
      on_line(line_, events);
      line_.clear();
      continue;
    }
    line_ += c;
    if (line_.size() + event_.data.size() > event_bytes_max_) return Error::too_large;
  }
  return events;
}

void EventReader::on_line(std::string_view line, std::vector<Event>& events) {
  if (std::exchange(at_start_, false) && line.starts_with("\xEF\xBB\xBF")) line.remove_prefix(3);
  if (line.empty()) {
    event_.id = last_id_;
    if (has_data_) {
      events.push_back(std::move(event_));
    }
    event_ = {};
    has_data_ = false;
    return;
  }
  const std::size_t colon = line.find(':');
  if (colon == 0) return;  // a comment
  const std::string_view name = line.substr(0, colon);
  std::string_view value = colon == line.npos ? std::string_view{} : line.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (name == "data") {
    if (has_data_) event_.data += '\n';
    event_.data += value;
    has_data_ = true;
  } else if (name == "event") {
    event_.name = value;
  } else if (name == "id") {
    if (value.find('\0') == value.npos) last_id_ = value;
  } else if (name == "retry") {
    if (const auto time = parse_unsigned(value); time && *time < 1'000'000'000) {
      event_.retry = milliseconds{static_cast<long>(*time)};
    }
  }
}

}  // namespace pronto::http
