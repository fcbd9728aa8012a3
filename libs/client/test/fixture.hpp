#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fake_broker.hpp"
#include "pronto/async/deadline.hpp"

namespace pronto::client {

using namespace std::chrono_literals;

/// A client and a fake broker on one virtual loop.
class ClientTest : public testing::Test {
 protected:
  ConnectionOptions options() {
    ConnectionOptions options;
    options.stream_factory = broker.stream_factory();
    options.name = "test";
    options.on_event = [this](const Event& event) { events.push_back(event.kind); };
    return options;
  }
  /// Opens a connection that must open.
  std::unique_ptr<Connection> connect(ConnectionOptions given) {
    auto connection = std::make_unique<Connection>(loop, std::move(given));
    const Result<void, Failure> opened = loop.run(connection->open());
    EXPECT_TRUE(opened.has_value()) << (opened ? "" : opened.error().text);
    return connection;
  }
  std::unique_ptr<Connection> connect() { return connect(options()); }
  Channel open_channel(Connection& connection, ChannelOptions given = {}) {
    Result<Channel, Failure> channel = loop.run(connection.open_channel(given));
    EXPECT_TRUE(channel.has_value()) << (channel ? "" : channel.error().text);
    return *std::move(channel);
  }
  static Message message(std::string key, std::string_view body = "pizza") {
    return {.exchange = "ex", .routing_key = std::move(key), .body = to_bytes(body)};
  }
  /// Hands a message over; its confirm may come later.
  Confirmation send(Channel& channel, Message what) {
    Result<Confirmation, Failure> sent = loop.run(channel.send(std::move(what)));
    EXPECT_TRUE(sent.has_value()) << (sent ? "" : sent.error().text);
    return *sent;
  }
  template <class T>
  static std::string kind_of(const Result<T, Failure>& result) {
    return result ? "ok" : std::string{name_of(result.error().kind)};
  }
  std::string outcome(const Confirmation& confirmation) {
    return kind_of(loop.run(confirmation.wait()));
  }

  VirtualLoop loop;
  std::vector<Event::Kind> events;
  FakeBroker broker{loop};
};

}  // namespace pronto::client
