#pragma once

#include <string>

#include "bench/load.hpp"

namespace pronto::bench {

/// What people read: the load, rates, percentiles, and the verdict.
std::string to_table(const LoadOptions& options, const LoadResult& result);
/// The same as one JSON object in one line: rates a second, times in microseconds.
std::string to_json(const LoadOptions& options, const LoadResult& result);
/// One interval of the run as one JSON object in one line.
std::string to_json(const LoadSample& sample);
/// One line for a terminal: a bar and the rates of the interval.
std::string to_progress(const LoadSample& sample);

}  // namespace pronto::bench
