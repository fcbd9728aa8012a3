#include "pronto/server/session.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "pronto/base/log.hpp"

namespace pronto::server {

using wire::Fault;
using wire::ReplyCode;

Session::Session(broker::ConnectionId id, Peer peer, Shared shared, Now now)
    : id_{id},
      peer_{std::move(peer)},
      shared_{shared},
      started_{now.steady},
      since_{now.wall},
      last_received_{now.steady},
      last_beat_{now.steady} {}

Session::~Session() = default;

std::size_t Session::on_bytes(BytesView received, Now now) {
  last_received_ = now.steady;
  std::size_t taken = 0;
  if (state_ == State::greeting) {
    taken = greet(received);
    if (state_ == State::greeting) return taken;
  }
  for (;;) {
    if (is_deaf_ || state_ == State::over) {
      taken = received.size();
      break;
    }
    if (state_ == State::running &&
        unsent_bytes() > shared_.unsent_bytes_max + delivery_bytes_max_) {
      // Its answers would be held in memory, however many it asks for. Deliveries have a limit of
      // their own, and a consumer that writes before it reads has to be heard with one unread.
      if (!std::exchange(is_stalled_, true)) stalled_since_ = now.steady;
      break;
    }
    const auto frame = wire::parse_frame(received.subspan(taken), frame_bytes_taken_max());
    if (!frame) {
      fail(frame.error(), now);
      is_deaf_ = true;
      continue;
    }
    if (!frame->has_value()) break;
    const Outcome outcome = on_frame(**frame, now);
    if (!outcome) {
      fail(outcome.error(), now);
    } else if (*outcome == Taken::not_now) {
      is_stuck_ = true;
      break;
    }
    taken += (*frame)->frame_bytes();
  }
  settle(now);
  received_bytes_ += taken;
  shared_.counters.received_bytes_total += taken;
  return taken;
}

Session::Outcome Session::on_frame(const wire::FrameView& frame, Now now) {
  if (state_ == State::closing) return on_frame_while_closing(frame);
  if (frame.type == wire::FrameType::heartbeat) return Taken::yes;
  if (frame.channel != 0) {
    if (state_ == State::running) return on_channel_frame(frame, now);
    return Fault{ReplyCode::channel_error,
                 fmt::format("frame on channel {} before connection.open", frame.channel)};
  }
  const auto method = wire::decode_method(frame.payload);
  if (!method) return method.error();
  Outcome outcome = on_connection_method(*method, now);
  if (outcome) return outcome;
  Fault fault = outcome.error();
  if (fault.method == wire::MethodId{}) fault.method = wire::id_of(*method);
  return fault;
}

/// Only the end of the handshake of closing counts; all else was sent before the peer knew.
Session::Outcome Session::on_frame_while_closing(const wire::FrameView& frame) {
  if (frame.channel != 0 || frame.type != wire::FrameType::method) return Taken::yes;
  const auto method = wire::decode_method(frame.payload);
  if (!method) return Taken::yes;
  if (std::holds_alternative<wire::ConnectionCloseOk>(*method)) {
    state_ = State::over;
  } else if (std::holds_alternative<wire::ConnectionClose>(*method)) {
    append(0, wire::ConnectionCloseOk{});
  }
  return Taken::yes;
}

Session::Outcome Session::on_connection_method(const wire::Method& method, Now now) {
  if (const auto* close = std::get_if<wire::ConnectionClose>(&method)) {
    // What was published before it is published before it.
    if (!parked_.empty()) return Taken::not_now;
    if (close->reply_code != static_cast<std::uint16_t>(ReplyCode::reply_success) &&
        close->reply_code != 0) {
      log::info("client closed its connection with an error",
                {{"connection", static_cast<std::uint64_t>(id_)},
                 {"peer", peer_.name},
                 {"code", close->reply_code},
                 {"text", close->reply_text.view()}});
    }
    leave_engine(now);
    append(0, wire::ConnectionCloseOk{});
    state_ = State::over;
    return Taken::yes;
  }
  if (const auto* start_ok = std::get_if<wire::ConnectionStartOk>(&method);
      start_ok && state_ == State::start) {
    return on_start_ok(*start_ok);
  }
  if (const auto* tune_ok = std::get_if<wire::ConnectionTuneOk>(&method);
      tune_ok && state_ == State::tune) {
    return on_tune_ok(*tune_ok);
  }
  if (const auto* open = std::get_if<wire::ConnectionOpen>(&method);
      open && state_ == State::open) {
    return on_open(*open);
  }
  if (std::holds_alternative<wire::ConnectionUpdateSecret>(method) && state_ == State::running) {
    append(0, wire::ConnectionUpdateSecretOk{});
    return Taken::yes;
  }
  constexpr std::string_view names[] = {"greeting", "starting", "tuning", "opening",
                                        "running",  "closing",  "over"};
  return Fault{ReplyCode::channel_error, fmt::format("unexpected method in connection state {}",
                                                     names[static_cast<std::size_t>(state_)])};
}

Session::Outcome Session::on_channel_frame(const wire::FrameView& frame, Now now) {
  Channel* channel = find_channel(frame.channel);
  if (frame.type == wire::FrameType::header || frame.type == wire::FrameType::body) {
    if (!channel) {
      return Fault{ReplyCode::unexpected_frame,
                   "expected method frame, got non method frame instead"};
    }
    if (channel->is_closing) return Taken::yes;
    return frame.type == wire::FrameType::header
               ? on_header(frame.channel, *channel, frame.payload, now)
               : on_body(frame.channel, *channel, frame.payload, now);
  }
  auto method = wire::decode_method(frame.payload);
  if (channel && channel->is_closing) {
    if (!method) return Taken::yes;
    if (std::holds_alternative<wire::ChannelCloseOk>(*method)) {
      erase_channel(frame.channel);
    } else if (std::holds_alternative<wire::ChannelClose>(*method)) {
      append(frame.channel, wire::ChannelCloseOk{});
    }
    return Taken::yes;
  }
  if (!method) return method.error();
  Outcome outcome = Taken::yes;
  if (channel && channel->assembly) {
    outcome = Fault{ReplyCode::unexpected_frame,
                    channel->assembly->has_header
                        ? "expected content body, got non content body frame instead"
                        : "expected content header for class 60, got non content header frame "
                          "instead",
                    wire::BasicPublish::id};
  } else {
    outcome = on_channel_method(frame.channel, *method, now);
  }
  if (outcome) return outcome;
  Fault fault = outcome.error();
  if (fault.method == wire::MethodId{}) fault.method = wire::id_of(*method);
  return fault;
}

Session::Outcome Session::on_channel_method(std::uint16_t number, wire::Method& method, Now now) {
  const wire::MethodId id = wire::id_of(method);
  if (wire::is_connection_method(id)) {
    return Fault{ReplyCode::command_invalid, "unimplemented method"};
  }
  if (id == wire::ChannelOpen::id) return open_channel(number);
  if (id == wire::ChannelClose::id) return close_channel_for_peer(number, now);
  Channel* channel = find_channel(number);
  if (!channel) {
    if (id == wire::ChannelCloseOk::id) return Taken::yes;
    return Fault{ReplyCode::channel_error, "expected 'channel.open'"};
  }
  if (id == wire::ChannelFlowOk::id || id == wire::ChannelCloseOk::id) return Taken::yes;
  if (id == wire::AccessRequest::id) {
    append(number, wire::AccessRequestOk{});
    return Taken::yes;
  }
  if (id == wire::BasicPublish::id) {
    if (!has_published_) {
      has_published_ = true;
      if (is_blocked_) tell_blocked();
    }
    if (has_no_room()) return Taken::not_now;
    auto& publish = std::get<wire::BasicPublish>(method);
    Assembly& assembly = channel->assembly.emplace(Assembly{});
    assembly.flags = {.mandatory = publish.mandatory, .immediate = publish.immediate};
    assembly.content = std::make_shared<broker::Content>();
    assembly.content->exchange = std::move(publish.exchange).text();
    assembly.content->routing_key = std::move(publish.routing_key).text();
    return Taken::yes;
  }
  if (id == wire::BasicAck::id || id == wire::BasicNack::id || id == wire::BasicReject::id) {
    ++shared_.counters.answered_total;
  }
  if (channel->parked_count > 0 && !may_overtake(*channel, method)) {
    constexpr std::size_t method_bytes = 512;  // about what one holds
    if (has_no_room()) return Taken::not_now;
    park(number, *channel, method, method_bytes);
    return Taken::yes;
  }
  hand_in(number, method, now);
  return Taken::yes;
}

Session::Outcome Session::open_channel(std::uint16_t number) {
  if (find_channel(number)) return Fault{ReplyCode::channel_error, "second 'channel.open' seen"};
  if (channels_.size() >= channels_max_) {
    return Fault{ReplyCode::not_allowed,
                 fmt::format("number of channels opened ({}) has reached the negotiated "
                             "channel_max ({})",
                             channels_.size(), channels_max_)};
  }
  channels_.try_emplace(number);
  shared_.engine.channel_opened(id_, broker::ChannelId{number});
  if (is_0_8_) {
    // AMQP 0-8 has no field in channel.open-ok.
    outbox_.append([&](Bytes& out) {
      wire::append_frame(out, wire::FrameType::method, number,
                         as_bytes(std::string_view{"\0\x14\0\x0b", 4}));
    });
  } else {
    append(number, wire::ChannelOpenOk{});
  }
  return Taken::yes;
}

Session::Outcome Session::close_channel_for_peer(std::uint16_t number, Now now) {
  Channel* channel = find_channel(number);
  if (!channel) return Fault{ReplyCode::channel_error, "expected 'channel.open'"};
  if (channel->parked_count > 0) return Taken::not_now;
  erase_channel(number);
  shared_.engine.channel_closed(id_, broker::ChannelId{number}, now.wall);
  settle(now);
  if (state_ != State::running) return Taken::yes;
  append(number, wire::ChannelCloseOk{});
  return Taken::yes;
}

Session::Channel* Session::find_channel(std::uint16_t number) {
  if (number == last_number_ && last_channel_) return last_channel_;
  const auto found = channels_.find(number);
  if (found == channels_.end()) return nullptr;
  last_number_ = number;
  last_channel_ = &found->second;
  return last_channel_;
}

void Session::erase_channel(std::uint16_t number) {
  const auto found = channels_.find(number);
  if (found == channels_.end()) return;
  forget_assembly(found->second);
  last_channel_ = nullptr;
  channels_.erase(found);
}

/// Ends the connection, or the channel, for what the peer did.
void Session::fail(const wire::Fault& fault, Now now) {
  if (state_ == State::closing || state_ == State::over) return;
  log::warning("connection closed for a fault of the client",
               {{"connection", static_cast<std::uint64_t>(id_)},
                {"peer", peer_.name},
                {"user", user_},
                {"text", fault.reply_text()}});
  say_goodbye(fault);
  settle(now);
}

void Session::say_goodbye(const wire::Fault& fault) {
  if (state_ == State::closing || state_ == State::over) return;
  append(0, wire::connection_close(fault));
  state_ = State::closing;
  closing_since_ = last_received_;
  wants_settling_ = true;
}

void Session::on_sent(Now now) {
  in_flight_bytes_ = 0;
  stalled_since_ = now.steady;
  if (!is_stalled_ || unsent_bytes() > shared_.unsent_bytes_max / 8) return;
  is_stalled_ = false;
  last_received_ = now.steady;
}

void Session::settle(Now now) {
  if (!std::exchange(wants_settling_, false)) return;
  closing_since_ = now.steady;
  leave_engine(now);
}

void Session::leave_engine(Now now) {
  last_channel_ = nullptr;
  channels_.clear();
  parked_.clear();
  parked_bytes_ = 0;
  assembling_bytes_ = 0;
  is_stuck_ = false;
  is_stalled_ = false;
  if (std::exchange(is_known_to_engine_, false)) {
    shared_.engine.connection_closed(id_, now.wall);
  }
}

void Session::on_end_of_stream(Now now) {
  if (state_ == State::running) {
    log::info("client went without closing its connection",
              {{"connection", static_cast<std::uint64_t>(id_)}, {"peer", peer_.name}});
  }
  on_lost(now);
}

void Session::on_lost(Now now) {
  leave_engine(now);
  state_ = State::over;
}

void Session::on_time(Now now) {
  const SteadyTime steady = now.steady;
  switch (state_) {
    case State::over:
      return;
    case State::closing:
      if (steady >= closing_since_ + shared_.options.closing_limit) on_lost(now);
      return;
    case State::greeting:
    case State::start:
    case State::tune:
    case State::open:
      if (steady >= started_ + shared_.options.handshake_limit) {
        log::warning("handshake not done in time",
                     {{"connection", static_cast<std::uint64_t>(id_)}, {"peer", peer_.name}});
        on_lost(now);
        return;
      }
      break;
    case State::running:
      break;
  }
  if (is_stalled_ && steady >= stalled_since_ + shared_.options.stalling_limit) {
    log::warning("client does not read what it asked for",
                 {{"connection", static_cast<std::uint64_t>(id_)},
                  {"peer", peer_.name},
                  {"unsent_bytes", unsent_bytes()}});
    on_lost(now);
    return;
  }
  if (heartbeat_.count() == 0) return;
  if (wants_bytes() && steady >= last_received_ + 2 * heartbeat_) {
    log::warning("missed heartbeats from client",
                 {{"connection", static_cast<std::uint64_t>(id_)}, {"peer", peer_.name}});
    on_lost(now);
    return;
  }
  if (steady >= last_beat_ + heartbeat_ / 2) {
    // Nothing was sent meanwhile, and nothing waits that would tell as much.
    if (outbox_.bytes_total() == sent_at_beat_ && outbox_.empty()) {
      outbox_.append([](Bytes& out) { wire::append_heartbeat(out); });
    }
    last_beat_ = steady;
    sent_at_beat_ = outbox_.bytes_total();
  }
}

std::optional<SteadyTime> Session::next_due() const {
  std::optional<SteadyTime> due;
  const auto earlier = [&due](SteadyTime at) { due = due ? std::min(*due, at) : at; };
  if (state_ == State::over) return due;
  if (state_ == State::closing) return closing_since_ + shared_.options.closing_limit;
  if (state_ != State::running) earlier(started_ + shared_.options.handshake_limit);
  if (is_stalled_) earlier(stalled_since_ + shared_.options.stalling_limit);
  if (heartbeat_.count() != 0) {
    earlier(last_beat_ + heartbeat_ / 2);
    if (wants_bytes()) earlier(last_received_ + 2 * heartbeat_);
  }
  return due;
}

void Session::shut_down(Now now) {
  if (state_ == State::greeting) {
    state_ = State::over;
    return;
  }
  say_goodbye(
      {ReplyCode::connection_forced, "broker forced connection closure with reason 'shutdown'"});
  settle(now);
}

std::size_t Session::receive_bytes_min() const noexcept {
  return frame_bytes_taken_max();
}

void Session::describe(ConnectionView& view) const {
  view.id = static_cast<std::uint64_t>(id_);
  view.peer = peer_.name;
  view.user = user_;
  view.virtual_host = virtual_host_;
  view.client = client_;
  view.state = state_ == State::running ? (is_blocked_ && has_published_ ? "blocked" : "running")
               : state_ == State::closing || state_ == State::over ? "closing"
                                                                   : "handshake";
  view.channel_count = channels_.size();
  view.received_bytes = received_bytes_;
  view.sent_bytes = outbox_.bytes_total() - outbox_.bytes();
  view.outbox_bytes = outbox_.bytes();
  view.since = since_;
}

}  // namespace pronto::server
