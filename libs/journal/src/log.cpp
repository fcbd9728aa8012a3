#include "pronto/journal/log.hpp"

#include <fmt/format.h>
#include <pthread.h>

#include <algorithm>

#include "fields.hpp"
#include "log_inside.hpp"
#include "pronto/base/assert.hpp"
#include "pronto/base/crc32c.hpp"
#include "pronto/base/text.hpp"

namespace pronto::journal {

namespace {

std::string numbered(std::uint32_t number, std::string_view ending) {
  return fmt::format("{:08}{}", number, ending);
}

std::optional<std::uint32_t> number_of(const std::string& name, std::string_view ending) {
  if (name.size() != 8 + ending.size() || !name.ends_with(ending)) return std::nullopt;
  const auto number = parse_unsigned(std::string_view{name}.substr(0, 8));
  if (!number) return std::nullopt;
  return static_cast<std::uint32_t>(*number);
}

constexpr std::string_view segment_ending = ".log";
constexpr std::string_view checkpoint_ending = ".checkpoint";

}  // namespace

std::string segment_name(std::uint32_t number) {
  return numbered(number, segment_ending);
}
std::optional<std::uint32_t> segment_number(const std::string& name) {
  return number_of(name, segment_ending);
}
std::string checkpoint_name(std::uint32_t number) {
  return numbered(number, checkpoint_ending);
}
std::optional<std::uint32_t> checkpoint_number(const std::string& name) {
  return number_of(name, checkpoint_ending);
}

Log::Inside::Inside(std::unique_ptr<Disk> folder, Options chosen)
    : disk{std::move(folder)}, options{std::move(chosen)} {}

Log::Inside::~Inside() {
  {
    const std::lock_guard lock{mutex};
    stopping = true;
  }
  work.notify_all();
  prepare.notify_all();
  if (log_thread.joinable()) log_thread.join();
  if (preparer.joinable()) preparer.join();
}

/// A file of a segment's size under the name of the spare.
Result<std::unique_ptr<File>> Log::Inside::new_file(Fill fill) {
  if (const auto free = disk->free_bytes(); !free) {
    return free.error();
  } else if (*free < options.segment_bytes + options.free_bytes_min) {
    return std::make_error_code(std::errc::no_space_on_device);
  }
  auto file = disk->create(spare_name);
  if (!file) return file.error();
  if (auto grown = (*file)->allocate(options.segment_bytes, fill); !grown) {
    (void)disk->remove(spare_name);  // the space it took is of use to others
    return grown.error();
  }
  return file;
}

/// As `new_file`, from a segment that nobody reads: its blocks were written, so syncs are fast.
/// What it held is of an older epoch or sequence. Returns: null when there is none.
std::unique_ptr<File> Log::Inside::recycled_file() {
  for (;;) {
    std::uint32_t number = 0;
    {
      const std::lock_guard lock{mutex};
      if (recyclable.empty()) return nullptr;
      number = recyclable.front();
      recyclable.pop_front();
    }
    auto file = disk->open(segment_name(number));
    if (!file) continue;
    const auto size = (*file)->size();
    if (!size || *size != options.segment_bytes) {
      (void)disk->remove(segment_name(number));
      continue;
    }
    if (!disk->rename(segment_name(number), spare_name)) continue;
    const std::lock_guard lock{mutex};
    ++statistics.segments_recycled_total;
    return std::move(*file);
  }
}

Result<std::unique_ptr<File>> Log::Inside::make_segment(std::uint32_t number, Fill fill) {
  std::unique_ptr<File> file = recycled_file();
  if (!file) {
    auto made = new_file(fill);
    if (!made) return made;
    file = std::move(*made);
  }
  const auto now = static_cast<std::uint64_t>(millis_of(options.clock()));
  const Bytes header = encode(SegmentHeader{format_version, number, epoch, now});
  const BytesView part = header;
  if (auto wrote = file->write_at(0, {&part, 1}); !wrote) return wrote.error();
  if (auto synced = file->sync_data(); !synced) return synced.error();
  if (auto named = disk->rename(spare_name, segment_name(number)); !named) return named.error();
  if (auto synced = disk->sync_folder(); !synced) return synced.error();
  const std::lock_guard lock{mutex};
  made_at[number] = now;
  return file;
}

/// Makes the segment after the current one, if it is not there. Called without the lock by whoever
/// prepares: the preparer's thread, or the owner when there is none.
Result<void> Log::Inside::prepare_spare() {
  std::uint32_t number = 0;
  {
    const std::lock_guard lock{mutex};
    if (spare) return {};
    number = segment + 1;
  }
  auto made = make_segment(number, Fill::zeros);
  const std::lock_guard lock{mutex};
  wants_spare = false;
  is_full = !made;
  if (!made) return made.error();
  spare = std::move(*made);
  files[number] = spare;
  return {};
}

void Log::Inside::serve_appends() {
  {
    const std::lock_guard lock{mutex};
    if (!wants_spare) return;
  }
  (void)prepare_spare();
  done.notify_all();
}

void Log::Inside::run_preparer() {
  pthread_setname_np(pthread_self(), "pronto-prepare");
  std::unique_lock lock{mutex};
  for (;;) {
    prepare.wait(lock, [this] { return stopping || wants_spare || is_checkpoint_due(); });
    if (stopping) return;
    const bool is_for_spare = wants_spare;
    lock.unlock();
    if (is_for_spare) {
      // On a full disk the owner asks again with its next append.
      (void)prepare_spare();
    } else {
      write_due_checkpoint();
    }
    lock.lock();
    done.notify_all();
  }
}

Result<void> Log::Inside::start() {
  if (segment == 0) {
    auto first = make_segment(1, Fill::reserved);  // the first start waits for it
    if (!first) return first.error();
    segment = 1;
    offset = segment_header_bytes;
    files[1] = std::move(*first);
  }
  if (options.threading == Threading::own_thread) {
    log_thread = std::thread{[this] { run(); }};
    preparer = std::thread{[this] { run_preparer(); }};
    const std::lock_guard lock{mutex};
    wants_spare = true;
    prepare.notify_one();
  }
  return {};
}

void Log::Inside::seal_open() {
  if (!is_open_batch) return;
  offset = waiting.back().offset + waiting.back().bytes.size();
  is_open_batch = false;
}

Result<PendingBatch*> Log::Inside::room_for(std::uint64_t bytes, bool is_inside_unit) {
  if (is_open_batch) {
    PendingBatch& open = waiting.back();
    const std::uint64_t end = open.offset + open.bytes.size() + bytes;
    if (end <= options.segment_bytes && open.bytes.size() + bytes <= options.batch_bytes_max) {
      return &open;
    }
    seal_open();
  }
  if (offset + batch_header_bytes + bytes > options.segment_bytes) {
    if (!spare) return std::make_error_code(std::errc::no_space_on_device);
    ++segment;
    offset = segment_header_bytes;
    spare.reset();
    wants_spare = true;
    prepare.notify_one();
  }
  PendingBatch batch;
  batch.segment = segment;
  batch.offset = offset;
  batch.first_unit = last_unit + 1;
  batch.goes_on = is_inside_unit;
  batch.bytes.reserve(std::max<std::size_t>(64 * 1024, batch_header_bytes + bytes));
  batch.bytes.resize(batch_header_bytes);
  waiting.push_back(std::move(batch));
  is_open_batch = true;
  return &waiting.back();
}

void Log::Inside::fail(std::error_code error) {
  std::function<void(std::error_code)> tell;
  {
    const std::lock_guard lock{mutex};
    if (!broken) broken = error;
    if (!failure_told) {
      failure_told = true;
      tell = options.on_failure;
    }
  }
  done.notify_all();
  if (tell) tell(error);
}

Result<bool> Log::Inside::write_once() {
  using Group = std::pair<std::shared_ptr<File>, std::vector<const PendingBatch*>>;
  std::vector<Group> groups;
  std::uint64_t durable_when_done = 0;
  std::uint64_t batch_when_done = 0;
  bool is_awaited = false;
  bool is_durable = false;
  bool is_told_of = false;
  {
    std::unique_lock lock{mutex};
    if (broken) return broken;
    if (waiting.empty()) {
      lock.unlock();
      return sync_written();
    }
    seal_open();
    in_writing = std::move(waiting);
    waiting.clear();
    durable_when_done = written_unit;
    is_awaited = is_flushing;
    for (PendingBatch& batch : in_writing) {
      is_awaited = is_awaited || batch.wants_sync;
      is_told_of = is_told_of || batch.is_told_of;
      seal(batch.bytes, {.epoch = epoch,
                         .sequence = ++last_batch,
                         .first_unit = batch.first_unit,
                         .durable_upto = last_durable_batch,
                         .goes_on = batch.goes_on});
      if (batch.last_unit != 0) durable_when_done = batch.last_unit;
      if (groups.empty() || groups.back().second.back()->segment != batch.segment) {
        groups.emplace_back(files.at(batch.segment), std::vector<const PendingBatch*>{});
      }
      groups.back().second.push_back(&batch);
    }
    batch_when_done = last_batch;
  }
  const auto began = std::chrono::steady_clock::now();
  const bool is_late = !unsynced.empty() && began - unsynced_since >= options.interval;
  const bool is_due = (options.mode == SyncMode::sync && (is_awaited || is_late)) ||
                      (options.mode == SyncMode::interval && is_late);
  if (is_due) {
    for (const auto& file : unsynced) {
      if (std::ranges::find(groups, file, &Group::first) != groups.end()) continue;
      if (auto synced = file->sync_data(); !synced) {
        fail(synced.error());
        return synced.error();
      }
    }
  }
  std::uint64_t bytes = 0;
  for (auto& [file, batches] : groups) {
    std::vector<BytesView> parts;
    for (const PendingBatch* batch : batches) {
      parts.emplace_back(batch->bytes);
      bytes += batch->bytes.size();
    }
    if (auto wrote = file->write_at(batches.front()->offset, parts); !wrote) {
      fail(wrote.error());
      return wrote.error();
    }
    if (!is_due) continue;
    if (auto synced = file->sync_data(); !synced) {
      // The kernel may have dropped the pages: a later success would prove nothing.
      fail(synced.error());
      return synced.error();
    }
  }
  const auto ended = std::chrono::steady_clock::now();
  {
    const std::lock_guard lock{mutex};
    // As it was when the write began: what was appended meanwhile is not covered.
    written_unit = durable_when_done;
    written_batch = batch_when_done;
    is_durable = is_due || options.mode != SyncMode::sync;
    if (is_durable) durable_unit = written_unit;
    if (is_due) {
      last_durable_batch = batch_when_done;
      unsynced.clear();
      statistics.syncs_total += groups.size();
      statistics.last_sync = ended - began;
      statistics.longest_sync = std::max(statistics.longest_sync, statistics.last_sync);
    } else if (options.mode != SyncMode::none) {
      if (unsynced.empty()) unsynced_since = ended;
      for (const auto& [file, batches] : groups) {
        if (std::ranges::find(unsynced, file) == unsynced.end()) unsynced.push_back(file);
      }
    }
    statistics.batches_total += in_writing.size();
    statistics.written_bytes_total += bytes;
    in_writing.clear();
  }
  if (is_durable) {
    tell_durable(durable_when_done);
  } else if (is_told_of && options.on_written) {
    options.on_written(Sequence{durable_when_done});
  }
  return true;
}

/// What was written and waited for nobody. Called without the lock, by whoever writes.
Result<bool> Log::Inside::sync_written() {
  if (unsynced.empty()) return false;
  const auto began = std::chrono::steady_clock::now();
  for (const auto& file : unsynced) {
    if (auto synced = file->sync_data(); !synced) {
      fail(synced.error());
      return synced.error();
    }
  }
  {
    const std::lock_guard lock{mutex};
    durable_unit = written_unit;
    last_durable_batch = written_batch;
    statistics.syncs_total += unsynced.size();
    statistics.last_sync = std::chrono::steady_clock::now() - began;
    statistics.longest_sync = std::max(statistics.longest_sync, statistics.last_sync);
    unsynced.clear();
  }
  tell_durable(written_unit);
  return true;
}

void Log::Inside::tell_durable(std::uint64_t unit) {
  if (options.on_durable) options.on_durable(Sequence{unit});
  {
    const std::lock_guard lock{mutex};
    told_unit = unit;
  }
  done.notify_all();
  if (options.threading == Threading::manual) {
    write_due_checkpoint();
  } else {
    prepare.notify_one();
  }
}

void Log::Inside::run() {
  pthread_setname_np(pthread_self(), "pronto-log");
  for (;;) {
    {
      std::unique_lock lock{mutex};
      const auto has_work = [this] {
        return stopping || !waiting.empty() || (is_flushing && !unsynced.empty());
      };
      if (unsynced.empty()) {
        work.wait(lock, has_work);
      } else {
        work.wait_until(lock, unsynced_since + options.interval, has_work);
      }
      if (broken || (waiting.empty() && unsynced.empty())) return;
    }
    if (!write_once()) return;
  }
}

Log::Log(std::unique_ptr<Inside> inside) : inside_{std::move(inside)} {}

Log::~Log() = default;

Result<std::unique_ptr<Log>> Log::open(std::unique_ptr<Disk> disk, Options options,
                                       const Replay& replay) {
  PRONTO_ASSERT(options.segment_bytes >= 4096 && options.segment_bytes <= segment_bytes_max);
  if (auto locked = disk->lock(); !locked) return locked.error();
  auto inside = std::make_unique<Inside>(std::move(disk), std::move(options));
  if (auto recovered = inside->recover(replay); !recovered) return recovered.error();
  if (auto started = inside->start(); !started) return started.error();
  return std::unique_ptr<Log>{new Log{std::move(inside)}};
}

Result<Appended> Log::append(std::span<const Record> unit, Need need, Urgency urgency) {
  PRONTO_ASSERT(!unit.empty());
  Inside& inside = *inside_;
  Appended appended;
  appended.positions.reserve(unit.size());
  std::uint64_t total = 0;
  const auto size_of = [](const Record& record) {
    std::uint64_t size = 0;
    for (const BytesView part : record.parts) size += part.size();
    return record_header_bytes + padded(size);
  };
  for (const Record& record : unit) {
    const std::uint64_t size = size_of(record);
    if (segment_header_bytes + batch_header_bytes + size > inside.options.segment_bytes / 2) {
      return Error::too_large;
    }
    total += size;
  }
  std::unique_lock lock{inside.mutex};
  // Space for all of it is found before any of it is written: a unit is never begun and given up.
  const auto left = [&] { return inside.left_in_segment(); };
  const std::uint64_t overhead = batch_header_bytes * (unit.size() + 1);
  while (!inside.broken && !inside.spare &&
         left() < total + overhead + inside.options.segment_bytes / 8) {
    // Near the end of the segment, and the next one is not ready.
    if (inside.options.threading == Threading::own_thread) {
      if (need == Need::reserve && left() >= total + overhead) break;
      inside.wants_spare = true;
      inside.prepare.notify_one();
      inside.done.wait(lock, [&] { return !inside.wants_spare || inside.broken; });
      if (!inside.spare && !inside.broken) {
        if (need == Need::reserve && left() >= total + overhead) break;
        return std::make_error_code(std::errc::no_space_on_device);
      }
    } else {
      lock.unlock();
      const auto prepared = inside.prepare_spare();
      lock.lock();
      if (!prepared) {
        if (need == Need::reserve && left() >= total + overhead) break;
        return prepared.error();
      }
    }
  }
  if (inside.broken) return inside.broken;
  if (total + overhead > inside.options.segment_bytes) return Error::too_large;
  const std::uint64_t sequence = inside.last_unit + 1;
  for (std::size_t i = 0; i < unit.size(); ++i) {
    auto batch = inside.room_for(size_of(unit[i]), i > 0);
    if (!batch) return batch.error();
    const bool is_last = i + 1 == unit.size();
    appended.positions.push_back(
        make_position((*batch)->segment, (*batch)->offset + (*batch)->bytes.size()));
    append_record((*batch)->bytes, unit[i], is_last);
    if (urgency == Urgency::now) (*batch)->wants_sync = true;
    if (urgency == Urgency::written) (*batch)->is_told_of = true;
    if (is_last) (*batch)->last_unit = sequence;
  }
  inside.last_unit = sequence;
  inside.appended_bytes += total;
  appended.sequence = Sequence{sequence};
  lock.unlock();
  inside.work.notify_one();
  return appended;
}

bool Log::has_room() {
  Inside& inside = *inside_;
  std::unique_lock lock{inside.mutex};
  if (inside.broken) return false;
  if (inside.spare) return true;
  // Most of the last segment is the reserve: answers drain a full disk with it, and the cleaner
  // copies with it what stays of another segment.
  const std::uint64_t segment_bytes = inside.options.segment_bytes;
  if (inside.left_in_segment() >= segment_bytes - segment_bytes / 8) return true;
  if (inside.options.threading == Threading::manual) {
    lock.unlock();
    return inside.prepare_spare().has_value();  // nobody else would
  }
  // Asked again until there is one. One that is still being made is no full disk: `append` waits
  // for it when it comes to that.
  inside.wants_spare = true;
  inside.prepare.notify_one();
  return !inside.is_full;
}

std::uint64_t Log::bytes_left() const {
  const Inside& inside = *inside_;
  const std::lock_guard lock{inside.mutex};
  return inside.left_in_segment() + (inside.spare ? inside.options.segment_bytes : 0);
}

Result<Bytes> Log::read(Position position) {
  Inside& inside = *inside_;
  const std::uint32_t number = segment_of(position);
  const std::uint64_t offset = offset_of(position);
  std::shared_ptr<File> file;
  {
    const std::lock_guard lock{inside.mutex};
    for (const auto* batches : {&inside.waiting, &inside.in_writing}) {
      for (const PendingBatch& batch : *batches) {
        if (batch.segment != number || offset < batch.offset ||
            offset >= batch.offset + batch.bytes.size()) {
          continue;
        }
        std::size_t at = offset - batch.offset;
        const auto record = next_record(batch.bytes, at);
        if (!record) return Error::damaged;
        return Bytes{record->payload.begin(), record->payload.end()};
      }
    }
    const auto found = inside.files.find(number);
    if (found == inside.files.end()) return Error::not_found;
    file = found->second;
  }
  return read_record(*file, offset);
}

Sequence Log::durable_upto() const {
  const std::lock_guard lock{inside_->mutex};
  return Sequence{inside_->durable_unit};
}

Result<void> Log::flush() {
  Inside& inside = *inside_;
  if (inside.options.threading == Threading::manual) {
    for (int i = 0; i < 2; ++i) {  // to write, and to sync
      if (const auto wrote = inside.write_once(); !wrote) return wrote.error();
    }
    return {};
  }
  std::unique_lock lock{inside.mutex};
  const std::uint64_t until = inside.last_unit;
  inside.is_flushing = true;
  inside.work.notify_one();
  inside.done.wait(lock, [&] { return inside.broken || inside.told_unit >= until; });
  inside.is_flushing = false;
  if (inside.broken) return inside.broken;
  return {};
}

bool Log::has_unsynced() const {
  const std::lock_guard lock{inside_->mutex};
  return !inside_->unsynced.empty();
}

Result<bool> Log::write_once() {
  PRONTO_ASSERT(inside_->options.threading == Threading::manual);
  return inside_->write_once();
}

std::vector<SegmentView> Log::segments() const {
  const std::lock_guard lock{inside_->mutex};
  std::vector<SegmentView> views;
  for (const auto& [number, file] : inside_->files) {
    if (number > inside_->segment) continue;
    const auto made = inside_->made_at.find(number);
    views.push_back({number,
                     number == inside_->segment ? inside_->offset : inside_->options.segment_bytes,
                     WallTime{milliseconds{made == inside_->made_at.end() ? 0 : made->second}}});
  }
  return views;
}

Statistics Log::statistics() const {
  const std::lock_guard lock{inside_->mutex};
  return inside_->statistics;
}

}  // namespace pronto::journal
