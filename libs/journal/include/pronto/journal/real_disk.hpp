#pragma once

#include <string>

#include "pronto/journal/file.hpp"

namespace pronto::journal {

/// The folder `path`, made when it is not there. Written with `pwritev`, never through a mapping.
/// Errors: the system's.
Result<std::unique_ptr<Disk>> open_real_disk(const std::string& path);

}  // namespace pronto::journal
