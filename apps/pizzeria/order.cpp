#include "order.hpp"

#include <algorithm>
#include <array>
#include <boost/json.hpp>

namespace pizzeria {

namespace json = boost::json;

bool is_final(std::string_view status) {
  return status == status_ready || status == status_cancelled || status == status_failed;
}

bool is_cancellable(std::string_view status) {
  return status == status_placed || status == "prep" || status == "bake";
}

std::string_view status_label(std::string_view status) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 7> labels{{
      {"placed", "Order placed"},
      {"prep", "Prep"},
      {"bake", "Bake"},
      {"oven", "Oven"},
      {"ready", "Ready for pickup"},
      {"cancelled", "Cancelled"},
      {"failed", "Failed"},
  }};
  const auto found =
      std::ranges::find(labels, status, [](const auto& label) { return label.first; });
  return found == labels.end() ? status : found->second;
}

Order to_order(const OrderPlaced& event) {
  return {.id = event.order,
          .customer = event.customer,
          .items = event.items,
          .placed_at = event.placed_at,
          .estimated_ready_at = event.estimated_ready_at,
          .estimated_ready_latest = event.estimated_ready_latest,
          .callback_url = event.callback_url,
          .journey = {{std::string{status_placed}, event.placed_at, 1}}};
}

json::array to_json(const std::vector<Item>& items) {
  json::array array;
  for (const Item& item : items) {
    array.push_back(
        json::object{{"pizza", item.pizza}, {"size", item.size}, {"quantity", item.quantity}});
  }
  return array;
}

json::object to_json(const Order& order, const OrderIds& ids) {
  json::array journey;
  for (const Step& step : order.journey) {
    journey.push_back(
        json::object{{"status", step.status}, {"at", step.at}, {"sequence", step.sequence}});
  }
  const std::string self = "/orders/" + order.id;
  json::object object{{"id", order.id},
                      {"items", to_json(order.items)},
                      {"status", order.status()},
                      {"estimated_ready_at", order.estimated_ready_at},
                      {"estimated_ready_latest", order.estimated_ready_latest},
                      {"journey", std::move(journey)},
                      {"links", json::object{{"self", self}, {"events", self + "/events"}}}};
  if (order.callback_url) object["callback_url"] = *order.callback_url;
  if (order.status() == status_ready) object["pickup_code"] = ids.pickup_code(order.id);
  return object;
}

std::string summary(const std::vector<Item>& items) {
  std::string text;
  for (const Item& item : items) {
    if (!text.empty()) text += "; ";
    text += std::to_string(item.quantity) + " \u00D7 " + item.pizza + ", " + item.size;
  }
  return text;
}

}  // namespace pizzeria
