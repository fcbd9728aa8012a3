#pragma once

#include <boost/json/fwd.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "contracts.hpp"
#include "order_id.hpp"

namespace pizzeria {

inline constexpr std::string_view status_placed = "placed";
inline constexpr std::string_view status_ready = "ready";
inline constexpr std::string_view status_cancelled = "cancelled";
inline constexpr std::string_view status_failed = "failed";

/// Whether nothing comes after `status`.
bool is_final(std::string_view status);
/// Whether an order in `status` may still be cancelled: before the oven.
bool is_cancellable(std::string_view status);
/// "bake" -> "Bake"; what the page shows.
std::string_view status_label(std::string_view status);

/// An order as its customer sees it.
struct Order {
  std::string id;
  std::string customer;
  std::vector<Item> items;
  std::string placed_at;
  std::string estimated_ready_at;
  std::string estimated_ready_latest;
  std::optional<std::string> callback_url;
  std::vector<Step> journey;  ///< by sequence, never empty: `placed` comes first

  const std::string& status() const { return journey.back().status; }
  std::int64_t sequence() const { return journey.back().sequence; }
};

/// The order that `event` tells of, with `placed` as its journey.
Order to_order(const OrderPlaced& event);

/// The shape that clients rely on. `pickup_code` is in it once the order is ready.
/// Source: DESIGN.md section 3.
boost::json::object to_json(const Order& order, const OrderIds& ids);
boost::json::array to_json(const std::vector<Item>& items);
/// "2 × margherita, large; 1 × funghi, small".
std::string summary(const std::vector<Item>& items);

}  // namespace pizzeria
