#include "doctor_command.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cstdio>
#include <filesystem>
#include <map>

#include "data_folder.hpp"
#include "pronto/async/system_loop.hpp"
#include "pronto/base/log.hpp"
#include "pronto/base/random.hpp"
#include "pronto/broker/broker.hpp"
#include "pronto/journal/inspect.hpp"
#include "pronto/journal/log.hpp"

namespace pronto {
namespace {

namespace json = boost::json;

struct DoctorConfig {
  std::string data = "data";
  Endpoint amqp{*IpAddress::parse("127.0.0.1"), 5672};
  Endpoint management{*IpAddress::parse("127.0.0.1"), 15672};
  OutputForm output = OutputForm::table;
};

enum class Status { ok, warning, damage };

std::string_view name_of(Status status) {
  switch (status) {
    case Status::ok:
      return "ok";
    case Status::warning:
      return "warning";
    case Status::damage:
      return "damage";
  }
  return "";
}

struct Finding {
  Status status = Status::ok;
  std::string what;
  std::string text;
  std::string advice;  ///< what to do; empty: nothing
};

/// What an engine that only replays says to its outside: nothing.
class Nobody final : public broker::Effects {
 public:
  explicit Nobody(std::string folder) : folder_{std::move(folder)} {}

  void send(broker::ConnectionId, broker::ChannelId, const wire::Method&) override {}
  void deliver(const broker::Deliver&) override {}
  void get_ok(const broker::GetOk&) override {}
  void return_message(broker::ConnectionId, broker::ChannelId, wire::ReplyCode, std::string_view,
                      const broker::ContentPtr&) override {}
  void confirm(broker::ConnectionId, broker::ChannelId, std::uint64_t, bool, bool) override {}
  void close_channel(broker::ConnectionId, broker::ChannelId, const wire::Fault&) override {}
  void close_connection(broker::ConnectionId, const wire::Fault&) override {}
  bool is_at_hand(const broker::BodyRef&) const override { return false; }
  bool has_room() const override { return false; }
  broker::Appended append(std::span<const broker::Record>, broker::Awaited) override { return {}; }
  broker::BodyRef keep(const broker::ContentPtr&, std::uint32_t) override { return {}; }
  void release(const broker::BodyRef&) override {}
  void fetch(const broker::BodyRef&, broker::FetchTicket) override {}
  void cache(const broker::BodyRef&, const broker::ContentPtr&) override {}
  std::optional<broker::PageRef> write_page(broker::QueuePageRecord) override { return {}; }
  void fetch_page(const broker::PageRef&, broker::FetchTicket) override {}
  Result<broker::QueuePageRecord> read_page(const broker::PageRef& page) override {
    if (!disk_) disk_ = open_folder_to_look(folder_);
    const journal::Position at{static_cast<std::uint64_t>(page.position)};
    const auto payload = journal::read_record(*disk_, at);
    if (!payload) return payload.error();
    auto record = broker::decode_record(broker::RecordType::index_page, *payload);
    if (!record) return record.error();
    return std::move(std::get<broker::IndexPageRecord>(*record).page);
  }
  void release_page(const broker::PageRef&, bool) override {}

 private:
  std::string folder_;
  std::unique_ptr<journal::Disk> disk_;
};

class Doctor {
 public:
  explicit Doctor(const DoctorConfig& config) : config_{config} {}

  std::vector<Finding> look() {
    const auto disk = open_folder_to_look(config_.data);
    look_at_holder(*disk);
    look_at_file_system(*disk);
    look_at_sync();
    look_at_files_limit();
    look_at_clock();
    look_at_ports();
    look_at_files(*disk);
    return std::move(findings_);
  }

 private:
  void say(Status status, std::string what, std::string text, std::string advice = {}) {
    findings_.push_back({status, std::move(what), std::move(text), std::move(advice)});
  }

