#include "memory_limit.hpp"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include "pronto/base/text.hpp"

namespace pronto::server {

std::uint64_t available_memory_bytes() {
  const auto pages = static_cast<std::uint64_t>(std::max(1L, ::sysconf(_SC_PHYS_PAGES)));
  const auto page_bytes = static_cast<std::uint64_t>(std::max(1L, ::sysconf(_SC_PAGESIZE)));
  std::uint64_t bytes = pages * page_bytes;
  std::ifstream own{"/proc/self/cgroup"};
  std::string line;
  while (std::getline(own, line)) {
    if (!line.starts_with("0::/")) continue;  // version 2 has one line, of hierarchy 0
    // A parent's limit holds for all below it.
    std::filesystem::path group = "/sys/fs/cgroup" + line.substr(3);
    for (int depth = 0; depth < 32; ++depth) {
      std::ifstream file{group / "memory.max"};
      std::string text;
      if (std::getline(file, text)) {
        if (const auto limit = parse_unsigned(trim(text))) bytes = std::min(bytes, *limit);
      }
      if (group == "/sys/fs/cgroup" || !group.has_parent_path()) break;
      group = group.parent_path();
    }
  }
  return bytes;
}

}  // namespace pronto::server
