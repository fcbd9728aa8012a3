#pragma once

#include <span>

#include "common/settings.hpp"

namespace pronto {

/// `pronto bench`: a load generator for any AMQP 0-9-1 broker.
/// Returns: the exit status: 1 when the broker could not be used, or lost, doubled or reordered
/// anything. Errors: throws `StartError`. Blocks: until the load has run.
int run_bench(const Program& program, std::span<const char* const> arguments);

}  // namespace pronto
