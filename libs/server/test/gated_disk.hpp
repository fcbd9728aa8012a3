#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "pronto/journal/file.hpp"

namespace pronto::server {

/// A disk that says when it syncs: `before_sync` runs before each sync of a file.
class GatedDisk final : public journal::Disk {
 public:
  GatedDisk(std::unique_ptr<journal::Disk> disk, std::function<void()> before_sync)
      : disk_{std::move(disk)}, before_sync_{std::move(before_sync)} {}

  Result<std::unique_ptr<journal::File>> open(const std::string& name) override {
    return gated(disk_->open(name));
  }
  Result<std::unique_ptr<journal::File>> create(const std::string& name) override {
    return gated(disk_->create(name));
  }
  Result<void> rename(const std::string& from, const std::string& to) override {
    return disk_->rename(from, to);
  }
  Result<void> remove(const std::string& name) override { return disk_->remove(name); }
  Result<std::vector<std::string>> list() override { return disk_->list(); }
  Result<void> sync_folder() override { return disk_->sync_folder(); }
  Result<void> lock() override { return disk_->lock(); }
  std::string lock_holder() override { return disk_->lock_holder(); }
  Result<std::uint64_t> free_bytes() override { return disk_->free_bytes(); }
  std::string path() const override { return disk_->path(); }

 private:
  class GatedFile final : public journal::File {
   public:
    GatedFile(std::unique_ptr<journal::File> file, const std::function<void()>& before_sync)
        : file_{std::move(file)}, before_sync_{before_sync} {}
    Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) override {
      return file_->read_at(offset, into);
    }
    Result<void> write_at(std::uint64_t offset, std::span<const BytesView> parts) override {
      return file_->write_at(offset, parts);
    }
    Result<void> sync_data() override {
      before_sync_();
      return file_->sync_data();
    }
    Result<std::uint64_t> size() override { return file_->size(); }
    Result<void> allocate(std::uint64_t bytes, journal::Fill fill) override {
      return file_->allocate(bytes, fill);
    }

   private:
    std::unique_ptr<journal::File> file_;
    const std::function<void()>& before_sync_;
  };

  Result<std::unique_ptr<journal::File>> gated(Result<std::unique_ptr<journal::File>> file) {
    if (!file) return file.error();
    return std::unique_ptr<journal::File>{
        std::make_unique<GatedFile>(std::move(*file), before_sync_)};
  }

  std::unique_ptr<journal::Disk> disk_;
  std::function<void()> before_sync_;
};

}  // namespace pronto::server
