#pragma once

#include <boost/describe/class.hpp>
#include <cstdint>
#include <string_view>

#include "pronto/wire/reply_code.hpp"
#include "pronto/wire/table.hpp"
#include "pronto/wire/types.hpp"

namespace pronto::wire {

// Class basic: publishing, consuming and acknowledging. Fields in wire order.
// Source: AMQP 0-9-1 specification, chapter 1; RabbitMQ's extended amqp0-9-1.

/// `basic.qos`.
struct BasicQos {
  static constexpr MethodId id{60, 10};
  static constexpr std::string_view name = "basic.qos";
  std::uint32_t prefetch_size = 0;
  std::uint16_t prefetch_count = 0;
  Bit global;

  bool operator==(const BasicQos&) const = default;
};
BOOST_DESCRIBE_STRUCT(BasicQos, (), (prefetch_size, prefetch_count, global))

/// `basic.qos-ok`.
struct BasicQosOk {
  static constexpr MethodId id{60, 11};
  static constexpr std::string_view name = "basic.qos-ok";

  bool operator==(const BasicQosOk&) const = default;
};
BOOST_DESCRIBE_STRUCT(BasicQosOk, (), ())

/// `basic.consume`.
struct BasicConsume {
  static constexpr MethodId id{60, 20};
  static constexpr std::string_view name = "basic.consume";
  std::uint16_t reserved_1 = 0;
  ShortString queue;
  ShortString consumer_tag;
  Bit no_local;
  Bit no_ack;
  Bit exclusive;
  Bit no_wait;
  Table arguments;

  bool operator==(const BasicConsume&) const = default;
};
BOOST_DESCRIBE_STRUCT(BasicConsume, (),
                      (reserved_1, queue, consumer_tag, no_local, no_ack, exclusive, no_wait,
                       arguments))

/// `basic.consume-ok`.
struct BasicConsumeOk {
  static constexpr MethodId id{60, 21};
  static constexpr std::string_view name = "basic.consume-ok";
  ShortString consumer_tag;

  bool operator==(const BasicConsumeOk&) const = default;
};
BOOST_DESCRIBE_STRUCT(BasicConsumeOk, (), (consumer_tag))

/// `basic.cancel`: from the client; from RabbitMQ too, when a queue goes away under its consumer.
struct BasicCancel {
  static constexpr MethodId id{60, 30};
  static constexpr std::string_view name = "basic.cancel";
  ShortString consumer_tag;
  Bit no_wait;

  bool operator==(const BasicCancel&) const = default;
};
BOOST_DESCRIBE_STRUCT(BasicCancel, (), (consumer_tag, no_wait))

/// `basic.cancel-ok`.
struct BasicCancelOk {
  static constexpr MethodId id{60, 31};
  static constexpr std::string_view name = "basic.cancel-ok";
  ShortString consumer_tag;

  bool operator==(const BasicCancelOk&) const = default;
};
BOOST_DESCRIBE_STRUCT(BasicCancelOk, (), (consumer_tag))

/// `basic.publish`: content follows.
struct BasicPublish {
  static constexpr MethodId id{60, 40};
  static constexpr std::string_view name = "basic.publish";
  static constexpr bool has_content = true;
  std::uint16_t reserved_1 = 0;
  ShortString exchange;
  ShortString routing_key;
  Bit mandatory;
  Bit immediate;

  bool operator==(const BasicPublish&) const = default;
};
BOOST_DESCRIBE_STRUCT(BasicPublish, (), (reserved_1, exchange, routing_key, mandatory, immediate))

/// `basic.return`: content follows.
struct BasicReturn {
  static constexpr MethodId id{60, 50};
  static constexpr std::string_view name = "basic.return";
  static constexpr bool has_content = true;
  std::uint16_t reply_code = 0;
  ShortString reply_text;
  ShortString exchange;
  ShortString routing_key;

  bool operator==(const BasicReturn&) const = default;
};
BOOST_DESCRIBE_STRUCT(BasicReturn, (), (reply_code, reply_text, exchange, routing_key))

/// `basic.deliver`: content follows.
struct BasicDeliver {
  static constexpr MethodId id{60, 60};
  static constexpr std::string_view name = "basic.deliver";
  static constexpr bool has_content = true;
  ShortString consumer_tag;
  std::uint64_t delivery_tag = 0;
  Bit redelivered;
  ShortString exchange;
  ShortString routing_key;

