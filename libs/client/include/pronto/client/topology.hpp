#pragma once

#include <cstdint>
#include <string>

#include "pronto/wire/table.hpp"

namespace pronto::client {

struct Exchange {
  std::string name;
  std::string type = "direct";  ///< `direct`, `fanout`, `topic`, `headers`
  bool durable = true;
  bool auto_delete = false;
  bool internal = false;
  wire::Table arguments{};
};

struct Queue {
  std::string name;  ///< empty: the broker makes one up, and another after each reconnect
  bool durable = true;
  bool exclusive = false;
  bool auto_delete = false;
  wire::Table arguments{};
};

/// From an exchange to a queue, or to another exchange.
struct Binding {
  std::string source;       ///< an exchange
  std::string destination;  ///< a queue, or an exchange where it says so
  std::string routing_key;
  wire::Table arguments{};

  bool operator==(const Binding&) const = default;
};

/// What the broker says of a queue.
struct QueueInfo {
  std::string name;
  std::uint32_t message_count = 0;  ///< ready ones
  std::uint32_t consumer_count = 0;
};

}  // namespace pronto::client
