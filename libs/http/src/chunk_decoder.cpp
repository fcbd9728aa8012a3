#include "chunk_decoder.hpp"

#include <algorithm>
#include <charconv>

namespace pronto::http {
namespace {

constexpr std::size_t line_bytes_max = 4096;
constexpr std::size_t trailer_bytes_max = 16 * 1024;
constexpr std::size_t size_digits_max = 8;
// A chunk of one byte takes six; extensions may take more, but not without end.
constexpr std::size_t overhead_factor = 8;

bool is_line_character(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte >= 0x20 && byte != 0x7F) || byte == '\t';
}

/// Returns: the line before CR LF, nothing when it is not whole. Errors: a bare CR or LF, a
/// control.
Result<std::optional<std::string_view>> next_line(std::string_view inbox) {
  const auto end = std::ranges::find_if_not(inbox, is_line_character);
  const auto count = static_cast<std::size_t>(end - inbox.begin());
  if (count > line_bytes_max) return Error::malformed;
  if (end == inbox.end()) return std::optional<std::string_view>{};
  if (*end != '\r') return Error::malformed;
  if (count + 1 == inbox.size()) return std::optional<std::string_view>{};
  if (inbox[count + 1] != '\n') return Error::malformed;
  return std::optional{inbox.substr(0, count)};
}

}  // namespace

Result<void> ChunkDecoder::on_size(std::string_view line) {
  const std::string_view digits = line.substr(0, line.find(';'));
  if (digits.empty() || digits.size() > size_digits_max) return Error::malformed;
  const auto [end, ec] =
      std::from_chars(digits.data(), digits.data() + digits.size(), chunk_bytes_left_, 16);
  if (ec != std::errc{} || end != digits.data() + digits.size()) return Error::malformed;
  if (body_bytes_max_ && chunk_bytes_left_ > *body_bytes_max_ - body_bytes_) {
    return Error::too_large;
  }
  state_ = chunk_bytes_left_ > 0 ? State::data : State::trailer;
  return {};
}

Result<std::size_t> ChunkDecoder::put(std::string_view inbox, std::string& body) {
  std::size_t used = 0;
  while (state_ != State::done) {
    const std::string_view rest = inbox.substr(used);
    if (state_ == State::data) {
      const auto count =
          static_cast<std::size_t>(std::min<std::uint64_t>(chunk_bytes_left_, rest.size()));
      if (count == 0) break;
      body += rest.substr(0, count);
      body_bytes_ += count;
      chunk_bytes_left_ -= count;
      used += count;
      if (chunk_bytes_left_ == 0) state_ = State::data_end;
      continue;
    }
    const auto line = next_line(rest);
    if (!line) return line.error();
    if (!*line) break;
    used += (*line)->size() + 2;
    if (state_ == State::size) {
      auto taken = on_size(**line);
      if (!taken) return taken.error();
    } else if (state_ == State::data_end) {
      if (!(*line)->empty()) return Error::malformed;
      state_ = State::size;
    } else {
      trailer_bytes_ += (*line)->size();
      if (trailer_bytes_ > trailer_bytes_max) return Error::too_large;
      if ((*line)->empty()) state_ = State::done;
    }
  }
  wire_bytes_ += used;
  if (body_bytes_max_ &&
      wire_bytes_ > overhead_factor * *body_bytes_max_ + trailer_bytes_max + line_bytes_max) {
    return Error::too_large;
  }
  return used;
}

}  // namespace pronto::http
