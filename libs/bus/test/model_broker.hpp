#pragma once

#include <deque>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "pronto/async/stream.hpp"
#include "pronto/async/sync.hpp"
#include "pronto/async/task_group.hpp"
#include "pronto/async/virtual_loop.hpp"
#include "pronto/client/connection.hpp"
#include "pronto/wire/methods.hpp"
#include "pronto/wire/properties.hpp"

namespace pronto {

/// A small broker in memory for the bus's tests: what the bus uses of AMQP 0-9-1, and faults at
/// will. Queues and their messages survive `drop_connections`, as on durable queues.
class ModelBroker {
 public:
  explicit ModelBroker(VirtualLoop& loop) : loop_{loop}, tasks_{loop, "model broker"} {}
  ~ModelBroker() { drop_connections(); }

  client::StreamFactory stream_factory();

  // Faults.
  bool refuses_connections = false;
  bool confirms = true;  ///< false: publishes are stored and never confirmed
  std::set<std::string> nacked_exchanges;
  /// Ends all connections; what was in hand goes back to its queues.
  void drop_connections();
  /// Tells publishers that nothing is taken, or that it is again.
  void block(bool is_blocked);
  /// Forgets everything that is declared, too.
  void forget_all();

  // What is there.
  std::size_t ready_count(const std::string& queue) const;
  std::size_t unacked_count(const std::string& queue) const;
  bool has_queue(const std::string& queue) const { return queues_.contains(queue); }
  bool has_exchange(const std::string& name) const { return exchanges_.contains(name); }
  wire::Table arguments_of(const std::string& queue) const { return queues_.at(queue).arguments; }
  /// Bodies of everything published to `exchange`, in order.
  std::vector<std::string> published_to(const std::string& exchange) const;
  /// What a publisher of another make would send.
  void put(const std::string& queue, std::string body, wire::BasicProperties properties = {});
  std::size_t connection_count() const { return connections_.size(); }

 private:
  struct Message {
    std::uint64_t number = 0;
    std::string exchange;
    std::string routing_key;
    wire::BasicProperties properties;
    std::string body;
    bool redelivered = false;
    Timer expiry{};
  };
  struct Connection;
  struct Channel {
    bool is_confirming = false;
    bool is_closing = false;
    std::uint16_t prefetch = 0;
    std::uint64_t published = 0;
    std::uint64_t delivered = 0;
    std::optional<wire::BasicPublish> publish;
    std::uint64_t body_bytes = 0;
    wire::BasicProperties properties;
    std::string body;
    struct Unacked {
      std::string queue;
      Message message;
      std::string tag;
    };
    std::map<std::uint64_t, Unacked> unacked;
    std::map<std::string, std::string> queue_by_tag;
    std::string reply_tag;
  };
  struct Connection {
    int id = 0;
    std::shared_ptr<Stream> stream;
    Bytes outbox;
    Signal wake;
    std::map<std::uint16_t, Channel> channels;
    bool is_open = true;
  };
  struct Queue {
    std::map<std::uint64_t, Message> ready;  // by number: a message goes back to its place
    wire::Table arguments;
    std::optional<std::int64_t> ttl;
    int owner = 0;  // the connection of an exclusive queue
    std::size_t next_consumer = 0;
  };
  struct Binding {
    std::string exchange;
    std::string queue;
    std::string key;
  };

  Task<> serve(std::shared_ptr<Connection> connection);
  Task<> write(std::shared_ptr<Connection> connection);
  void end(Connection& connection);
  void on_bytes(Connection& connection, Bytes& inbox);
  void on_method(Connection& connection, std::uint16_t number, const wire::Method& method);
  void on_published(Connection& connection, std::uint16_t number);
  void send(Connection& connection, std::uint16_t channel, const wire::Method& method);
  void send_content(Connection& connection, std::uint16_t channel, const Message& message);
  void close_channel(Connection& connection, std::uint16_t number, const wire::Fault& fault);
  bool route(Message message);
  void enqueue(const std::string& queue, Message message);
  void expire(const std::string& queue, std::uint64_t number);
  void give_back(Channel::Unacked unacked);
  void settle(Channel& channel, std::uint64_t tag, bool multiple, bool requeue);
  void pump(const std::string& queue);
  bool deliver_one(const std::string& queue);

  VirtualLoop& loop_;
  std::map<std::string, std::string> exchanges_;
  std::map<std::string, Queue> queues_;
  std::vector<Binding> bindings_;
  std::list<std::shared_ptr<Connection>> connections_;
  std::vector<std::pair<std::string, std::string>> published_;
  std::uint64_t last_number_ = 0;
  int last_connection_ = 0;
  TaskGroup tasks_;
};

}  // namespace pronto
