#pragma once

#include <boost/describe/class.hpp>
#include <cstdint>
#include <string_view>

#include "pronto/wire/reply_code.hpp"
#include "pronto/wire/table.hpp"
#include "pronto/wire/types.hpp"

namespace pronto::wire {

// Class queue. Fields in wire order.
// Source: AMQP 0-9-1 specification, chapter 1; RabbitMQ's extended amqp0-9-1.

/// `queue.declare`.
struct QueueDeclare {
  static constexpr MethodId id{50, 10};
  static constexpr std::string_view name = "queue.declare";
  std::uint16_t reserved_1 = 0;
  ShortString queue;
  Bit passive;
  Bit durable;
  Bit exclusive;
  Bit auto_delete;
  Bit no_wait;
  Table arguments;

  bool operator==(const QueueDeclare&) const = default;
};
BOOST_DESCRIBE_STRUCT(QueueDeclare, (),
                      (reserved_1, queue, passive, durable, exclusive, auto_delete, no_wait,
                       arguments))

/// `queue.declare-ok`.
struct QueueDeclareOk {
  static constexpr MethodId id{50, 11};
  static constexpr std::string_view name = "queue.declare-ok";
  ShortString queue;
  std::uint32_t message_count = 0;
  std::uint32_t consumer_count = 0;

  bool operator==(const QueueDeclareOk&) const = default;
};
BOOST_DESCRIBE_STRUCT(QueueDeclareOk, (), (queue, message_count, consumer_count))

/// `queue.bind`.
struct QueueBind {
  static constexpr MethodId id{50, 20};
  static constexpr std::string_view name = "queue.bind";
  std::uint16_t reserved_1 = 0;
  ShortString queue;
  ShortString exchange;
  ShortString routing_key;
  Bit no_wait;
  Table arguments;

  bool operator==(const QueueBind&) const = default;
};
BOOST_DESCRIBE_STRUCT(QueueBind, (), (reserved_1, queue, exchange, routing_key, no_wait, arguments))

/// `queue.bind-ok`.
struct QueueBindOk {
  static constexpr MethodId id{50, 21};
  static constexpr std::string_view name = "queue.bind-ok";

  bool operator==(const QueueBindOk&) const = default;
};
BOOST_DESCRIBE_STRUCT(QueueBindOk, (), ())

/// `queue.purge`.
struct QueuePurge {
  static constexpr MethodId id{50, 30};
  static constexpr std::string_view name = "queue.purge";
  std::uint16_t reserved_1 = 0;
  ShortString queue;
  Bit no_wait;

  bool operator==(const QueuePurge&) const = default;
};
BOOST_DESCRIBE_STRUCT(QueuePurge, (), (reserved_1, queue, no_wait))

/// `queue.purge-ok`.
struct QueuePurgeOk {
  static constexpr MethodId id{50, 31};
  static constexpr std::string_view name = "queue.purge-ok";
  std::uint32_t message_count = 0;

  bool operator==(const QueuePurgeOk&) const = default;
};
BOOST_DESCRIBE_STRUCT(QueuePurgeOk, (), (message_count))

/// `queue.delete`.
struct QueueDelete {
  static constexpr MethodId id{50, 40};
  static constexpr std::string_view name = "queue.delete";
  std::uint16_t reserved_1 = 0;
  ShortString queue;
  Bit if_unused;
  Bit if_empty;
  Bit no_wait;

  bool operator==(const QueueDelete&) const = default;
};
BOOST_DESCRIBE_STRUCT(QueueDelete, (), (reserved_1, queue, if_unused, if_empty, no_wait))

/// `queue.delete-ok`.
struct QueueDeleteOk {
  static constexpr MethodId id{50, 41};
  static constexpr std::string_view name = "queue.delete-ok";
  std::uint32_t message_count = 0;

  bool operator==(const QueueDeleteOk&) const = default;
};
BOOST_DESCRIBE_STRUCT(QueueDeleteOk, (), (message_count))

/// `queue.unbind`.
struct QueueUnbind {
  static constexpr MethodId id{50, 50};
  static constexpr std::string_view name = "queue.unbind";
  std::uint16_t reserved_1 = 0;
  ShortString queue;
  ShortString exchange;
  ShortString routing_key;
  Table arguments;

  bool operator==(const QueueUnbind&) const = default;
};
BOOST_DESCRIBE_STRUCT(QueueUnbind, (), (reserved_1, queue, exchange, routing_key, arguments))

/// `queue.unbind-ok`.
struct QueueUnbindOk {
  static constexpr MethodId id{50, 51};
  static constexpr std::string_view name = "queue.unbind-ok";

  bool operator==(const QueueUnbindOk&) const = default;
};
BOOST_DESCRIBE_STRUCT(QueueUnbindOk, (), ())

}  // namespace pronto::wire
