#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "pronto/base/random.hpp"
#include "pronto/broker/broker.hpp"
#include "pronto/wire/properties.hpp"

namespace pronto::broker {

/// The engine's outside in memory: remembers what was said, in words, and keeps a journal whose
/// units become durable when the test says so. Checks that bodies are released once, and that none
/// is used after that.
class Outside final : public Effects {
 public:
  struct Told {
    ConnectionId connection;
    ChannelId channel;
    std::string line;
  };
  struct Delivered {
    ConnectionId connection;
    ChannelId channel;
    std::uint64_t tag;
    bool redelivered;
    ContentPtr content;
  };
  struct StoredRecord {
    RecordType type;
    BodyPosition position;
    Bytes payload;
  };
  struct Unit {
    std::uint64_t sequence;
    std::vector<StoredRecord> records;
  };

  std::vector<Told> told;
  std::vector<Delivered> deliveries;
  std::deque<Unit> units;
  std::deque<std::pair<BodyRef, FetchTicket>> fetches;
  std::deque<std::pair<PageRef, FetchTicket>> page_fetches;
  std::set<PageRef> pages;  ///< that the engine needs
  /// What the last checkpoint has stated, and the units before it.
  std::vector<StoredRecord> checkpoint;
  std::uint64_t checkpoint_sequence = 0;
  std::map<ConnectionId, std::size_t> room;  ///< for so many deliveries; without an entry: endless
  bool journal_has_room = true;
  std::set<std::string> unreadable;  ///< bodies that cannot be read from the journal
  std::set<std::string> on_disk;     ///< bodies that are read from it when they are wanted
  bool pages_are_readable = true;
  std::size_t appends_of_command = 0;
  std::size_t awaited_appends = 0;

  void send(ConnectionId connection, ChannelId channel, const wire::Method& method) override;
  void deliver(const Deliver& delivery) override;
  bool has_credit(ConnectionId connection) const override;
  bool is_at_hand(const BodyRef& body) const override;
  void get_ok(const GetOk& answer) override;
  void return_message(ConnectionId connection, ChannelId channel, wire::ReplyCode code,
                      std::string_view text, const ContentPtr& content) override;
  void confirm(ConnectionId connection, ChannelId channel, std::uint64_t tag, bool multiple,
               bool is_ack) override;
  void close_channel(ConnectionId connection, ChannelId channel, const wire::Fault& fault) override;
  void close_connection(ConnectionId connection, const wire::Fault& fault) override;
  Appended append(std::span<const Record> records, Awaited awaited) override;
  bool has_room() const override { return journal_has_room; }
  BodyRef keep(const ContentPtr& content, std::uint32_t holders) override;
  void release(const BodyRef& body) override;
  void fetch(const BodyRef& body, FetchTicket ticket) override {
    fetches.emplace_back(body, ticket);
  }
  void cache(const BodyRef& body, const ContentPtr& content) override;
  std::optional<PageRef> write_page(QueuePageRecord page) override;
  void fetch_page(const PageRef& page, FetchTicket ticket) override {
    page_fetches.emplace_back(page, ticket);
  }
  Result<QueuePageRecord> read_page(const PageRef& page) override;
  void release_page(const PageRef& page, bool are_entries_gone) override;

  /// Bodies that somebody still refers to, without copies: those just lie in the journal.
  std::size_t body_count() const { return bodies_.size(); }
  ContentPtr content_of(const BodyRef& body) const;
  /// What reading it comes to: null for an unreadable one.
  ContentPtr read(const BodyRef& body) const;
  std::uint64_t last_sequence() const { return last_sequence_; }
  /// Loses all but the journal's units up to `sequence`.
  void crash(std::uint64_t sequence);
  /// Takes back what a recovery has read: a body, or that an entry holds it.
  void adopt(const StoredRecord& record);

 private:
  void tell(ConnectionId connection, ChannelId channel, std::string line) {
    told.push_back({connection, channel, std::move(line)});
  }

  struct Held {
    ContentPtr content;
    std::uint32_t holders = 0;
  };

  void make_copy(BodyPosition position);
  const StoredRecord* find_record(BodyPosition position) const;
  void hold(const QueuePageRecord& page);

