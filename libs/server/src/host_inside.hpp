#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "content_store.hpp"
#include "pronto/async/sync.hpp"
#include "pronto/async/task_group.hpp"
#include "pronto/async/worker.hpp"
#include "pronto/server/broker_host.hpp"

namespace pronto::server {

/// One stream with its session, and the two coroutines that move its bytes.
struct Connection {
  Connection(std::unique_ptr<Stream> from, broker::ConnectionId id, Session::Peer peer,
             Session::Shared shared, Now now)
      : stream{std::move(from)}, session{id, std::move(peer), shared, now} {}

  std::unique_ptr<Stream> stream;
  Session session;
  Signal output;  ///< there may be something to send, or the session is over
  Signal input;   ///< reading may go on
  Timer timer;    ///< for the session's `on_time`
  std::optional<SteadyTime> timer_due;
  Timer linger;                   ///< how long the peer may take to read our last words
  bool is_short_of_room = false;  ///< the engine was, or is to be, told
  bool is_reading = true;
  bool is_writing = true;
};

/// The host's state; the engine's outside.
class BrokerHost::Inside final : public broker::Effects {
 public:
  Inside(Loop& loop, const Users& users, HostOptions options);
  ~Inside() override;

  // broker_host.cpp
  Result<void> open(std::unique_ptr<journal::Disk> disk);
  Task<Result<void>> shut_down(milliseconds limit);
  Overview overview() const;
  std::vector<PeekedMessage> peek(std::string_view virtual_host, std::string_view queue,
                                  std::uint64_t from, std::size_t count_max);
  void fail(std::error_code error);
  const Alarms& alarms() const noexcept { return alarms_; }
  Now now() const { return {loop.wall_now(), loop.now()}; }

  // host_connections.cpp
  void serve(std::unique_ptr<Stream> stream);
  void settle_all();

  // host_effects.cpp: what the engine says.
  void send(broker::ConnectionId connection, broker::ChannelId channel,
            const wire::Method& method) override;
  void deliver(const broker::Deliver& delivery) override;
  bool has_credit(broker::ConnectionId connection) const override;
  void get_ok(const broker::GetOk& answer) override;
  void return_message(broker::ConnectionId connection, broker::ChannelId channel,
                      wire::ReplyCode code, std::string_view text,
                      const broker::ContentPtr& content) override;
  void confirm(broker::ConnectionId connection, broker::ChannelId channel, std::uint64_t tag,
               bool multiple, bool is_ack) override;
  void close_channel(broker::ConnectionId connection, broker::ChannelId channel,
                     const wire::Fault& fault) override;
  void close_connection(broker::ConnectionId connection, const wire::Fault& fault) override;
  broker::Appended append(std::span<const broker::Record> records,
                          broker::Awaited awaited) override;
  bool has_room() const override;
  bool may_copy(std::uint64_t bytes) const override;
  broker::BodyRef keep(const broker::ContentPtr& content, std::uint32_t holders) override;
  void release(const broker::BodyRef& body) override;
  bool is_at_hand(const broker::BodyRef& body) const override;
  void fetch(const broker::BodyRef& body, broker::FetchTicket ticket) override;
  void cache(const broker::BodyRef& body, const broker::ContentPtr& content) override;

  // host_pages.cpp: what the engine's memory has no room for.
  std::optional<broker::PageRef> write_page(broker::QueuePageRecord page) override;
  void fetch_page(const broker::PageRef& page, broker::FetchTicket ticket) override;
  Result<broker::QueuePageRecord> read_page(const broker::PageRef& page) override;
  void release_page(const broker::PageRef& page, bool are_entries_gone) override;

  /// The content from memory, else from the journal; null when it cannot be read. Blocks: on the
  /// disk.
  broker::ContentPtr content_of(const broker::BodyRef& body);

  // host_alarms.cpp: what is looked at from time to time.
  void touch();
  void tick();
  std::uint64_t memory_bytes() const;
  std::uint64_t undurable_bytes() const noexcept { return undurable_bytes_; }

  Loop& loop;
  HostOptions options;
  Counters counters;
  std::unordered_map<std::uint64_t, std::shared_ptr<Connection>> connections;
  Signal connection_ended;
  bool is_shutting_down = false;

 private:
  /// Outlives the host in what it has posted.
  struct Alive {
    Inside* host;
  };
  struct Undurable {
    broker::JournalSequence sequence;
    std::uint64_t bytes;
    SteadyTime since;
  };
  struct Fetch {
    broker::BodyRef body;
    broker::FetchTicket ticket;
  };
  struct Fetched {
    Fetch fetch;
    Result<broker::ContentPtr> content;  ///< null: still to be read
  };
  /// A body in memory whose unit was held back, or was and is on its way to the disk.
  struct Homeless {
    std::size_t record = 0;  ///< of its unit
    broker::BodyRef in_memory;
    std::vector<broker::EnqueueRecord> holders;
    broker::BodyPosition position{};         ///< once the journal has it
    broker::JournalSequence durable_with{};  ///< then, too
  };
  struct HeldUnit {
    std::vector<journal::RecordType> types;
    std::vector<Bytes> payloads;
    std::vector<Homeless> bodies;
    bool is_loose = true;  ///< says again what a checkpoint says, if there is one before it
  };

