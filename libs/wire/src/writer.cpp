#include "pronto/wire/writer.hpp"

namespace pronto::wire {

void Writer::write(Bit bit) {
  if (bits_used_ == 0 || bits_used_ == 8) {
    out_.push_back(std::byte{0});
    bits_used_ = 0;
  }
  if (bit) out_.back() |= std::byte{1} << bits_used_;
  ++bits_used_;
}

void Writer::write_short(std::string_view text) {
  PRONTO_ASSERT(text.size() <= ShortString::bytes_max);
  write(static_cast<std::uint8_t>(text.size()));
  if (!text.empty()) append_raw(text.data(), text.size());
}

void Writer::write_long(BytesView bytes) {
  PRONTO_ASSERT(bytes.size() <= std::numeric_limits<std::uint32_t>::max());
  write(static_cast<std::uint32_t>(bytes.size()));
  append_raw(bytes.data(), bytes.size());
}

}  // namespace pronto::wire
