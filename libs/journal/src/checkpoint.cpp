#include "pronto/journal/checkpoint.hpp"

#include <algorithm>
#include <cstring>

#include "checkpoint_file.hpp"
#include "fields.hpp"
#include "log_inside.hpp"
#include "pronto/base/assert.hpp"
#include "pronto/base/crc32c.hpp"
#include "pronto/base/log.hpp"

namespace pronto::journal {
namespace {

constexpr std::string_view checkpoint_magic = "PRONTOCP";
constexpr std::size_t batch_bytes_aim = 1024 * 1024;
constexpr std::size_t unsynced_bytes_max = 8 * 1024 * 1024;  // others' syncs wait for these
constexpr std::size_t recyclable_max = 2;

}  // namespace

void Checkpoint::add(const Record& record) {
  if (batches_.empty() || batches_.back().size() >= batch_bytes_aim) {
    batches_.emplace_back();
    batches_.back().reserve(batch_bytes_aim + 64 * 1024);
    batches_.back().resize(batch_header_bytes);
  }
  append_record(batches_.back(), record, true);
}

Bytes encode(const CheckpointHeader& header) {
  Bytes bytes(checkpoint_header_bytes);
  std::memcpy(bytes.data(), checkpoint_magic.data(), checkpoint_magic.size());
  store(bytes, 8, header.version);
  store(bytes, 12, header.number);
  store(bytes, 16, header.epoch);
  store(bytes, 24, static_cast<std::uint64_t>(header.mark.position));
  store(bytes, 32, header.mark.last_batch);
  store(bytes, 40, static_cast<std::uint64_t>(header.mark.last_unit));
  store(bytes, 48, header.bytes);
  store(bytes, 56, crc32c(BytesView{bytes}.first(56)));
  return bytes;
}

std::optional<CheckpointHeader> decode_checkpoint_header(BytesView bytes) {
  if (bytes.size() < checkpoint_header_bytes ||
      as_text(bytes.first(checkpoint_magic.size())) != checkpoint_magic ||
      load<std::uint32_t>(bytes, 56) != crc32c(bytes.first(56))) {
    return std::nullopt;
  }
  return CheckpointHeader{load<std::uint32_t>(bytes, 8),
                          load<std::uint32_t>(bytes, 12),
                          load<std::uint64_t>(bytes, 16),
                          {Position{load<std::uint64_t>(bytes, 24)}, load<std::uint64_t>(bytes, 32),
                           Sequence{load<std::uint64_t>(bytes, 40)}},
                          load<std::uint64_t>(bytes, 48)};
}

Result<void> Log::Inside::write_checkpoint_file(Checkpoint& from, std::uint32_t number,
                                                std::uint64_t& bytes) {
  bytes = 0;
  for (const Bytes& batch : from.batches()) bytes += batch.size();
  auto file = disk->create(new_checkpoint_name);
  if (!file) return file.error();
  const Bytes header =
      encode(CheckpointHeader{checkpoint_version, number, epoch, from.mark(), bytes});
  const BytesView head = header;
  if (auto wrote = (*file)->write_at(0, {&head, 1}); !wrote) return wrote;
  std::uint64_t at = header.size();
  std::uint64_t synced_at = 0;
  std::uint64_t sequence = 0;
  for (; !from.batches().empty(); from.batches().pop_front()) {
    Bytes& batch = from.batches().front();
    seal(batch, {.epoch = epoch, .sequence = ++sequence});
    const BytesView part = batch;
    if (auto wrote = (*file)->write_at(at, {&part, 1}); !wrote) return wrote;
    at += batch.size();
    serve_appends();
    if (at - synced_at < unsynced_bytes_max) continue;
    if (auto synced = (*file)->sync_data(); !synced) return synced;
    synced_at = at;
  }
  if (auto synced = (*file)->sync_data(); !synced) return synced;
  if (auto named = disk->rename(new_checkpoint_name, checkpoint_name(number)); !named) return named;
  return disk->sync_folder();
}

/// Segments before the last but one's mark that the last does not need: a recovery may fall back to
/// the last but one, whose replay needs all behind its own mark.
Result<void> Log::Inside::free_segments(const std::set<std::uint32_t>& needed) {
  std::vector<std::uint32_t> gone;
  {
    const std::lock_guard lock{mutex};
    const std::uint32_t before = segment_of(kept.front().mark.position);
    for (const auto& [number, file] : files) {
      if (number < before && !needed.contains(number)) gone.push_back(number);
    }
    for (const std::uint32_t number : gone) {
      files.erase(number);
      made_at.erase(number);
    }
    statistics.segments_freed_total += gone.size();
    while (!gone.empty() && recyclable.size() < recyclable_max) {
      recyclable.push_back(gone.back());
      gone.pop_back();
    }
  }
  for (const std::uint32_t number : gone) {
    if (auto removed = disk->remove(segment_name(number)); !removed) return removed;
  }
  return {};
}

/// What a log that does not sync each group has called durable so far: a checkpoint refers to it.
Result<void> Log::Inside::sync_before(const Mark& mark) {
  if (options.mode == SyncMode::sync) return {};
  std::vector<std::shared_ptr<File>> to_sync;
  {
    const std::lock_guard lock{mutex};
    // The last checkpoint has had the segments before its mark synced.
    const std::uint32_t first = kept.empty() ? 0 : segment_of(kept.back().mark.position);
    for (const auto& [number, file] : files) {
      if (number >= first && number <= segment_of(mark.position)) to_sync.push_back(file);
    }
  }
  for (const auto& file : to_sync) {
    if (auto synced = file->sync_data(); !synced) {
      fail(synced.error());
      return synced;
    }
  }
  return {};
}

/// Called without the lock, by whoever prepares.
void Log::Inside::write_due_checkpoint() {
  std::optional<Checkpoint> due;
  std::uint32_t number = 0;
  {
    const std::lock_guard lock{mutex};
    if (!is_checkpoint_due()) return;
    due = std::exchange(checkpoint, std::nullopt);
    number = ++last_checkpoint;
  }
  std::uint64_t bytes = 0;
  Result<void> done_so_far = sync_before(due->mark());
  if (done_so_far) done_so_far = write_checkpoint_file(*due, number, bytes);
  if (done_so_far) {
    std::vector<std::uint32_t> old;
    {
      const std::lock_guard lock{mutex};
      kept.push_back({number, epoch, due->mark()});
      for (; kept.size() > 2; kept.pop_front()) old.push_back(kept.front().number);
      ++statistics.checkpoints_total;
      statistics.checkpoint_bytes = bytes;
    }
    // None that could be read may be left without the segments that it needs.
    for (const std::uint32_t one : old) {
      if (done_so_far) done_so_far = disk->remove(checkpoint_name(one));
    }
    if (done_so_far && !old.empty()) done_so_far = disk->sync_folder();
    if (done_so_far && kept.size() == 2) done_so_far = free_segments(due->needed());
  } else {
    (void)disk->remove(new_checkpoint_name);
    const std::lock_guard lock{mutex};
    appended_at_mark = appended_at_last_mark;  // a replay still begins there
    ++statistics.checkpoints_failed_total;
  }
  if (!done_so_far) {
    log::warning("a checkpoint could not be written, or what it replaces not be removed",
                 {{"number", number}, {"error", done_so_far.error()}});
  }
  {
    const std::lock_guard lock{mutex};
    is_writing_checkpoint = false;
  }
  done.notify_all();
}

Checkpoint Log::begin_checkpoint() {
  Inside& inside = *inside_;
  const std::lock_guard lock{inside.mutex};
  inside.seal_open();
  inside.appended_at_last_mark = std::exchange(inside.appended_at_mark, inside.appended_bytes);
  return Checkpoint{{make_position(inside.segment, inside.offset),
                     inside.last_batch + inside.waiting.size(), Sequence{inside.last_unit}}};
}

void Log::write_checkpoint(Checkpoint checkpoint) {
  Inside& inside = *inside_;
  {
    const std::lock_guard lock{inside.mutex};
    PRONTO_ASSERT(!inside.is_writing_checkpoint);
    if (inside.broken) return;
    inside.is_writing_checkpoint = true;
    inside.checkpoint = std::move(checkpoint);
  }
  if (inside.options.threading == Threading::manual) {
    inside.write_due_checkpoint();
  } else {
    inside.prepare.notify_one();
  }
}

bool Log::is_writing_checkpoint() const {
  const std::lock_guard lock{inside_->mutex};
  return inside_->is_writing_checkpoint;
}

void Log::wait_for_checkpoint() {
  Inside& inside = *inside_;
  if (inside.options.threading == Threading::manual) return;
  std::unique_lock lock{inside.mutex};
  inside.done.wait(lock, [&] { return inside.broken || !inside.is_writing_checkpoint; });
}

std::uint64_t Log::bytes_to_replay() const {
  const std::lock_guard lock{inside_->mutex};
  return inside_->appended_bytes - inside_->appended_at_mark;
}

}  // namespace pronto::journal
