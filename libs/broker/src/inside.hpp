#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cleaner.hpp"
#include "exchange.hpp"
#include "pronto/broker/broker.hpp"
#include "pronto/wire/properties.hpp"
#include "queue.hpp"

namespace pronto::broker {

struct Channel;
struct Connection;

/// Who takes messages from a queue.
struct Consumer {
  std::string tag;
  Queue* queue = nullptr;
  Channel* channel = nullptr;
  bool no_ack = false;
  bool is_exclusive = false;
  std::uint16_t prefetch_max = 0;  ///< 0: no limit of its own
  std::size_t unacked_count = 0;
  std::optional<std::size_t> waiting_at;  ///< its place in `Channel::waiting`, if it has one
};

/// A delivery in hand: out with a consumer, waiting for its answer.
struct Unacked {
  std::uint64_t tag = 0;
  Queue* queue = nullptr;        ///< null once the queue was deleted
  Consumer* consumer = nullptr;  ///< null for basic.get, or once it was cancelled
  bool is_counted = false;       ///< under the channel's prefetch: until it is answered
  EntryId id;
};

/// A publish held back until tx.commit.
struct HeldPublish {
  PublishFlags flags;
  ContentPtr content;
};
struct HeldAnswer {
  Unacked unacked;
  bool is_ack = true;
  bool requeue = false;
};
/// A basic.get whose message is still being written, or read.
struct WaitingGet {
  QueueId queue{};
  bool no_ack = false;
};

/// What a transaction at its limit is answered.
wire::Fault transaction_is_full(const Limits& limits);

struct Channel {
  enum class Mode { plain, confirm, transaction };

  Connection* connection = nullptr;
  ChannelId id{};
  Mode mode = Mode::plain;
  std::uint16_t prefetch_max = 0;  ///< of the channel as a whole (global)
  std::uint16_t consumer_prefetch_max = 0;
  std::uint64_t last_delivery_tag = 0;
  std::uint64_t published_count = 0;  ///< the tag of the last publish in confirm mode
  std::deque<Unacked> unacked;        ///< by tag
  std::map<std::string, std::unique_ptr<Consumer>, std::less<>> consumers;
  std::size_t consumer_unacked_count = 0;
  /// Consumers that could have had a message, but for the channel's or the connection's limit.
  std::vector<Consumer*> waiting;

  /// Publishes without a confirm yet, in order.
  struct Unconfirmed {
    std::uint64_t tag;
    JournalSequence durable_at;
    bool is_ack;
    bool awaits_write_only = false;  ///< it need not be durable
  };
  std::deque<Unconfirmed> unconfirmed;
  std::vector<HeldPublish> held_publishes;
  std::vector<HeldAnswer> held_answers;
  std::size_t held_bytes = 0;  ///< of the held publishes

  std::deque<WaitingGet> waiting_gets;  ///< answered in order
  std::string last_queue;               ///< that it declared: what an empty name means

  std::string reply_consumer_tag;  ///< of direct reply-to; empty: none
  std::string reply_name;          ///< what reply_to becomes
};

struct VirtualHost;

struct Connection {
  ConnectionId id{};
  VirtualHost* host = nullptr;
  std::string user;
  bool has_credit = true;
  std::size_t held_bytes = 0;  ///< by its channels' transactions
  std::map<ChannelId, std::unique_ptr<Channel>> channels;
};

struct VirtualHost {
  std::string name;
  std::map<std::string, std::unique_ptr<Queue>, std::less<>> queues;
  boost::unordered_flat_map<std::string_view, Queue*, std::hash<std::string_view>>
      queues_by_name;  ///< the same, to be found fast
  std::map<std::string, std::unique_ptr<Exchange>, std::less<>> exchanges;
  std::size_t binding_count = 0;
};

/// A content on its way into memory, for the delivery of an entry.
struct Load {
  QueueId queue{};
  EntryId id;
  BodyRef body;
};

/// A message on its way to a dead-letter exchange.
struct DeadLetterJob {
  Queue* queue = nullptr;  ///< null once the queue was deleted
  EntryId id;
  std::string_view reason;
  BodyRef body;
};

/// By time, and then by age: whatever a run repeats, it repeats in the same order.
struct ByTime {
  using Due = std::pair<std::int64_t, Queue*>;
  bool operator()(const Due& one, const Due& other) const {
    return std::pair{one.first, one.second->id} < std::pair{other.first, other.second->id};
  }
};

/// What a full queue has refused.
struct RefusedLetter {
  QueueId queue{};
  ContentPtr content;
};

/// An entry whose body is in the unit under way: where that lies is known when it is appended.
struct NewEntry {
  Queue* queue = nullptr;
  EntryId id;
  BodyRef body;  ///< provisional
};

/// A queue that waits for its entries up to `upto` to become durable.
struct AwaitingDurable {
  JournalSequence sequence{};
  QueueId queue{};
  std::uint64_t upto = 0;
};

/// The engine's own kind of position: the number of a body in the unit under way.
constexpr std::uint64_t provisional_bit = std::uint64_t{1} << 62U;
constexpr BodyPosition provisional(std::size_t number) {
  return BodyPosition{provisional_bit | number};
}
/// Whether it is in the journal: neither provisional nor in memory only.
constexpr bool is_in_journal(BodyPosition position) {
  return static_cast<std::uint64_t>(position) < provisional_bit;
}
constexpr bool is_provisional(BodyPosition position) {
  return (static_cast<std::uint64_t>(position) >> 62U) == 1;
}
constexpr std::size_t number_of_provisional(BodyPosition position) {
  return static_cast<std::size_t>(static_cast<std::uint64_t>(position) & ~provisional_bit);
}

/// Puts runs in their order, and joins those that touch.
void join(std::vector<RemoveRecord>& runs);

/// The engine's state. Commands change it and collect records; `finish` ends each command.
class Broker::Inside {
 public:
  Inside(Effects& effects, Random& random, Limits limits, const Permissions& permissions);

