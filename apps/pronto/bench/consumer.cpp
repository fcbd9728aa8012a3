#include <algorithm>
#include <charconv>

#include "bench/load_inside.hpp"
#include "pronto/wire/properties.hpp"
#include "pronto/wire/reader.hpp"

namespace pronto::bench {
namespace {

Failure broken(std::string text) {
  return {.kind = Failure::Kind::broken_peer, .text = std::move(text)};
}

}  // namespace

Consumer::Consumer(LoadState& state, std::vector<std::size_t> queues, std::size_t number,
                   std::unique_ptr<Link> link)
    : state_{state}, queues_{std::move(queues)}, number_{number}, link_{std::move(link)} {}

Task<Result<void, Failure>> Consumer::prepare() {
  const LoadOptions& options = state_.options;
  const auto limited = co_await link_->ask<wire::BasicQosOk>(
      wire::BasicQos{.prefetch_count = static_cast<std::uint16_t>(options.prefetch)});
  if (!limited) co_return limited.error();
  for (const std::size_t queue : queues_) {
    // The tag says which queue a delivery is from.
    const auto consuming = co_await link_->ask<wire::BasicConsumeOk>(
        wire::BasicConsume{.queue = state_.queues[queue],
                           .consumer_tag = std::to_string(queue),
                           .no_ack = options.ack_every == 0});
    if (!consuming) co_return consuming.error();
  }
  co_return Result<void, Failure>{};
}

/// Looks at deliveries in place; everything else ends the load.
std::optional<Failure> Consumer::on_frame(const wire::FrameView& frame, SteadyTime now) {
  switch (frame.type) {
    case wire::FrameType::method:
      return on_method(frame);
    case wire::FrameType::header: {
      const auto header = wire::parse_content_header(frame.payload);
      if (!header) return broken(header.error().reply_text());
      body_bytes_missing_ = header->body_bytes;
      body_start_bytes_ = 0;
      if (body_bytes_missing_ == 0) on_message(now);
      break;
    }
    case wire::FrameType::body:
      if (frame.payload.size() > body_bytes_missing_) return broken("a body longer than announced");
      on_body(frame.payload, now);
      break;
    case wire::FrameType::heartbeat:
      break;
  }
  return std::nullopt;
}

std::optional<Failure> Consumer::on_method(const wire::FrameView& frame) {
  wire::Reader reader{frame.payload};
  wire::MethodId id;
  reader.read(id.class_id);
  reader.read(id.method_id);
  if (id == wire::BasicDeliver::id) {
    wire::Bit redelivered;
    const std::string_view queue = reader.read_short_view();
    reader.read(tag_);
    reader.read(redelivered);
    const auto parsed = std::from_chars(queue.data(), queue.data() + queue.size(), queue_);
    if (reader.failed() || parsed.ec != std::errc{} || queue_ >= state_.queues.size()) {
      return broken("a delivery that cannot be read");
    }
    if (redelivered) ++state_.result.redelivered;
    return std::nullopt;
  }
  const auto method = wire::decode_method(frame.payload);
  if (!method) return broken(method.error().reply_text());
  if (std::holds_alternative<wire::BasicCancel>(*method)) {
    return Failure{.kind = Failure::Kind::refused, .text = "a queue was deleted by somebody else"};
  }
  return failure_of(*method);
}

void Consumer::on_body(BytesView payload, SteadyTime now) {
  if (body_start_bytes_ < sizeof body_start_) {
    const std::size_t count = std::min(payload.size(), sizeof body_start_ - body_start_bytes_);
    std::memcpy(body_start_ + body_start_bytes_, payload.data(), count);
    body_start_bytes_ += count;
  }
  body_bytes_missing_ -= payload.size();
  if (body_bytes_missing_ == 0) on_message(now);
}

void Consumer::on_message(SteadyTime now) {
  ++state_.counters.delivered;
  state_.last_delivery = now;
  BodyStart start;
  std::memcpy(&start, body_start_, sizeof start);
  if (body_start_bytes_ < sizeof start || start.run != state_.run % run_modulus) {
    state_.check.on_foreign();
  } else {
    state_.check.on_delivered(queue_, number_, start.stream, start.sequence);
    const SteadyTime sent{std::chrono::microseconds{start.start_us}};
    if (state_.is_measured(sent)) state_.result.end_to_end.add(now - sent);
  }
  if (state_.options.ack_every == 0) return;
  if (++unacked_ >= state_.options.ack_every) finish();
}

void Consumer::on_frames_end() {
  if (!link_->outbox().empty()) link_->wake_writer();
  for (Signal* publisher : state_.waiting_for_backlog) publisher->notify_all();
  state_.progress.notify_all();
}

void Consumer::finish() {
  if (unacked_ == 0) return;
  wire::append_method_frame(link_->outbox(), Link::channel,
                            wire::BasicAck{.delivery_tag = tag_, .multiple = unacked_ > 1});
  unacked_ = 0;
}

}  // namespace pronto::bench
