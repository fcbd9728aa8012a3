#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "order.hpp"
#include "pronto/bus/database.hpp"

namespace pizzeria {

/// The table of what was ordered and how it went: OrderHistoryService writes it, the API reads it.
///
/// Rows are keyed by order and sequence, so an event that comes twice or late changes nothing.
/// Runs on: the loop's thread.
class History {
 public:
  explicit History(pronto::Database& database) : database_{database} {}

  static std::vector<pronto::Migration> migrations();

  /// Errors: as `Transaction::execute`.
  static pronto::Task<> add(pronto::Transaction& tx, const OrderPlaced& event);
  static pronto::Task<> add(pronto::Transaction& tx, const OrderStatus& event);

  /// Returns: the order with its journey, or nothing while its OrderPlaced has not come.
  /// Errors: as `Database::query`.
  pronto::Task<std::optional<Order>> find(std::string id) const;

  /// One page of a caller's orders, newest first.
  struct Page {
    std::vector<Order> orders;
    std::optional<std::string> next;  ///< the cursor of the page after this one
  };
  /// `cursor` is a `next` of an earlier page, or nothing for the first.
  /// Returns: nothing when `cursor` is none of ours.
  pronto::Task<std::optional<Page>> page(std::string customer, std::optional<std::string> cursor,
                                         std::size_t count_max) const;

 private:
  pronto::Task<std::vector<Step>> journey(std::string order) const;

  pronto::Database& database_;
};

}  // namespace pizzeria
