#include "exchange.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "pronto/base/text.hpp"
#include "queue.hpp"

namespace pronto::broker {

using wire::Fault;

std::string_view name_of(ExchangeType type) noexcept {
  switch (type) {
    case ExchangeType::direct:
      return "direct";
    case ExchangeType::fanout:
      return "fanout";
    case ExchangeType::topic:
      return "topic";
    case ExchangeType::headers:
      return "headers";
  }
  return "";
}

Result<ExchangeKind, Fault> parse_exchange_type(std::string_view name,
                                                const wire::Table& arguments) {
  const bool is_delayed = name == delayed_type_name;
  if (is_delayed) {
    const auto behind = arguments.find_string("x-delayed-type");
    if (!behind) {
      return Fault{wire::ReplyCode::precondition_failed,
                   "Invalid argument, 'x-delayed-type' must be an existing exchange type"};
    }
    if (*behind == delayed_type_name) {
      return Fault{wire::ReplyCode::precondition_failed,
                   "Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'"};
    }
    name = *behind;
  }
  if (name == deduplicating_type_name) return ExchangeKind{ExchangeType::fanout, is_delayed, true};
  for (const ExchangeType type :
       {ExchangeType::direct, ExchangeType::fanout, ExchangeType::topic, ExchangeType::headers}) {
    if (name == name_of(type)) return ExchangeKind{type, is_delayed, false};
  }
  return Fault{wire::ReplyCode::command_invalid, fmt::format("unknown exchange type '{}'", name)};
}

Exchange::Exchange(std::string exchange_name, ExchangeType exchange_type)
    : name{std::move(exchange_name)}, type{exchange_type}, type_name{name_of(exchange_type)} {}

Exchange::~Exchange() = default;

bool Exchange::has(const Binding& binding) const {
  return std::ranges::any_of(bindings_, [&](const Binding& other) {
    return other.destination == binding.destination && other.routing_key == binding.routing_key &&
           other.arguments == binding.arguments;
  });
}

bool Exchange::bind(Binding binding) {
  if (has(binding)) return false;
  if (type == ExchangeType::direct) by_key_[binding.routing_key].push_back(binding.destination);
  bindings_.push_back(std::move(binding));
  return true;
}

Exchange::Unbound Exchange::unbind(const Destination& destination, std::string_view key,
                                   const wire::Table& arguments) {
  const auto found = std::ranges::find_if(bindings_, [&](const Binding& binding) {
    return binding.destination == destination && binding.routing_key == key &&
           binding.arguments == arguments;
  });
  if (found == bindings_.end()) return {};
  const bool was_durable = found->is_durable;
  bindings_.erase(found);
  index();
  return {true, was_durable};
}

std::vector<Binding> Exchange::unbind_all(const Destination& destination) {
  std::vector<Binding> gone;
  std::erase_if(bindings_, [&](Binding& binding) {
    if (!(binding.destination == destination)) return false;
    gone.push_back(binding);
    return true;
  });
  if (!gone.empty()) index();
  return gone;
}

void Exchange::index() {
  by_key_.clear();
  if (type != ExchangeType::direct) return;
  for (const Binding& binding : bindings_) {
    by_key_[binding.routing_key].push_back(binding.destination);
  }
}

void Exchange::match(std::string_view key, const wire::Table* headers,
                     std::vector<Destination>& to) const {
  switch (type) {
    case ExchangeType::direct: {
      const auto found = by_key_.find(key);
      if (found != by_key_.end()) to.insert(to.end(), found->second.begin(), found->second.end());
      return;
    }
    case ExchangeType::fanout:
      for (const Binding& binding : bindings_) to.push_back(binding.destination);
      return;
    case ExchangeType::topic:
      for (const Binding& binding : bindings_) {
        if (topic_matches(binding.routing_key, key)) to.push_back(binding.destination);
      }
      return;
    case ExchangeType::headers: {
      const wire::Table none;
      for (const Binding& binding : bindings_) {
        if (headers_match(binding.arguments, headers ? *headers : none)) {
          to.push_back(binding.destination);
        }
      }
      return;
    }
  }
}

bool topic_matches(std::string_view pattern, std::string_view key) {
  const std::vector<std::string_view> wanted = split(pattern, '.');
  const std::vector<std::string_view> words =
      key.empty() ? std::vector<std::string_view>{} : split(key, '.');
  // reached[j]: the pattern so far matches the first j words.
  std::vector<bool> reached(words.size() + 1, false);
  reached[0] = true;
  for (const std::string_view want : wanted) {
    if (want == "#") {
      for (std::size_t j = 1; j <= words.size(); ++j) reached[j] = reached[j] || reached[j - 1];
      continue;
    }
    for (std::size_t j = words.size(); j > 0; --j) {
      reached[j] = reached[j - 1] && (want == "*" || want == words[j - 1]);
    }
    reached[0] = pattern.empty() && words.empty();
  }
  return reached[words.size()];
}

bool headers_match(const wire::Table& arguments, const wire::Table& headers) {
  const std::string_view mode = arguments.find_string("x-match").value_or("all");
  const bool is_any = mode.starts_with("any");
  const bool with_x = mode.ends_with("-with-x");
  bool any = false;
  for (const wire::Entry& entry : arguments) {
    if (entry.key == "x-match" || (!with_x && entry.key.view().starts_with("x-"))) continue;
    const wire::Value* value = headers.find(entry.key);
    const bool is_same = value && (entry.value.get_if<wire::Void>() || *value == entry.value);
    if (is_any && is_same) any = true;
    if (!is_any && !is_same) return false;
  }
  return is_any ? any : true;
}

}  // namespace pronto::broker
