#include "journal_command.hpp"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <cstdio>
#include <map>

#include "data_folder.hpp"
#include "pronto/broker/records.hpp"
#include "pronto/journal/inspect.hpp"

namespace pronto {
namespace {

namespace json = boost::json;
using journal::BatchView;
using journal::FileView;
using journal::RecordInfo;

struct JournalConfig {
  std::string data = "data";
  std::string file;
  bool records = false;
  bool stale = false;
  OutputForm output = OutputForm::table;
};

std::string place_of(journal::Position position) {
  const auto number = static_cast<std::uint64_t>(position);
  return fmt::format("{}:{}", number >> 32U, number & 0xFFFF'FFFFU);
}

std::string name_of(broker::RecordType type) {
  switch (type) {
    case broker::RecordType::body:
      return "body";
    case broker::RecordType::enqueue:
      return "enqueue";
    case broker::RecordType::remove:
      return "remove";
    case broker::RecordType::delivery_count:
      return "delivery count";
    case broker::RecordType::queue_declared:
      return "queue declared";
    case broker::RecordType::queue_deleted:
      return "queue deleted";
    case broker::RecordType::queue_purged:
      return "queue purged";
    case broker::RecordType::exchange_declared:
      return "exchange declared";
    case broker::RecordType::exchange_deleted:
      return "exchange deleted";
    case broker::RecordType::bound:
      return "bound";
    case broker::RecordType::unbound:
      return "unbound";
    case broker::RecordType::broker_state:
      return "broker state";
    case broker::RecordType::queue_state:
      return "queue state";
    case broker::RecordType::queue_page:
      return "queue page";
    case broker::RecordType::delayed_exchange:
      return "delayed exchange";
    case broker::RecordType::deduplication:
      return "deduplication";
    case broker::RecordType::moved:
      return "moved";
    case broker::RecordType::index_page:
      return "index page";
    case broker::RecordType::written_page:
      return "written page";
    case broker::RecordType::remove_runs:
      return "remove runs";
  }
  return fmt::format("type {}", static_cast<int>(type));
}

std::string queue_text(broker::QueueId queue) {
  return fmt::format("queue {}", static_cast<std::uint64_t>(queue));
}

/// What a record says, in words.
struct Words {
  std::string operator()(const broker::BodyRecord& one) const {
    return fmt::format("exchange '{}' routing key '{}' {}", one.content->exchange,
                       one.content->routing_key, bytes_text(one.content->body.size()));
  }
  std::string operator()(const broker::EnqueueRecord& one) const {
    return fmt::format("{} sequence {} priority {} {}{}", queue_text(one.queue), one.sequence,
                       one.priority, bytes_text(one.body_bytes), expiry(one.expires_at));
  }
  std::string operator()(const broker::RemoveRecord& one) const {
    return fmt::format("{} sequences {} to {}", queue_text(one.queue), one.first, one.last);
  }
  std::string operator()(const broker::DeliveryCountRecord& one) const {
    return fmt::format("{} sequence {} count {}", queue_text(one.queue), one.sequence, one.count);
  }
  std::string operator()(const broker::QueueDeclaredRecord& one) const {
    return fmt::format("{} '{}' in vhost '{}'", queue_text(one.queue), one.name, one.virtual_host);
  }
  std::string operator()(const broker::QueueDeletedRecord& one) const {
    return queue_text(one.queue);
  }
  std::string operator()(const broker::QueuePurgedRecord& one) const {
    return fmt::format("{} below sequence {}, {} kept", queue_text(one.queue), one.below,
                       one.kept.size());
  }
  std::string operator()(const broker::ExchangeDeclaredRecord& one) const {
    return fmt::format("'{}' of type {} in vhost '{}'", one.name, one.type, one.virtual_host);
  }
  std::string operator()(const broker::ExchangeDeletedRecord& one) const {
    return fmt::format("'{}' in vhost '{}'", one.name, one.virtual_host);
  }
  std::string operator()(const broker::BoundRecord& one) const {
    return fmt::format("{} '{}' to exchange '{}' with key '{}' in vhost '{}'",
                       one.to_queue ? "queue" : "exchange", one.destination, one.source,
                       one.routing_key, one.virtual_host);
  }
  std::string operator()(const broker::UnboundRecord& one) const { return (*this)(one.binding); }
  std::string operator()(const broker::BrokerStateRecord& one) const {
    return fmt::format("last queue {}", one.last_queue_id);
  }
  std::string operator()(const broker::QueueStateRecord& one) const {
    return fmt::format("{} last sequence {}", queue_text(one.queue), one.last_sequence);
  }
  std::string operator()(const broker::QueuePageRecord& one) const {
    if (one.entries.empty()) return queue_text(one.queue) + " empty";
    return fmt::format("{} priority {}: {} entries, sequences {} to {}", queue_text(one.queue),
                       one.priority, one.entries.size(), one.entries.front().sequence,
                       one.entries.back().sequence);
  }
  std::string operator()(const broker::DelayedExchangeRecord& one) const {
    return fmt::format("exchange '{}' in vhost '{}' delays in {}", one.exchange, one.virtual_host,
                       queue_text(one.queue));
  }
  std::string operator()(const broker::DeduplicationRecord& one) const {
    return fmt::format(
        "{} knows '{}'{}",
        one.exchange.empty() ? queue_text(one.queue) : fmt::format("exchange '{}'", one.exchange),
        one.id, expiry(one.expires_at));
  }
  std::string operator()(const broker::MovedRecord& one) const {
    return fmt::format("{} sequence {}", queue_text(one.queue), one.sequence);
  }

  std::string operator()(const broker::IndexPageRecord& one) const { return (*this)(one.page); }
  std::string operator()(const broker::WrittenPage& one) const {
    const auto at = static_cast<std::uint64_t>(one.image.position);
    return fmt::format("{} priority {}: {} entries, sequences {} to {}, at {} in segment {}",
                       queue_text(one.queue), one.priority, one.count, one.first_sequence,
                       one.last_sequence, at & 0xFFFF'FFFF, at >> 32U);
  }

  std::string operator()(const broker::RemoveRunsRecord& one) const {
    std::string text;
    for (const broker::RemoveRecord& run : one.runs) {
      if (!text.empty()) text += ", ";
      text += (*this)(run);
    }
    return text;
  }

  static std::string expiry(std::int64_t at) {
    return at == 0 ? "" : " until " + to_rfc3339(WallTime{milliseconds{at}});
  }
};

std::string words_of(const RecordInfo& record) {
  const auto type = static_cast<broker::RecordType>(record.type);
  const auto decoded = broker::decode_record(type, record.payload);
  return decoded ? std::visit(Words{}, *decoded) : std::string{"makes no sense"};
}

/// Text from clients, made safe for a terminal.
std::string printable(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  }
  return text;
}

/// Shows files as they come, each behind what lies in it.
class Shown {
 public:
  explicit Shown(const JournalConfig& config) : config_{config} {}

  bool on_file(const FileView& file) {
    finish_file();
    if (!config_.file.empty() && file.name != config_.file) return false;
    file_ = file;
    is_file_ = true;
    return file.kind != FileView::Kind::other;
  }

  bool on_batch(const BatchView& batch) {
    if (batch.is_stale) {
      ++stale_;
      if (!config_.stale) return true;
    } else {
      ++batches_;
      if (batches_ == 1) first_ = batch.sequence;
      last_ = batch.sequence;
      end_ = batch.offset + batch.bytes;
    }
    for (const RecordInfo& record : batch.records) {
      if (!batch.is_stale) ++records_[name_of(static_cast<broker::RecordType>(record.type))];
      if (config_.records) show(batch, record);
    }
    return true;
  }

  /// What is left to say. Returns: whether a file was shown.
  bool finish() {
    finish_file();
    if (config_.output == OutputForm::json) fmt::print("{}\n", json::serialize(all_));
    return any_;
  }

 private:
  void show(const BatchView& batch, const RecordInfo& record) {
    const std::string type = name_of(static_cast<broker::RecordType>(record.type));
    const std::string place = place_of(record.position);
    if (config_.output == OutputForm::table) {
      fmt::print("  {:<16} batch {:<8} {:<18} {}{}{}\n", place, batch.sequence, type,
                 printable(words_of(record)), record.is_last_of_unit ? " ." : "",
                 batch.is_stale ? " (stale)" : "");
      return;
    }
    tell({{"file", file_.name},
          {"position", place},
          {"batch", batch.sequence},
          {"epoch", batch.epoch},
          {"stale", batch.is_stale},
          {"type", type},
          {"payload_bytes", record.payload.size()},
          {"ends_unit", record.is_last_of_unit},
          {"text", printable(words_of(record))}});
  }

  void tell(json::object one) {
    if (config_.output == OutputForm::json) {
      all_.push_back(std::move(one));
    } else {
      fmt::print("{}\n", json::serialize(one));
    }
  }

  static std::string kind_of(const FileView& file) {
    switch (file.kind) {
      case FileView::Kind::segment:
        return "segment";
      case FileView::Kind::checkpoint:
        return "checkpoint";
      case FileView::Kind::other:
        break;
    }
    return "other";
  }

  void finish_file() {
    if (!is_file_) return;
    any_ = true;
    std::string counts;
    json::object by_type;
    for (const auto& [type, count] : records_) {
      counts += fmt::format("{}{} {}", counts.empty() ? "" : ", ", count_text(count), type);
      by_type[type] = count;
    }
    if (config_.output == OutputForm::table) {
      std::string text =
          fmt::format("{:<24} {:<10} {:>10}", file_.name, kind_of(file_), bytes_text(file_.bytes));
      if (file_.kind != FileView::Kind::other) {
        text += file_.is_sound ? fmt::format("  version {}, epoch {}", file_.version, file_.epoch)
                               : std::string{"  its header is damaged"};
        if (file_.made_at != WallTime{}) text += ", made " + to_rfc3339(file_.made_at);
        if (file_.kind == FileView::Kind::checkpoint) {
          text += ", of the log up to " + place_of(file_.mark.position);
        }
        text += batches_ > 0 ? fmt::format("\n{:<24} batches {} to {}, {} used: {}", "", first_,
                                           last_, bytes_text(end_), counts)
                             : fmt::format("\n{:<24} no batch", "");
        if (stale_ > 0) text += fmt::format("; {} stale batches", count_text(stale_));
      }
      fmt::print("{}\n", text);
    } else if (!config_.records) {
      json::object one{{"file", file_.name}, {"kind", kind_of(file_)}, {"bytes", file_.bytes}};
      if (file_.kind != FileView::Kind::other) {
        one["sound_header"] = file_.is_sound;
        one["version"] = file_.version;
        one["epoch"] = file_.epoch;
        if (file_.made_at != WallTime{}) one["made_at"] = to_rfc3339(file_.made_at);
        one["batches"] = batches_;
        one["stale_batches"] = stale_;
        one["used_bytes"] = end_;
        one["records"] = std::move(by_type);
      }
      tell(std::move(one));
    }
    is_file_ = false;
    batches_ = stale_ = first_ = last_ = end_ = 0;
    records_.clear();
  }

  const JournalConfig& config_;
  bool is_file_ = false;
  bool any_ = false;
  FileView file_;
  std::uint64_t batches_ = 0;
  std::uint64_t stale_ = 0;
  std::uint64_t first_ = 0;
  std::uint64_t last_ = 0;
  std::uint64_t end_ = 0;
  std::map<std::string, std::uint64_t> records_;
  json::array all_;
};

}  // namespace

int run_journal(const Program& program, std::span<const char* const> arguments) {
  if (arguments.empty() || std::string_view{arguments.front()} != "inspect") {
    throw StartError{"pronto journal has one verb: pronto journal inspect"};
  }
  JournalConfig config;
  Settings settings{program, "journal inspect",
                    "Shows what a data folder holds, file by file, and touches nothing."};
  settings.add_text("data", "DIR", config.data, "The data folder.");
  settings.add_text("file", "NAME", config.file, "Only this file of it: 00000001.log.");
  settings.add_switch("records", config.records,
                      "Each record, with its place and what it says; a dot ends a unit.");
  settings.add_switch("stale", config.stale,
                      "Also what a segment still has of its former life, which nobody reads.");
  settings.add_output(config.output);
  if (settings.read(arguments.subspan(1), Settings::environment_of_process()) ==
      Settings::Outcome::shown) {
    return 0;
  }
  const auto disk = open_folder_to_look(config.data);
  Shown shown{config};
  const auto seen = journal::inspect(
      *disk, {.on_file = [&shown](const FileView& file) { return shown.on_file(file); },
              .on_batch = [&shown](const BatchView& batch) { return shown.on_batch(batch); }});
  const bool any = shown.finish();
  if (!seen) {
    fmt::print(stderr, "pronto: {} cannot be read: {}\n", config.data, seen.error().message());
    return 1;
  }
  if (!any) {
    fmt::print(stderr, "pronto: there is no {} in {}\n",
               config.file.empty() ? std::string{"file"} : config.file, config.data);
    return 1;
  }
  return 0;
}

}  // namespace pronto
