#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace pizzeria {

inline constexpr std::array<std::string_view, 3> sizes{"small", "medium", "large"};
inline constexpr std::string_view currency = "EUR";
inline constexpr std::int64_t quantity_max = 20;
inline constexpr std::size_t items_max = 20;

/// A pizza that can be ordered.
struct Pizza {
  std::string_view name;
  std::string_view description;
  std::array<std::int64_t, 3> cents;  ///< by index into `sizes`
};

/// All that can be ordered, in the order of the page. Runs on: any thread, as everything here.
std::span<const Pizza> menu();
/// Returns: null when it is not on the menu.
const Pizza* find_pizza(std::string_view name);
std::optional<std::size_t> find_size(std::string_view name);
/// 850 -> "€8.50".
std::string format_cents(std::int64_t cents);

}  // namespace pizzeria
