#include "fake_broker.hpp"

#include <gtest/gtest.h>

namespace pronto::client {

StreamFactory FakeBroker::stream_factory() {
  return [this]() -> Task<Result<std::unique_ptr<Stream>>> {
    connect_times.push_back(loop_.now());
    if (connects_refused > 0) {
      --connects_refused;
      co_return std::make_error_code(std::errc::connection_refused);
    }
    auto [near, far] = make_memory_streams();
    tasks_.spawn(serve(std::move(far)));
    co_return std::move(near);
  };
}

std::vector<std::string> FakeBroker::names(int connection) const {
  std::vector<std::string> found;
  for (const Received& one : received) {
    if (one.connection == connection) found.emplace_back(wire::name_of(one.method));
  }
  return found;
}

Task<> FakeBroker::serve(std::unique_ptr<Stream> stream) {
  const std::shared_ptr<Stream> mine{std::move(stream)};
  stream_ = mine;
  channels_.clear();
  outbox_.clear();
  tasks_.spawn(write(mine));
  tasks_.spawn(beat(mine));
  Bytes inbox;
  Bytes buffer(64 * 1024);
  bool was_greeted = false;
  while (stream_ == mine) {
    while (!is_reading) co_await reading_.wait();
    const Result<std::size_t> got = co_await mine->read_some(buffer);
    if (!got) break;
    if (is_silent || stream_ != mine) continue;
    append(inbox, BytesView{buffer}.first(*got));
    if (!was_greeted) {
      if (inbox.size() < wire::protocol_header_bytes) continue;
      EXPECT_EQ(wire::classify_greeting(inbox), wire::Greeting::amqp_0_9_1);
      inbox.erase(inbox.begin(), inbox.begin() + wire::protocol_header_bytes);
      was_greeted = true;
      if (!greeting.empty()) {
        send_bytes(as_bytes(greeting));
        continue;
      }
      send(0, wire::ConnectionStart{.server_properties = wire::Table{{"product", "Fake"}},
                                    .mechanisms = mechanisms,
                                    .locales = "en_US"});
    }
    on_bytes(inbox);
  }
  if (stream_ == mine) drop();
}

Task<> FakeBroker::write(std::shared_ptr<Stream> stream) {
  while (stream_ == stream) {
    while (outbox_.empty() && stream_ == stream) co_await wake_.wait();
    if (stream_ != stream) co_return;
    const Bytes sending = std::exchange(outbox_, {});
    const Result<void> written = co_await write_all(*stream, sending);
    if (!written) co_return;
  }
}

Task<> FakeBroker::beat(std::shared_ptr<Stream> stream) {
  while (stream_ == stream) {
    co_await sleep_for(std::chrono::milliseconds{500});
    if (sends_heartbeats && stream_ == stream) {
      Bytes beat;
      wire::append_heartbeat(beat);
      send_bytes(beat);
    }
  }
}

void FakeBroker::drop() {
  if (!stream_) return;
  stream_->close();
  stream_.reset();
  wake_.notify_all();
}

void FakeBroker::send(std::uint16_t channel, const wire::Method& method) {
  Bytes frame;
  wire::append_method_frame(frame, channel, method);
  send_bytes(frame);
}

void FakeBroker::send_bytes(BytesView bytes) {
  append(outbox_, bytes);
  wake_.notify_all();
}

void FakeBroker::deliver(std::uint16_t channel, const std::string& tag, std::uint64_t delivery_tag,
                         const std::string& body, bool redelivered) {
  send(channel, wire::BasicDeliver{.consumer_tag = tag,
                                   .delivery_tag = delivery_tag,
                                   .redelivered = redelivered,
                                   .exchange = "ex",
                                   .routing_key = "key"});
  wire::append_content_frames(outbox_, channel, wire::encode_properties({.message_id = "id"}),
                              as_bytes(body), wire::frame_bytes_min);
}

void FakeBroker::give_back(std::uint16_t channel, const Published& message) {
  send(channel, wire::BasicReturn{.reply_code = 312,
                                  .reply_text = "NO_ROUTE",
                                  .exchange = message.exchange,
                                  .routing_key = message.routing_key});
  wire::append_content_frames(outbox_, channel, wire::encode_properties(message.properties),
                              as_bytes(message.body), wire::frame_bytes_min);
}

void FakeBroker::close_channel(std::uint16_t channel, const wire::Fault& fault) {
  channels_[channel].is_closing = true;
  send(channel, wire::channel_close(fault));
}

void FakeBroker::on_bytes(Bytes& received_bytes) {
  std::size_t taken = 0;
  while (stream_) {
    const auto frame = wire::parse_frame(BytesView{received_bytes}.subspan(taken), 1 << 20);
    ASSERT_TRUE(frame.has_value()) << frame.error().text;
    if (!*frame) break;
    frame_bytes_seen = std::max(frame_bytes_seen, (*frame)->frame_bytes());
    taken += (*frame)->frame_bytes();
    const std::uint16_t number = (*frame)->channel;
    Channel& channel = channels_[number];
    switch ((*frame)->type) {
      case wire::FrameType::heartbeat:
        ++heartbeat_count;
        break;
      case wire::FrameType::header: {
        const auto header = wire::decode_content_header((*frame)->payload);
        ASSERT_TRUE(header.has_value());
        if (channel.is_closing) break;
        ASSERT_TRUE(channel.publish.has_value());
        channel.body_bytes = header->body_bytes;
        channel.content = {.exchange = channel.publish->exchange.text(),
                           .routing_key = channel.publish->routing_key.text(),
                           .properties = header->properties,
                           .channel = number};
        if (channel.body_bytes == 0) on_published(number);
        break;
      }
      case wire::FrameType::body:
        if (channel.is_closing) break;
        channel.content.body += as_text((*frame)->payload);
        if (channel.content.body.size() == channel.body_bytes) on_published(number);
        break;
      case wire::FrameType::method: {
        const auto method = wire::decode_method((*frame)->payload);
        ASSERT_TRUE(method.has_value()) << method.error().text;
        received.push_back({connection_count(), number, *method});
        if (methods_until_drop >= 0 && methods_until_drop-- == 0) return drop();
        on_method(number, *method);
      }
    }
  }
  received_bytes.erase(received_bytes.begin(),
                       received_bytes.begin() + static_cast<std::ptrdiff_t>(taken));
}

void FakeBroker::on_published(std::uint16_t number) {
  Channel& channel = channels_[number];
  channel.content.tag = ++channel.published;
  const Published message = channel.content;
  published.push_back(message);
  const wire::BasicPublish method = *std::exchange(channel.publish, std::nullopt);
  if (missing_exchanges.contains(message.exchange)) {
    return close_channel(
        number, {wire::ReplyCode::not_found, "no exchange '" + message.exchange + "' in vhost '/'",
                 wire::BasicPublish::id});
  }
  if (method.mandatory && unroutable_keys.contains(message.routing_key)) {
    give_back(number, message);
  }
  if (channel.is_confirming && confirms_publishes) confirm(number, message.tag);
}

void FakeBroker::on_method(std::uint16_t number, const wire::Method& method) {
  Channel& channel = channels_[number];
  if (channel.is_closing) {
    if (std::holds_alternative<wire::ChannelCloseOk>(method)) channels_.erase(number);
    return;
  }
  const auto no_queue = [&](const std::string& name, wire::MethodId id) {
    if (!missing_queues.contains(name)) return false;
    close_channel(number, {wire::ReplyCode::not_found, "no queue '" + name + "' in vhost '/'", id});
    return true;
  };
  const auto answer = [&](const wire::Method& reply) { send(number, reply); };
  std::visit(
      [&]<class M>(const M& asked) {
        if constexpr (std::same_as<M, wire::ConnectionStartOk>) {
          login_refused ? answer(*login_refused) : answer(tune);
        } else if constexpr (std::same_as<M, wire::ConnectionOpen>) {
          open_refused ? answer(*open_refused) : answer(wire::ConnectionOpenOk{});
        } else if constexpr (std::same_as<M, wire::ConnectionClose>) {
          if (ends_after_close) answer(wire::ConnectionCloseOk{});
        } else if constexpr (std::same_as<M, wire::ChannelOpen>) {
          answer(wire::ChannelOpenOk{});
        } else if constexpr (std::same_as<M, wire::ChannelClose>) {
          answer(wire::ChannelCloseOk{});
          channels_.erase(number);
        } else if constexpr (std::same_as<M, wire::ConfirmSelect>) {
          channel.is_confirming = true;
          answer(wire::ConfirmSelectOk{});
        } else if constexpr (std::same_as<M, wire::BasicQos>) {
          answer(wire::BasicQosOk{});
        } else if constexpr (std::same_as<M, wire::TxSelect>) {
          answer(wire::TxSelectOk{});
        } else if constexpr (std::same_as<M, wire::TxCommit>) {
          answer(wire::TxCommitOk{});
        } else if constexpr (std::same_as<M, wire::TxRollback>) {
          answer(wire::TxRollbackOk{});
        } else if constexpr (std::same_as<M, wire::ExchangeDeclare>) {
          if (asked.passive && missing_exchanges.contains(asked.exchange.text())) {
            close_channel(number, {wire::ReplyCode::not_found, "no exchange", M::id});
          } else {
            answer(wire::ExchangeDeclareOk{});
          }
        } else if constexpr (std::same_as<M, wire::ExchangeDelete>) {
          answer(wire::ExchangeDeleteOk{});
        } else if constexpr (std::same_as<M, wire::ExchangeBind>) {
          answer(wire::ExchangeBindOk{});
        } else if constexpr (std::same_as<M, wire::ExchangeUnbind>) {
          answer(wire::ExchangeUnbindOk{});
        } else if constexpr (std::same_as<M, wire::QueueDeclare>) {
          if (asked.passive && no_queue(asked.queue.text(), M::id)) return;
          if (locked_queue_declares > 0) {
            --locked_queue_declares;
            return close_channel(number, {wire::ReplyCode::resource_locked,
                                          "cannot obtain exclusive access", M::id});
          }
          const std::string name = asked.queue.empty()
                                       ? "amq.gen-" + std::to_string(++generated_names_)
                                       : asked.queue.text();
          answer(wire::QueueDeclareOk{.queue = name, .message_count = 3, .consumer_count = 1});
        } else if constexpr (std::same_as<M, wire::QueueBind>) {
          answer(wire::QueueBindOk{});
        } else if constexpr (std::same_as<M, wire::QueueUnbind>) {
          answer(wire::QueueUnbindOk{});
        } else if constexpr (std::same_as<M, wire::QueuePurge>) {
          answer(wire::QueuePurgeOk{.message_count = 7});
        } else if constexpr (std::same_as<M, wire::QueueDelete>) {
          answer(wire::QueueDeleteOk{.message_count = 9});
        } else if constexpr (std::same_as<M, wire::BasicConsume>) {
          if (!no_queue(asked.queue.text(), M::id)) {
            answer(wire::BasicConsumeOk{.consumer_tag = asked.consumer_tag});
          }
        } else if constexpr (std::same_as<M, wire::BasicCancel>) {
          if (!asked.no_wait) answer(wire::BasicCancelOk{.consumer_tag = asked.consumer_tag});
        } else if constexpr (std::same_as<M, wire::BasicGet>) {
          if (no_queue(asked.queue.text(), M::id)) return;
          std::deque<std::string>& queue = messages[asked.queue.text()];
          if (queue.empty()) return answer(wire::BasicGetEmpty{});
          answer(wire::BasicGetOk{.delivery_tag = 1, .exchange = "ex", .routing_key = "key"});
          wire::append_content_frames(outbox_, number, wire::encode_properties({}),
                                      as_bytes(queue.front()), wire::frame_bytes_min);
          queue.pop_front();
        } else if constexpr (std::same_as<M, wire::BasicPublish>) {
          channel.publish = asked;
        }
      },
      method);
}

}  // namespace pronto::client
