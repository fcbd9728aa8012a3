#include "instance_lock.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string_view>

#include "common/settings.hpp"
#include "pronto/base/error.hpp"

namespace pizzeria {
namespace {

/// Any text as a part of a file's name.
std::string as_file_name(const std::string& text) {
  std::string name;
  for (const char c : text) {
    const bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    name += is_plain ? std::string{c} : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return name;
}

std::string lock_path(const std::string& store, const std::string& instance) {
  constexpr std::string_view scheme = "sqlite:";
  const std::string path = store.starts_with(scheme) ? store.substr(scheme.size()) : store;
  std::error_code ec;
  const std::filesystem::path whole = std::filesystem::weakly_canonical(path, ec);
  return (ec ? path : whole.string()) + '.' + as_file_name(instance) + ".lock";
}

}  // namespace

std::optional<InstanceLock> InstanceLock::take(const std::string& store,
                                               const std::string& instance) {
  const std::string path = lock_path(store, instance);
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor < 0) {
    throw pronto::StartError{
        fmt::format("{} cannot be made: {}", path, pronto::last_system_error().message())};
  }
  InstanceLock lock{descriptor};
  if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno == EWOULDBLOCK) return std::nullopt;
  throw pronto::StartError{
      fmt::format("{} cannot be locked: {}", path, pronto::last_system_error().message())};
}

InstanceLock::~InstanceLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace pizzeria
