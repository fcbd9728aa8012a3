#pragma once

// What the commands on exchanges and those on queues say in the same words.

#include <fmt/format.h>

#include <string>
#include <string_view>

#include "inside.hpp"

namespace pronto::broker {

inline wire::Fault on_default_exchange() {
  return wire::Fault{wire::ReplyCode::access_refused,
                     "operation not permitted on the default exchange"};
}

inline wire::Fault reserved_prefix(std::string_view kind, std::string_view name) {
  return wire::Fault{wire::ReplyCode::access_refused,
                     fmt::format("{} name '{}' contains reserved prefix 'amq.*'", kind, name)};
}

inline wire::Fault inequivalent(std::string_view argument, const std::string& subject,
                                std::string_view received, std::string_view current) {
  return wire::Fault{wire::ReplyCode::precondition_failed,
                     fmt::format("inequivalent arg '{}' for {}: received '{}' but current is '{}'",
                                 argument, subject, received, current)};
}

inline wire::Fault bindings_are_full(const Limits& limits, const std::string& host) {
  return wire::Fault{
      wire::ReplyCode::precondition_failed,
      fmt::format("limit of bindings in vhost '{}' ({}) is reached", host, limits.bindings_max)};
}

inline wire::Fault refused(const std::string& subject, std::string_view user) {
  return wire::Fault{wire::ReplyCode::access_refused,
                     fmt::format("access to {} refused for user '{}'", subject, user)};
}

inline std::string_view text_of(bool flag) {
  return flag ? "true" : "false";
}

inline QueueDeclaredRecord to_record(const Queue& queue) {
  return {.queue = queue.id,
          .virtual_host = queue.virtual_host,
          .name = queue.name,
          .is_auto_delete = queue.is_auto_delete,
          .arguments = queue.table};
}

inline ExchangeDeclaredRecord to_record(const std::string& host, const Exchange& exchange) {
  return {.virtual_host = host,
          .name = exchange.name,
          .type = exchange.type_name,
          .is_auto_delete = exchange.is_auto_delete,
          .is_internal = exchange.is_internal,
          .arguments = exchange.table};
}

inline BoundRecord to_record(const std::string& host, const Exchange& source,
                             const Binding& binding) {
  return {.virtual_host = host,
          .source = source.name,
          .destination = binding.destination.queue ? binding.destination.queue->name
                                                   : binding.destination.exchange->name,
          .to_queue = binding.destination.queue != nullptr,
          .routing_key = binding.routing_key,
          .arguments = binding.arguments};
}

/// Whether a binding's arguments are ones that a headers exchange takes.
Result<void, wire::Fault> check_headers_arguments(const Exchange& exchange,
                                                  const wire::Table& table);

}  // namespace pronto::broker
