#include "pronto/journal/simulated_disk.hpp"

#include <algorithm>
#include <cstring>

#include "pronto/base/assert.hpp"

namespace pronto::journal {
namespace {

constexpr std::size_t sector_bytes = 512;

/// What a file holds: the bytes that a reader sees, and those that a loss of power leaves.
struct Inode {
  Bytes seen;
  Bytes synced;
  std::vector<bool> dirty;  // sectors written since the last sync

  void mark(std::uint64_t offset, std::size_t size) {
    dirty.resize((seen.size() + sector_bytes - 1) / sector_bytes, false);
    for (std::uint64_t at = offset / sector_bytes; at * sector_bytes < offset + size; ++at) {
      dirty[at] = true;
    }
  }
  void sync() {
    synced = seen;
    dirty.assign(dirty.size(), false);
  }
  void crash(Random& random) {
    Bytes left = synced;
    // The length may have come without the bytes, or not.
    if (seen.size() > left.size() && random.below(2) == 0) left.resize(seen.size());
    for (std::size_t sector = 0; sector < dirty.size(); ++sector) {
      if (!dirty[sector] || random.below(2) == 0) continue;
      const std::size_t begin = sector * sector_bytes;
      const std::size_t end = std::min({begin + sector_bytes, left.size(), seen.size()});
      if (begin < end) std::memcpy(left.data() + begin, seen.data() + begin, end - begin);
    }
    seen = left;
    sync();
  }
};

using Names = std::map<std::string, std::shared_ptr<Inode>>;

}  // namespace

struct SimulatedDisk::State {
  Names names;         // as seen
  Names synced_names;  // as a loss of power may leave them
  bool is_locked = false;
  std::uint64_t generation = 0;  // a crash makes older handles useless
  std::uint64_t capacity = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t writes = 0;
  std::uint64_t syncs = 0;
  std::optional<std::uint64_t> writes_left;
  std::optional<std::uint64_t> calls_left;
  std::error_code failure;
  bool failed = false;
  bool is_cut = false;

  std::uint64_t used() const {
    std::uint64_t sum = 0;
    for (const auto& [name, inode] : names) sum += inode->seen.size();
    return sum;
  }
  /// What every call does first.
  Result<void> enter(std::uint64_t of_generation, bool is_write = false) {
    if (is_cut || of_generation != generation) return std::make_error_code(std::errc::io_error);
    if (calls_left && (*calls_left)-- == 0) {
      calls_left.reset();
      failed = true;
      return failure;
    }
    if (is_write) {
      if (writes_left && *writes_left == 0) {
        is_cut = true;
        return std::make_error_code(std::errc::io_error);
      }
      if (writes_left) --*writes_left;
      ++writes;
    }
    return {};
  }
};

namespace {

class SimulatedFile final : public File {
 public:
  SimulatedFile(std::shared_ptr<SimulatedDisk::State> state, std::shared_ptr<Inode> inode)
      : state_{std::move(state)}, inode_{std::move(inode)}, generation_{state_->generation} {}

  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) override {
    if (auto entered = state_->enter(generation_); !entered) return entered.error();
    if (offset >= inode_->seen.size()) return std::size_t{0};
    const std::size_t size = std::min<std::size_t>(into.size(), inode_->seen.size() - offset);
    if (size > 0) std::memcpy(into.data(), inode_->seen.data() + offset, size);
    return size;
  }
  Result<void> write_at(std::uint64_t offset, std::span<const BytesView> parts) override {
    if (auto entered = state_->enter(generation_, true); !entered) return entered;
    std::size_t size = 0;
    for (const BytesView part : parts) size += part.size();
    if (auto grown = grow(offset + size); !grown) return grown;
    std::uint64_t at = offset;
    for (const BytesView part : parts) {
      if (!part.empty()) std::memcpy(inode_->seen.data() + at, part.data(), part.size());
      at += part.size();
    }
    inode_->mark(offset, size);
    return {};
  }
  Result<void> sync_data() override {
    if (auto entered = state_->enter(generation_, true); !entered) return entered;
    ++state_->syncs;
    inode_->sync();
    return {};
  }
  Result<std::uint64_t> size() override {
    if (auto entered = state_->enter(generation_); !entered) return entered.error();
    return std::uint64_t{inode_->seen.size()};
  }
  Result<void> allocate(std::uint64_t bytes, Fill) override {
    if (auto entered = state_->enter(generation_, true); !entered) return entered;
    if (auto grown = grow(bytes); !grown) return grown;
    inode_->sync();
    return {};
  }

 private:
  Result<void> grow(std::uint64_t size) {
    if (size <= inode_->seen.size()) return {};
    if (state_->used() + size - inode_->seen.size() > state_->capacity) {
      return std::make_error_code(std::errc::no_space_on_device);
    }
    inode_->seen.resize(size);
    return {};
  }

  std::shared_ptr<SimulatedDisk::State> state_;
  std::shared_ptr<Inode> inode_;
  std::uint64_t generation_;
};

class Handle final : public Disk {
 public:
  explicit Handle(std::shared_ptr<SimulatedDisk::State> state)
      : state_{std::move(state)}, generation_{state_->generation} {}
  ~Handle() override {
    if (holds_ && generation_ == state_->generation) state_->is_locked = false;
  }