  void look_at_holder(journal::Disk& disk) {
    const std::string path = std::filesystem::absolute(config_.data).lexically_normal().string();
    const auto locked = disk.lock();
    is_in_use_ = !locked && locked.error() == Error::locked;
    say(Status::ok, "folder",
        is_in_use_ ? fmt::format("{}, in use by {}: seen as it is while it changes", path,
                                 disk.lock_holder())
                   : fmt::format("{}, in use by nobody", path));
  }

  void look_at_file_system(journal::Disk& disk) {
    struct statfs about{};
    if (::statfs(config_.data.c_str(), &about) != 0) return;
    constexpr long tmpfs = 0x01021994;
    constexpr long nfs = 0x6969;
    const auto free = disk.free_bytes();
    const std::string text = fmt::format("{} free", bytes_text(free ? *free : 0));
    if (about.f_type == tmpfs) {
      return say(Status::warning, "file system", "in memory (tmpfs): a power cut takes all of it",
                 "choose a folder on a disk with --data");
    }
    if (about.f_type == nfs) {
      return say(Status::warning, "file system", "over the network (NFS), " + text,
                 "a confirm is worth what the server's disk is; a local disk is faster and sure");
    }
    constexpr std::uint64_t enough = 1024ULL * 1024 * 1024;
    if (free && *free < enough) {
      return say(Status::warning, "file system", text,
                 "make room: publishers are blocked when less than 64 MiB and a segment are left");
    }
    say(Status::ok, "file system", text);
  }

  /// How long this disk takes to have four KiB on it for sure, as a confirm waits for it.
  void look_at_sync() {
    constexpr std::size_t write_bytes = 4096;
    constexpr int syncs = 20;
    const std::string path = config_.data + "/doctor.tmp";
    const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0) {
      return say(Status::warning, "sync", "the folder cannot be written to",
                 "run this as the user that the broker runs as");
    }
    const std::string block(write_bytes, 'x');
    std::vector<double> took;
    bool has_failed = false;
    for (int i = 0; i < syncs + 1 && !has_failed; ++i) {
      const auto start = std::chrono::steady_clock::now();
      has_failed = ::pwrite(file, block.data(), block.size(), (i % 8) * off_t{4096}) !=
                       static_cast<ssize_t>(block.size()) ||
                   ::fdatasync(file) != 0;
      const std::chrono::duration<double, std::milli> time =
          std::chrono::steady_clock::now() - start;
      if (i > 0) took.push_back(time.count());  // the first makes the blocks
    }
    ::close(file);
    ::unlink(path.c_str());
    if (has_failed) {
      return say(Status::damage, "sync",
                 "a write or a sync failed: " + last_system_error().message(),
                 "look at the disk and its kernel messages");
    }
    std::ranges::sort(took);
    const double median = took[took.size() / 2];
    const std::string text =
        fmt::format("4 KiB are on the disk after {:.2f} ms (median of {}), {:.2f} ms at worst",
                    median, syncs, took.back());
    constexpr double slow_ms = 20;
    constexpr double fast_ms = 0.005;
    if (median > slow_ms) {
      return say(Status::warning, "sync", text,
                 "publishers that wait for each confirm are that slow; send more at once, or take "
                 "a disk with a cache that a power cut leaves");
    }
    if (median < fast_ms) {
      return say(Status::warning, "sync", text,
                 "no disk is that fast: something in between does not sync, and may lose what was "
                 "confirmed");
    }
    say(Status::ok, "sync", text);
  }

  void look_at_files_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    constexpr rlim_t enough = 10'000;
    const std::string text =
        fmt::format("{} open files at most, each connection is one", count_text(limit.rlim_max));
    if (limit.rlim_max < enough) {
      return say(Status::warning, "files", text,
                 "raise it where the broker is started: LimitNOFILE=1048576 in a systemd unit");
    }
    say(Status::ok, "files", text);
  }

  void look_at_clock() {
    const std::int64_t now = millis_of(loop_.wall_now());
    constexpr std::int64_t of_this_program = 1'750'000'000'000;  // the middle of 2025
    const std::string text = to_rfc3339(loop_.wall_now());
    if (now < of_this_program) {
      return say(Status::warning, "clock", text + ", before this program was written",
                 "set the clock: times to live and delays go by it");
    }
    say(Status::ok, "clock", text);
  }

