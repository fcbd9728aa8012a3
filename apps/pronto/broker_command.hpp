#pragma once

#include <span>

#include "common/settings.hpp"

namespace pronto {

/// `pronto broker`: runs the broker until SIGTERM or SIGINT.
/// Returns: the exit status. Errors: throws `StartError`. Blocks: until it ends.
int run_broker(const Program& program, std::span<const char* const> arguments);

}  // namespace pronto
