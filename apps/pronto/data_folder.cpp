#include "data_folder.hpp"

#include <fmt/format.h>

#include <array>
#include <filesystem>

#include "common/settings.hpp"
#include "pronto/journal/real_disk.hpp"

namespace pronto {

std::unique_ptr<journal::Disk> open_folder_to_look(const std::string& path) {
  if (!std::filesystem::is_directory(path)) {
    throw StartError{fmt::format(
        "there is no data folder {}; name one with --data, or start a broker to make one", path)};
  }
  auto disk = journal::open_real_disk(path);
  if (!disk) {
    throw StartError{
        fmt::format("the data folder {} cannot be read: {}", path, disk.error().message())};
  }
  return std::move(*disk);
}

std::string bytes_text(std::uint64_t bytes) {
  constexpr std::array units{"KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return fmt::format("{} bytes", bytes);
  double size = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  for (; size >= 1024 && unit + 1 < units.size(); ++unit) size /= 1024;
  return fmt::format("{:.1f} {}", size, units.at(unit));
}

std::string count_text(std::uint64_t count) {
  std::string text = std::to_string(count);
  for (std::size_t at = text.size(); at > 3; at -= 3) text.insert(at - 3, ",");
  return text;
}

}  // namespace pronto