  void look_at_ports() {
    for (const auto& [name, at] :
         {std::pair{"amqp", config_.amqp}, std::pair{"management", config_.management}}) {
      const auto acceptor = loop_.network().listen(at);
      const std::string text = at.to_string();
      if (acceptor) {
        say(Status::ok, name, text + " is free");
      } else if (acceptor.error() == std::errc::address_in_use && is_in_use_) {
        say(Status::ok, name, text + " is in use, as it should be while the broker runs");
      } else {
        say(Status::warning, name, fmt::format("{}: {}", text, acceptor.error().message()),
            fmt::format("choose another with --{}", name));
      }
    }
  }

  void look_at_files(journal::Disk& disk) {
    const bool replayed = replay();
    std::map<std::uint64_t, std::size_t> missing;  // bodies that messages need, and of which queue
    std::vector<broker::QueueView> queues;
    std::uint64_t messages = 0;
    if (replayed) {
      queues = engine_.queues();
      for (std::size_t i = 0; i < queues.size(); ++i) {
        const std::uint64_t seen = note_bodies(queues[i], i, missing);
        messages += queues[i].ready_count;
        if (seen >= queues[i].ready_count) continue;
        say(Status::damage, fmt::format("queue '{}'", queues[i].name),
            fmt::format("the places of {} messages cannot be read",
                        count_text(queues[i].ready_count - seen)),
            "they are set aside when their turn comes, the others go on; a purge removes them");
      }
    }
    std::size_t segments = 0;
    std::uint64_t bytes = 0;
    std::size_t checkpoints = 0;
    std::vector<std::string> set_aside;
    const auto seen = journal::inspect(
        disk, {.on_file =
                   [&](const journal::FileView& file) {
                     bytes += file.bytes;
                     if (file.kind == journal::FileView::Kind::segment) ++segments;
                     if (file.kind == journal::FileView::Kind::checkpoint) ++checkpoints;
                     if (file.name.ends_with(".damaged")) set_aside.push_back(file.name);
                     return file.kind == journal::FileView::Kind::segment && !missing.empty();
                   },
               .on_batch =
                   [&](const journal::BatchView& batch) {
                     for (const journal::RecordInfo& record : batch.records) {
                       missing.erase(static_cast<std::uint64_t>(record.position));
                     }
                     return true;
                   }});
    if (!seen) {
      return say(Status::damage, "journal", "cannot be read: " + seen.error().message(),
                 "look at the disk and its kernel messages");
    }
    say(Status::ok, "journal",
        fmt::format("{} segments and {} checkpoints, {}", segments, checkpoints,
                    bytes_text(bytes)));
    for (const std::string& name : set_aside) {
      say(Status::warning, name, "a checkpoint that was found damaged and is not used",
          "delete it when you have looked at it");
    }
    if (!replayed) return;
    const std::string what =
        fmt::format("{} messages in {} queues, {} delayed", count_text(messages),
                    count_text(queues.size()), count_text(engine_.delayed_count()));
    if (missing.empty()) return say(Status::ok, "messages", what + "; every body is sound");
    std::map<std::size_t, std::uint64_t> by_queue;
    for (const auto& [position, queue] : missing) ++by_queue[queue];
    say(Status::ok, "messages", what);
    for (const auto& [queue, count] : by_queue) {
      say(Status::damage, fmt::format("queue '{}'", queues[queue].name),
          fmt::format("{} messages have bodies that cannot be read", count_text(count)),
          "they are set aside when their turn comes, the others go on; a purge removes them");
    }
  }

