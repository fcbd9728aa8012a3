#include "pronto/wire/reader.hpp"

#include "pronto/base/text.hpp"

namespace pronto::wire {

void Reader::read(Bit& out) noexcept {
  if (bits_left_ == 0) {
    if (!take(1)) {
      out = false;
      return;
    }
    bits_ = std::to_integer<std::uint8_t>(next_[-1]);
    bits_left_ = 8;
  }
  out = (bits_ & 1U) != 0;
  bits_ = static_cast<std::uint8_t>(bits_ >> 1U);
  --bits_left_;
}

void Reader::read(float& out) noexcept {
  std::uint32_t raw = 0;
  read(raw);
  out = std::bit_cast<float>(raw);
}

void Reader::read(double& out) noexcept {
  std::uint64_t raw = 0;
  read(raw);
  out = std::bit_cast<double>(raw);
}

void Reader::read(ShortString& out) {
  const std::string_view text = read_short_view();
  if (!is_utf8(text)) return fail("Malformed UTF-8 in shortstr", ReplyCode::frame_error);
  out = ShortString{text};
}

void Reader::read(LongString& out) {
  out = as_text(read_long_view());
}

std::string_view Reader::read_short_view() noexcept {
  std::uint8_t size = 0;
  read(size);
  return take(size) ? as_text({next_ - size, size}) : std::string_view{};
}

BytesView Reader::read_long_view() noexcept {
  std::uint32_t size = 0;
  read(size);
  return take(size) ? BytesView{next_ - size, size} : BytesView{};
}

void Reader::fail(const char* reason, ReplyCode code) noexcept {
  if (failed()) return;
  reason_ = reason;
  code_ = code;
  next_ = end_;
  bits_left_ = 0;
}

Fault Reader::fault() const {
  PRONTO_ASSERT(failed());
  return Fault{code_, reason_};
}

}  // namespace pronto::wire