  bool operator==(const BasicDeliver&) const = default;
};
BOOST_DESCRIBE_STRUCT(BasicDeliver, (),
                      (consumer_tag, delivery_tag, redelivered, exchange, routing_key))

/// `basic.deliver` of texts that somebody else owns, of at most 255 bytes each: to be written.
struct BasicDeliverView {
  static constexpr MethodId id = BasicDeliver::id;
  std::string_view consumer_tag;
  std::uint64_t delivery_tag = 0;
  Bit redelivered;
  std::string_view exchange;
  std::string_view routing_key;
};
BOOST_DESCRIBE_STRUCT(BasicDeliverView, (),
                      (consumer_tag, delivery_tag, redelivered, exchange, routing_key))

/// `basic.get`.
struct BasicGet {
  static constexpr MethodId id{60, 70};
  static constexpr std::string_view name = "basic.get";
  std::uint16_t reserved_1 = 0;
  ShortString queue;
  Bit no_ack;

  bool operator==(const BasicGet&) const = default;
};
BOOST_DESCRIBE_STRUCT(BasicGet, (), (reserved_1, queue, no_ack))

/// `basic.get-ok`: content follows.
struct BasicGetOk {
  static constexpr MethodId id{60, 71};
  static constexpr std::string_view name = "basic.get-ok";
  static constexpr bool has_content = true;
  std::uint64_t delivery_tag = 0;
  Bit redelivered;
  ShortString exchange;
  ShortString routing_key;
  std::uint32_t message_count = 0;

  bool operator==(const BasicGetOk&) const = default;
};
BOOST_DESCRIBE_STRUCT(BasicGetOk, (),
                      (delivery_tag, redelivered, exchange, routing_key, message_count))

/// `basic.get-empty`.
struct BasicGetEmpty {
  static constexpr MethodId id{60, 72};
  static constexpr std::string_view name = "basic.get-empty";
  ShortString reserved_1;

  bool operator==(const BasicGetEmpty&) const = default;
};
BOOST_DESCRIBE_STRUCT(BasicGetEmpty, (), (reserved_1))

/// `basic.ack`: from consumers, and from the broker on a channel in confirm mode.
struct BasicAck {
  static constexpr MethodId id{60, 80};
  static constexpr std::string_view name = "basic.ack";
  std::uint64_t delivery_tag = 0;
  Bit multiple;

  bool operator==(const BasicAck&) const = default;
};
BOOST_DESCRIBE_STRUCT(BasicAck, (), (delivery_tag, multiple))

/// `basic.reject`.
struct BasicReject {
  static constexpr MethodId id{60, 90};
  static constexpr std::string_view name = "basic.reject";
  std::uint64_t delivery_tag = 0;
  Bit requeue;

  bool operator==(const BasicReject&) const = default;
};
BOOST_DESCRIBE_STRUCT(BasicReject, (), (delivery_tag, requeue))

/// `basic.recover-async`.
struct BasicRecoverAsync {
  static constexpr MethodId id{60, 100};
  static constexpr std::string_view name = "basic.recover-async";
  Bit requeue;

  bool operator==(const BasicRecoverAsync&) const = default;
};
BOOST_DESCRIBE_STRUCT(BasicRecoverAsync, (), (requeue))

/// `basic.recover`.
struct BasicRecover {
  static constexpr MethodId id{60, 110};
  static constexpr std::string_view name = "basic.recover";
  Bit requeue;

  bool operator==(const BasicRecover&) const = default;
};
BOOST_DESCRIBE_STRUCT(BasicRecover, (), (requeue))

/// `basic.recover-ok`.
struct BasicRecoverOk {
  static constexpr MethodId id{60, 111};
  static constexpr std::string_view name = "basic.recover-ok";

  bool operator==(const BasicRecoverOk&) const = default;
};
BOOST_DESCRIBE_STRUCT(BasicRecoverOk, (), ())

/// `basic.nack`: RabbitMQ's extension, both ways.
struct BasicNack {
  static constexpr MethodId id{60, 120};
  static constexpr std::string_view name = "basic.nack";
  std::uint64_t delivery_tag = 0;
  Bit multiple;
  Bit requeue;

  bool operator==(const BasicNack&) const = default;
};
BOOST_DESCRIBE_STRUCT(BasicNack, (), (delivery_tag, multiple, requeue))

}  // namespace pronto::wire