  /// As a start would, without touching anything. Returns: whether it came to its end.
  bool replay() {
    std::uint64_t records = 0;
    std::uint64_t senseless = 0;
    const auto end = journal::Log::look(
        open_folder_to_look(config_.data),
        {.on_record =
             [&](journal::RecordType type, journal::Position position, BytesView payload) {
               ++records;
               const auto taken = engine_.on_record(
                   broker::RecordType{static_cast<std::uint8_t>(type)},
                   broker::BodyPosition{static_cast<std::uint64_t>(position)}, payload);
               if (!taken) ++senseless;
             },
         .on_damage =
             [&](const journal::Damage& damage) {
               say(Status::damage, damage.file,
                   fmt::format("at {}, {}: {}", count_text(damage.offset), bytes_text(damage.bytes),
                               damage.reason),
                   "what it held is lost, what follows is kept; a start goes on without it");
             }});
    if (!end) {
      say(Status::damage, "replay",
          end.error() == Error::too_new ? "the folder was written by a newer version of Pronto"
                                        : "cannot be read: " + end.error().message(),
          end.error() == Error::too_new ? "use that version" : "look at the disk");
      return false;
    }
    engine_.finish_recovery(loop_.wall_now());
    say(Status::ok, "replay", fmt::format("a start reads {} records", count_text(records)));
    if (senseless > 0) {
      say(Status::damage, "records",
          fmt::format("{} records contradict what came before", count_text(senseless)),
          "they are passed over; pronto journal inspect --records shows all");
    }
    return true;
  }

  /// Notes where the bodies of a queue have to be. Returns: how many messages it has.
  std::uint64_t note_bodies(const broker::QueueView& queue, std::size_t index,
                            std::map<std::uint64_t, std::size_t>& bodies) const {
    constexpr std::size_t part = 100'000;
    std::uint64_t count = 0;
    for (std::uint64_t from = 0;;) {
      const auto seen = engine_.peek(queue.virtual_host, queue.name, from, part);
      for (const auto& one : seen)
        bodies.emplace(static_cast<std::uint64_t>(one.body.position), index);
      count += seen.size();
      if (seen.size() < part) return count;
      from = seen.back().sequence + 1;
    }
  }

  const DoctorConfig& config_;
  SystemLoop loop_;
  bool is_in_use_ = false;
  std::vector<Finding> findings_;
  Nobody nobody_{config_.data};
  SeededRandom random_{1};
  broker::Broker engine_{nobody_, random_};
};

void show(const std::vector<Finding>& findings, OutputForm form) {
  json::array all;
  for (const Finding& finding : findings) {
    if (form == OutputForm::table) {
      fmt::print("{:<8} {:<12} {}\n", name_of(finding.status), finding.what, finding.text);
      if (!finding.advice.empty()) fmt::print("{:<21} -> {}\n", "", finding.advice);
      continue;
    }
    json::object one{
        {"status", name_of(finding.status)}, {"what", finding.what}, {"text", finding.text}};
    if (!finding.advice.empty()) one["advice"] = finding.advice;
    if (form == OutputForm::jsonl) fmt::print("{}\n", json::serialize(one));
    all.push_back(std::move(one));
  }
  if (form == OutputForm::json) fmt::print("{}\n", json::serialize(all));
}

}  // namespace

int run_doctor(const Program& program, std::span<const char* const> arguments) {
  DoctorConfig config;
  Settings settings{
      program, "doctor",
      "Looks at a data folder and the machine under it, and says what to do. One small "
      "file is written, to time the disk, and removed."};
  settings.add_text("data", "DIR", config.data, "The data folder.");
  settings.add_endpoint("amqp", config.amqp, "Where the broker is to listen.");
  settings.add_endpoint("management", config.management, "Where its management is to.");
  settings.add_output(config.output);
  if (settings.read(arguments, Settings::environment_of_process()) == Settings::Outcome::shown) {
    return 0;
  }
  log::set_level(log::Level::off);  // what is wrong is among the findings
  const std::vector<Finding> findings = Doctor{config}.look();
  show(findings, config.output);
  const bool all_well = std::ranges::all_of(
      findings, [](const Finding& finding) { return finding.status == Status::ok; });
  return all_well ? 0 : 1;
}

}  // namespace pronto
