#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "pronto/async/stream.hpp"
#include "pronto/async/task_group.hpp"
#include "pronto/async/virtual_loop.hpp"
#include "pronto/client/connection.hpp"
#include "pronto/wire/methods.hpp"
#include "pronto/wire/properties.hpp"

namespace pronto::client {

/// A broker that answers as RabbitMQ would as long as the test says nothing else, and remembers
/// what it was told. One connection at a time; routes nothing.
class FakeBroker {
 public:
  explicit FakeBroker(VirtualLoop& loop) : loop_{loop}, tasks_{loop, "fake broker"} {}

  /// To be given to a connection.
  StreamFactory stream_factory();

  // How it behaves from now on.
  int connects_refused = 0;                            ///< the next so many fail
  std::optional<wire::ConnectionClose> login_refused;  ///< instead of connection.tune
  std::optional<wire::ConnectionClose> open_refused;   ///< instead of connection.open-ok
  std::string mechanisms = "PLAIN AMQPLAIN";
  std::string greeting;  ///< these bytes instead of connection.start
  wire::ConnectionTune tune{.channel_max = 2047, .frame_max = 131'072, .heartbeat = 0};
  bool is_silent = false;  ///< reads and never answers
  bool is_reading = true;  ///< see `read_again`
  bool sends_heartbeats = false;
  bool confirms_publishes = true;
  bool ends_after_close = true;
  std::set<std::string> missing_exchanges;
  std::set<std::string> missing_queues;
  std::set<std::string> unroutable_keys;
  std::map<std::string, std::deque<std::string>> messages;  ///< for basic.get
  int methods_until_drop =
      -1;  ///< drops the connection after reading so many more methods, then never again
  int locked_queue_declares = 0;  ///< the next so many are refused with 405

  // What it was told, on all connections.
  struct Received {
    int connection = 0;
    std::uint16_t channel = 0;
    wire::Method method;
  };
  struct Published {
    std::string exchange;
    std::string routing_key;
    wire::BasicProperties properties;
    std::string body;
    std::uint64_t tag = 0;
    std::uint16_t channel = 0;
  };
  std::vector<Received> received;
  std::vector<Published> published;
  std::vector<SteadyTime> connect_times;
  std::size_t heartbeat_count = 0;
  std::size_t frame_bytes_seen = 0;  ///< the largest frame

  int connection_count() const noexcept { return static_cast<int>(connect_times.size()); }
  bool is_connected() const noexcept { return stream_ != nullptr; }
  /// All methods of one kind, with their connection.
  template <class M>
  std::vector<M> all() const {
    std::vector<M> found;
    for (const Received& one : received) {
      if (const auto* method = std::get_if<M>(&one.method)) found.push_back(*method);
    }
    return found;
  }
  template <class M>
  std::size_t count() const {
    return all<M>().size();
  }
  /// Names of the methods of one connection, in order: "queue.declare".
  std::vector<std::string> names(int connection) const;

  // What it does.
  void send(std::uint16_t channel, const wire::Method& method);
  void send_bytes(BytesView bytes);
  void deliver(std::uint16_t channel, const std::string& tag, std::uint64_t delivery_tag,
               const std::string& body, bool redelivered = false);
  void give_back(std::uint16_t channel, const Published& message);
  void confirm(std::uint16_t channel, std::uint64_t tag, bool multiple = false) {
    send(channel, wire::BasicAck{.delivery_tag = tag, .multiple = multiple});
  }
  void drop();
  /// Goes on after `is_reading` was false.
  void read_again() {
    is_reading = true;
    reading_.notify_all();
  }

 private:
  Task<> serve(std::unique_ptr<Stream> stream);
  Task<> write(std::shared_ptr<Stream> stream);
  Task<> beat(std::shared_ptr<Stream> stream);
  void on_bytes(Bytes& received_bytes);
  void on_method(std::uint16_t channel, const wire::Method& method);
  void on_published(std::uint16_t channel);
  void close_channel(std::uint16_t channel, const wire::Fault& fault);

  VirtualLoop& loop_;
  std::shared_ptr<Stream> stream_;
  Bytes outbox_;
  Signal wake_;
  Signal reading_;
  struct Channel {
    bool is_confirming = false;
    bool is_closing = false;
    std::uint64_t published = 0;
    std::optional<wire::BasicPublish> publish;
    std::uint64_t body_bytes = 0;
    Published content;
  };
  std::map<std::uint16_t, Channel> channels_;
  int generated_names_ = 0;
  TaskGroup tasks_;
};

}  // namespace pronto::client
