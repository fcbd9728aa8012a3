#pragma once

#include <span>

#include "common/settings.hpp"

namespace pronto {

/// `pronto doctor`: looks at a data folder and the machine under it, and says what to do. Returns:
/// the exit status: 0 when all is well, 1 when something is not. Errors: throws `StartError`.
int run_doctor(const Program& program, std::span<const char* const> arguments);

}  // namespace pronto
