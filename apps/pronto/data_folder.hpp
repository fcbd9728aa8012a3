#pragma once

#include <memory>
#include <string>

#include "pronto/journal/file.hpp"

namespace pronto {

/// Opens a data folder that is there, to look at it. Errors: throws `StartError`.
std::unique_ptr<journal::Disk> open_folder_to_look(const std::string& path);

/// "1.5 MiB", "312 bytes".
std::string bytes_text(std::uint64_t bytes);
/// "1,234,567".
std::string count_text(std::uint64_t count);

}  // namespace pronto
