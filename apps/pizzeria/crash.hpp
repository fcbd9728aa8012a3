#pragma once

#include <memory>
#include <string_view>

#include "pronto/bus/database.hpp"

namespace pizzeria {

/// Ends the process by SIGKILL here when PIZZERIA_CRASH_AFTER says "N:NAME" and this is the N-th
/// time. For the crash tests; without the variable it does nothing. Runs on: the loop's thread.
void crash_point(std::string_view name);

/// `database`, or around it one that passes `crash_point` right after each commit, with the
/// beginning of every statement that the transaction ran. Source:
/// tests/system/test_crash_points.py.
std::unique_ptr<pronto::Database> with_crash_points(std::unique_ptr<pronto::Database> database);

}  // namespace pizzeria
