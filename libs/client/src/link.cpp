#include "link.hpp"

#include <algorithm>
#include <cstring>

#include "pronto/async/deadline.hpp"
#include "pronto/base/text.hpp"

namespace pronto::client::detail {
namespace {

Failure broken(std::string text) {
  return {.kind = Failure::Kind::broken_peer, .text = std::move(text)};
}

Failure lost(std::error_code cause) {
  return {.kind = Failure::Kind::disconnected,
          .text = cause == Error::end_of_stream ? "the broker closed the connection without a word"
                                                : "the connection broke: " + cause.message(),
          .cause = cause};
}

Failure refused(const wire::ConnectionClose& close) {
  const wire::Fault fault = wire::fault_of(close);
  return {.kind = Failure::Kind::refused, .text = fault.reply_text(), .code = fault.code};
}

Failure unexpected(const wire::Method& method) {
  return broken("the broker sent " + std::string{wire::name_of(method)} + " during the handshake");
}

}  // namespace

Link::Link(Loop& loop, std::unique_ptr<Stream> stream, std::uint32_t frame_bytes_max)
    : loop_{loop},
      stream_{std::move(stream)},
      inbox_(std::max(frame_bytes_max, wire::frame_bytes_min)),
      last_sent_{loop.now()},
      last_received_{loop.now()},
      frame_bytes_max_{std::max(frame_bytes_max, wire::frame_bytes_min)} {}

Result<std::optional<wire::FrameView>, Failure> Link::take_frame() {
  const BytesView received{inbox_.data() + inbox_begin_, inbox_end_ - inbox_begin_};
  const auto frame = wire::parse_frame(received, frame_bytes_max_);
  if (!frame) {
    if (received.size() >= 4 && as_text(received.first(4)) == "AMQP") {
      return broken("the broker does not speak AMQP 0-9-1");
    }
    return broken(frame.error().reply_text());
  }
  if (*frame) inbox_begin_ += (*frame)->frame_bytes();
  return *frame;
}

Task<Result<void, Failure>> Link::read_more() {
  if (inbox_begin_ > 0) {
    std::memmove(inbox_.data(), inbox_.data() + inbox_begin_, inbox_end_ - inbox_begin_);
    inbox_end_ -= inbox_begin_;
    inbox_begin_ = 0;
  }
  // No frame is longer than the inbox, so an incomplete one leaves room.
  PRONTO_ASSERT(inbox_end_ < inbox_.size());
  const Result<std::size_t> got =
      co_await stream_->read_some(std::span{inbox_}.subspan(inbox_end_));
  if (!got) co_return lost(got.error());
  inbox_end_ += *got;
  last_received_ = loop_.now();
  co_return Result<void, Failure>{};
}

Task<Result<wire::Method, Failure>> Link::next_method() {
  for (;;) {
    Result<std::optional<wire::FrameView>, Failure> frame = take_frame();
    if (!frame) co_return frame.error();
    if (!*frame) {
      const Result<void, Failure> more = co_await read_more();
      if (!more) co_return more.error();
      continue;
    }
    if ((*frame)->type == wire::FrameType::heartbeat) continue;
    if ((*frame)->type != wire::FrameType::method || (*frame)->channel != 0) {
      co_return broken("the broker sent content during the handshake");
    }
    Result<wire::Method, wire::Fault> method = wire::decode_method((*frame)->payload);
    if (!method) co_return broken(method.error().reply_text());
    co_return std::move(*method);
  }
}

template <class M>
Task<Result<void, Failure>> Link::say(M method) {
  Bytes bytes;
  wire::append_method_frame(bytes, 0, method);
  const Result<void> written = co_await write_all(*stream_, bytes);
  if (!written) co_return lost(written.error());
  co_return Result<void, Failure>{};
}

Task<Result<void, Failure>> Link::handshake(Login login) {
  const Result<void> greeted = co_await write_all(*stream_, wire::protocol_header());
  if (!greeted) co_return lost(greeted.error());

  Result<wire::Method, Failure> method = co_await next_method();
  if (!method) co_return method.error();
  auto* start = std::get_if<wire::ConnectionStart>(&*method);
  if (start == nullptr) co_return unexpected(*method);
  server_properties_ = std::move(start->server_properties);
  const std::vector<std::string_view> mechanisms = split(start->mechanisms, ' ');
  if (std::ranges::find(mechanisms, "PLAIN") == mechanisms.end()) {
    co_return Failure{.kind = Failure::Kind::refused,
                      .text = "the broker offers no PLAIN login, only: " + start->mechanisms};
  }

  wire::ConnectionStartOk start_ok{.client_properties = std::move(login.client_properties),
                                   .mechanism = "PLAIN",
                                   .locale = "en_US"};
  start_ok.response.push_back('\0');
  start_ok.response += login.user;
  start_ok.response.push_back('\0');
  start_ok.response += login.password;
  Result<void, Failure> said = co_await say(std::move(start_ok));
  if (!said) co_return said.error();

  method = co_await next_method();
  if (!method) {
    // Brokers that do not know how to tell a wrong password just hang up here.
    if (method.error().kind != Failure::Kind::disconnected) co_return method.error();
    Failure failure = method.error();
    failure.text += " after the login of user '" + login.user + "'";
    co_return failure;
  }
  if (const auto* close = std::get_if<wire::ConnectionClose>(&*method)) {
    (void)co_await say_goodbye();
    co_return refused(*close);
  }
  const auto* tune = std::get_if<wire::ConnectionTune>(&*method);
  if (tune == nullptr) co_return unexpected(*method);
  const Result<void, Failure> agreed = agree(*tune, login);
  if (!agreed) co_return agreed.error();
  said = co_await say(
      wire::ConnectionTuneOk{.channel_max = channels_max_,
                             .frame_max = frame_bytes_max_,
                             .heartbeat = static_cast<std::uint16_t>(heartbeat_.count())});
  if (!said) co_return said.error();

  std::optional<wire::ShortString> virtual_host = wire::ShortString::make(login.virtual_host);
  if (!virtual_host) {
    co_return Failure{.kind = Failure::Kind::too_large,
                      .text = "the virtual host's name is longer than 255 bytes"};
  }
  said = co_await say(wire::ConnectionOpen{.virtual_host = *std::move(virtual_host)});
  if (!said) co_return said.error();
  method = co_await next_method();
  if (!method) co_return method.error();
  if (const auto* close = std::get_if<wire::ConnectionClose>(&*method)) {
    (void)co_await say_goodbye();
    co_return refused(*close);
  }
  if (!std::holds_alternative<wire::ConnectionOpenOk>(*method)) co_return unexpected(*method);
  co_return Result<void, Failure>{};
}

Task<Result<void, Failure>> Link::say_goodbye() {
  return say(wire::ConnectionCloseOk{});
}

Result<void, Failure> Link::agree(const wire::ConnectionTune& tune, const Login& login) {
  // 0 means no limit on both sides, so the other side's number counts.
  if (tune.frame_max != 0 && tune.frame_max < wire::frame_bytes_min) {
    return broken("the broker wants frames of at most " + std::to_string(tune.frame_max) +
                  " bytes, less than the protocol's minimum");
  }
  if (tune.frame_max != 0) frame_bytes_max_ = std::min(frame_bytes_max_, tune.frame_max);
  constexpr std::uint16_t channels_unlimited = 65'535;
  const auto limit_of = [](std::uint16_t wanted) {
    return wanted == 0 ? channels_unlimited : wanted;
  };
  channels_max_ = std::min(limit_of(tune.channel_max), limit_of(login.channels_max));
  const seconds theirs{tune.heartbeat};
  heartbeat_ = login.heartbeat;
  if (login.heartbeat.count() > 0 && theirs.count() > 0) {
    heartbeat_ = std::min(login.heartbeat, theirs);
  }
  heartbeat_ = std::clamp(heartbeat_, seconds{0}, seconds{65'535});
  return {};
}

Task<> Link::read_loop(FrameSink& sink) {
  while (!failure_) {
    Result<std::optional<wire::FrameView>, Failure> frame = take_frame();
    if (!frame) co_return fail(sink, frame.error());
    if (*frame) {
      std::optional<Failure> problem = sink.on_frame(**frame);
      if (problem) co_return fail(sink, *std::move(problem));
      continue;
    }
    const Result<void, Failure> more = co_await read_more();
    if (!more) co_return fail(sink, more.error());
  }
}

Task<> Link::write_loop(FrameSink& sink) {
  while (!failure_) {
    while (outbox_.empty()) co_await writer_wake_.wait();
    sending_.clear();
    std::swap(outbox_, sending_);
    is_sending_ = true;
    const Result<void> written = co_await write_all(*stream_, sending_);
    is_sending_ = false;
    if (!written) co_return fail(sink, lost(written.error()));
    last_sent_ = loop_.now();
    changed_.notify_all();
    sink.on_room();
  }
}

Task<> Link::heartbeat_loop(FrameSink& sink) {
  if (heartbeat_.count() == 0) co_return;
  const SteadyTime::duration half = SteadyTime::duration{heartbeat_} / 2;
  while (!failure_) {
    co_await sleep_for(half);
    const SteadyTime now = loop_.now();
    if (now - last_received_ >= 2 * SteadyTime::duration{heartbeat_}) {
      co_return fail(sink, {.kind = Failure::Kind::disconnected,
                            .text = "nothing came from the broker for two heartbeats of " +
                                    std::to_string(heartbeat_.count()) + " s",
                            .cause = Error::timed_out});
    }
    if (now - last_sent_ >= half && is_flushed()) {
      wire::append_heartbeat(outbox_);
      wake_writer();
    }
  }
}

void Link::set_last_words(const wire::Method& method) {
  wire::append_method_frame(last_words_, 0, method);
}

Task<> Link::finish() {
  constexpr seconds patience{1};
  if (!last_words_.empty() && !is_sending_) {
    append(outbox_, last_words_);
    (void)co_await with_deadline(patience, write_all(*stream_, outbox_));
  }
  stream_->close();
}

void Link::fail(FrameSink& sink, Failure failure) {
  if (failure_) return;
  failure_ = std::move(failure);
  changed_.notify_all();
  sink.on_failed(*failure_);
}

}  // namespace pronto::client::detail
