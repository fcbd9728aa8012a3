#pragma once

#include <boost/describe/class.hpp>
#include <string_view>

#include "pronto/wire/reply_code.hpp"
#include "pronto/wire/types.hpp"

namespace pronto::wire {

// Classes confirm and tx: what a publisher may ask of a channel. Fields in wire order.
// Source: AMQP 0-9-1 specification, chapter 1; RabbitMQ's extended amqp0-9-1.

/// `confirm.select`: RabbitMQ's extension: the broker acknowledges what is published.
struct ConfirmSelect {
  static constexpr MethodId id{85, 10};
  static constexpr std::string_view name = "confirm.select";
  Bit no_wait;

  bool operator==(const ConfirmSelect&) const = default;
};
BOOST_DESCRIBE_STRUCT(ConfirmSelect, (), (no_wait))

/// `confirm.select-ok`.
struct ConfirmSelectOk {
  static constexpr MethodId id{85, 11};
  static constexpr std::string_view name = "confirm.select-ok";

  bool operator==(const ConfirmSelectOk&) const = default;
};
BOOST_DESCRIBE_STRUCT(ConfirmSelectOk, (), ())

/// `tx.select`.
struct TxSelect {
  static constexpr MethodId id{90, 10};
  static constexpr std::string_view name = "tx.select";

  bool operator==(const TxSelect&) const = default;
};
BOOST_DESCRIBE_STRUCT(TxSelect, (), ())

/// `tx.select-ok`.
struct TxSelectOk {
  static constexpr MethodId id{90, 11};
  static constexpr std::string_view name = "tx.select-ok";

  bool operator==(const TxSelectOk&) const = default;
};
BOOST_DESCRIBE_STRUCT(TxSelectOk, (), ())

/// `tx.commit`.
struct TxCommit {
  static constexpr MethodId id{90, 20};
  static constexpr std::string_view name = "tx.commit";

  bool operator==(const TxCommit&) const = default;
};
BOOST_DESCRIBE_STRUCT(TxCommit, (), ())

/// `tx.commit-ok`.
struct TxCommitOk {
  static constexpr MethodId id{90, 21};
  static constexpr std::string_view name = "tx.commit-ok";

  bool operator==(const TxCommitOk&) const = default;
};
BOOST_DESCRIBE_STRUCT(TxCommitOk, (), ())

/// `tx.rollback`.
struct TxRollback {
  static constexpr MethodId id{90, 30};
  static constexpr std::string_view name = "tx.rollback";

  bool operator==(const TxRollback&) const = default;
};
BOOST_DESCRIBE_STRUCT(TxRollback, (), ())

/// `tx.rollback-ok`.
struct TxRollbackOk {
  static constexpr MethodId id{90, 31};
  static constexpr std::string_view name = "tx.rollback-ok";

  bool operator==(const TxRollbackOk&) const = default;
};
BOOST_DESCRIBE_STRUCT(TxRollbackOk, (), ())

}  // namespace pronto::wire
