#include "order_request.hpp"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "menu.hpp"
#include "pronto/base/crypto.hpp"
#include "pronto/base/text.hpp"

namespace pizzeria {

namespace json = boost::json;
using Errors = std::vector<FieldError>;
using pronto::Result;

namespace {

constexpr std::size_t url_bytes_max = 2000;
constexpr std::string_view secret_prefix = "whsec_";

std::string menu_names() {
  std::string names;
  for (const Pizza& pizza : menu()) {
    if (!names.empty()) names += ", ";
    names += pizza.name;
  }
  return names;
}

void check_item(const Item& item, const std::string& field, Errors& errors) {
  if (!find_pizza(item.pizza)) {
    errors.push_back({field + ".pizza", "is not on the menu: " + menu_names()});
  }
  if (!find_size(item.size)) {
    errors.push_back({field + ".size", "is none of small, medium, large"});
  }
  if (item.quantity < 1 || item.quantity > quantity_max) {
    errors.push_back({field + ".quantity", fmt::format("is not from 1 to {}", quantity_max)});
  }
}

/// The text member `name`, or an error; an absent one is an error only when `required`.
std::optional<std::string> text_member(const json::object& object, std::string_view name,
                                       const std::string& field, bool required, Errors& errors) {
  const json::value* value = object.if_contains(name);
  if (!value || value->is_null()) {
    if (required) errors.push_back({field, "is missing"});
    return std::nullopt;
  }
  if (!value->is_string()) {
    errors.push_back({field, "is not a string"});
    return std::nullopt;
  }
  return std::string{value->get_string()};
}

void check_members(const json::object& object, std::initializer_list<std::string_view> known,
                   const std::string& prefix, Errors& errors) {
  for (const auto& member : object) {
    if (std::find(known.begin(), known.end(), std::string_view{member.key()}) == known.end()) {
      errors.push_back({prefix + std::string{member.key()}, "is not known here"});
    }
  }
}

Item read_item(const json::value& value, const std::string& field, Errors& errors) {
  Item item;
  const json::object* object = value.if_object();
  if (!object) {
    errors.push_back({field, "is not an object"});
    return item;
  }
  const std::size_t before = errors.size();
  check_members(*object, {"pizza", "size", "quantity"}, field + '.', errors);
  item.pizza = text_member(*object, "pizza", field + ".pizza", true, errors).value_or("");
  item.size = text_member(*object, "size", field + ".size", true, errors).value_or("");
  const json::value* quantity = object->if_contains("quantity");
  if (quantity && quantity->is_int64()) {
    item.quantity = quantity->get_int64();
  } else if (quantity) {
    errors.push_back({field + ".quantity", "is not a whole number"});
  }
  if (errors.size() == before) check_item(item, field, errors);
  return item;
}

void check_secret(const std::string& secret, Errors& errors) {
  const auto bytes = secret.starts_with(secret_prefix)
                         ? pronto::from_base64(secret.substr(secret_prefix.size()))
                         : std::nullopt;
  if (!bytes || bytes->size() < 24 || bytes->size() > 64) {
    errors.push_back({"callback_secret", "is not \"whsec_\" and base64 of 24 to 64 bytes"});
  }
}

}  // namespace

Result<OrderRequest, Errors> parse_order_json(std::string_view body) {
  Errors errors;
  boost::system::error_code ec;
  json::parse_options options;
  options.max_depth = 8;
  const json::value value = json::parse(body, ec, {}, options);
  if (ec) return Errors{{"", "the body is not JSON: " + ec.message()}};
  const json::object* object = value.if_object();
  if (!object) return Errors{{"", "the body is not a JSON object"}};
  check_members(*object, {"items", "callback_url", "callback_secret"}, "", errors);

  OrderRequest request;
  const json::value* items = object->if_contains("items");
  if (!items) {
    errors.push_back({"items", "is missing"});
  } else if (!items->is_array() || items->get_array().empty() ||
             items->get_array().size() > items_max) {
    errors.push_back({"items", fmt::format("is not a list of 1 to {} items", items_max)});
  } else {
    for (std::size_t i = 0; i < items->get_array().size(); ++i) {
      request.items.push_back(
          read_item(items->get_array()[i], fmt::format("items[{}]", i), errors));
    }
  }
  request.callback_url = text_member(*object, "callback_url", "callback_url", false, errors);
  if (request.callback_url && request.callback_url->size() > url_bytes_max) {
    errors.push_back({"callback_url", fmt::format("is longer than {} bytes", url_bytes_max)});
  }
  request.callback_secret =
      text_member(*object, "callback_secret", "callback_secret", false, errors);
  if (request.callback_secret) {
    check_secret(*request.callback_secret, errors);
    if (!request.callback_url) {
      errors.push_back({"callback_secret", "is of no use without a callback_url"});
    }
  }
  if (!errors.empty()) return errors;
  return request;
}

Result<OrderRequest, Errors> parse_order_fields(std::string_view pizza, std::string_view size,
                                                std::string_view quantity) {
  Item item{std::string{pizza}, std::string{size}, 0};
  if (const auto number = pronto::parse_unsigned(quantity); number && *number < 1000) {
    item.quantity = static_cast<std::int64_t>(*number);
  }
  Errors errors;
  check_item(item, "items[0]", errors);
  for (FieldError& error : errors) error.field.erase(0, std::string_view{"items[0]."}.size());
  if (!errors.empty()) return errors;
  OrderRequest request;
  request.items.push_back(std::move(item));
  return request;
}

Result<OrderRequest, Errors> parse_order_words(std::string_view text) {
  Errors errors;
  OrderRequest request;
  for (const std::string_view part : pronto::split(text, ',')) {
    Item item{"", "medium", 1};
    for (const std::string_view word : pronto::split(pronto::trim(part), ' ')) {
      if (word.empty()) continue;
      if (const auto number = pronto::parse_unsigned(word); number && *number < 1000) {
        item.quantity = static_cast<std::int64_t>(*number);
      } else if (find_size(word)) {
        item.size = word;
      } else if (find_pizza(word)) {
        item.pizza = word;
      } else {
        errors.push_back(
            {std::string{word}, "is neither a number, a size, nor on the menu: " + menu_names()});
      }
    }
    if (item.pizza.empty() && errors.empty()) {
      errors.push_back({std::string{pronto::trim(part)}, "names no pizza: " + menu_names()});
    }
    if (errors.empty()) check_item(item, std::string{pronto::trim(part)}, errors);
    request.items.push_back(std::move(item));
  }
  if (request.items.size() > items_max) {
    errors.push_back({"items", fmt::format("are more than {}", items_max)});
  }
  if (!errors.empty()) return errors;
  return request;
}

}  // namespace pizzeria