  using Outcome = Result<void, wire::Fault>;

  // broker.cpp
  VirtualHost& virtual_host(const std::string& name);
  Channel* find_channel(ConnectionId connection, ChannelId channel);
  void close_channel(Channel& channel, WallTime now);
  void report(Channel& channel, wire::Fault fault, wire::MethodId method, WallTime now);
  void finish(WallTime now);
  void finish_unit(WallTime now);
  Appended write_records();
  void on_stored_upto(std::deque<AwaitingDurable>& awaiting, JournalSequence sequence);

  // Records of the command under way.
  void record(Record record) { records.push_back(std::move(record)); }
  bool has_records() const { return !records.empty() || !removed.empty(); }
  void state_removed();
  void record_removed(const Queue& queue, std::uint64_t sequence);
  void record_removed_but(const Queue& queue, std::vector<std::uint64_t> kept);

  // broker_exchanges.cpp, broker_queues.cpp
  Outcome on(Channel& channel, const wire::ExchangeDeclare& method, WallTime now);
  Outcome on(Channel& channel, const wire::ExchangeDelete& method, WallTime now);
  Outcome on(Channel& channel, const wire::ExchangeBind& method, WallTime now);
  Outcome on(Channel& channel, const wire::ExchangeUnbind& method, WallTime now);
  Outcome on(Channel& channel, const wire::QueueDeclare& method, WallTime now);
  Outcome on(Channel& channel, const wire::QueueBind& method, WallTime now);
  Outcome on(Channel& channel, const wire::QueueUnbind& method, WallTime now);
  Outcome on(Channel& channel, const wire::QueuePurge& method, WallTime now);
  Outcome on(Channel& channel, const wire::QueueDelete& method, WallTime now);
  Queue::Paging paging() { return {limits.page_entries_max, page_bytes, index_bytes}; }
  void delete_queue(Queue& queue, WallTime now);
  void delete_exchange(Exchange& exchange, VirtualHost& host);
  void delete_if_unused(Exchange& exchange, VirtualHost& host);
  void delete_unused(const std::vector<std::string>& names, VirtualHost& host);
  Outcome check_exclusive(const Channel& channel, const Queue& queue) const;
  /// Whether the channel's user may do it; asked before it is told whether the thing exists.
  Outcome may_queue(const Channel& channel, Access access, std::string_view name) const;
  Outcome may_exchange(const Channel& channel, Access access, std::string_view name) const;
  Outcome may_bind_queue(const Channel& channel, std::string_view queue,
                         std::string_view exchange) const;
  Outcome may_bind_exchange(const Channel& channel, std::string_view destination,
                            std::string_view source) const;
  /// `need_queue`, for what takes `access`.
  Result<Queue*, wire::Fault> need_queue_for(Channel& channel, Access access,
                                             std::string_view name);
  Result<Queue*, wire::Fault> need_queue(Channel& channel, std::string_view name);
  Result<std::string, wire::Fault> queue_name(const Channel& channel, std::string_view name) const;
  Result<Exchange*, wire::Fault> need_exchange(Channel& channel, std::string_view name);

