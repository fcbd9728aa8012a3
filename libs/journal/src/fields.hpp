#pragma once

#include <cstring>

#include "pronto/base/bytes.hpp"

namespace pronto::journal {

// Numbers at fixed places of headers, little-endian. The bytes are there: not checked.

template <class Number>
void store(Bytes& to, std::size_t at, Number number) {
  std::memcpy(to.data() + at, &number, sizeof number);
}

template <class Number>
Number load(BytesView from, std::size_t at) {
  Number number;
  std::memcpy(&number, from.data() + at, sizeof number);
  return number;
}

}  // namespace pronto::journal
