#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pronto/async/task_group.hpp"
#include "pronto/async/virtual_loop.hpp"
#include "pronto/journal/simulated_disk.hpp"
#include "pronto/server/broker_host.hpp"
#include "pronto/wire/methods.hpp"
#include "pronto/wire/properties.hpp"

namespace pronto::server {

/// A client that sends what the test says, byte for byte, and puts what it is told into words:
/// "1 basic.deliver c 1 body", "0 connection.close 501 FRAME_ERROR - ...".
class RawClient {
 public:
  RawClient(VirtualLoop& loop, std::unique_ptr<Stream> stream);
  ~RawClient();

  /// Sends bytes and runs the loop until nothing is ready.
  void write(BytesView bytes);
  void write(std::string_view text) { write(as_bytes(text)); }
  /// Sends what `write` would, with whatever comes next.
  void hold(BytesView bytes) { append(out_, bytes); }
  void send(std::uint16_t channel, const wire::Method& method);
  void frame(wire::FrameType type, std::uint16_t channel, std::string_view payload);
  /// Publishes to the default exchange, persistent.
  void publish(std::uint16_t channel, std::string_view queue, std::string_view body);
  static Bytes published(std::uint16_t channel, std::string_view exchange, std::string_view key,
                         std::string_view body, wire::BasicProperties properties,
                         bool mandatory = false);
  /// Sends a method. Returns: what the broker said since, in lines.
  std::string call(std::uint16_t channel, const wire::Method& method);

  struct Login {
    std::string user = "guest";
    std::string password = "guest";
    std::string virtual_host = "/";
    std::uint16_t heartbeat_seconds = 0;
    std::uint32_t frame_max = 131'072;
    bool is_capable = true;  ///< asks for connection.blocked, cancels and refusals
  };
  /// From the greeting to connection.open-ok, and opens channel 1.
  void log_in() { log_in(Login{}); }
  void log_in(const Login& login);
  void greet_and_start(const Login& login);

  /// What it was told since last asked.
  std::vector<std::string> told();
  /// The frames or bytes that make no frame: for what is not AMQP.
  std::string raw() const { return to_string(in_); }
  /// Bodies of deliveries among all that it was told, in order.
  const std::vector<std::string>& bodies() const { return bodies_; }
  bool has_ended() const { return has_ended_; }
  bool is_sending() const { return !out_.empty() || is_writing_; }
  std::uint64_t received_bytes() const { return received_bytes_; }
  /// Reads no more, or again.
  void set_reading(bool on);
  /// As if the process had died.
  void die();
  /// What was delivered, by delivery tag.
  struct Delivery {
    std::uint64_t tag;
    bool redelivered;
    std::string consumer;
    std::string body;
  };
  std::vector<Delivery> deliveries;

 private:
  Task<> read();
  Task<> write_out();
  void parse();
  void on_method(std::uint16_t channel, const wire::Method& method);
  void on_content(std::uint16_t channel);

  struct Content {
    wire::Method method;
    std::uint64_t bytes_missing = 0;
    std::string body;
  };

  VirtualLoop& loop_;
  std::shared_ptr<Stream> stream_;
  Bytes out_;
  Bytes in_;
  bool is_amqp_ = true;
  bool is_reading_ = true;
  bool is_writing_ = false;
  bool has_ended_ = false;
  std::uint64_t received_bytes_ = 0;
  Signal wake_writer_;
  Signal wake_reader_;
  std::map<std::uint16_t, Content> contents_;
  std::vector<std::string> told_;
  std::vector<std::string> bodies_;
  TaskGroup tasks_;
};

/// A host on a simulated disk and a virtual clock. The loop writes the journal itself, after the
/// command that filled it.
class HostTest : public testing::Test {
 public:
  HostTest();
  ~HostTest() override;

  void open();
  /// Tells all peers, syncs, ends.
  void shut_down();
  /// The process dies, and the machine with it when `random` is given.
  void crash(Random* random = nullptr);
  std::unique_ptr<RawClient> connect();
  std::unique_ptr<RawClient> log_in() { return log_in(RawClient::Login{}); }
  std::unique_ptr<RawClient> log_in(const RawClient::Login& login);
  static wire::QueueDeclare durable(std::string_view name) {
    return {.queue = name, .durable = true};
  }
  /// A body that says which it is, of `size` bytes.
  static std::string body(int number, std::size_t size);
  broker::QueueView queue(std::string_view name) const;

  VirtualLoop loop;
  journal::SimulatedDisk disk;
  FixedUsers users;
  HostOptions options;
  std::vector<std::error_code> failures;
  std::unique_ptr<BrokerHost> host;
};

}  // namespace pronto::server
