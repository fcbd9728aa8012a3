#pragma once

#include <boost/describe/class.hpp>
#include <cstdint>
#include <string_view>

#include "pronto/wire/reply_code.hpp"
#include "pronto/wire/types.hpp"

namespace pronto::wire {

// Class channel, and class access, which old clients still speak. Fields in wire order.
// Source: AMQP 0-9-1 specification, chapter 1; RabbitMQ's extended amqp0-9-1.

/// `channel.open`.
struct ChannelOpen {
  static constexpr MethodId id{20, 10};
  static constexpr std::string_view name = "channel.open";
  ShortString reserved_1;

  bool operator==(const ChannelOpen&) const = default;
};
BOOST_DESCRIBE_STRUCT(ChannelOpen, (), (reserved_1))

/// `channel.open-ok`.
struct ChannelOpenOk {
  static constexpr MethodId id{20, 11};
  static constexpr std::string_view name = "channel.open-ok";
  LongString reserved_1;

  bool operator==(const ChannelOpenOk&) const = default;
};
BOOST_DESCRIBE_STRUCT(ChannelOpenOk, (), (reserved_1))

/// `channel.flow`.
struct ChannelFlow {
  static constexpr MethodId id{20, 20};
  static constexpr std::string_view name = "channel.flow";
  Bit active;

  bool operator==(const ChannelFlow&) const = default;
};
BOOST_DESCRIBE_STRUCT(ChannelFlow, (), (active))

/// `channel.flow-ok`.
struct ChannelFlowOk {
  static constexpr MethodId id{20, 21};
  static constexpr std::string_view name = "channel.flow-ok";
  Bit active;

  bool operator==(const ChannelFlowOk&) const = default;
};
BOOST_DESCRIBE_STRUCT(ChannelFlowOk, (), (active))

/// `channel.close`.
struct ChannelClose {
  static constexpr MethodId id{20, 40};
  static constexpr std::string_view name = "channel.close";
  std::uint16_t reply_code = 0;
  ShortString reply_text;
  std::uint16_t class_id = 0;
  std::uint16_t method_id = 0;

  bool operator==(const ChannelClose&) const = default;
};
BOOST_DESCRIBE_STRUCT(ChannelClose, (), (reply_code, reply_text, class_id, method_id))

/// `channel.close-ok`.
struct ChannelCloseOk {
  static constexpr MethodId id{20, 41};
  static constexpr std::string_view name = "channel.close-ok";

  bool operator==(const ChannelCloseOk&) const = default;
};
BOOST_DESCRIBE_STRUCT(ChannelCloseOk, (), ())

/// `access.request`: of AMQP 0-8; some old clients still send it.
struct AccessRequest {
  static constexpr MethodId id{30, 10};
  static constexpr std::string_view name = "access.request";
  ShortString realm;
  Bit exclusive;
  Bit passive;
  Bit active;
  Bit write;
  Bit read;

  bool operator==(const AccessRequest&) const = default;
};
BOOST_DESCRIBE_STRUCT(AccessRequest, (), (realm, exclusive, passive, active, write, read))

/// `access.request-ok`.
struct AccessRequestOk {
  static constexpr MethodId id{30, 11};
  static constexpr std::string_view name = "access.request-ok";
  std::uint16_t ticket = 1;

  bool operator==(const AccessRequestOk&) const = default;
};
BOOST_DESCRIBE_STRUCT(AccessRequestOk, (), (ticket))

}  // namespace pronto::wire
