#include "pronto/bus/metrics.hpp"

#include <algorithm>

namespace pronto {

void HandlerTimes::add(double seconds) {
  const auto bound = std::ranges::lower_bound(bounds_seconds, seconds);
  ++counts.at(static_cast<std::size_t>(bound - bounds_seconds.begin()));
  sum_seconds += seconds;
  ++count;
}

}  // namespace pronto
