#include "bench/link.hpp"

#include <algorithm>
#include <cstring>

#include "pronto/async/deadline.hpp"

namespace pronto::bench {
namespace {

constexpr seconds connect_limit{10};
constexpr std::size_t inbox_bytes = 512 * 1024;  // several times the largest frame

Failure lost(std::error_code cause) {
  return {.kind = Failure::Kind::disconnected,
          .text = "the connection broke: " + cause.message(),
          .cause = cause};
}

Failure broken(std::string text) {
  return {.kind = Failure::Kind::broken_peer, .text = std::move(text)};
}

wire::Table client_properties(const std::string& name) {
  wire::Table capabilities;
  for (const char* capability : {"publisher_confirms", "basic.nack", "consumer_cancel_notify",
                                 "connection.blocked", "authentication_failure_close"}) {
    capabilities.set(capability, true);
  }
  wire::Table properties;
  properties.set("product", "pronto bench");
  properties.set("connection_name", name);
  properties.set("capabilities", std::move(capabilities));
  return properties;
}

}  // namespace

Failure failure_of(const wire::Method& method) {
  const auto refused = [](const wire::Fault& fault) {
    return Failure{.kind = Failure::Kind::refused, .text = fault.reply_text(), .code = fault.code};
  };
  if (const auto* close = std::get_if<wire::ConnectionClose>(&method)) {
    return refused(wire::fault_of(*close));
  }
  if (const auto* close = std::get_if<wire::ChannelClose>(&method)) {
    return refused(wire::fault_of(*close));
  }
  return broken("the broker sent " + std::string{wire::name_of(method)} + " unasked");
}

Link::Link(Loop& loop, std::unique_ptr<Stream> stream)
    : loop_{loop}, stream_{std::move(stream)}, inbox_(inbox_bytes) {}

Task<Result<std::unique_ptr<Link>, Failure>> Link::open(Loop& loop, client::Address address,
                                                        std::string name) {
  ConnectOptions options;
  options.tls = address.tls;
  auto stream = co_await with_deadline(
      connect_limit, loop.network().connect(address.host, address.port, std::move(options)));
  if (!stream) {
    co_return Failure{.kind = Failure::Kind::unreachable,
                      .text = address.to_string() + ": " + stream.error().message(),
                      .cause = stream.error()};
  }
  auto link = std::make_unique<Link>(loop, std::move(*stream));
  const auto shaken =
      co_await with_deadline(connect_limit, link->handshake(address, std::move(name)));
  if (!shaken) {
    co_return Failure{.kind = Failure::Kind::timed_out,
                      .text = address.to_string() + ": no handshake in time"};
  }
  if (!*shaken) co_return shaken->error();
  co_return std::move(link);
}

Task<Result<void, Failure>> Link::handshake(client::Address address, std::string name) {
  append(outbox_, wire::protocol_header());
  auto method = co_await next_method();
  if (!method) co_return method.error();
  auto* start = std::get_if<wire::ConnectionStart>(&*method);
  if (start == nullptr) co_return failure_of(*method);
  server_properties_ = std::move(start->server_properties);

  wire::ConnectionStartOk start_ok{
      .client_properties = client_properties(name), .mechanism = "PLAIN", .locale = "en_US"};
  start_ok.response.push_back('\0');
  start_ok.response += address.user;
  start_ok.response.push_back('\0');
  start_ok.response += address.password;
  wire::append_method_frame(outbox_, 0, start_ok);
  method = co_await next_method();
  if (!method) co_return method.error();
  const auto* tune = std::get_if<wire::ConnectionTune>(&*method);
  if (tune == nullptr) co_return failure_of(*method);
  if (tune->frame_max != 0) frame_bytes_max_ = std::min(frame_bytes_max_, tune->frame_max);
  frame_bytes_max_ = std::max(frame_bytes_max_, wire::frame_bytes_min);

  const auto virtual_host = wire::ShortString::make(address.virtual_host);
  if (!virtual_host) co_return broken("the virtual host's name is longer than 255 bytes");
  wire::append_method_frame(
      outbox_, 0,
      wire::ConnectionTuneOk{
          .channel_max = tune->channel_max, .frame_max = frame_bytes_max_, .heartbeat = 0});
  wire::append_method_frame(outbox_, 0, wire::ConnectionOpen{.virtual_host = *virtual_host});
  method = co_await next_method();
  if (!method) co_return method.error();
  if (!std::holds_alternative<wire::ConnectionOpenOk>(*method)) co_return failure_of(*method);
  co_return co_await ask<wire::ChannelOpenOk>(wire::ChannelOpen{});
}

Task<Result<void, Failure>> Link::expect(wire::MethodId id) {
  const auto method = co_await next_method();
  if (!method) co_return method.error();
  if (wire::id_of(*method) != id) co_return failure_of(*method);
  co_return Result<void, Failure>{};
}

Task<Result<wire::Method, Failure>> Link::next_method() {
  const auto sent = co_await send_outbox();
  if (!sent) co_return sent.error();
  for (;;) {
    const auto frame = take_frame();
    if (!frame) co_return frame.error();
    if (!*frame) {
      const auto more = co_await read_more();
      if (!more) co_return more.error();
      continue;
    }
    if ((*frame)->type == wire::FrameType::heartbeat) continue;
    if ((*frame)->type != wire::FrameType::method) co_return broken("content came unasked");
    auto method = wire::decode_method((*frame)->payload);
    if (!method) co_return broken(method.error().reply_text());
    co_return std::move(*method);
  }
}

Task<Result<void, Failure>> Link::send_outbox() {
  std::swap(outbox_, sending_);
  const auto sent = co_await write_all(*stream_, sending_);
  sending_.clear();
  if (!sent) co_return lost(sent.error());
  co_return Result<void, Failure>{};
}

Task<Result<void, Failure>> Link::read_more() {
  if (inbox_begin_ > 0) {
    std::memmove(inbox_.data(), inbox_.data() + inbox_begin_, inbox_end_ - inbox_begin_);
    inbox_end_ -= inbox_begin_;
    inbox_begin_ = 0;
  }
  PRONTO_ASSERT(inbox_end_ < inbox_.size());
  const auto count = co_await stream_->read_some(std::span{inbox_}.subspan(inbox_end_));
  if (!count) co_return lost(count.error());
  inbox_end_ += *count;
  co_return Result<void, Failure>{};
}

Result<std::optional<wire::FrameView>, Failure> Link::take_frame() {
  const BytesView received{inbox_.data() + inbox_begin_, inbox_end_ - inbox_begin_};
  const auto frame = wire::parse_frame(received, frame_bytes_max_);
  if (!frame) return broken(frame.error().reply_text());
  if (*frame) inbox_begin_ += (*frame)->frame_bytes();
  return *frame;
}

Task<Result<void, Failure>> Link::read(LinkSink& sink) {
  for (;;) {
    const SteadyTime now = loop_.now();
    for (;;) {
      const auto frame = take_frame();
      if (!frame) co_return frame.error();
      if (!*frame) break;
      if ((*frame)->type == wire::FrameType::heartbeat) continue;
      if ((*frame)->channel == 0) {
        const auto method = wire::decode_method((*frame)->payload);
        if (!method) co_return broken(method.error().reply_text());
        if (std::holds_alternative<wire::ConnectionBlocked>(*method) ||
            std::holds_alternative<wire::ConnectionUnblocked>(*method)) {
          continue;  // it just does not read us for a while
        }
        if (is_leaving_ && std::holds_alternative<wire::ConnectionCloseOk>(*method)) {
          stream_->close();
          co_return Result<void, Failure>{};
        }
        co_return failure_of(*method);
      }
      if (auto failure = sink.on_frame(**frame, now)) co_return *std::move(failure);
    }
    sink.on_frames_end();
    const auto more = co_await read_more();
    if (!more) {
      if (is_leaving_) co_return Result<void, Failure>{};
      co_return more.error();
    }
  }
}

Task<> Link::write() {
  for (;;) {
    while (outbox_.empty()) co_await writer_wake_.wait();
    const auto sent = co_await send_outbox();
    if (!sent) co_return;  // the reader meets the same end, and tells
    room_.notify_all();
  }
}

void Link::leave() {
  is_leaving_ = true;
  wire::append_method_frame(outbox_, 0,
                            wire::ConnectionClose{.reply_code = 200, .reply_text = "done"});
  wake_writer();
}

}  // namespace pronto::bench
