#pragma once

#include <boost/describe/class.hpp>
#include <cstdint>
#include <string_view>

#include "pronto/wire/reply_code.hpp"
#include "pronto/wire/table.hpp"
#include "pronto/wire/types.hpp"

namespace pronto::wire {

// Class exchange. Fields in wire order.
// Source: AMQP 0-9-1 specification, chapter 1; RabbitMQ's extended amqp0-9-1.

/// `exchange.declare`.
struct ExchangeDeclare {
  static constexpr MethodId id{40, 10};
  static constexpr std::string_view name = "exchange.declare";
  std::uint16_t reserved_1 = 0;
  ShortString exchange;
  ShortString type;
  Bit passive;
  Bit durable;
  Bit auto_delete;
  Bit internal;
  Bit no_wait;
  Table arguments;

  bool operator==(const ExchangeDeclare&) const = default;
};
BOOST_DESCRIBE_STRUCT(ExchangeDeclare, (),
                      (reserved_1, exchange, type, passive, durable, auto_delete, internal, no_wait,
                       arguments))

/// `exchange.declare-ok`.
struct ExchangeDeclareOk {
  static constexpr MethodId id{40, 11};
  static constexpr std::string_view name = "exchange.declare-ok";

  bool operator==(const ExchangeDeclareOk&) const = default;
};
BOOST_DESCRIBE_STRUCT(ExchangeDeclareOk, (), ())

/// `exchange.delete`.
struct ExchangeDelete {
  static constexpr MethodId id{40, 20};
  static constexpr std::string_view name = "exchange.delete";
  std::uint16_t reserved_1 = 0;
  ShortString exchange;
  Bit if_unused;
  Bit no_wait;

  bool operator==(const ExchangeDelete&) const = default;
};
BOOST_DESCRIBE_STRUCT(ExchangeDelete, (), (reserved_1, exchange, if_unused, no_wait))

/// `exchange.delete-ok`.
struct ExchangeDeleteOk {
  static constexpr MethodId id{40, 21};
  static constexpr std::string_view name = "exchange.delete-ok";

  bool operator==(const ExchangeDeleteOk&) const = default;
};
BOOST_DESCRIBE_STRUCT(ExchangeDeleteOk, (), ())

/// `exchange.bind`: RabbitMQ's extension: one exchange feeds another.
struct ExchangeBind {
  static constexpr MethodId id{40, 30};
  static constexpr std::string_view name = "exchange.bind";
  std::uint16_t reserved_1 = 0;
  ShortString destination;
  ShortString source;
  ShortString routing_key;
  Bit no_wait;
  Table arguments;

  bool operator==(const ExchangeBind&) const = default;
};
BOOST_DESCRIBE_STRUCT(ExchangeBind, (),
                      (reserved_1, destination, source, routing_key, no_wait, arguments))

/// `exchange.bind-ok`.
struct ExchangeBindOk {
  static constexpr MethodId id{40, 31};
  static constexpr std::string_view name = "exchange.bind-ok";

  bool operator==(const ExchangeBindOk&) const = default;
};
BOOST_DESCRIBE_STRUCT(ExchangeBindOk, (), ())

/// `exchange.unbind`: RabbitMQ's extension.
struct ExchangeUnbind {
  static constexpr MethodId id{40, 40};
  static constexpr std::string_view name = "exchange.unbind";
  std::uint16_t reserved_1 = 0;
  ShortString destination;
  ShortString source;
  ShortString routing_key;
  Bit no_wait;
  Table arguments;

  bool operator==(const ExchangeUnbind&) const = default;
};
BOOST_DESCRIBE_STRUCT(ExchangeUnbind, (),
                      (reserved_1, destination, source, routing_key, no_wait, arguments))

/// `exchange.unbind-ok`.
struct ExchangeUnbindOk {
  static constexpr MethodId id{40, 51};
  static constexpr std::string_view name = "exchange.unbind-ok";

  bool operator==(const ExchangeUnbindOk&) const = default;
};
BOOST_DESCRIBE_STRUCT(ExchangeUnbindOk, (), ())

}  // namespace pronto::wire
