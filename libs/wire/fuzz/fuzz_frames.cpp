#include "checks.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  pronto::wire::fuzz::check_frames(std::as_bytes(std::span{data, size}));
  return 0;
}