  Result<std::unique_ptr<File>> open(const std::string& name) override {
    if (auto entered = state_->enter(generation_); !entered) return entered.error();
    const auto found = state_->names.find(name);
    if (found == state_->names.end()) return Error::not_found;
    return std::unique_ptr<File>{std::make_unique<SimulatedFile>(state_, found->second)};
  }
  Result<std::unique_ptr<File>> create(const std::string& name) override {
    if (auto entered = state_->enter(generation_, true); !entered) return entered.error();
    auto inode = std::make_shared<Inode>();
    state_->names[name] = inode;
    return std::unique_ptr<File>{std::make_unique<SimulatedFile>(state_, std::move(inode))};
  }
  Result<void> rename(const std::string& from, const std::string& to) override {
    if (auto entered = state_->enter(generation_, true); !entered) return entered;
    const auto found = state_->names.find(from);
    if (found == state_->names.end()) return Error::not_found;
    state_->names[to] = found->second;
    state_->names.erase(from);
    return {};
  }
  Result<void> remove(const std::string& name) override {
    if (auto entered = state_->enter(generation_, true); !entered) return entered;
    if (state_->names.erase(name) == 0) return Error::not_found;
    return {};
  }
  Result<std::vector<std::string>> list() override {
    if (auto entered = state_->enter(generation_); !entered) return entered.error();
    std::vector<std::string> names;
    for (const auto& [name, inode] : state_->names) names.push_back(name);
    return names;
  }
  Result<void> sync_folder() override {
    if (auto entered = state_->enter(generation_, true); !entered) return entered;
    state_->synced_names = state_->names;
    return {};
  }
  Result<void> lock() override {
    if (auto entered = state_->enter(generation_); !entered) return entered;
    if (state_->is_locked) return Error::locked;
    state_->is_locked = true;
    holds_ = true;
    return {};
  }
  std::string lock_holder() override { return "another journal of this test"; }
  Result<std::uint64_t> free_bytes() override {
    if (auto entered = state_->enter(generation_); !entered) return entered.error();
    const std::uint64_t used = state_->used();
    return state_->capacity > used ? state_->capacity - used : 0;
  }
  std::string path() const override { return "simulated"; }

 private:
  std::shared_ptr<SimulatedDisk::State> state_;
  std::uint64_t generation_;
  bool holds_ = false;
};

}  // namespace

SimulatedDisk::SimulatedDisk() : state_{std::make_shared<State>()} {}
SimulatedDisk::~SimulatedDisk() = default;

std::unique_ptr<Disk> SimulatedDisk::open() {
  return std::make_unique<Handle>(state_);
}

void SimulatedDisk::crash(Random& random) {
  State& state = *state_;
  ++state.generation;
  state.is_locked = false;
  state.is_cut = false;
  state.writes_left.reset();
  state.calls_left.reset();
  // Each entry that was not synced may have come or not, whatever the others did.
  Names left = state.synced_names;
  for (const auto& [name, inode] : state.names) {
    const auto known = state.synced_names.find(name);
    const bool is_new = known == state.synced_names.end() || known->second != inode;
    if (is_new && random.below(2) == 0) left[name] = inode;
  }
  for (const auto& [name, inode] : state.synced_names) {
    if (!state.names.contains(name) && random.below(2) == 0) left.erase(name);
  }
  state.names = left;
  state.synced_names = left;
  for (auto& [name, inode] : state.names) inode->crash(random);
}

void SimulatedDisk::cut_after_writes(std::uint64_t count) {
  state_->writes_left = count;
}
bool SimulatedDisk::was_cut() const {
  return state_->is_cut;
}
void SimulatedDisk::fail_call(std::uint64_t count, std::error_code code) {
  state_->calls_left = count;
  state_->failure = code;
  state_->failed = false;
}
bool SimulatedDisk::has_failed() const {
  return state_->failed;
}
void SimulatedDisk::set_capacity(std::uint64_t bytes) {
  state_->capacity = bytes;
}
std::uint64_t SimulatedDisk::write_count() const {
  return state_->writes;
}
std::uint64_t SimulatedDisk::sync_count() const {
  return state_->syncs;
}
void SimulatedDisk::flip(const std::string& name, std::uint64_t offset, std::byte bits) {
  Inode& inode = *state_->names.at(name);
  inode.seen.at(offset) ^= bits;
  inode.sync();
}
std::uint64_t SimulatedDisk::size_of(const std::string& name) const {
  return state_->names.at(name)->seen.size();
}
std::vector<std::string> SimulatedDisk::names() const {
  std::vector<std::string> names;
  for (const auto& [name, inode] : state_->names) names.push_back(name);
  return names;
}
void SimulatedDisk::truncate(const std::string& name, std::uint64_t bytes) {
  Inode& inode = *state_->names.at(name);
  inode.seen.resize(bytes);
  inode.dirty.clear();
  inode.sync();
}

}  // namespace pronto::journal
