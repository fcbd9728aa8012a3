#include "pronto/server/broker_host.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "host_inside.hpp"
#include "memory_limit.hpp"
#include "pronto/async/deadline.hpp"
#include "pronto/base/log.hpp"

namespace pronto::server {
namespace {

/// What the journal could not take is refused before it comes to that: a unit that it does not
/// take ends it.
HostOptions fitted(HostOptions options) {
  const std::uint64_t segment_bytes = options.journal.segment_bytes;
  auto& unit_bytes_max = options.limits.unit_bytes_max;
  unit_bytes_max = std::min<std::uint64_t>(unit_bytes_max, segment_bytes / 2);
  auto& message_bytes_max = options.session.message_bytes_max;
  message_bytes_max = std::min(message_bytes_max, segment_bytes / 8 * 3);
  constexpr std::uint64_t bytes_of_two_entries_max = 128;  // of a page's, as it is written
  auto& page_entries_max = options.limits.page_entries_max;
  page_entries_max =
      std::min<std::uint64_t>(page_entries_max, segment_bytes / bytes_of_two_entries_max);
  return options;
}

}  // namespace

BrokerHost::Inside::Inside(Loop& on, const Users& users, HostOptions chosen)
    : loop{on},
      options{fitted(std::move(chosen))},
      users_{users},
      store_{options.cache_bytes_max},
      engine_{*this, loop.random(), options.limits, *options.permissions},
      alive_{std::make_shared<Alive>(this)},
      started_{loop.wall_now()},
      started_steady_{loop.now()},
      tasks_{loop, "broker connections"} {
  if (options.memory_bytes_max == 0) {
    options.memory_bytes_max = available_memory_bytes() / 10 * 4;
  }
}

BrokerHost::Inside::~Inside() {
  alive_->host = nullptr;
}

Result<void> BrokerHost::Inside::open(std::unique_ptr<journal::Disk> disk) {
  const std::string folder = disk->path();
  journal::Options journal_options = options.journal;
  journal_options.clock = [this] { return loop.wall_now(); };
  // Both come from the log's thread: the loop is told once, however often they come.
  journal_options.on_durable = [this, alive = alive_](journal::Sequence) {
    if (is_durable_posted_.exchange(true)) return;
    loop.post([alive] {
      if (alive->host) alive->host->on_durable();
    });
  };
  journal_options.on_written = [this, alive = alive_](journal::Sequence upto) {
    written_upto_ = static_cast<std::uint64_t>(upto);
    if (is_written_posted_.exchange(true)) return;
    loop.post([alive] {
      if (alive->host) alive->host->on_written();
    });
  };
  journal_options.on_failure = [this, alive = alive_](std::error_code error) {
    loop.post([alive, error] {
      if (alive->host) alive->host->fail(error);
    });
  };
  std::uint64_t records = 0;
  const journal::Replay replay{
      .on_record =
          [&](journal::RecordType type, journal::Position position, BytesView payload) {
            ++records;
            const auto at = static_cast<std::uint64_t>(position);
            const auto taken =
                engine_.on_record(broker::RecordType{static_cast<std::uint8_t>(type)},
                                  broker::BodyPosition{at}, payload);
            if (!taken) {
              log::error("a record of the journal makes no sense and is passed over",
                         {{"folder", folder},
                          {"position", at},
                          {"type", static_cast<int>(type)},
                          {"error", taken.error()}});
            }
          },
      .on_damage =
          [&](const journal::Damage& damage) {
            log::error("damage in the journal: what it held is lost, what follows is kept",
                       {{"folder", folder},
                        {"file", damage.file},
                        {"offset", damage.offset},
                        {"bytes", damage.bytes},
                        {"reason", damage.reason}});
          }};
  replayed_ = disk.get();  // the log's, until it is open
  auto opened = journal::Log::open(std::move(disk), std::move(journal_options), replay);
  if (!opened) return opened.error();
  log_ = std::move(*opened);
  replayed_ = nullptr;
  if (options.journal.threading == journal::Threading::own_thread) reader_.emplace("pronto-read");
  last_sequence_ = static_cast<std::uint64_t>(log_->durable_upto());
  engine_.finish_recovery(loop.wall_now());
  std::uint64_t messages = 0;
  for (const broker::QueueView& queue : engine_.queues()) messages += queue.ready_count;
  if (records > 0) {
    log::info("journal replayed",
              {{"folder", folder}, {"records", records}, {"messages", messages}});
  }
  touch();
  return {};
}

void BrokerHost::Inside::fail(std::error_code error) {
  if (alarms_.failure) return;
  alarms_.failure = error.message();
  log::error("the journal has failed: nothing is confirmed any more until a restart",
             {{"error", error}});
  touch();
  if (options.on_failure) options.on_failure(error);
}

Task<Result<void>> BrokerHost::Inside::shut_down(milliseconds limit) {
  is_shutting_down = true;
  for (auto& [id, connection] : connections) {
    connection->session.shut_down(now());
    after(*connection);
  }
  settle_all();
  const auto all_gone = [](Inside& self) -> Task<> {
    while (!self.connections.empty()) co_await self.connection_ended.wait();
  };
  const auto gone = co_await with_deadline(limit, all_gone(*this));
  if (!gone) {
    log::warning("connections did not end in time", {{"connections", connections.size()}});
  }
  tasks_.cancel();
  co_await tasks_.join();
  for (auto& [id, connection] : connections) connection->session.on_lost(now());
  connections.clear();
  found_ = nullptr;
  write_held();
  if (!held_units_.empty()) {
    log::error("the disk is full: what was answered of late will be delivered again",
               {{"units", held_units_.size()}});
  }
  const auto flushed = log_->flush();
  if (flushed) on_durable();                 // it was told, and nobody will run what was posted
  if (flushed) log_->wait_for_checkpoint();  // one under way does not have all
  if (flushed && log_->bytes_to_replay() > 0) {
    // The next start has nothing to read again.
    take_checkpoint();
    log_->wait_for_checkpoint();
  }
  co_return flushed;
}

Overview BrokerHost::Inside::overview() const {
  Overview all;
  all.version = options.session.platform;
  all.now = loop.wall_now();
  all.uptime = std::chrono::duration_cast<seconds>(loop.now() - started_steady_);
  all.queues = engine_.queues();
  all.delayed_count = engine_.delayed_count();
  for (const auto& [id, connection] : connections) {
    ConnectionView view;
    connection->session.describe(view);
    view.outbox_bytes = connection->session.unsent_bytes();
    all.connections.push_back(std::move(view));
  }
  all.counters = counters;
  all.counters.replies_dropped_total = engine_.replies_dropped_total();
  all.counters.duplicates_total = engine_.duplicates_total();
  all.alarms = alarms_;
  all.journal = log_->statistics();
  all.segments_cleaned_total = cleaned_total_;
  all.pages = engine_.pages();
  all.segment_bytes = options.journal.segment_bytes;
  const std::vector<broker::SegmentUse> uses = engine_.segments_in_use();
  for (const journal::SegmentView& segment : log_->segments()) {
    all.journal_bytes += segment.bytes;
    if (!uses.empty() && segment.number == uses.front().segment && segment.made_at != WallTime{}) {
      all.oldest_needed_age = std::chrono::duration_cast<seconds>(all.now - segment.made_at);
    }
  }
  all.undurable_bytes = undurable_bytes_;
  all.memory_bytes = memory_bytes();
  all.memory_limit_bytes = options.memory_bytes_max;
  return all;
}

std::vector<PeekedMessage> BrokerHost::Inside::peek(std::string_view virtual_host,
                                                    std::string_view queue, std::uint64_t from,
                                                    std::size_t count_max) {
  std::vector<PeekedMessage> messages;
  for (const auto& seen : engine_.peek(virtual_host, queue, from, count_max)) {
    const broker::ContentPtr content = content_of(seen.body);
    if (!content) continue;
    messages.push_back({.sequence = seen.sequence,
                        .is_unacked = seen.is_unacked,
                        .exchange = content->exchange,
                        .routing_key = content->routing_key,
                        .properties = content->properties,
                        .body = content->body});
  }
  return messages;
}

BrokerHost::BrokerHost(std::unique_ptr<Inside> inside) : inside_{std::move(inside)} {}

BrokerHost::~BrokerHost() = default;

Result<std::unique_ptr<BrokerHost>> BrokerHost::open(Loop& loop,
                                                     std::unique_ptr<journal::Disk> disk,
                                                     const Users& users, HostOptions options) {
  auto inside = std::make_unique<Inside>(loop, users, std::move(options));
  if (auto opened = inside->open(std::move(disk)); !opened) return opened.error();
  return std::unique_ptr<BrokerHost>{new BrokerHost{std::move(inside)}};
}

std::unique_ptr<Stream> BrokerHost::connect() {
  auto [theirs, ours] = make_memory_streams();
  inside_->serve(std::move(ours));
  return std::move(theirs);
}

void BrokerHost::serve(std::unique_ptr<Stream> stream) {
  inside_->serve(std::move(stream));
}

Task<Result<void>> BrokerHost::shut_down(milliseconds limit) {
  return inside_->shut_down(limit);
}

bool BrokerHost::is_ready() const {
  return !inside_->is_shutting_down && !inside_->alarms().any();
}

std::size_t BrokerHost::connection_count() const noexcept {
  return inside_->connections.size();
}

Overview BrokerHost::overview() const {
  return inside_->overview();
}

std::vector<PeekedMessage> BrokerHost::peek(std::string_view virtual_host, std::string_view queue,
                                            std::uint64_t from, std::size_t count_max) {
  return inside_->peek(virtual_host, queue, from, count_max);
}

const SessionOptions& BrokerHost::session_options() const noexcept {
  return inside_->options.session;
}

void BrokerHost::set_management_address(std::string address) {
  inside_->options.session.management_address = std::move(address);
}

}  // namespace pronto::server
