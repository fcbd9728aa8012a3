#include <algorithm>
#include <cmath>

#include "bench/load_inside.hpp"
#include "pronto/wire/properties.hpp"

namespace pronto::bench {
namespace {

constexpr std::uint64_t batch_count_max = 512;        // then others have their turn
constexpr std::size_t outbox_bytes_max = 512 * 1024;  // one larger message is still sent

}  // namespace

Publisher::Publisher(LoadState& state, std::size_t index, std::unique_ptr<Link> link)
    : state_{state},
      index_{index},
      link_{std::move(link)},
      share_{std::numeric_limits<std::uint64_t>::max()} {
  const LoadOptions& options = state.options;
  if (options.count > 0) {
    share_ = options.count / options.publishers + (index < options.count % options.publishers);
  }
  if (options.backlog_max > 0) state.waiting_for_backlog.push_back(&link_->room());
  Bytes body(options.message_bytes, std::byte{'.'});
  const std::size_t targets = options.fan_out > 0 ? 1 : state.queues.size();
  for (std::size_t i = 0; i < targets * options.levels(); ++i) {
    wire::BasicProperties properties;
    properties.delivery_mode = static_cast<std::uint8_t>(options.is_transient ? 1 : 2);
    if (options.priorities > 0) {
      properties.priority = static_cast<std::uint8_t>(i % options.levels());
    }
    const Bytes encoded = wire::encode_properties(properties);
    Prepared message;
    wire::append_method_frame(
        message.bytes, Link::channel,
        wire::BasicPublish{.exchange = state.exchange,
                           .routing_key = options.fan_out > 0
                                              ? std::string{}
                                              : state.queues[i / options.levels()]});
    const std::size_t method_bytes = message.bytes.size();
    wire::append_content_header_frame(message.bytes, Link::channel, encoded, body.size());
    constexpr std::size_t before_payload = wire::frame_overhead_bytes - 1;
    message.body_at = message.bytes.size() + before_payload;
    message.bytes.resize(method_bytes);
    wire::append_content_frames(message.bytes, Link::channel, encoded, body,
                                link_->frame_bytes_max());
    prepared_.push_back(std::move(message));
  }
}

Task<Result<void, Failure>> Publisher::prepare() {
  if (state_.options.is_unconfirmed) co_return Result<void, Failure>{};
  co_return co_await link_->ask<wire::ConfirmSelectOk>(wire::ConfirmSelect{});
}

Task<> Publisher::publish() {
  const bool is_open_loop = state_.options.rate > 0;
  while (!is_done()) {
    const SteadyTime now = state_.loop.now();
    std::uint64_t count = std::min({room_for(), share_ - sent_, batch_count_max});
    if (is_open_loop) {
      const std::uint64_t due = due_by(now);
      if (due <= sent_) {
        co_await sleep_for(due_at(sent_) - now);
        continue;
      }
      count = std::min(count, due - sent_);
    }
    if (count == 0) {
      co_await link_->room().wait();
      continue;
    }
    for (std::uint64_t i = 0; i < count; ++i) send(is_open_loop ? due_at(sent_) : now);
    link_->wake_writer();
    if (count == batch_count_max) co_await yield();
  }
}

/// How many more may go, were all of them due.
std::uint64_t Publisher::room_for() const {
  const LoadOptions& options = state_.options;
  std::uint64_t room = std::numeric_limits<std::uint64_t>::max();
  if (options.rate <= 0 && !options.is_unconfirmed) {
    room = options.window - std::min(options.window, unanswered_);
  }
  if (options.backlog_max > 0) {
    const std::uint64_t backlog = state_.check.missing_count() / options.copies();
    room = std::min(room, options.backlog_max - std::min(options.backlog_max, backlog));
  }
  const std::size_t waiting = link_->waiting_bytes();
  if (waiting >= outbox_bytes_max) return 0;
  return std::min<std::uint64_t>(room, 1 + (outbox_bytes_max - waiting) / options.message_bytes);
}

/// Publishers take turns: the n-th message of this one is the (n * publishers + index)-th of all.
SteadyTime Publisher::due_at(std::uint64_t number) const {
  const double of_all =
      static_cast<double>(number) * static_cast<double>(state_.options.publishers) +
      static_cast<double>(index_);
  return state_.begin + std::chrono::nanoseconds{std::llround(of_all / state_.options.rate * 1e9)};
}

std::uint64_t Publisher::due_by(SteadyTime now) const {
  if (now < due_at(0)) return 0;
  const std::chrono::duration<double> since = now - due_at(0);
  const double interval = static_cast<double>(state_.options.publishers) / state_.options.rate;
  auto count = static_cast<std::uint64_t>(since.count() / interval);
  // Rounding may be off by one either way; `due_at` decides.
  while (due_at(count) <= now) ++count;
  return count;
}

void Publisher::send(SteadyTime start) {
  const bool is_fan_out = state_.options.fan_out > 0;
  const std::size_t queue_count = state_.queues.size();
  const std::size_t queue = is_fan_out ? 0 : (sent_ + index_) % queue_count;
  const std::size_t level = sent_ / (is_fan_out ? 1 : queue_count) % state_.options.levels();
  const std::size_t stream = index_ * state_.options.levels() + level;
  BodyStart body{.run = state_.run % run_modulus, .stream = stream & 0xFFFF};
  const std::uint64_t sequence = state_.check.on_sent(queue, stream);
  body.sequence = sequence & 0xFF'FFFF'FFFF;
  for (std::size_t other = 1; is_fan_out && other < queue_count; ++other) {
    state_.check.on_sent(other, stream);
  }
  const auto start_us =
      std::chrono::duration_cast<std::chrono::microseconds>(start.time_since_epoch()).count();
  body.start_us = static_cast<std::uint64_t>(start_us) & 0xFFFF'FFFF'FFFF;
  const Prepared& message = prepared_[queue * state_.options.levels() + level];
  Bytes& outbox = link_->outbox();
  const std::size_t at = outbox.size();
  append(outbox, message.bytes);
  std::memcpy(outbox.data() + at + message.body_at, &body, sizeof body);
  ++sent_;
  ++state_.counters.published;
  if (state_.options.is_unconfirmed) return;
  ++unanswered_;
  outstanding_.push_back({.start = start,
                          .sequence = sequence,
                          .queue = static_cast<std::uint32_t>(queue),
                          .stream = static_cast<std::uint32_t>(stream)});
}

std::optional<Failure> Publisher::on_frame(const wire::FrameView& frame, SteadyTime now) {
  if (frame.type != wire::FrameType::method) {
    return Failure{.kind = Failure::Kind::broken_peer, .text = "content came to a publisher"};
  }
  const auto method = wire::decode_method(frame.payload);
  if (!method) {
    return Failure{.kind = Failure::Kind::broken_peer, .text = method.error().reply_text()};
  }
  if (const auto* ack = std::get_if<wire::BasicAck>(&*method)) {
    on_answer(ack->delivery_tag, ack->multiple, true, now);
  } else if (const auto* nack = std::get_if<wire::BasicNack>(&*method)) {
    on_answer(nack->delivery_tag, nack->multiple, false, now);
  } else {
    return failure_of(*method);
  }
  return std::nullopt;
}

void Publisher::on_answer(std::uint64_t tag, bool multiple, bool is_ack, SteadyTime now) {
  const std::uint64_t end_tag = first_tag_ + outstanding_.size();
  if (tag == 0) tag = end_tag - 1;  // all so far
  if (tag < first_tag_ || tag >= end_tag) return;
  if (multiple) {
    while (first_tag_ <= tag) {
      settle(outstanding_.front(), is_ack, now);
      outstanding_.pop_front();
      ++first_tag_;
    }
  } else {
    settle(outstanding_[tag - first_tag_], is_ack, now);
  }
  while (!outstanding_.empty() && outstanding_.front().is_settled) {
    outstanding_.pop_front();
    ++first_tag_;
  }
}

void Publisher::settle(Outstanding& message, bool is_ack, SteadyTime now) {
  if (std::exchange(message.is_settled, true)) return;
  --unanswered_;
  state_.last_confirm = now;
  if (is_ack) {
    ++state_.counters.confirmed;
    if (state_.is_measured(message.start)) state_.result.confirm.add(now - message.start);
    return;
  }
  ++state_.result.nacked;
  const bool is_fan_out = state_.options.fan_out > 0;
  for (std::size_t queue = 0; queue < state_.queues.size(); ++queue) {
    if (is_fan_out || queue == message.queue) {
      state_.check.on_refused(queue, message.stream, message.sequence);
    }
  }
}

void Publisher::on_frames_end() {
  link_->room().notify_all();
  state_.progress.notify_all();
}

}  // namespace pronto::bench
