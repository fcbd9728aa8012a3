#pragma once

#include <memory>

#include "pronto/base/assert.hpp"
#include "pronto/broker/types.hpp"
#include "pronto/wire/properties.hpp"

namespace pronto::broker {

/// A content's properties, which whoever made it has checked. Views into it.
inline wire::PropertiesView properties_of(const Content& content) {
  auto view = wire::peek_properties(content.properties);
  PRONTO_ASSERT(view.has_value());
  return *view;
}

/// The header table; nothing when there is none, or an empty one.
inline std::optional<wire::Table> headers_of(const wire::PropertiesView& properties) {
  constexpr std::size_t empty_bytes = 4;  // its length alone
  if (!properties.headers || properties.headers->size() <= empty_bytes) return std::nullopt;
  auto headers = wire::decode_table(*properties.headers);
  if (!headers) return std::nullopt;
  return std::move(*headers);
}

inline std::optional<wire::Table> headers_of(const Content& content) {
  return headers_of(properties_of(content));
}

/// A copy of `content` with `change` applied to its properties.
template <class Change>
ContentPtr with_properties(const Content& content, Change change) {
  auto properties = wire::decode_properties(content.properties);
  PRONTO_ASSERT(properties.has_value());
  change(*properties);
  auto copy = std::make_shared<Content>(content);
  copy->properties = wire::encode_properties(*properties);
  return copy;
}

/// A copy without the header BCC: nobody is told who was copied blindly.
inline ContentPtr without_blind_copies(const Content& content) {
  return with_properties(content,
                         [](wire::BasicProperties& changed) { changed.headers->erase("BCC"); });
}

}  // namespace pronto::broker
