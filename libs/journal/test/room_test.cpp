#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <utility>

#include "fixture.hpp"

namespace pronto::journal {
namespace {

/// A disk for several threads on which files grow only when the test lets them.
class SlowDisk final : public Disk {
 public:
  struct Gate {
    std::mutex mutex;
    std::condition_variable changed;
    std::size_t left = 2;  ///< so many files may grow
    bool is_waited_at = false;
  };

 private:
  class SlowFile final : public File {
   public:
    SlowFile(std::unique_ptr<File> file, Gate& gate) : file_{std::move(file)}, gate_{gate} {}
    Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) override {
      const std::lock_guard lock{gate_.mutex};
      return file_->read_at(offset, into);
    }
    Result<void> write_at(std::uint64_t offset, std::span<const BytesView> parts) override {
      const std::lock_guard lock{gate_.mutex};
      return file_->write_at(offset, parts);
    }
    Result<void> sync_data() override {
      const std::lock_guard lock{gate_.mutex};
      return file_->sync_data();
    }
    Result<std::uint64_t> size() override {
      const std::lock_guard lock{gate_.mutex};
      return file_->size();
    }
    Result<void> allocate(std::uint64_t bytes, Fill fill) override {
      std::unique_lock lock{gate_.mutex};
      gate_.is_waited_at = gate_.left == 0;
      gate_.changed.notify_all();
      gate_.changed.wait(lock, [this] { return gate_.left > 0; });
      --gate_.left;
      return file_->allocate(bytes, fill);
    }

   private:
    std::unique_ptr<File> file_;
    Gate& gate_;
  };

  template <class Call>
  auto locked(Call call) {
    const std::lock_guard lock{gate_.mutex};
    return call();
  }
  Result<std::unique_ptr<File>> slow(Result<std::unique_ptr<File>> file) {
    if (!file) return file.error();
    return std::unique_ptr<File>{std::make_unique<SlowFile>(std::move(*file), gate_)};
  }

 public:
  SlowDisk(std::unique_ptr<Disk> disk, Gate& gate) : disk_{std::move(disk)}, gate_{gate} {}

  Result<std::unique_ptr<File>> open(const std::string& name) override {
    return locked([&] { return slow(disk_->open(name)); });
  }
  Result<std::unique_ptr<File>> create(const std::string& name) override {
    return locked([&] { return slow(disk_->create(name)); });
  }
  Result<void> rename(const std::string& from, const std::string& to) override {
    return locked([&] { return disk_->rename(from, to); });
  }
  Result<void> remove(const std::string& name) override {
    return locked([&] { return disk_->remove(name); });
  }
  Result<std::vector<std::string>> list() override {
    return locked([&] { return disk_->list(); });
  }
  Result<void> sync_folder() override {
    return locked([&] { return disk_->sync_folder(); });
  }
  Result<void> lock() override {
    return locked([&] { return disk_->lock(); });
  }
  std::string lock_holder() override { return disk_->lock_holder(); }
  Result<std::uint64_t> free_bytes() override {
    return locked([&] { return disk_->free_bytes(); });
  }
  std::string path() const override { return disk_->path(); }

 private:
  std::unique_ptr<Disk> disk_;
  Gate& gate_;
};

// Goal: a segment that is still being made is not taken for a full disk, and a full disk is.
TEST(LogRoom, IsThereWhileASegmentIsMadeAndIsNotOnceMakingOneHasFailed) {
  SimulatedDisk disk;
  SlowDisk::Gate gate;
  Options options = small_segments();
  options.threading = Threading::own_thread;
  auto log = Log::open(std::make_unique<SlowDisk>(disk.open(), gate), options, {});
  ASSERT_TRUE(log);
  std::uint64_t unit = 0;
  // Through the first segment and more than half of the second, while the third waits at the gate.
  while ((*log)->segments().size() < 2 || (*log)->segments()[1].bytes < 10'000) {
    ASSERT_TRUE(append_unit(**log, ++unit, 1, 1000));
    ASSERT_TRUE((*log)->flush());
  }
  {
    std::unique_lock lock{gate.mutex};
    gate.changed.wait(lock, [&] { return gate.is_waited_at; });
  }
  EXPECT_TRUE((*log)->has_room()) << "one is being made";
  {
    const std::lock_guard lock{gate.mutex};
    disk.set_capacity(0);
    gate.left = 1'000;
    gate.changed.notify_all();
  }
  const auto refused = append_unit(**log, ++unit, 3, 2000);  // needs it, so waits for its end
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), std::errc::no_space_on_device);
  EXPECT_FALSE((*log)->has_room());
}

}  // namespace
}  // namespace pronto::journal