  // broker_consume.cpp
  Outcome on(Channel& channel, const wire::BasicQos& method, WallTime now);
  Outcome on(Channel& channel, const wire::BasicConsume& method, WallTime now);
  Outcome on(Channel& channel, const wire::BasicCancel& method, WallTime now);
  Outcome on(Channel& channel, const wire::BasicGet& method, WallTime now);
  Outcome on(Channel& channel, const wire::BasicAck& method, WallTime now);
  Outcome on(Channel& channel, const wire::BasicReject& method, WallTime now);
  Outcome on(Channel& channel, const wire::BasicNack& method, WallTime now);
  Outcome on(Channel& channel, const wire::BasicRecover& method, WallTime now);
  Outcome on(Channel& channel, const wire::BasicRecoverAsync& method, WallTime now);
  Outcome on(Channel& channel, const wire::ChannelFlow& method, WallTime now);
  Outcome answer(Channel& channel, std::uint64_t tag, bool multiple, bool is_ack, bool requeue);
  /// Takes a delivery off the counts of whoever had it.
  void count_out(Channel& channel, const Unacked& unacked);
  void settle(Channel& channel, const Unacked& unacked, bool is_ack, bool requeue);
  void requeue_all(Channel& channel);
  /// Answers a get when it can be: false while its message is still being written, or read.
  bool try_get(Channel& channel, const WaitingGet& get, WallTime now);
  /// The channel asks for something else: its gets find nothing.
  void give_up_gets(Channel& channel);
  void serve_gets(WallTime now);
  void forget(Consumer& consumer);
  void remove_consumer(Consumer& consumer, WallTime now);
  void touch(Queue& queue);
  /// The channel or its connection can take more than before.
  void serve_waiting(Channel& channel);
  void set_waiting(Consumer& consumer);
  void set_not_waiting(Consumer& consumer);
  /// Looks at the queue's times from now on, if it has any.
  /// Takes: whether it may be looked at later than was said before.
  void watch(Queue& queue, bool is_later_allowed = false);
  void dispatch(Queue& queue, WallTime now);
  /// One that cannot for the channel's or the connection's sake waits for them from now on.
  bool can_take(Consumer& consumer);
  bool has_credit(const Connection& connection) const {
    return connection.has_credit && effects.has_credit(connection.id);
  }
  void hand_out(Consumer& consumer, const Entry& entry);
  /// Whether the front entry's content is at hand; if not, it is on its way then.
  bool is_at_hand(Queue& queue, const Entry& front);
  /// Whether an entry may be delivered as far as the journal is concerned.
  static bool is_stored(const Queue& queue, const Entry& entry) {
    return !entry.is_journaled || queue.arguments.is_early ||
           entry.sequence <= queue.durable_sequence;
  }
  /// What is delivered next: what is not stored yet has not come yet, and holds up no others but
  /// those behind it.
  static std::optional<Entry> first_stored(Queue& queue) {
    return queue.entries.front([&queue](const Entry& entry) { return is_stored(queue, entry); });
  }
  void load_ahead(Queue& queue, const Entry& front);
  void on_loaded(const Load& load, const ContentPtr& content);

