#include "menu.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace pizzeria {
namespace {

constexpr std::array<Pizza, 6> pizzas{{
    {"margherita", "Tomato, fior di latte, basil", {650, 850, 1050}},
    {"marinara", "Tomato, garlic, oregano, olive oil", {550, 750, 950}},
    {"diavola", "Tomato, mozzarella, spicy salami, chilli", {750, 950, 1200}},
    {"funghi", "Tomato, mozzarella, field mushrooms, parsley", {700, 900, 1150}},
    {"quattro-formaggi", "Mozzarella, gorgonzola, fontina, parmesan", {800, 1000, 1250}},
    {"ortolana", "Tomato, aubergine, courgette, peppers, rocket", {700, 900, 1150}},
}};

}  // namespace

std::span<const Pizza> menu() {
  return pizzas;
}

const Pizza* find_pizza(std::string_view name) {
  const auto found = std::ranges::find(pizzas, name, &Pizza::name);
  return found == pizzas.end() ? nullptr : &*found;
}

std::optional<std::size_t> find_size(std::string_view name) {
  const auto found = std::ranges::find(sizes, name);
  if (found == sizes.end()) return std::nullopt;
  return static_cast<std::size_t>(found - sizes.begin());
}

std::string format_cents(std::int64_t cents) {
  return fmt::format("\u20AC{}.{:02}", cents / 100, cents % 100);
}

}  // namespace pizzeria
