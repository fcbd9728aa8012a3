#pragma once

#include <cstdint>

namespace pronto::server {

/// How much memory this process may use: the smallest limit of its cgroups (version 2), else the
/// machine's RAM. Runs on: any thread. Blocks: on reading a few files of the kernel's.
std::uint64_t available_memory_bytes();

}  // namespace pronto::server