  // broker_publish.cpp
  Outcome publish(Channel& channel, PublishFlags flags, ContentPtr content, WallTime now);
  /// Takes: the content's properties; both may be others then.
  Outcome check_publish(Channel& channel, PublishFlags flags, ContentPtr& content,
                        wire::PropertiesView& properties);
  struct Routed {
    bool is_taken = true;       ///< by all queues
    bool is_duplicate = false;  ///< for one of them at least, or for an exchange
  };
  Routed route_and_store(Channel* channel, PublishFlags flags, const ContentPtr& content,
                         const wire::PropertiesView& properties, WallTime now);
  /// Takes: the content's properties; a copy without BCC has the same, but for that.
  void store(const std::vector<Queue*>& queues, const ContentPtr& content,
             const wire::PropertiesView& properties, WallTime now);
  /// What a message meets on its way that takes no duplicates.
  struct Passage {
    WallTime now;
    bool is_persistent = false;
    const Exchange* asked_before = nullptr;  ///< when the message came that it delays
    std::vector<Exchange*> exchanges;        ///< that let it through
    bool is_duplicate = false;               ///< for one that did not
    MessageNames names;
  };
  /// Takes: the passage of a message that is new to the broker; without, nothing on the way is
  /// asked whether it was there before.
  std::vector<Queue*> route(VirtualHost& host, std::string_view exchange, std::string_view key,
                            const wire::Table* headers, Passage* passage = nullptr);
  /// As `route`, and to the keys of the headers CC and BCC.
  std::vector<Queue*> route_with_copies(VirtualHost& host, std::string_view exchange,
                                        std::string_view key, const wire::Table* headers,
                                        Passage* passage = nullptr);
  /// Takes away the queues that had the message before. Returns: whether there were any.
  bool drop_duplicates(std::vector<Queue*>& queues, Passage& passage);
  /// The queues, and the exchanges on the way there, know the message from now on.
  void remember(const std::vector<Queue*>& queues, Passage& passage, const wire::Table& headers);
  /// Counts what a transaction holds, and forgets the count when it ends.
  void count_held(Channel& channel, std::size_t bytes);
  void count_none_held(Channel& channel);
  /// Whether a transaction may be committed: as a whole or not at all.
  Outcome check_commit(Channel& channel, WallTime now);
  bool reply_directly(std::string_view key, const ContentPtr& content);
  Outcome on(Channel& channel, const wire::ConfirmSelect& method, WallTime now);
  Outcome on(Channel& channel, const wire::TxSelect& method, WallTime now);
  Outcome on(Channel& channel, const wire::TxCommit& method, WallTime now);
  Outcome on(Channel& channel, const wire::TxRollback& method, WallTime now);
  void await_confirm(Channel& channel);
  void confirm_all();
  void confirm_durable(Channel& channel);
  bool is_safe(const Channel::Unconfirmed& publish) const {
    return publish.durable_at <= (publish.awaits_write_only ? written_upto : durable_upto);
  }
  void enforce_length(Queue& queue);

  // delay.cpp
  /// Makes it an exchange that holds messages until they are due, in a queue with this id.
  void make_delayed(Exchange& exchange, const VirtualHost& host, QueueId id);
  /// Drops what it holds.
  void forget_delayed(Exchange& exchange);
  /// Fetches what is due, a part at a time: the rest follows as answers come.
  void release_due(Queue& held, WallTime now);
  void on_release(QueueId id, FetchTicket ticket, const ContentPtr& content, WallTime now);

  // dead_letter.cpp
  /// Removes an entry, which is out, from its queue: to the dead-letter exchange when there is one.
  void discard(Queue& queue, const Entry& entry, std::string_view reason);
  static constexpr std::string_view expired = "expired";  ///< as reason
  /// Discards what has expired by `upto`, milliseconds since 1970.
  void expire(Queue& queue, std::int64_t upto);
  const Exchange* dead_letter_exchange(const Queue& queue);
  /// Sends a copy to the queue's dead-letter exchange.
  void dead_letter(Queue& queue, const Content& content, std::string_view reason, WallTime now);
  /// Removes an entry for good.
  void drop(Queue& queue, const Entry& entry);
  /// An entry that is out stays so, and nothing is written: a restart finds it again, if it can be
  /// read then.
  void set_aside(Queue& queue, const Entry& entry);
  /// The entry needs its body no longer.
  void release(Queue& queue, const Entry& entry);
  /// Counts an entry whose body lies in the journal, and forgets it.
  void count_live(Queue& queue, BodyRef body, bool is_more);
  void count_live(Queue& queue, const SegmentUse& use, bool is_more);

  // pages.cpp: those of the queues' indexes that do not fit into memory.
  struct FullPage {
    QueueId queue{};
    EntryId id;  ///< of its last entry
  };
  struct PageLoad {
    QueueId queue{};
    PageId page;
  };
  void note_full(const Queue& queue, EntryId id);
  void write_out_pages();
  bool write_out(Queue& queue, EntryId id);
  /// Fetches what deliveries come to next, if it is not here.
  void load_pages(Queue& queue);
  void fetch_page(const Queue& queue, const PageId& id);
  /// Reads it at once. Blocks: on the disk.
  void read_page(Queue& queue, const PageId& id);
  /// Those that may hold a sequence of `first` to `last`.
  void read_pages(Queue& queue, std::uint64_t first, std::uint64_t last);
  /// Takes: null for what cannot be read.
  void put_back(Queue& queue, const PageId& id, const QueuePageRecord* image);
  /// The page and its entries have left the queue.
  void release_written(Queue& queue, const WrittenPage& page);
  /// Drops those that are not here and lie between two sequences, with their entries; lost ones,
  /// too.
  void replay(const RemoveRecord& run);
  void drop_pages(Queue& queue, std::uint64_t first, std::uint64_t last);