  std::map<BodyPosition, Held> bodies_;
  std::map<BodyPosition, ContentPtr> copies_;
  std::vector<BodyPosition> adopted_;
  std::uint64_t last_sequence_ = 0;
  std::uint64_t last_kept_ = 0;
};

struct QueueOptions {
  bool passive = false;
  bool durable = true;
  bool exclusive = false;
  bool auto_delete = false;
  wire::Table arguments{};
};
struct ExchangeOptions {
  bool durable = true;
  bool auto_delete = false;
  bool internal = false;
  bool passive = false;
  wire::Table arguments{};
};
struct MessageOptions {
  bool persistent = true;
  bool mandatory = false;
  bool immediate = false;
  wire::BasicProperties properties{};
};
struct ConsumeOptions {
  bool no_ack = false;
  bool exclusive = false;
};

/// Lets all through but what is denied to a user by name.
class DeniedByName final : public Permissions {
 public:
  struct Denied {
    std::string user;
    Access access;
    std::string resource;
    bool operator==(const Denied&) const = default;
  };
  bool is_allowed(std::string_view user, std::string_view virtual_host, Access access,
                  std::string_view resource) const override;

  std::vector<Denied> denied;
};

class BrokerTest;

/// One channel of one connection, as its client sees it. Calls return the broker's answer in words:
/// "queue.declare-ok q 0 messages 0 consumers", or why the channel or connection was closed.
class Peer {
 public:
  Peer(BrokerTest& test, ConnectionId connection, ChannelId channel)
      : test_{&test}, connection_{connection}, channel_{channel} {}

  std::string call(const wire::Method& method);
  std::string declare(std::string_view queue, QueueOptions options = {});
  std::string exchange(std::string_view name, std::string_view type, ExchangeOptions options = {});
  std::string bind(std::string_view queue, std::string_view exchange, std::string_view key = "",
                   wire::Table arguments = {});
  std::string unbind(std::string_view queue, std::string_view exchange, std::string_view key = "");
  std::string purge(std::string_view queue);
  std::string remove(std::string_view queue, bool if_unused = false, bool if_empty = false);
  std::string consume(std::string_view queue, std::string_view tag = "c",
                      ConsumeOptions options = {});
  std::string cancel(std::string_view tag);
  std::string qos(std::uint16_t count, bool global = false);
  std::string get(std::string_view queue, bool no_ack = false);
  std::string ack(std::uint64_t tag, bool multiple = false);
  std::string nack(std::uint64_t tag, bool multiple = false, bool requeue = true);
  std::string reject(std::uint64_t tag, bool requeue = false);
  std::string recover();
  std::string confirms();
  std::string select();
  std::string commit();
  std::string rollback();
  /// To the default exchange.
  void send(std::string_view queue, std::string_view body, MessageOptions options = {});
  void publish(std::string_view exchange, std::string_view key, std::string_view body,
               MessageOptions options = {});
  void close();

  /// What this channel was told since last asked, beside the answers of calls.
  std::vector<std::string> told();
  /// The bodies among it, deliveries and answers of basic.get, in order.
  std::vector<std::string> bodies();
  /// The content of its last delivery.
  ContentPtr last_content() const;
  wire::BasicProperties last_properties() const;

  ConnectionId connection() const { return connection_; }
  ChannelId channel() const { return channel_; }

 private:
  BrokerTest* test_;
  ConnectionId connection_;
  ChannelId channel_;
};

/// A broker on an `Outside`. Unless a test says otherwise each command is durable when it returns,
/// and fetched bodies are there at once.
class BrokerTest : public testing::Test {
 public:
  BrokerTest() { start(); }

  /// A new channel of connection `connection`, which is opened when it is not there.
  Peer open(std::uint64_t connection = 1, std::uint16_t channel = 1, std::string user = "guest");
  void disconnect(std::uint64_t connection);
  /// Makes durable all that was appended, answers fetches, until nothing is left to do.
  void settle();
  void make_durable(std::uint64_t sequence);
  /// Answers the oldest fetch.
  void answer_fetch();
  /// Answers the oldest fetch of a page.
  void answer_page();
  /// What the units so far have come to is stated: a restart begins with that.
  void take_checkpoint();
  /// The process ends, with what is durable on the disk, and starts again.
  void crash();
  void advance(milliseconds by);
  /// Moves the clock without telling the engine.
  void wait(milliseconds by) { now += by; }
  QueueView view(std::string_view queue) const;
  bool has_queue(std::string_view queue) const;
  std::vector<std::string> ready(std::string_view queue) const;

  /// Runs a command, and what follows from it.
  template <class Command>
  void run(Command command) {
    outside.appends_of_command = 0;
    command(*broker);
    if (is_settling) settle();
  }

  Limits limits;
  bool is_settling = true;
  WallTime now{milliseconds{1'700'000'000'000}};
  SeededRandom random{1};
  Outside outside;
  DeniedByName permissions;
  std::unique_ptr<Broker> broker;
  std::map<std::uint64_t, bool> connections;
  std::uint64_t durable_upto = 0;

 protected:
  void start();
};

wire::BasicProperties with_headers(wire::Table headers);
std::string body_of(const Content& content);

}  // namespace pronto::broker
