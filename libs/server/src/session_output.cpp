#include <algorithm>

#include "pronto/server/session.hpp"
#include "pronto/wire/properties.hpp"

namespace pronto::server {

namespace {

std::uint16_t number_of(broker::ChannelId channel) {
  return static_cast<std::uint16_t>(channel);
}

/// The properties with the header x-delivery-count, which each delivery has of its own; without,
/// where a client's own headers are as many as there may be.
Bytes with_delivery_count(BytesView encoded, std::int64_t count) {
  auto properties = wire::decode_properties(encoded);
  PRONTO_ASSERT(properties.has_value());  // checked when it came in
  if (!properties->headers) properties->headers.emplace();
  properties->headers->set("x-delivery-count", count);
  if (!wire::fits_the_wire(*properties->headers)) return Bytes{encoded.begin(), encoded.end()};
  return wire::encode_properties(*properties);
}

}  // namespace

void Session::send(broker::ChannelId channel, const wire::Method& method) {
  if (state_ != State::running) return;
  // Clients that did not ask for it take a cancel from the broker for an error.
  if (!can_be_cancelled_ && std::holds_alternative<wire::BasicCancel>(method)) return;
  append(number_of(channel), method);
}

void Session::deliver(const broker::Deliver& delivery, const broker::ContentPtr& content) {
  if (state_ != State::running) return;
  ++shared_.counters.delivered_total;
  const std::size_t bytes_before = outbox_.bytes();
  append(number_of(delivery.channel), wire::BasicDeliverView{.consumer_tag = delivery.consumer_tag,
                                                             .delivery_tag = delivery.delivery_tag,
                                                             .redelivered = delivery.redelivered,
                                                             .exchange = content->exchange,
                                                             .routing_key = content->routing_key});
  append_content(number_of(delivery.channel), content, delivery.delivery_count);
  delivery_bytes_max_ = std::max(delivery_bytes_max_, outbox_.bytes() - bytes_before);
}

void Session::get_ok(const broker::GetOk& answer, const broker::ContentPtr& content) {
  if (state_ != State::running) return;
  ++shared_.counters.delivered_total;
  append(number_of(answer.channel), wire::BasicGetOk{.delivery_tag = answer.delivery_tag,
                                                     .redelivered = answer.redelivered,
                                                     .exchange = content->exchange,
                                                     .routing_key = content->routing_key,
                                                     .message_count = answer.message_count});
  append_content(number_of(answer.channel), content, answer.delivery_count);
}

void Session::return_message(broker::ChannelId channel, wire::ReplyCode code, std::string_view text,
                             const broker::ContentPtr& content) {
  if (state_ != State::running) return;
  ++shared_.counters.returned_total;
  append(number_of(channel), wire::BasicReturn{.reply_code = static_cast<std::uint16_t>(code),
                                               .reply_text = text,
                                               .exchange = content->exchange,
                                               .routing_key = content->routing_key});
  append_content(number_of(channel), content, std::nullopt);
}

void Session::append_content(std::uint16_t channel, const broker::ContentPtr& content,
                             std::optional<std::int64_t> delivery_count) {
  const BytesView properties = content->properties;
  outbox_.append([&](Bytes& out) {
    if (delivery_count) {
      wire::append_content_header_frame(
          out, channel, with_delivery_count(properties, *delivery_count), content->body.size());
    } else {
      wire::append_content_header_frame(out, channel, properties, content->body.size());
    }
  });
  const std::size_t payload_bytes_max = frame_bytes_max_ - wire::frame_overhead_bytes;
  BytesView body = content->body;
  while (!body.empty()) {
    const BytesView part = body.first(std::min(body.size(), payload_bytes_max));
    body = body.subspan(part.size());
    if (part.size() < Outbox::shared_bytes_min) {
      outbox_.append(
          [&](Bytes& out) { wire::append_frame(out, wire::FrameType::body, channel, part); });
      continue;
    }
    outbox_.append([&](Bytes& out) {
      wire::append_frame_start(out, wire::FrameType::body, channel,
                               static_cast<std::uint32_t>(part.size()));
    });
    outbox_.append_shared(content, part);
    outbox_.append([](Bytes& out) { out.push_back(wire::frame_end); });
  }
}

void Session::confirm(broker::ChannelId channel, std::uint64_t tag, bool multiple, bool is_ack) {
  if (state_ != State::running) return;
  const std::uint16_t number = number_of(channel);
  if (Channel* own = find_channel(number)) {
    // Every publish is answered once and in order.
    (is_ack ? shared_.counters.confirmed_total : shared_.counters.nacked_total) +=
        tag - own->last_confirmed;
    own->last_confirmed = tag;
  }
  if (is_ack) {
    append(number, wire::BasicAck{.delivery_tag = tag, .multiple = multiple});
  } else {
    append(number, wire::BasicNack{.delivery_tag = tag, .multiple = multiple, .requeue = false});
  }
}

void Session::close_channel(broker::ChannelId channel, const wire::Fault& fault) {
  if (state_ != State::running) return;
  const std::uint16_t number = number_of(channel);
  Channel* own = find_channel(number);
  if (!own || own->is_closing) return;
  forget_assembly(*own);
  forget_parked(number);
  own->parked_count = 0;
  own->parked_method_count = 0;
  own->is_closing = true;
  append(number, wire::channel_close(fault));
}

void Session::close_connection(const wire::Fault& fault) {
  say_goodbye(fault);
}

}  // namespace pronto::server
