#pragma once

#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "deduplication.hpp"
#include "pronto/base/result.hpp"
#include "pronto/wire/reply_code.hpp"
#include "pronto/wire/table.hpp"

namespace pronto::broker {

class Exchange;
class Queue;

enum class ExchangeType { direct, fanout, topic, headers };

std::string_view name_of(ExchangeType type) noexcept;
struct ExchangeKind {
  ExchangeType type = ExchangeType::direct;
  bool is_delayed = false;
  bool is_deduplicating = false;  ///< without being asked for
};
/// The type of an exchange, and with x-delayed-message the one behind it, which its argument
/// x-delayed-type names; x-message-deduplication is a fan-out. Errors: `command_invalid` for a type
/// that we do not have; `precondition_failed` without a type behind.
Result<ExchangeKind, wire::Fault> parse_exchange_type(std::string_view name,
                                                      const wire::Table& arguments);

/// Where a binding leads: one of the two.
struct Destination {
  Queue* queue = nullptr;
  Exchange* exchange = nullptr;
  bool operator==(const Destination&) const = default;
};

struct Binding {
  Destination destination;
  std::string routing_key;
  wire::Table arguments;
  bool is_durable = false;
};

class TopicTree;

/// Routes messages to the queues and exchanges that are bound to it.
/// Runs on: the engine's thread.
class Exchange {
 public:
  Exchange(std::string exchange_name, ExchangeType exchange_type);
  ~Exchange();

  const std::string name;
  const ExchangeType type;  ///< how it routes
  std::string type_name;    ///< as it was declared
  bool is_durable = false;
  bool is_auto_delete = false;
  bool is_internal = false;
  bool is_predeclared = false;
  wire::Table table;
  std::string alternate;           ///< the exchange for what is not routed; empty: none
  std::size_t incoming_count = 0;  ///< exchanges that are bound to it
  /// The messages that an x-delayed-message exchange delays; null: of another type.
  std::unique_ptr<Queue> held;

  std::optional<DeduplicationWindow> window;  ///< of one that passes no duplicates on

  /// Whether there is an equal one.
  bool has(const Binding& binding);
  /// Returns: false when there is an equal one already.
  bool bind(Binding binding);
  /// Returns: whether there was one, and whether it was durable.
  struct Unbound {
    bool was_there = false;
    bool was_durable = false;
  };
  Unbound unbind(const Destination& destination, std::string_view key,
                 const wire::Table& arguments);
  /// Removes all bindings to `destination`. Returns: how many there were.
  std::size_t unbind_all(const Destination& destination);
  std::size_t binding_count() const noexcept { return bindings_.size(); }
  /// Shows all, in the order in which they were made.
  template <class See>
  void for_each_binding(See see) const {
    for (const Place& place : bindings_) see(place.binding);
  }

  /// Appends the destinations for a message; perhaps some of them twice.
  void match(std::string_view key, const wire::Table* headers, std::vector<Destination>& to) const;

 private:
  /// A binding among all, and among those to its destination.
  struct Place {
    Binding binding;
    std::size_t hash = 0;
    Place* before = nullptr;
    Place* after = nullptr;
  };
  using Bindings = std::list<Place>;

  Bindings::iterator find(const Binding& binding, std::size_t hash);
  void remove(Bindings::iterator place);
  void index(const Binding& binding);
  void forget(const Binding& binding);

  Bindings bindings_;
  std::unordered_multimap<std::size_t, Bindings::iterator> by_hash_;
  std::unordered_map<const void*, Place*> by_destination_;  // the last of each
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  std::unordered_map<std::string, std::vector<Destination>, Hash, std::equal_to<>>
      by_key_;  // direct
  std::unique_ptr<TopicTree> topics_;
};

/// Whether `headers` satisfy a headers binding. Source: RabbitMQ, headers exchange, x-match.
bool headers_match(const wire::Table& arguments, const wire::Table& headers);

}  // namespace pronto::broker