  // host_connections.cpp
  static Task<> read(Inside& self, std::shared_ptr<Connection> connection);
  static Task<> write(Inside& self, std::shared_ptr<Connection> connection);
  void after(Connection& connection);
  void wake(Connection& connection);
  void arm(Connection& connection);
  void give_credit(Connection& connection);
  void end_if_done(Connection& connection);

  /// Whether the engine is ahead of the journal by more than removals: a full disk had no room for
  /// it, and entries do not know where their bodies lie.
  bool has_homeless() const { return held_firm_count_ > 0 || !homeless_.empty(); }

  // host_effects.cpp
  Connection* find(broker::ConnectionId connection) const;
  void note_appended(journal::Sequence sequence, std::uint64_t bytes);
  broker::Appended hold(std::span<const broker::Record> records, std::uint64_t bytes);
  void write_held();
  void house(broker::JournalSequence upto);
  void on_durable();
  void on_written();
  void schedule_fetches();
  void run_fetches();
  Result<broker::ContentPtr> read_content(const broker::BodyRef& body);
  void on_read(const std::vector<Fetched>& fetched);
  void schedule_write();

  // host_pages.cpp
  /// Runs on: any thread. Blocks: on the disk.
  Result<broker::QueuePageRecord> load_page(const broker::PageRef& page);
  void on_page(const broker::PageRef& page, broker::FetchTicket ticket,
               const Result<broker::QueuePageRecord>& read);

  // host_checkpoint.cpp
  void need_released_pages(journal::Checkpoint& checkpoint);
  bool is_checkpoint_due();
  void take_checkpoint();

  // host_cleaner.cpp
  /// What the cleaner may write: some of what is left is for the answers that drain a full disk.
  std::uint64_t room_for_copies() const;
  void choose_what_to_clean();
  void clean();
  void free_space();
  bool is_segment_free() const;

  // host_alarms.cpp
  void arm_engine();
  void look_at_alarms();
  void watch_disk();
  void look_at_disk();
  void set_blocked(const std::string& reason);
  void block(Connection& connection);

  const Users& users_;
  ContentStore store_;
  broker::Broker engine_;
  std::unique_ptr<journal::Log> log_;
  journal::Disk* replayed_ = nullptr;  // while the log is being opened
  std::shared_ptr<Alive> alive_;
  std::atomic<bool> is_durable_posted_ = false;
  std::atomic<bool> is_written_posted_ = false;
  std::atomic<std::uint64_t> written_upto_ = 0;
  bool is_write_posted_ = false;
  bool are_fetches_running_ = false;  // posted, or with the reader

  std::uint64_t last_connection_ = 0;
  mutable std::uint64_t found_id_ = 0;  // the connection looked up last
  mutable Connection* found_ = nullptr;
  std::vector<std::uint64_t> to_settle_;
  mutable std::vector<std::uint64_t> short_of_room_;
  std::deque<Fetch> fetches_;
  bool is_settling_ = false;

  Bytes payloads_;  // of the unit under way
  std::vector<journal::Record> unit_;
  std::vector<std::uint32_t> holders_;  // of its bodies
  std::deque<HeldUnit> held_units_;     // that a full disk has no room for
  std::size_t held_firm_count_ = 0;     // of them, those that are not loose
  std::uint64_t last_sequence_ = 0;     // that the journal gave
  std::deque<Homeless> homeless_;       // of units that were held and are written by now
  std::deque<std::uint32_t> to_clean_;  // segments, the first of them being cleaned
  std::uint64_t cleaned_total_ = 0;
  SteadyTime freed_at_{};        // when space was last looked for
  int checkpoints_to_free_ = 0;  // that are still to be written for it
  std::uint64_t checkpoints_when_begun_ = 0;
  std::uint64_t checkpoints_failed_ = 0;  // that are known of
  SteadyTime checkpoint_again_at_{};      // after one that failed
  /// Segments with pages that were released since the last checkpoint began, and before that but
  /// not before the one that is the last on the disk.
  std::set<std::uint32_t> released_since_;
  std::set<std::uint32_t> released_before_;
  std::uint64_t checkpoints_at_last_ = 0;  // that were written when the last one began
  std::deque<Undurable> undurable_;
  std::uint64_t undurable_bytes_ = 0;

  Timer sync_timer_;  // without a log thread
  Timer disk_watch_;
  bool is_disk_watched_ = false;
  Timer tick_;
  bool is_tick_armed_ = false;
  Timer engine_timer_;
  std::optional<WallTime> engine_due_;
  Alarms alarms_;
  bool is_blocked_ = false;
  std::string blocked_reason_;
  SteadyTime no_room_at_{};
  const WallTime started_;
  const SteadyTime started_steady_;

  std::optional<Worker> reader_;  // of bodies; none when the log has no thread either

  TaskGroup tasks_;  // last: its coroutines refer to all of the above
};

}  // namespace pronto::server
