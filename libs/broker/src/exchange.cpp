#include "exchange.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "pronto/wire/writer.hpp"
#include "queue.hpp"
#include "topic_tree.hpp"

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

namespace {

const void* address_of(const Destination& destination) {
  if (destination.queue) return destination.queue;
  return destination.exchange;
}

std::size_t hash_of(const Binding& binding) {
  std::size_t hash = std::hash<std::string_view>{}(binding.routing_key);
  const auto mix = [&hash](std::size_t other) { hash = (hash ^ other) * 0x9E37'79B9'7F4A'7C15U; };
  mix(std::hash<const void*>{}(address_of(binding.destination)));
  if (!binding.arguments.empty()) {
    Bytes encoded;
    wire::Writer{encoded}.write(binding.arguments);
    mix(std::hash<std::string_view>{}(as_text(encoded)));
  }
  return hash;
}

}  // namespace

Exchange::Bindings::iterator Exchange::find(const Binding& binding, std::size_t hash) {
  const auto [first, last] = by_hash_.equal_range(hash);
  for (auto at = first; at != last; ++at) {
    const Binding& other = at->second->binding;
    if (other.destination == binding.destination && other.routing_key == binding.routing_key &&
        other.arguments == binding.arguments) {
      return at->second;
    }
  }
  return bindings_.end();
}

bool Exchange::has(const Binding& binding) {
  return find(binding, hash_of(binding)) != bindings_.end();
}

bool Exchange::bind(Binding binding) {
  const std::size_t hash = hash_of(binding);
  if (find(binding, hash) != bindings_.end()) return false;
  index(binding);
  Place& made = bindings_.emplace_back(std::move(binding), hash);
  by_hash_.emplace(hash, std::prev(bindings_.end()));
  Place*& last = by_destination_[address_of(made.binding.destination)];
  made.before = last;
  if (last) last->after = &made;
  last = &made;
  return true;
}

Exchange::Unbound Exchange::unbind(const Destination& destination, std::string_view key,
                                   const wire::Table& arguments) {
  const Binding binding{destination, std::string{key}, arguments};
  const auto found = find(binding, hash_of(binding));
  if (found == bindings_.end()) return {};
  const bool was_durable = found->binding.is_durable;
  remove(found);
  return {true, was_durable};
}

std::size_t Exchange::unbind_all(const Destination& destination) {
  std::size_t count = 0;
  for (auto last = by_destination_.find(address_of(destination)); last != by_destination_.end();
       last = by_destination_.find(address_of(destination))) {
    const Binding& binding = last->second->binding;
    remove(find(binding, last->second->hash));
    ++count;
  }
  return count;
}

void Exchange::remove(Bindings::iterator place) {
  const auto [first, last] = by_hash_.equal_range(place->hash);
  by_hash_.erase(std::find_if(first, last, [&](const auto& one) { return one.second == place; }));
  if (place->before) place->before->after = place->after;
  if (place->after) {
    place->after->before = place->before;
  } else if (place->before) {
    by_destination_[address_of(place->binding.destination)] = place->before;
  } else {
    by_destination_.erase(address_of(place->binding.destination));
  }
  forget(place->binding);
  bindings_.erase(place);
}

void Exchange::index(const Binding& binding) {
  if (type == ExchangeType::direct) by_key_[binding.routing_key].push_back(binding.destination);
  if (type != ExchangeType::topic) return;
  if (!topics_) topics_ = std::make_unique<TopicTree>();
  topics_->add(binding.routing_key, binding.destination);
}

void Exchange::forget(const Binding& binding) {
  if (type == ExchangeType::direct) {
    const auto found = by_key_.find(binding.routing_key);
    found->second.erase(std::ranges::find(found->second, binding.destination));
    if (found->second.empty()) by_key_.erase(found);
  }
  if (type == ExchangeType::topic) topics_->remove(binding.routing_key, binding.destination);
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
      for (const Place& place : bindings_) to.push_back(place.binding.destination);
      return;
    case ExchangeType::topic:
      if (topics_) topics_->match(key, to);
      return;
    case ExchangeType::headers: {
      const wire::Table none;
      for (const Place& place : bindings_) {
        if (headers_match(place.binding.arguments, headers ? *headers : none)) {
          to.push_back(place.binding.destination);
        }
      }
      return;
    }
  }
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
