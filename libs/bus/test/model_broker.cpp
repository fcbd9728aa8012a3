#include "model_broker.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "pronto/base/text.hpp"
#include "pronto/wire/frame.hpp"

namespace pronto {

client::StreamFactory ModelBroker::stream_factory() {
  return [this]() -> Task<Result<std::unique_ptr<Stream>>> {
    co_await yield();
    if (refuses_connections) co_return std::make_error_code(std::errc::connection_refused);
    auto [near, far] = make_memory_streams();
    auto connection = std::make_shared<Connection>();
    connection->id = ++last_connection_;
    connection->stream = std::move(far);
    connections_.push_back(connection);
    tasks_.spawn(serve(connection));
    tasks_.spawn(write(connection));
    co_return std::move(near);
  };
}

Task<> ModelBroker::serve(std::shared_ptr<Connection> connection) {
  Bytes inbox;
  Bytes buffer(64 * 1024);
  bool was_greeted = false;
  while (connection->is_open) {
    const Result<std::size_t> got = co_await connection->stream->read_some(buffer);
    if (!got) break;
    append(inbox, BytesView{buffer}.first(*got));
    if (!was_greeted) {
      if (inbox.size() < wire::protocol_header_bytes) continue;
      inbox.erase(inbox.begin(), inbox.begin() + wire::protocol_header_bytes);
      was_greeted = true;
      send(*connection, 0,
           wire::ConnectionStart{.server_properties = wire::Table{{"product", "Model"}},
                                 .mechanisms = "PLAIN",
                                 .locales = "en_US"});
    }
    on_bytes(*connection, inbox);
  }
  if (connection->is_open) end(*connection);
}

Task<> ModelBroker::write(std::shared_ptr<Connection> connection) {
  while (connection->is_open) {
    while (connection->outbox.empty() && connection->is_open) co_await connection->wake.wait();
    if (!connection->is_open) co_return;
    const Bytes sending = std::exchange(connection->outbox, {});
    const Result<void> written = co_await write_all(*connection->stream, sending);
    if (!written) co_return;
  }
}

void ModelBroker::end(Connection& connection) {
  if (!std::exchange(connection.is_open, false)) return;
  connection.stream->close();
  connection.wake.notify_all();
  std::set<std::string> touched;
  for (auto& [number, channel] : connection.channels) {
    for (auto& [tag, unacked] : channel.unacked) {
      touched.insert(unacked.queue);
      give_back(std::move(unacked));
    }
    channel.unacked.clear();
  }
  connection.channels.clear();
  for (auto queue = queues_.begin(); queue != queues_.end();) {
    if (queue->second.owner == connection.id) {
      std::erase_if(bindings_, [&](const Binding& one) { return one.queue == queue->first; });
      queue = queues_.erase(queue);
    } else {
      ++queue;
    }
  }
  std::erase_if(connections_, [&](const auto& one) { return one.get() == &connection; });
  for (const std::string& queue : touched) pump(queue);
}

void ModelBroker::drop_connections() {
  while (!connections_.empty()) {
    const auto connection = connections_.front();
    end(*connection);
  }
}

void ModelBroker::block(bool is_blocked) {
  for (const auto& connection : connections_) {
    if (is_blocked) {
      send(*connection, 0, wire::ConnectionBlocked{.reason = "low on disk"});
    } else {
      send(*connection, 0, wire::ConnectionUnblocked{});
    }
  }
}

void ModelBroker::forget_all() {
  drop_connections();
  exchanges_.clear();
  queues_.clear();
  bindings_.clear();
}

std::size_t ModelBroker::ready_count(const std::string& queue) const {
  const auto found = queues_.find(queue);
  return found == queues_.end() ? 0 : found->second.ready.size();
}

std::size_t ModelBroker::unacked_count(const std::string& queue) const {
  std::size_t count = 0;
  for (const auto& connection : connections_) {
    for (const auto& [number, channel] : connection->channels) {
      for (const auto& [tag, unacked] : channel.unacked) count += unacked.queue == queue ? 1 : 0;
    }
  }
  return count;
}

std::vector<std::string> ModelBroker::published_to(const std::string& exchange) const {
  std::vector<std::string> bodies;
  for (const auto& [to, body] : published_) {
    if (to == exchange) bodies.push_back(body);
  }
  return bodies;
}

void ModelBroker::put(const std::string& queue, std::string body,
                      wire::BasicProperties properties) {
  enqueue(queue,
          {.routing_key = queue, .properties = std::move(properties), .body = std::move(body)});
}

void ModelBroker::send(Connection& connection, std::uint16_t channel, const wire::Method& method) {
  Bytes frame;
  wire::append_method_frame(frame, channel, method);
  append(connection.outbox, frame);
  connection.wake.notify_all();
}

void ModelBroker::send_content(Connection& connection, std::uint16_t channel,
                               const Message& message) {
  wire::append_content_frames(connection.outbox, channel,
                              wire::encode_properties(message.properties), as_bytes(message.body),
                              131'072);
}

void ModelBroker::close_channel(Connection& connection, std::uint16_t number,
                                const wire::Fault& fault) {
  Channel& channel = connection.channels[number];
  channel.is_closing = true;
  for (auto& [tag, unacked] : channel.unacked) give_back(std::move(unacked));
  channel.unacked.clear();
  channel.queue_by_tag.clear();
  send(connection, number, wire::channel_close(fault));
}

bool ModelBroker::route(Message message) {
  published_.emplace_back(message.exchange, message.body);
  std::set<std::string> targets;
  if (message.exchange.empty()) {
    if (queues_.contains(message.routing_key)) targets.insert(message.routing_key);
  } else {
    const bool is_fanout = exchanges_.at(message.exchange) == "fanout";
    for (const Binding& binding : bindings_) {
      if (binding.exchange == message.exchange &&
          (is_fanout || binding.key == message.routing_key)) {
        targets.insert(binding.queue);
      }
    }
  }
  for (const std::string& queue : targets) {
    enqueue(queue, {.exchange = message.exchange,
                    .routing_key = message.routing_key,
                    .properties = message.properties,
                    .body = message.body});
  }
  return !targets.empty();
}

void ModelBroker::enqueue(const std::string& name, Message message) {
  Queue& queue = queues_.at(name);
  message.number = ++last_number_;
  std::optional<std::int64_t> ttl = queue.ttl;
  if (message.properties.expiration) {
    const auto own = parse_unsigned(message.properties.expiration->view());
    if (own) ttl = std::min(ttl.value_or(1'000'000'000), static_cast<std::int64_t>(*own));
  }
  const std::uint64_t number = message.number;
  if (ttl) {
    message.expiry =
        Timer{loop_, milliseconds{*ttl}, [this, name, number] { expire(name, number); }};
  }
  queue.ready.emplace(number, std::move(message));
  pump(name);
}

void ModelBroker::expire(const std::string& name, std::uint64_t number) {
  const auto queue = queues_.find(name);
  if (queue == queues_.end()) return;
  auto found = queue->second.ready.extract(number);
  if (found.empty()) return;
  const auto exchange = queue->second.arguments.find_string("x-dead-letter-exchange");
  if (!exchange) return;
  Message message = std::move(found.mapped());
  message.expiry.stop();
  message.exchange = std::string{*exchange};
  if (!message.properties.headers) message.properties.headers.emplace();
  message.properties.headers->set("x-death", wire::Array{wire::Table{{"queue", name}}});
  route(std::move(message));
}

void ModelBroker::give_back(Channel::Unacked unacked) {
  const auto queue = queues_.find(unacked.queue);
  if (queue == queues_.end()) return;
  unacked.message.redelivered = true;
  const std::uint64_t number = unacked.message.number;
  queue->second.ready.emplace(number, std::move(unacked.message));
}

void ModelBroker::settle(Channel& channel, std::uint64_t tag, bool multiple, bool requeue) {
  std::set<std::string> touched;
  for (auto at = channel.unacked.begin(); at != channel.unacked.end();) {
    if (at->first != tag && !(multiple && (tag == 0 || at->first < tag))) {
      ++at;
      continue;
    }
    touched.insert(at->second.queue);
    if (requeue) give_back(std::move(at->second));
    at = channel.unacked.erase(at);
  }
  for (const std::string& queue : touched) pump(queue);
}

void ModelBroker::pump(const std::string& queue) {
  while (deliver_one(queue)) {
  }
}

bool ModelBroker::deliver_one(const std::string& name) {
  const auto found = queues_.find(name);
  if (found == queues_.end() || found->second.ready.empty()) return false;
  struct Place {
    Connection* connection;
    std::uint16_t number;
    Channel* channel;
    std::string tag;
  };
  std::vector<Place> free;
  for (const auto& connection : connections_) {
    for (auto& [number, channel] : connection->channels) {
      if (channel.is_closing) continue;
      if (channel.prefetch != 0 && channel.unacked.size() >= channel.prefetch) continue;
      for (const auto& [tag, queue] : channel.queue_by_tag) {
        if (queue == name) free.push_back({connection.get(), number, &channel, tag});
      }
    }
  }
  if (free.empty()) return false;
  Place& place = free[found->second.next_consumer++ % free.size()];
  auto taken = found->second.ready.extract(found->second.ready.begin());
  Message message = std::move(taken.mapped());
  message.expiry.stop();
  const std::uint64_t tag = ++place.channel->delivered;
  send(*place.connection, place.number,
       wire::BasicDeliver{.consumer_tag = place.tag,
                          .delivery_tag = tag,
                          .redelivered = message.redelivered,
                          .exchange = message.exchange,
                          .routing_key = message.routing_key});
  send_content(*place.connection, place.number, message);
  place.channel->unacked.emplace(tag, Channel::Unacked{name, std::move(message), place.tag});
  return true;
}

void ModelBroker::on_bytes(Connection& connection, Bytes& inbox) {
  std::size_t taken = 0;
  while (connection.is_open) {
    const auto frame = wire::parse_frame(BytesView{inbox}.subspan(taken), 1 << 20);
    ASSERT_TRUE(frame.has_value()) << frame.error().text;
    if (!*frame) break;
    taken += (*frame)->frame_bytes();
    const std::uint16_t number = (*frame)->channel;
    Channel& channel = connection.channels[number];
    switch ((*frame)->type) {
      case wire::FrameType::heartbeat:
        break;
      case wire::FrameType::header: {
        const auto header = wire::decode_content_header((*frame)->payload);
        ASSERT_TRUE(header.has_value());
        if (!channel.publish) break;
        channel.body_bytes = header->body_bytes;
        channel.properties = header->properties;
        channel.body.clear();
        if (channel.body_bytes == 0) on_published(connection, number);
        break;
      }
      case wire::FrameType::body:
        if (!channel.publish) break;
        channel.body += as_text((*frame)->payload);
        if (channel.body.size() == channel.body_bytes) on_published(connection, number);
        break;
      case wire::FrameType::method: {
        const auto method = wire::decode_method((*frame)->payload);
        ASSERT_TRUE(method.has_value()) << method.error().text;
        on_method(connection, number, *method);
      }
    }
  }
  inbox.erase(inbox.begin(), inbox.begin() + static_cast<std::ptrdiff_t>(taken));
}

void ModelBroker::on_published(Connection& connection, std::uint16_t number) {
  Channel& channel = connection.channels[number];
  const wire::BasicPublish method = *std::exchange(channel.publish, std::nullopt);
  const std::uint64_t tag = ++channel.published;
  Message message{.exchange = method.exchange.text(),
                  .routing_key = method.routing_key.text(),
                  .properties = std::move(channel.properties),
                  .body = std::move(channel.body)};
  if (!message.exchange.empty() && !exchanges_.contains(message.exchange)) {
    return close_channel(
        connection, number,
        {wire::ReplyCode::not_found, "no exchange '" + message.exchange + "' in vhost '/'",
         wire::BasicPublish::id});
  }
  if (channel.is_confirming && nacked_exchanges.contains(message.exchange)) {
    return send(connection, number, wire::BasicNack{.delivery_tag = tag});
  }
  constexpr std::string_view reply_to = "amq.rabbitmq.reply-to";
  bool is_routed = false;
  if (message.exchange.empty() && message.routing_key.starts_with(reply_to)) {
    const auto parts = split(message.routing_key, '/');
    for (const auto& one : connections_) {
      if (parts.size() != 3 || std::to_string(one->id) != parts[1]) continue;
      const auto asked = static_cast<std::uint16_t>(*parse_unsigned(parts[2]));
      send(*one, asked,
           wire::BasicDeliver{.consumer_tag = one->channels[asked].reply_tag,
                              .delivery_tag = ++one->channels[asked].delivered,
                              .routing_key = message.routing_key});
      send_content(*one, asked, message);
      is_routed = true;
    }
  } else {
    if (message.properties.reply_to == reply_to) {
      message.properties.reply_to = std::string{reply_to} + "/" + std::to_string(connection.id) +
                                    "/" + std::to_string(number);
    }
    const Message copy{.exchange = message.exchange,
                       .routing_key = message.routing_key,
                       .properties = message.properties,
                       .body = message.body};
    is_routed = route(std::move(message));
    if (!is_routed && method.mandatory) {
      send(connection, number,
           wire::BasicReturn{.reply_code = 312,
                             .reply_text = "NO_ROUTE",
                             .exchange = copy.exchange,
                             .routing_key = copy.routing_key});
      send_content(connection, number, copy);
    }
  }
  if (channel.is_confirming && confirms) {
    send(connection, number, wire::BasicAck{.delivery_tag = tag});
  }
}

void ModelBroker::on_method(Connection& connection, std::uint16_t number,
                            const wire::Method& method) {
  Channel& channel = connection.channels[number];
  if (channel.is_closing) {
    if (std::holds_alternative<wire::ChannelCloseOk>(method)) connection.channels.erase(number);
    return;
  }
  const auto answer = [&](const wire::Method& reply) { send(connection, number, reply); };
  const auto no_queue = [&](const std::string& name, wire::MethodId id) {
    if (queues_.contains(name)) return false;
    close_channel(connection, number,
                  {wire::ReplyCode::not_found, "no queue '" + name + "' in vhost '/'", id});
    return true;
  };
  std::visit(
      [&]<class M>(const M& asked) {
        if constexpr (std::same_as<M, wire::ConnectionStartOk>) {
          answer(wire::ConnectionTune{.channel_max = 2047, .frame_max = 131'072, .heartbeat = 0});
        } else if constexpr (std::same_as<M, wire::ConnectionOpen>) {
          answer(wire::ConnectionOpenOk{});
        } else if constexpr (std::same_as<M, wire::ConnectionClose>) {
          answer(wire::ConnectionCloseOk{});
        } else if constexpr (std::same_as<M, wire::ChannelOpen>) {
          answer(wire::ChannelOpenOk{});
        } else if constexpr (std::same_as<M, wire::ChannelClose>) {
          channel.queue_by_tag.clear();
          settle(channel, 0, true, true);
          answer(wire::ChannelCloseOk{});
          connection.channels.erase(number);
        } else if constexpr (std::same_as<M, wire::ConfirmSelect>) {
          channel.is_confirming = true;
          answer(wire::ConfirmSelectOk{});
        } else if constexpr (std::same_as<M, wire::BasicQos>) {
          channel.prefetch = asked.prefetch_count;
          answer(wire::BasicQosOk{});
        } else if constexpr (std::same_as<M, wire::ExchangeDeclare>) {
          exchanges_.emplace(asked.exchange.text(), asked.type.text());
          answer(wire::ExchangeDeclareOk{});
        } else if constexpr (std::same_as<M, wire::QueueDeclare>) {
          std::string name = asked.queue.text();
          if (asked.passive && no_queue(name, M::id)) return;
          if (name.empty()) name = "amq.gen-" + std::to_string(++last_number_);
          if (!queues_.contains(name)) {
            queues_[name].arguments = asked.arguments;
            queues_[name].ttl = asked.arguments.find_integer("x-message-ttl");
            queues_[name].owner = asked.exclusive ? connection.id : 0;
          }
          std::uint32_t consumer_count = 0;
          for (const auto& one : connections_) {
            for (const auto& [id, other] : one->channels) {
              for (const auto& [tag, queue] : other.queue_by_tag) {
                consumer_count += queue == name ? 1 : 0;
              }
            }
          }
          answer(wire::QueueDeclareOk{
              .queue = name,
              .message_count = static_cast<std::uint32_t>(queues_[name].ready.size()),
              .consumer_count = consumer_count});
        } else if constexpr (std::same_as<M, wire::QueueBind>) {
          const bool is_known = std::ranges::any_of(bindings_, [&](const Binding& one) {
            return one.exchange == asked.exchange && one.queue == asked.queue &&
                   one.key == asked.routing_key;
          });
          if (!is_known) {
            bindings_.push_back(
                {asked.exchange.text(), asked.queue.text(), asked.routing_key.text()});
          }
          answer(wire::QueueBindOk{});
        } else if constexpr (std::same_as<M, wire::BasicConsume>) {
          answer(wire::BasicConsumeOk{.consumer_tag = asked.consumer_tag});
          if (asked.queue == "amq.rabbitmq.reply-to") {
            channel.reply_tag = asked.consumer_tag.text();
          } else if (!no_queue(asked.queue.text(), M::id)) {
            channel.queue_by_tag[asked.consumer_tag.text()] = asked.queue.text();
            pump(asked.queue.text());
          }
        } else if constexpr (std::same_as<M, wire::BasicCancel>) {
          channel.queue_by_tag.erase(asked.consumer_tag.text());
          if (!asked.no_wait) answer(wire::BasicCancelOk{.consumer_tag = asked.consumer_tag});
        } else if constexpr (std::same_as<M, wire::BasicGet>) {
          if (no_queue(asked.queue.text(), M::id)) return;
          auto& ready = queues_[asked.queue.text()].ready;
          if (ready.empty()) return answer(wire::BasicGetEmpty{});
          auto taken = ready.extract(ready.begin());
          const std::uint64_t tag = ++channel.delivered;
          answer(wire::BasicGetOk{.delivery_tag = tag,
                                  .redelivered = taken.mapped().redelivered,
                                  .exchange = taken.mapped().exchange,
                                  .routing_key = taken.mapped().routing_key});
          send_content(connection, number, taken.mapped());
          channel.unacked.emplace(
              tag, Channel::Unacked{asked.queue.text(), std::move(taken.mapped()), ""});
        } else if constexpr (std::same_as<M, wire::BasicAck>) {
          settle(channel, asked.delivery_tag, asked.multiple, false);
        } else if constexpr (std::same_as<M, wire::BasicReject>) {
          settle(channel, asked.delivery_tag, false, asked.requeue);
        } else if constexpr (std::same_as<M, wire::BasicNack>) {
          settle(channel, asked.delivery_tag, asked.multiple, asked.requeue);
        } else if constexpr (std::same_as<M, wire::BasicPublish>) {
          channel.publish = asked;
        }
      },
      method);
}

}  // namespace pronto
