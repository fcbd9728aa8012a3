#pragma once

#include <span>

#include "common/settings.hpp"

namespace pronto {

/// `pronto journal inspect`: shows a data folder's files, batches and records, and touches nothing.
/// Returns: the exit status. Errors: throws `StartError`.
int run_journal(const Program& program, std::span<const char* const> arguments);

}  // namespace pronto
