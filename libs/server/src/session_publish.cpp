#include <fmt/format.h>

#include <algorithm>

#include "pronto/server/session.hpp"
#include "pronto/wire/properties.hpp"

namespace pronto::server {

using wire::Fault;
using wire::ReplyCode;

Session::Outcome Session::on_header(std::uint16_t number, Channel& channel, BytesView payload,
                                    Now now) {
  if (!channel.assembly) {
    return Fault{ReplyCode::unexpected_frame,
                 "expected method frame, got non method frame instead"};
  }
  if (channel.assembly->has_header) {
    return Fault{ReplyCode::unexpected_frame,
                 "expected content body, got non content body frame instead",
                 wire::BasicPublish::id};
  }
  const auto with_method = [](Fault fault) {
    fault.method = wire::BasicPublish::id;
    return fault;
  };
  const auto header = wire::parse_content_header(payload);
  if (!header) return with_method(header.error());
  if (header->class_id != wire::basic_class_id) {
    return Fault{ReplyCode::unexpected_frame,
                 fmt::format("expected content header for class {}, got one for class {} instead",
                             wire::basic_class_id, header->class_id),
                 wire::BasicPublish::id};
  }
  const auto properties = wire::peek_properties(header->encoded_properties);
  if (!properties) return with_method(properties.error());
  const std::uint64_t bytes_max = shared_.options.message_bytes_max;
  if (header->body_bytes > bytes_max) {
    const Fault fault{ReplyCode::precondition_failed,
                      fmt::format("message size {} is larger than configured max size {}",
                                  header->body_bytes, bytes_max),
                      wire::BasicPublish::id};
    const broker::ChannelId id{number};
    close_channel(id, fault);
    shared_.engine.channel_closed(id_, id, now.wall);
    settle(now);
    return Taken::yes;
  }
  Assembly& assembly = *channel.assembly;
  assembly.has_header = true;
  broker::Content& content = *assembly.content;
  content.properties.assign(header->encoded_properties.begin(), header->encoded_properties.end());
  assembly.bytes_missing = header->body_bytes;
  assembling_bytes_ += content.properties.size();
  if (header->body_bytes == 0) return on_assembled(number, channel, now);
  // An announced size costs nothing yet: memory comes with the bytes.
  constexpr std::uint64_t reserved_bytes_max = 128 * 1024;
  content.body.reserve(static_cast<std::size_t>(std::min(header->body_bytes, reserved_bytes_max)));
  return Taken::yes;
}

Session::Outcome Session::on_body(std::uint16_t number, Channel& channel, BytesView payload,
                                  Now now) {
  if (!channel.assembly) {
    return Fault{ReplyCode::unexpected_frame,
                 "expected method frame, got non method frame instead"};
  }
  Assembly& assembly = *channel.assembly;
  if (!assembly.has_header) {
    return Fault{ReplyCode::unexpected_frame,
                 "expected content header for class 60, got non content header frame instead",
                 wire::BasicPublish::id};
  }
  if (payload.size() > assembly.bytes_missing) {
    return Fault{ReplyCode::frame_error, "body longer than its header announced",
                 wire::BasicPublish::id};
  }
  if (payload.empty()) {
    return Fault{ReplyCode::frame_error, "body frame without a body", wire::BasicPublish::id};
  }
  if (has_no_room()) return Taken::not_now;
  pronto::append(assembly.content->body, payload);
  assembling_bytes_ += payload.size();
  assembly.bytes_missing -= payload.size();
  if (assembly.bytes_missing > 0) return Taken::yes;
  return on_assembled(number, channel, now);
}

Session::Outcome Session::on_assembled(std::uint16_t number, Channel& channel, Now now) {
  ++shared_.counters.published_total;
  const broker::PublishFlags flags = channel.assembly->flags;
  broker::ContentPtr content = channel.assembly->content;
  forget_assembly(channel);
  if (is_blocked_ || channel.parked_count > 0) {
    constexpr std::size_t overhead_bytes = 512;
    const std::size_t bytes = content->body.size() + content->properties.size() + overhead_bytes;
    park(number, channel, ParkedPublish{flags, std::move(content)}, bytes);
  } else {
    hand_in(number, flags, std::move(content), now);
  }
  return Taken::yes;
}

void Session::hand_in(std::uint16_t number, broker::PublishFlags flags, broker::ContentPtr content,
                      Now now) {
  shared_.engine.on_publish(id_, broker::ChannelId{number}, flags, std::move(content), now.wall);
  settle(now);
}

void Session::hand_in(std::uint16_t number, const wire::Method& method, Now now) {
  shared_.engine.on_method(id_, broker::ChannelId{number}, method, now.wall);
  settle(now);
}

/// Whether `method` may be done before what is parked on its channel: answers to deliveries free
/// what the broker is short of; a method with a reply only where no reply is owed before it.
bool Session::may_overtake(const Channel& channel, const wire::Method& method) const {
  const wire::MethodId id = wire::id_of(method);
  if (id == wire::BasicAck::id || id == wire::BasicNack::id || id == wire::BasicReject::id) {
    return true;
  }
  return channel.parked_method_count == 0 &&
         (id == wire::BasicCancel::id || id == wire::BasicQos::id || id == wire::BasicConsume::id ||
          id == wire::BasicRecover::id);
}

void Session::park(std::uint16_t number, Channel& channel, ParkedWhat what, std::size_t bytes) {
  ++channel.parked_count;
  if (std::holds_alternative<wire::Method>(what)) ++channel.parked_method_count;
  parked_bytes_ += bytes;
  parked_.push_back({number, std::move(what), bytes});
}

void Session::forget_assembly(Channel& channel) {
  if (!channel.assembly) return;
  if (channel.assembly->content) {
    assembling_bytes_ -=
        channel.assembly->content->body.size() + channel.assembly->content->properties.size();
  }
  channel.assembly.reset();
}

void Session::forget_parked(std::uint16_t number) {
  std::erase_if(parked_, [&](const Parked& parked) {
    if (parked.channel != number) return false;
    parked_bytes_ -= parked.bytes;
    return true;
  });
}

void Session::block(std::string_view reason) {
  is_blocked_ = true;
  blocked_reason_ = reason;
  if (state_ == State::running && has_published_) tell_blocked();
}

void Session::tell_blocked() {
  if (!can_be_blocked_ || is_told_blocked_ || blocked_reason_.empty()) return;
  is_told_blocked_ = true;
  append(0, wire::ConnectionBlocked{blocked_reason_});
}

void Session::unblock(Now now) {
  is_blocked_ = false;
  blocked_reason_.clear();
  if (std::exchange(is_told_blocked_, false) && state_ == State::running) {
    append(0, wire::ConnectionUnblocked{});
  }
  while (!parked_.empty() && state_ == State::running) {
    Parked parked = std::move(parked_.front());
    parked_.pop_front();
    parked_bytes_ -= parked.bytes;
    Channel* channel = find_channel(parked.channel);
    PRONTO_ASSERT(channel != nullptr);
    --channel->parked_count;
    if (auto* publish = std::get_if<ParkedPublish>(&parked.what)) {
      hand_in(parked.channel, publish->flags, std::move(publish->content), now);
    } else {
      --channel->parked_method_count;
      hand_in(parked.channel, std::get<wire::Method>(parked.what), now);
    }
  }
  if (std::exchange(is_stuck_, false)) last_received_ = now.steady;
}

}  // namespace pronto::server
