#pragma once

#include <string>

#include "pronto/base/random.hpp"

namespace pronto::detail {

/// A `traceparent` one step below `parent`, or the first of a new trace when `parent` is none.
/// Source: W3C Trace Context, section 3.2.
std::string next_traceparent(const std::string& parent, Random& random);

}  // namespace pronto::detail
