#pragma once

#include <vector>

#include "pronto/base/random.hpp"
#include "pronto/wire/methods.hpp"
#include "pronto/wire/properties.hpp"

namespace pronto::wire {

// Valid values drawn from a seed, for round trips and as ground for mutations.

Table random_table(Random& random, std::size_t depth_max = 3);
BasicProperties random_properties(Random& random);
/// One of each method, fields drawn at random.
std::vector<Method> random_methods(Random& random);

}  // namespace pronto::wire
