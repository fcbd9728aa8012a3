#include <fmt/format.h>

#include <algorithm>

#include "checkpoint_file.hpp"
#include "fields.hpp"
#include "log_inside.hpp"
#include "pronto/base/crc32c.hpp"
#include "pronto/base/log.hpp"
#include "pronto/journal/inspect.hpp"

namespace pronto::journal {
namespace {

/// A sound batch in a segment.
struct Found {
  BatchHeader header;
  std::uint64_t offset = 0;
};

/// Reads a segment's or a checkpoint's batches; keeps only a batch at a time in memory.
class SegmentReader {
 public:
  SegmentReader(File& file, std::uint64_t size) : file_{file}, size_{size} {}

  std::uint64_t size() const { return size_; }
  /// The batch at `offset` when a sound one lies there; `bytes()` holds it then.
  Result<std::optional<Found>> batch_at(std::uint64_t offset) {
    if (offset + batch_header_bytes > size_) return std::optional<Found>{};
    bytes_.resize(batch_header_bytes);
    if (auto got = file_.read_at(offset, bytes_); !got) return got.error();
    const auto header = decode_batch_header(bytes_);
    if (!header || header->bytes % 8 != 0 || header->bytes > size_ - offset - batch_header_bytes) {
      return std::optional<Found>{};
    }
    bytes_.resize(batch_header_bytes + header->bytes);
    if (auto got = file_.read_at(offset, bytes_); !got) {
      return got.error();
    } else if (*got < bytes_.size()) {
      return std::optional<Found>{};
    }
    if (!is_sound(bytes_)) return std::optional<Found>{};
    return std::optional{Found{*header, offset}};
  }
  const Bytes& bytes() const { return bytes_; }
  /// The first place from `offset` on where a batch may begin; the end when there is none. Reads
  /// in large pieces: a segment's unused rest is looked at on every start.
  Result<std::uint64_t> next_candidate(std::uint64_t offset) {
    while (offset + batch_header_bytes <= size_) {
      if (offset < window_at_ || offset + 8 > window_at_ + window_.size()) {
        window_at_ = offset;
        window_.resize(std::min<std::uint64_t>(window_bytes, size_ - offset));
        const auto got = file_.read_at(offset, window_);
        if (!got) return got.error();
        window_.resize(*got);
        if (window_.size() < 8) return size_;
      }
      const BytesView rest = BytesView{window_}.subspan(offset - window_at_);
      const std::size_t found = find_batch_start(rest);
      if (found < rest.size()) return offset + found;
      offset += rest.size() / 8 * 8;
    }
    return size_;
  }

 private:
  static constexpr std::size_t window_bytes = 1024 * 1024;

