#include "queue_arguments.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>

namespace pronto::broker {

using wire::Fault;
using wire::ReplyCode;

Fault invalid_argument(std::string_view argument, const std::string& subject,
                       const std::string& reason) {
  return Fault{ReplyCode::precondition_failed,
               fmt::format("invalid arg '{}' for {}: {}", argument, subject, reason)};
}

Result<std::optional<std::int64_t>, Fault> read_number(const wire::Table& table,
                                                       std::string_view name, NumberRule rule,
                                                       const std::string& subject) {
  const wire::Value* value = table.find(name);
  if (!value) return std::optional<std::int64_t>{};
  const auto number = value->integer();
  if (!number) {
    return invalid_argument(name, subject,
                            fmt::format("\"expected integer, got {}\"", value->type_name()));
  }
  if (*number < 0 && rule.min >= 0) {
    return invalid_argument(name, subject, fmt::format("{{value_negative,{}}}", *number));
  }
  if (*number < rule.min)
    return invalid_argument(name, subject, fmt::format("{{value_zero,{}}}", *number));
  if (*number > rule.max) {
    return invalid_argument(
        name, subject,
        fmt::format("{{{},{}}}",
                    name == "x-max-priority" ? "max_value_exceeded" : "value_too_large", *number));
  }
  return std::optional{*number};
}

Result<std::optional<std::string>, Fault> read_text(const wire::Table& table, std::string_view name,
                                                    const std::string& subject) {
  const wire::Value* value = table.find(name);
  if (!value) return std::optional<std::string>{};
  const auto text = table.find_string(name);
  if (!text) {
    return invalid_argument(name, subject,
                            fmt::format("{{unacceptable_type,{}}}", value->type_name()));
  }
  return std::optional{std::string{*text}};
}

Result<QueueArguments, Fault> parse_queue_arguments(const wire::Table& table,
                                                    const std::string& subject) {
  QueueArguments arguments;
  if (const wire::Value* value = table.find("x-dead-letter-exchange");
      value && !value->get_if<wire::LongString>()) {
    return Fault{ReplyCode::precondition_failed,
                 fmt::format("invalid type '{}' for arg 'x-dead-letter-exchange' in {}",
                             value->type_name(), subject)};
  }
  const auto number = [&](std::string_view name, NumberRule rule,
                          auto& into) -> Result<void, Fault> {
    auto read = read_number(table, name, rule, subject);
    if (!read) return read.error();
    if (*read) into = static_cast<std::remove_cvref_t<decltype(*into)>>(**read);
    return {};
  };
  std::optional<std::int64_t> priority_max;
  for (const Result<void, Fault>& read :
       {number("x-message-ttl", {0, milliseconds_max}, arguments.message_ttl_ms),
        number("x-expires", {1, milliseconds_max}, arguments.expires_ms),
        number("x-max-length", {0}, arguments.length_max),
        number("x-max-length-bytes", {0}, arguments.bytes_max),
        number("x-delivery-limit", {-1}, arguments.delivery_limit),
        number("x-max-priority", {0, 255}, priority_max)}) {
    if (!read) return read.error();
  }
  if (priority_max) arguments.priority_max = static_cast<std::uint8_t>(*priority_max);
  if (arguments.delivery_limit && *arguments.delivery_limit < 0) arguments.delivery_limit.reset();

  auto exchange = read_text(table, "x-dead-letter-exchange", subject);
  if (!exchange) return exchange.error();
  arguments.dead_letter_exchange = std::move(*exchange);
  auto key = read_text(table, "x-dead-letter-routing-key", subject);
  if (!key) return key.error();
  arguments.dead_letter_routing_key = std::move(*key);
  if (arguments.dead_letter_routing_key && !arguments.dead_letter_exchange) {
    return invalid_argument("x-dead-letter-routing-key", subject, "routing_key_but_no_dlx_defined");
  }

  auto overflow = read_text(table, "x-overflow", subject);
  if (!overflow) return overflow.error();
  if (*overflow) {
    if (**overflow == "drop-head") {
      arguments.overflow = Overflow::drop_head;
    } else if (**overflow == "reject-publish") {
      arguments.overflow = Overflow::reject_publish;
    } else if (**overflow == "reject-publish-dlx") {
      arguments.overflow = Overflow::reject_publish_dlx;
    } else {
      return invalid_argument("x-overflow", subject, "invalid_overflow");
    }
  }

  auto sync_mode = read_text(table, "x-sync-mode", subject);
  if (!sync_mode) return sync_mode.error();
  if (*sync_mode) {
    // "none" promises less, and is given the same.
    if (**sync_mode == "interval" || **sync_mode == "none") {
      arguments.sync_mode = QueueSyncMode::written;
    } else if (**sync_mode != "sync") {
      return invalid_argument("x-sync-mode", subject, "invalid_sync_mode");
    }
  }

  auto type = read_text(table, "x-queue-type", subject);
  if (!type) return type.error();
  if (*type) {
    if (**type != "classic" && **type != "quorum") {
      return invalid_argument("x-queue-type", subject,
                              fmt::format("\"unsupported queue type '{}'\"", **type));
    }
    arguments.is_quorum = **type == "quorum";
  }
  auto deduplication = parse_deduplication(table, subject);
  if (!deduplication) return deduplication.error();
  arguments.deduplication = std::move(*deduplication);
  arguments.is_single_active = table.find_bool("x-single-active-consumer").value_or(false);
  if (const wire::Value* early = table.find("x-early-delivery")) {
    const bool* flag = early->get_if<bool>();
    if (!flag) {
      return invalid_argument("x-early-delivery", subject,
                              fmt::format("{{unacceptable_type,{}}}", early->type_name()));
    }
    arguments.is_early = *flag;
  }
  return arguments;
}

Result<void, Fault> check_equivalent(const wire::Table& received, const wire::Table& current,
                                     const std::string& subject) {
  constexpr std::array checked{"x-expires",
                               "x-message-ttl",
                               "x-dead-letter-exchange",
                               "x-dead-letter-routing-key",
                               "x-max-length",
                               "x-max-length-bytes",
                               "x-overflow",
                               "x-max-priority",
                               "x-single-active-consumer",
                               "x-queue-type",
                               "x-delivery-limit",
                               "x-early-delivery",
                               "x-sync-mode",
                               "x-message-deduplication",
                               "x-cache-size",
                               "x-cache-ttl",
                               "x-deduplication-header"};
  // RabbitMQ names the type only where the other side has no value at all.
  const auto shown = [](const wire::Value* value, bool with_type) -> std::string {
    if (!value) return "none";
    std::string content{value->type_name()};
    if (const auto number = value->integer()) {
      content = fmt::to_string(*number);
    } else if (const auto* words = value->get_if<wire::LongString>()) {
      content = *words;
    } else if (const auto* flag = value->get_if<bool>()) {
      content = *flag ? "true" : "false";
    }
    return with_type ? fmt::format("the value '{}' of type '{}'", content, value->type_name())
                     : fmt::format("'{}'", content);
  };
  std::string text;
  for (const char* name : checked) {
    const wire::Value* left = received.find(name);
    const wire::Value* right = current.find(name);
    const bool is_same =
        (!left && !right) ||
        (left && right &&
         (*left == *right || (left->integer() && left->integer() == right->integer())));
    if (is_same) continue;
    const bool with_type = !left || !right;
    if (!text.empty()) text += "; ";
    text += fmt::format("inequivalent arg '{}' for {}: received {} but current is {}", name,
                        subject, shown(left, with_type), shown(right, with_type));
  }
  if (!text.empty()) return Fault{ReplyCode::precondition_failed, text};
  return {};
}

}  // namespace pronto::broker
