#pragma once

#include <concepts>
#include <string>
#include <string_view>
#include <type_traits>

#include "pronto/bus/json.hpp"

namespace pronto {

/// How a message travels.
enum class MessageKind {
  event,    ///< to every service that wants it, each with a queue of its own (fan-out exchange)
  command,  ///< to one of the workers of its route (direct exchange)
  request   ///< to one worker, which answers
};

/// The stated wire name of a message type, as plain values.
struct ContractInfo {
  std::string_view name;
  int version = 1;
  MessageKind kind = MessageKind::event;

  /// The exchange: name and version, so that two versions live side by side.
  std::string exchange() const { return std::string{name} + ".v" + std::to_string(version); }
  bool operator==(const ContractInfo&) const = default;
};

namespace detail {

struct NoMember {};

template <class ReplyType, class Key, class Route>
struct Contract {
  using Reply = ReplyType;
  ContractInfo info;
  Key key_member;
  Route route_member;

  /// The member whose value orders messages: those of one key stay in order (see docs of Bus).
  template <class Member, class Message>
  constexpr auto key(Member Message::* member) const {
    return Contract<Reply, Member Message::*, Route>{info, member, route_member};
  }
  /// The member (text or described enumeration) whose value is the routing key of a command.
  template <class Member, class Message>
  constexpr auto route(Member Message::* member) const {
    static_assert(std::convertible_to<Member, std::string_view> || DescribedEnum<Member>);
    return Contract<Reply, Key, Member Message::*>{info, key_member, member};
  }
};

template <class Member>
std::string text_of(const Member& value) {
  if constexpr (std::convertible_to<const Member&, std::string_view>) {
    return std::string{std::string_view{value}};
  } else if constexpr (DescribedEnum<Member>) {
    return boost::describe::enum_to_string(value, "?");
  } else {
    static_assert(std::integral<Member>, "a key is a text, an enumeration or a whole number");
    return std::to_string(value);
  }
}

template <class T>
struct IsContract : std::false_type {};
template <class Reply, class Key, class Route>
struct IsContract<Contract<Reply, Key, Route>> : std::true_type {};

}  // namespace detail

/// Something that has happened. Takes: a wire name of its own, stated once and never derived from
/// the type; letters, digits, '.', '-', '_'.
constexpr auto event(std::string_view name, int version) {
  return detail::Contract<void, detail::NoMember, detail::NoMember>{
      {name, version, MessageKind::event}, {}, {}};
}
/// Something to be done by one of many workers.
constexpr auto command(std::string_view name, int version) {
  return detail::Contract<void, detail::NoMember, detail::NoMember>{
      {name, version, MessageKind::command}, {}, {}};
}
/// Something to be decided now by whoever owns it, answered with a `Reply`.
template <class Reply>
constexpr auto request(std::string_view name, int version) {
  return detail::Contract<Reply, detail::NoMember, detail::NoMember>{
      {name, version, MessageKind::request}, {}, {}};
}

/// What a message type is on the wire; specialised beside each message:
///
///     template <> inline constexpr auto pronto::contract<OrderPlaced> =
///         pronto::event("pizzeria.order-placed", 1).key(&OrderPlaced::order);
///     template <> inline constexpr auto pronto::contract<Ticket> =
///         pronto::command("pizzeria.ticket", 1).key(&Ticket::order).route(&Ticket::stage);
///     template <> inline constexpr auto pronto::contract<CancelOrder> =
///         pronto::request<CancelOutcome>("pizzeria.cancel-order", 1);
template <class T>
inline constexpr auto contract = detail::NoMember{};

/// A described struct with a contract.
template <class T>
concept Message =
    detail::Described<T> && detail::IsContract<std::remove_cvref_t<decltype(contract<T>)>>::value;
template <class T>
concept EventMessage = Message<T> && contract<T>.info.kind == MessageKind::event;
template <class T>
concept CommandMessage = Message<T> && contract<T>.info.kind == MessageKind::command;
template <class T>
concept RequestMessage = Message<T> && contract<T>.info.kind == MessageKind::request;
template <RequestMessage T>
using ReplyOf = typename std::remove_cvref_t<decltype(contract<T>)>::Reply;

namespace detail {
template <Message T>
std::string key_of(const T& message) {
  constexpr auto member = contract<T>.key_member;
  if constexpr (std::same_as<std::remove_cv_t<decltype(member)>, NoMember>) {
    return {};
  } else {
    return text_of(message.*member);
  }
}
template <Message T>
std::string route_of(const T& message) {
  constexpr auto member = contract<T>.route_member;
  if constexpr (std::same_as<std::remove_cv_t<decltype(member)>, NoMember>) {
    return {};
  } else {
    return text_of(message.*member);
  }
}
}  // namespace detail

}  // namespace pronto