  File& file_;
  std::uint64_t size_;
  Bytes bytes_;
  Bytes window_;
  std::uint64_t window_at_ = 0;
};

/// A record whose unit's end has not come yet.
struct Held {
  RecordType type;
  Position position;
  Bytes payload;
};

/// Shows a checkpoint's batches in their order; each is sound.
/// Errors: `Error::damaged` when one is not, or is missing; the disk's.
template <class See>
Result<void> read_checkpoint(File& file, const CheckpointHeader& header, See see) {
  const std::uint64_t end = checkpoint_header_bytes + header.bytes;
  SegmentReader reader{file, end};
  std::uint64_t sequence = 0;
  for (std::uint64_t at = checkpoint_header_bytes; at < end; at += reader.bytes().size()) {
    const auto batch = reader.batch_at(at);
    if (!batch) return batch.error();
    if (!*batch || (*batch)->header.sequence != ++sequence ||
        (*batch)->header.epoch != header.epoch) {
      return Error::damaged;
    }
    see(reader.bytes());
  }
  return {};
}

void tell_damage(const Replay& replay, const std::string& file, std::uint64_t offset,
                 std::uint64_t bytes, std::string reason) {
  log::error("journal damage is set aside",
             {{"file", file}, {"offset", offset}, {"bytes", bytes}, {"reason", reason}});
  if (replay.on_damage) replay.on_damage({file, offset, bytes, std::move(reason)});
}

}  // namespace

/// The newest checkpoint that is sound, told to the owner: it is looked through before a word of it
/// is told. One that is not is damage; the one before it stands in, with a longer replay.
Result<std::optional<Mark>> Log::Inside::recover_checkpoint(const std::vector<std::string>& names,
                                                            const Replay& replay) {
  std::vector<std::uint32_t> numbers;
  for (const std::string& name : names) {
    if (const auto number = checkpoint_number(name)) numbers.push_back(*number);
  }
  std::ranges::sort(numbers, std::greater{});
  std::optional<Mark> mark;
  for (const std::uint32_t number : numbers) {
    last_checkpoint = std::max(last_checkpoint, number);
    auto file = disk->open(checkpoint_name(number));
    if (!file) return file.error();
    Bytes head(checkpoint_header_bytes);
    if (auto got = (*file)->read_at(0, head); !got) return got.error();
    const auto header = decode_checkpoint_header(head);
    if (header && header->version > checkpoint_version) return Error::too_new;
    if (mark) {
      // An older one: kept while it is the last but one.
      if (header && kept.size() == 1) kept.push_front({number, header->epoch, header->mark});
      continue;
    }
    const auto nothing = [](const Bytes&) {};
    const auto sound =
        header ? read_checkpoint(**file, *header, nothing) : Result<void>{Error::damaged};
    if (!sound && sound.error() != Error::damaged) return sound.error();
    if (!sound) {
      const auto size = (*file)->size();
      tell_damage(replay, checkpoint_name(number), 0, size ? *size : 0, "checkpoint");
      damaged_checkpoints.push_back(checkpoint_name(number));
      continue;
    }
    const auto told = read_checkpoint(**file, *header, [&](const Bytes& batch) {
      std::size_t at = batch_header_bytes;
      while (const auto record = next_record(batch, at)) {
        replay.on_record(record->type, Position{}, record->payload);
      }
    });
    if (!told) return told.error();
    mark = header->mark;
    epoch = std::max(epoch, header->epoch);
    kept.push_front({number, header->epoch, header->mark});
  }
  return mark;
}

/// Reads all segments in order. A bad batch above the highest durable sequence that any later sound
/// batch of its epoch tells of is the torn tail: it was never announced, and all behind it is cut.
/// Below, it is damage: told, and what follows is kept. With a checkpoint it begins at its mark.
/// Source: docs/formats/journal.md, "Recovery".
Result<Log::Inside::Read> Log::Inside::read_all(const Replay& replay) {
  auto names = disk->list();
  if (!names) return names.error();
  std::vector<std::uint32_t> numbers;
  for (const std::string& name : *names) {
    if (const auto number = segment_number(name)) numbers.push_back(*number);
  }
  std::vector<FoundSegment> segments;
  // First a look at every header, so that a newer version is refused before anything is touched.
  for (const std::uint32_t number : numbers) {
    auto file = disk->open(segment_name(number));
    if (!file) return file.error();
    const auto size = (*file)->size();
    if (!size) return size.error();
    Bytes head(segment_header_bytes);
    if (auto got = (*file)->read_at(0, head); !got) return got.error();
    const auto header = decode_segment_header(head);
    if (header && header->version > format_version) return Error::too_new;
    if (header) {
      epoch = std::max(epoch, header->epoch);
      made_at[number] = header->made_at;
    }
    segments.push_back({number, std::move(*file), *size, header && header->number == number,
                        header && header->number != number});
  }

  const auto damaged = [&](std::uint32_t number, std::uint64_t from, std::uint64_t bytes,
                           std::string reason) {
    tell_damage(replay, segment_name(number), from, bytes, std::move(reason));
  };
  const auto mark = recover_checkpoint(*names, replay);
  if (!mark) return mark.error();
  // A segment that was being made from an old one may have kept that one's name, too.
  std::erase_if(segments, [&](const FoundSegment& one) {
    return *mark && one.number < segment_of((*mark)->position) && one.other_number;
  });
  std::uint64_t durable_told = 0;  // highest durable batch that a sound batch tells of
  std::uint64_t current_epoch = 0;
  std::vector<Held> unit;

  // Whether a sound batch behind this place says that batch `sequence` was durable.
  const auto told_behind =
      [&](std::size_t index, std::uint64_t from,
          std::uint64_t sequence) -> Result<std::optional<std::pair<std::size_t, Found>>> {
    std::optional<std::pair<std::size_t, Found>> next;
    bool is_told = durable_told >= sequence;
    for (std::size_t i = index; i < segments.size(); ++i) {
      SegmentReader reader{*segments[i].file, segments[i].size};
      std::uint64_t at = i == index ? padded(from) : segment_header_bytes;
      for (;;) {
        const auto candidate = reader.next_candidate(at);
        if (!candidate) return candidate.error();
        at = *candidate;
        if (at + batch_header_bytes > reader.size()) break;
        const auto batch = reader.batch_at(at);
        if (!batch) return batch.error();
        const bool counts = *batch && (*batch)->header.epoch >= current_epoch &&
                            (*batch)->header.sequence >= sequence;
        if (!counts) {
          at += 8;
          continue;
        }
        if (!next) next = std::pair{i, **batch};
        if ((*batch)->header.durable_upto >= sequence) is_told = true;
        if (is_told) return next;
        at += batch_header_bytes + (*batch)->header.bytes;
      }
    }
    return is_told ? next : std::nullopt;
  };

  bool is_cut = false;
  std::size_t index = 0;
  std::uint64_t at = segment_header_bytes;
  if (*mark) {
    last_batch = (*mark)->last_batch;
    last_unit = static_cast<std::uint64_t>((*mark)->last_unit);
    durable_told = last_batch;
    current_epoch = kept.back().epoch;
    const std::uint32_t first = segment_of((*mark)->position);
    while (index < segments.size() && segments[index].number < first) ++index;
    if (index < segments.size() && segments[index].number == first) {
      at = offset_of((*mark)->position);
    }
  }
  std::size_t end_index = index;
  std::uint64_t end_offset = at;
  while (index < segments.size() && !is_cut) {
    FoundSegment& one = segments[index];
    SegmentReader reader{*one.file, one.size};
    if (at == segment_header_bytes && !one.is_sound && one.size > 0) {
      const auto next = told_behind(index, at, last_batch + 1);
      if (!next) return next.error();
      if (*next) damaged(one.number, 0, segment_header_bytes, "segment header");
    }
    const auto batch = reader.batch_at(at);
    if (!batch) return batch.error();
    // The first batch of all may have any number: older segments may be gone.
    const bool is_first = last_batch == 0;
    const bool is_next = *batch && (*batch)->header.epoch >= current_epoch &&
                         (is_first || (*batch)->header.sequence == last_batch + 1);
    if (is_next) {
      if ((*batch)->header.version > format_version) return Error::too_new;
      const BatchHeader& header = (*batch)->header;
      if (header.epoch > current_epoch) unit.clear();  // the rest of that unit was never written
      current_epoch = header.epoch;
      epoch = std::max(epoch, current_epoch);
      durable_told = std::max(durable_told, header.durable_upto);
      std::size_t offset_in_batch = batch_header_bytes;
      std::uint64_t units = 0;
      // The rest of a unit whose beginning is lost is no unit.
      bool is_rest = header.goes_on && unit.empty();
      while (const auto record = next_record(reader.bytes(), offset_in_batch)) {
        if (is_rest) {
          is_rest = !record->is_last;
          if (record->is_last) ++units;
          continue;
        }
        const Position position = make_position(one.number, at + record->offset);
        unit.push_back({record->type, position, {record->payload.begin(), record->payload.end()}});
        if (!record->is_last) continue;
        for (const Held& held : unit) replay.on_record(held.type, held.position, held.payload);
        unit.clear();
        ++units;
      }
      last_batch = header.sequence;
      last_unit = std::max(last_unit, header.first_unit - 1 + units);
      appended_bytes += reader.bytes().size();
      at += batch_header_bytes + header.bytes;
      end_index = index;
      end_offset = at;
      continue;
    }
    // Nothing that follows on here: the segment's end, the log's end, or damage.
    const auto next = told_behind(index, at, last_batch + 1);
    if (!next) return next.error();
    if (!*next) {
      // Perhaps the log goes on in the next segment, whose first batch follows on directly.
      if (index + 1 < segments.size()) {
        SegmentReader following{*segments[index + 1].file, segments[index + 1].size};
        const auto first = following.batch_at(segment_header_bytes);
        if (!first) return first.error();
        if (*first && (*first)->header.epoch >= current_epoch &&
            (*first)->header.sequence == last_batch + 1) {
          ++index;
          at = segment_header_bytes;
          continue;
        }
      }
      is_cut = true;
      break;
    }
    const auto& [where, found] = **next;
    if (found.header.sequence > last_batch + 1) {
      damaged(
          one.number, at, where == index ? found.offset - at : one.size - at,
          fmt::format("batches {} to {} are missing", last_batch + 1, found.header.sequence - 1));
      unit.clear();
      last_batch = found.header.sequence - 1;
      last_unit = std::max(last_unit, found.header.first_unit - 1);
    }
    index = where;
    at = found.offset;
  }

  if (*mark && end_index >= segments.size()) {
    // All from the mark on is lost: what the checkpoint holds is what there is.
    damaged(segment_of((*mark)->position), 0, 0, "the segment of the checkpoint's mark is missing");
  }
  return Read{std::move(*names), std::move(segments), *mark, end_index, end_offset};
}

namespace {

/// Writes zeros over all behind a place, and syncs them. What was cut must not be whole again when
/// the next batch there is torn: half of that and half of what it was to replace may be the old
/// one.
Result<void> erase_behind(File& file, std::uint64_t from, std::uint64_t size) {
  constexpr std::uint64_t chunk_bytes = 1024 * 1024;
  Bytes chunk(static_cast<std::size_t>(std::min(chunk_bytes, size)));
  const Bytes zeros(chunk.size());
  bool is_erased = false;
  for (std::uint64_t at = from; at < size;) {
    const std::span<std::byte> part = std::span{chunk}.first(
        static_cast<std::size_t>(std::min<std::uint64_t>(chunk.size(), size - at)));
    const auto got = file.read_at(at, part);
    if (!got) return got.error();
    if (*got == 0) break;
    const BytesView blank = BytesView{zeros}.first(*got);
    if (!std::ranges::equal(part.first(*got), blank)) {
      if (auto wrote = file.write_at(at, {&blank, 1}); !wrote) return wrote;
      is_erased = true;
    }
    at += *got;
  }
  return is_erased ? file.sync_data() : Result<void>{};
}

}  // namespace

/// Reads all, and makes the folder one to go on in.
Result<void> Log::Inside::recover(const Replay& replay) {
  auto read = read_all(replay);
  if (!read) return read.error();
  auto& [names, segments, mark, end_index, end_offset] = *read;
  // Out of the way, for whoever wants to look at them.
  for (const std::string& name : damaged_checkpoints) {
    if (auto named = disk->rename(name, name + ".damaged"); !named) return named.error();
  }
  durable_unit = last_unit;
  told_unit = last_unit;
  written_unit = last_unit;
  last_durable_batch = last_batch;
  written_batch = last_batch;
  ++epoch;
  // Leftovers of what was being made, and checkpoints that are of no use any more.
  for (const std::string& name : names) {
    const auto number = checkpoint_number(name);
    const auto is_it = [&](const KeptCheckpoint& one) { return one.number == number; };
    const bool is_old = number && std::ranges::none_of(kept, is_it);
    if (name != spare_name && name != new_checkpoint_name && !is_old) continue;
    // One that was damaged has another name by now.
    if (auto removed = disk->remove(name); !removed && removed.error() != Error::not_found) {
      return removed;
    }
  }
  for (std::size_t i = 0; i < segments.size(); ++i) {
    FoundSegment& one = segments[i];
    if (i > end_index || !one.is_sound) {
      if (i > end_index) {
        // Prepared ahead, or behind the cut: made anew when the log comes there.
        one.file.reset();
        if (auto removed = disk->remove(segment_name(one.number)); !removed) return removed;
        continue;
      }
    }
    // It was read, perhaps from memory: from now on it counts as durable, so it must be.
    if (auto synced = one.file->sync_data(); !synced) return synced;
    files[one.number] = one.file;
  }
  if (mark && end_index >= segments.size()) {
    segment = segment_of(mark->position) + 1;
    offset = segment_header_bytes;
    auto made = make_segment(segment, Fill::zeros);
    if (!made) return made.error();
    files[segment] = std::move(*made);
  } else if (!segments.empty()) {
    segment = segments[end_index].number;
    offset = end_offset;
    if (auto synced = disk->sync_folder(); !synced) return synced;
    // A segment that is shorter than it should be (cut off, or of another size) takes nothing more.
    if (segments[end_index].size < options.segment_bytes || !segments[end_index].is_sound) {
      auto made = make_segment(segment + 1, Fill::zeros);
      if (!made) return made.error();
      ++segment;
      offset = segment_header_bytes;
      files[segment] = std::move(*made);
    } else if (auto erased = erase_behind(*files[segment], offset, options.segment_bytes);
               !erased) {
      return erased;
    }
  }
  return {};
}

Result<Mark> Log::look(std::unique_ptr<Disk> disk, const Replay& replay) {
  Inside inside{std::move(disk), {}};
  const auto read = inside.read_all(replay);
  if (!read) return read.error();
  const std::size_t last = std::min(read->end_index, read->segments.size());
  const std::uint32_t segment = last < read->segments.size() ? read->segments[last].number : 0;
  return Mark{make_position(segment, read->end_offset), inside.last_batch,
              Sequence{inside.last_unit}};
}

namespace {

/// Shows a file's batches, the records' payloads in place.
Result<void> inspect_batches(File& file, std::uint32_t segment, const FileView& view,
                             std::uint64_t from, const Inspector& to) {
  SegmentReader reader{file, view.bytes};
  std::uint64_t last_sequence = 0;
  for (std::uint64_t at = from;;) {
    const auto candidate = reader.next_candidate(at);
    if (!candidate) return candidate.error();
    at = *candidate;
    if (at + batch_header_bytes > reader.size()) return {};
    const auto batch = reader.batch_at(at);
    if (!batch) return batch.error();
    if (!*batch) {
      at += 8;
      continue;
    }
    const BatchHeader& header = (*batch)->header;
    BatchView shown{.offset = at,
                    .bytes = batch_header_bytes + header.bytes,
                    .version = header.version,
                    .epoch = header.epoch,
                    .sequence = header.sequence,
                    .first_unit = header.first_unit,
                    .durable_upto = header.durable_upto,
                    .is_stale = header.epoch < view.epoch || header.sequence <= last_sequence,
                    .records = {}};
    std::size_t in_batch = batch_header_bytes;
    while (const auto record = next_record(reader.bytes(), in_batch)) {
      shown.records.push_back({.type = record->type,
                               .position = make_position(segment, at + record->offset),
                               .is_last_of_unit = record->is_last,
                               .payload = record->payload});
    }
    if (!to.on_batch(shown)) return {};
    if (!shown.is_stale) last_sequence = header.sequence;
    at += shown.bytes;
  }
}

}  // namespace

Result<Bytes> read_record(File& file, std::uint64_t offset) {
  Bytes header(record_header_bytes);
  auto got = file.read_at(offset, header);
  if (!got) return got.error();
  if (*got < header.size()) return Error::damaged;
  const auto bytes = load<std::uint32_t>(header, 0);
  const auto checksum = load<std::uint32_t>(header, 8);
  // A type of 0 is no record's: nothing was written there.
  const auto type = load<std::uint8_t>(header, 4);
  if (type == 0 || bytes > segment_bytes_max) return Error::damaged;
  Bytes payload(bytes);
  got = file.read_at(offset + record_header_bytes, payload);
  if (!got) return got.error();
  if (*got < bytes || crc32c(payload) != checksum) return Error::damaged;
  return payload;
}

Result<Bytes> read_record(Disk& disk, Position position) {
  const auto file = disk.open(segment_name(segment_of(position)));
  if (!file) return file.error();
  return read_record(**file, offset_of(position));
}

Result<void> inspect(Disk& disk, const Inspector& to) {
  const auto names = disk.list();
  if (!names) return names.error();
  for (const std::string& name : *names) {
    const auto segment = segment_number(name);
    const auto checkpoint = checkpoint_number(name);
    auto file = disk.open(name);
    if (!file) {
      // A folder, as lost+found, or a file that went meanwhile.
      if ((!segment && !checkpoint) || file.error() == Error::not_found) continue;
      return file.error();
    }
    const auto size = (*file)->size();
    if (!size) return size.error();
    FileView view{.name = name, .bytes = *size};
    Bytes head(std::max(segment_header_bytes, checkpoint_header_bytes));
    if (auto got = (*file)->read_at(0, head); !got) return got.error();
    std::uint64_t from = 0;
    if (segment) {
      view.kind = FileView::Kind::segment;
      from = segment_header_bytes;
      if (const auto header = decode_segment_header(head)) {
        view.is_sound = header->number == *segment;
        view.version = header->version;
        view.epoch = header->epoch;
        view.made_at = WallTime{milliseconds{header->made_at}};
      }
    } else if (checkpoint) {
      view.kind = FileView::Kind::checkpoint;
      from = checkpoint_header_bytes;
      if (const auto header = decode_checkpoint_header(head)) {
        view.is_sound = true;
        view.version = header->version;
        view.epoch = header->epoch;
        view.mark = header->mark;
      }
    }
    const bool is_wanted = to.on_file(view);
    if (from == 0 || !is_wanted) continue;
    if (auto shown = inspect_batches(**file, segment.value_or(0), view, from, to); !shown) {
      return shown;
    }
  }
  return {};
}

}  // namespace pronto::journal