  // cleaner.cpp
  bool fetch_pages_to_clean();
  void gather_moves();
  std::optional<Entry> holder_of(const Move& move, const Move::Holder& holder) const;
  void read_moves();
  void on_move_read(Move move, const ContentPtr& content);
  /// A body that could not be read where it was when it was asked for: whether it lies elsewhere by
  /// now, and is asked for again.
  bool fetch_again(FetchTicket ticket);
  /// Entries whose copies are durable refer to them.
  void settle_moves();
  void refer_to(const Move& move);

  template <class M>
  void send(const Channel& channel, const M& method) {
    effects.send(channel.connection->id, channel.id, wire::Method{method});
  }

  Effects& effects;
  Random& random;
  const Limits limits;
  const Permissions& permissions;

  std::uint64_t index_bytes = 0;  ///< memory that deduplication's windows take; outlives them
  std::uint64_t page_bytes = 0;   ///< that the queues' pages take; outlives them
  std::map<std::string, VirtualHost, std::less<>> hosts;
  std::map<ConnectionId, std::unique_ptr<Connection>> connections;
  boost::unordered_flat_map<std::uint64_t, Queue*> queues_by_id;
  std::unordered_map<std::string, Channel*> reply_channels;  // by reply_name
  /// Queues that may have something due, by time: most have not, and are not looked at.
  std::set<std::pair<std::int64_t, Queue*>, ByTime> dues;
  std::map<std::uint64_t, Queue*> delaying;  ///< of x-delayed-message exchanges, by id
  std::uint64_t last_queue_id = 0;
  JournalSequence durable_upto{};
  JournalSequence written_upto{};   ///< durable or not
  JournalSequence last_appended{};  ///< of the last unit with a body
  std::uint64_t duplicates_total = 0;
  bool has_windows = false;      ///< there is, or was, one that takes no duplicates
  std::uint64_t held_bytes = 0;  ///< by open transactions
  std::uint64_t replies_dropped_total = 0;

  /// Queues with messages that wait to become durable: in the order of their appends.
  std::deque<AwaitingDurable> awaiting_durable;
  /// Those for which it is enough that they are written.
  std::deque<AwaitingDurable> awaiting_written;
  /// Channels with publishes that wait for it.
  std::map<std::pair<ConnectionId, ChannelId>, Channel*> awaiting_confirm;
  /// Channels with a basic.get that waits for it.
  std::map<std::pair<ConnectionId, ChannelId>, Channel*> awaiting_get;
  bool has_durable_news = false;  ///< any of them may have something to confirm

  std::map<std::uint32_t, SegmentUse> segments;  ///< what of the journal is still needed

  std::optional<Cleaning> cleaning;

  std::map<FetchTicket, DeadLetterJob> dead_letters;
  std::unordered_map<FetchTicket, Load> loads;
  std::unordered_map<FetchTicket, PageLoad> page_loads;
  std::vector<FullPage> full_pages;   ///< to be written out, the last first
  std::size_t full_pages_max = 1024;  ///< then those that have left are forgotten
  std::vector<FullPage> stuck_pages;  ///< that could not be written out
  std::size_t commands_since_tried = 0;
  PageCounts page_counts;
  std::unordered_map<FetchTicket, QueueId> releases;  // of delayed messages
  std::uint64_t last_ticket = 0;

  // The command under way.
  std::vector<Record> records;
  std::vector<RemoveRecord> removed;  ///< what the command's last records are made of
  bool is_atomic = false;             // all records are one unit, however many
  std::size_t new_body_count = 0;     // in the unit
  std::size_t relaxed_count = 0;      // of its records, those for which it is enough to be written
  Awaited awaited = Awaited::nothing;
  std::vector<NewEntry> new_entries;
  std::vector<Channel::Unconfirmed*> new_unconfirmed;
  std::vector<std::pair<BodyRef, FetchTicket>> new_fetches;  // of bodies still to be written
  std::vector<BodyRef> new_releases;                         // of those, too
  std::vector<Queue*> touched;
  /// Copies of what full queues refused, on their way to dead-letter exchanges: units of their own,
  /// since one publish may come to many.
  std::deque<RefusedLetter> refused_letters;
  Channel* publishing = nullptr;  // may have something to confirm; the only one without news

  // Recovery.
  /// Of the unit under way, and before; nothing for one that could not be read.
  std::vector<std::optional<BodyRef>> recovered_bodies;
  bool is_recovering = false;
};

}  // namespace pronto::broker
