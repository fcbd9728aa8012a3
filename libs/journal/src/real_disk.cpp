#include "pronto/journal/real_disk.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <filesystem>
#include <utility>

namespace pronto::journal {
namespace {

constexpr std::size_t zero_bytes = 1024 * 1024;
constexpr const char* lock_name = "lock";

/// A file descriptor that is closed with its owner.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_{number} {}
  Descriptor(Descriptor&& other) noexcept : number_{std::exchange(other.number_, -1)} {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  int number() const noexcept { return number_; }
  bool is_open() const noexcept { return number_ >= 0; }

 private:
  int number_;
};

class RealFile final : public File {
 public:
  explicit RealFile(Descriptor descriptor) : descriptor_{std::move(descriptor)} {}

  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) override {
    std::size_t done = 0;
    while (done < into.size()) {
      const ssize_t got = ::pread(descriptor_.number(), into.data() + done, into.size() - done,
                                  static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return last_system_error();
      if (got == 0) break;
      done += static_cast<std::size_t>(got);
    }
    return done;
  }

  Result<void> write_at(std::uint64_t offset, std::span<const BytesView> parts) override {
    std::vector<iovec> left;
    left.reserve(parts.size());
    for (const BytesView part : parts) {
      if (!part.empty()) left.push_back({const_cast<std::byte*>(part.data()), part.size()});
    }
    std::size_t first = 0;
    while (first < left.size()) {
      const int count = static_cast<int>(std::min<std::size_t>(left.size() - first, IOV_MAX));
      const ssize_t wrote =
          ::pwritev(descriptor_.number(), left.data() + first, count, static_cast<off_t>(offset));
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote < 0) return last_system_error();
      offset += static_cast<std::uint64_t>(wrote);
      auto remaining = static_cast<std::size_t>(wrote);
      while (remaining > 0 && remaining >= left[first].iov_len) remaining -= left[first++].iov_len;
      if (remaining > 0) {
        left[first].iov_base = static_cast<std::byte*>(left[first].iov_base) + remaining;
        left[first].iov_len -= remaining;
      }
    }
    return {};
  }

  Result<void> sync_data() override {
    if (::fdatasync(descriptor_.number()) != 0) return last_system_error();
    return {};
  }

  Result<std::uint64_t> size() override {
    struct stat status{};
    if (::fstat(descriptor_.number(), &status) != 0) return last_system_error();
    return static_cast<std::uint64_t>(status.st_size);
  }

  Result<void> allocate(std::uint64_t bytes, Fill fill) override {
    // Space first, so that a full disk is met here and not in the middle; then real zeros, so that
    // a later sync has no extents to convert.
    if (const int error = ::posix_fallocate(descriptor_.number(), 0, static_cast<off_t>(bytes))) {
      return std::error_code{error, std::system_category()};
    }
    const Bytes zeros(std::min<std::uint64_t>(zero_bytes, bytes));
    for (std::uint64_t at = 0; fill == Fill::zeros && at < bytes; at += zeros.size()) {
      const BytesView part =
          BytesView{zeros}.first(std::min<std::uint64_t>(zeros.size(), bytes - at));
      if (auto wrote = write_at(at, {&part, 1}); !wrote) return wrote;
      // On its way at once, with few others: all of it in one sync would hold up the log's own.
      constexpr std::uint64_t ahead_bytes_max = 4 * zero_bytes;
      if (auto begun = push_out(at, part.size(), SYNC_FILE_RANGE_WRITE); !begun) return begun;
      if (at < ahead_bytes_max) continue;
      constexpr unsigned and_wait =
          SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
      if (auto done = push_out(at - ahead_bytes_max, zeros.size(), and_wait); !done) return done;
    }
    if (::fsync(descriptor_.number()) != 0) return last_system_error();
    return {};
  }

 private:
  Result<void> push_out(std::uint64_t offset, std::uint64_t bytes, unsigned how) {
    if (::sync_file_range(descriptor_.number(), static_cast<off_t>(offset),
                          static_cast<off_t>(bytes), how) != 0) {
      return last_system_error();
    }
    return {};
  }

  Descriptor descriptor_;
};

class RealDisk final : public Disk {
 public:
  RealDisk(std::string path, Descriptor folder)
      : path_{std::move(path)}, folder_{std::move(folder)}, lock_{-1} {}

  Result<std::unique_ptr<File>> open(const std::string& name) override {
    return open_file(name, O_RDWR);
  }
  Result<std::unique_ptr<File>> create(const std::string& name) override {
    return open_file(name, O_RDWR | O_CREAT | O_TRUNC);
  }
  Result<void> rename(const std::string& from, const std::string& to) override {
    if (::renameat(folder_.number(), from.c_str(), folder_.number(), to.c_str()) != 0) {
      return last_system_error();
    }
    return {};
  }
  Result<void> remove(const std::string& name) override {
    if (::unlinkat(folder_.number(), name.c_str(), 0) != 0) return last_system_error();
    return {};
  }
  Result<std::vector<std::string>> list() override {
    std::error_code ec;
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator{path_, ec}) {
      if (entry.path().filename() != lock_name) names.push_back(entry.path().filename());
    }
    if (ec) return ec;
    std::ranges::sort(names);
    return names;
  }
  Result<void> sync_folder() override {
    if (::fsync(folder_.number()) != 0) return last_system_error();
    return {};
  }
  Result<void> lock() override {
    Descriptor file{::openat(folder_.number(), lock_name, O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
    if (!file.is_open()) return last_system_error();
    if (::flock(file.number(), LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) return Error::locked;
      return last_system_error();
    }
    const std::string holder = fmt::format("{}\n", ::getpid());
    if (::ftruncate(file.number(), 0) != 0 ||
        ::pwrite(file.number(), holder.data(), holder.size(), 0) < 0) {
      return last_system_error();
    }
    lock_ = std::move(file);
    return {};
  }
  std::string lock_holder() override {
    const Descriptor file{::openat(folder_.number(), lock_name, O_RDONLY | O_CLOEXEC)};
    std::array<char, 32> text{};
    const ssize_t size = file.is_open() ? ::read(file.number(), text.data(), text.size()) : 0;
    if (size <= 1) return "another process";
    return fmt::format("process {}",
                       std::string_view{text.data(), static_cast<std::size_t>(size - 1)});
  }
  Result<std::uint64_t> free_bytes() override {
    struct statvfs status{};
    if (::fstatvfs(folder_.number(), &status) != 0) return last_system_error();
    return static_cast<std::uint64_t>(status.f_bavail) * status.f_frsize;
  }
  std::string path() const override { return path_; }

 private:
  Result<std::unique_ptr<File>> open_file(const std::string& name, int flags) {
    Descriptor file{::openat(folder_.number(), name.c_str(), flags | O_CLOEXEC, 0600)};
    if (!file.is_open()) {
      if (errno == ENOENT) return Error::not_found;
      return last_system_error();
    }
    return std::unique_ptr<File>{std::make_unique<RealFile>(std::move(file))};
  }

  std::string path_;
  Descriptor folder_;
  Descriptor lock_;
};

}  // namespace

Result<std::unique_ptr<Disk>> open_real_disk(const std::string& path) {
  std::error_code ec;
  std::filesystem::create_directories(path, ec);
  if (ec) return ec;
  Descriptor folder{::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!folder.is_open()) return last_system_error();
  return std::unique_ptr<Disk>{std::make_unique<RealDisk>(path, std::move(folder))};
}

}  // namespace pronto::journal
