#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "contracts.hpp"
#include "pronto/base/result.hpp"

namespace pizzeria {

/// What a customer sent, checked against the menu and its limits.
struct OrderRequest {
  std::vector<Item> items;
  std::optional<std::string> callback_url;     ///< not yet checked where it leads
  std::optional<std::string> callback_secret;  ///< "whsec_" and base64 of 24 to 64 bytes
};

/// One thing that is wrong: where ("items[0].size") and why.
struct FieldError {
  std::string field;
  std::string reason;
};

/// Reads the JSON body of `POST /orders`. Errors: all that is wrong with it at once; never empty.
/// Source: DESIGN.md section 3.
pronto::Result<OrderRequest, std::vector<FieldError>> parse_order_json(std::string_view body);

/// The same from a form's or a command line's single line: `quantity` is decimal text.
pronto::Result<OrderRequest, std::vector<FieldError>> parse_order_fields(std::string_view pizza,
                                                                         std::string_view size,
                                                                         std::string_view quantity);

/// "2 margherita", "1 large funghi, 2 small marinara": what `pizzeria order` takes.
/// Errors: as above, with the words that were not understood.
pronto::Result<OrderRequest, std::vector<FieldError>> parse_order_words(std::string_view text);

}  // namespace pizzeria
