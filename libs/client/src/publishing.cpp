// The publishing half of ChannelCore.
#include <algorithm>
#include <functional>

#include "channel_core.hpp"
#include "connection_core.hpp"
#include "pronto/base/log.hpp"

namespace pronto::client::detail {
namespace {

std::uint64_t fingerprint_of(std::string_view exchange, std::string_view routing_key,
                             std::string_view message_id) {
  constexpr std::uint64_t prime = 1'099'511'628'211U;
  const std::hash<std::string_view> hash;
  return (hash(exchange) * prime + hash(routing_key)) * prime + hash(message_id);
}

std::string where(std::string_view exchange, std::string_view routing_key) {
  return "exchange '" + std::string{exchange} + "', routing key '" + std::string{routing_key} + "'";
}

template <class Leave>
struct OnLeave {
  Leave leave;
  ~OnLeave() { leave(); }
};
template <class Leave>
OnLeave(Leave) -> OnLeave<Leave>;

}  // namespace

std::optional<Failure> ChannelCore::problem_of(const Message& message) const {
  if (ended_) return *ended_;
  if (connection_->is_closing()) {
    return Failure{.kind = Failure::Kind::closed, .text = "the connection is being closed"};
  }
  for (const auto& [what, text] : {std::pair{"the exchange's name", &message.exchange},
                                   std::pair{"the routing key", &message.routing_key}}) {
    const Result<wire::ShortString, Failure> checked = short_string(what, *text);
    if (!checked) return checked.error();
  }
  if (message.properties.headers) {
    const Result<void, Failure> checked = check_table("the headers", *message.properties.headers);
    if (!checked) return checked.error();
  }
  return std::nullopt;
}

/// Why a publish cannot be written right now.
std::optional<Failure> ChannelCore::obstacle(std::size_t bytes) const {
  const auto waiting = [](std::string text) {
    return Failure{.kind = Failure::Kind::timed_out, .text = std::move(text)};
  };
  if (state_ != State::open) return waiting("no connection to the broker");
  if (connection_->blocked_since()) return waiting("the broker blocks publishers");
  if (!is_flowing_) return waiting("the broker stopped the flow of the channel");
  const Link* link = connection_->link();
  if (link == nullptr) return waiting("no connection to the broker");
  if (connection_->link()->outbox().size() >= connection_->options().outbox_bytes_max) {
    return waiting("the broker does not read");
  }
  if (options_.mode == PublishMode::confirmed) {
    if (unsettled_count_ >= options_.unconfirmed_count_max ||
        (unsettled_count_ > 0 && unsettled_bytes_ + bytes > options_.unconfirmed_bytes_max)) {
      return waiting("too many publishes wait for their confirm");
    }
  }
  return std::nullopt;
}

Task<Result<Confirmation, Failure>> ChannelCore::send(std::shared_ptr<ChannelCore> self,
                                                      Message message) {
  ChannelCore& my = *self;
  std::optional<Failure> problem = my.problem_of(message);
  if (problem) co_return *std::move(problem);
  if (message.persistent && !message.properties.delivery_mode) {
    message.properties.delivery_mode = 2;
  }
  if (message.mandatory && !message.properties.message_id) {
    // What a return is recognised by.
    message.properties.message_id = my.connection_->make_unique("m");
  }
  const SteadyTime started = my.connection_->loop().now();
  const SteadyTime deadline = started + my.options_.publish_limit;
  if (!my.turns_.empty() || my.obstacle(message.body.size())) {
    const Result<void, Failure> turn =
        co_await my.wait_for_turn(message.body.size(), started, deadline);
    if (!turn) co_return turn.error();
  }
  co_return my.hand_over(std::move(message), deadline);
}

Task<Result<void, Failure>> ChannelCore::publish(std::shared_ptr<ChannelCore> self,
                                                 Message message) {
  const Result<Confirmation, Failure> sent = co_await send(std::move(self), std::move(message));
  if (!sent) co_return sent.error();
  co_return co_await sent->wait();
}

Task<Result<void, Failure>> ChannelCore::wait_for_turn(std::size_t bytes, SteadyTime started,
                                                       SteadyTime deadline) {
  const auto self = shared_from_this();
  const auto place = turns_.emplace(turns_.end());
  const OnLeave leave{[&] {
    turns_.erase(place);
    wake_next();
  }};
  for (;;) {
    if (ended_) co_return *ended_;
    const std::optional<Failure> hindrance = obstacle(bytes);
    if (place == turns_.begin() && !hindrance) co_return Result<void, Failure>{};
    const SteadyTime now = connection_->loop().now();
    if (now >= deadline) {
      co_return hindrance ? *hindrance
                          : Failure{.kind = Failure::Kind::timed_out,
                                    .text = "other publishes came first for too long"};
    }
    SteadyTime until = deadline;
    if (const std::optional<SteadyTime>& blocked_since = connection_->blocked_since()) {
      const SteadyTime end = std::max(*blocked_since, started) + options_.blocked_limit;
      if (now >= end) {
        co_return Failure{.kind = Failure::Kind::blocked,
                          .text = "the broker has blocked publishers for longer than " +
                                  std::to_string(options_.blocked_limit.count()) + " ms"};
      }
      until = std::min(until, end);
    }
    co_await wait_until(connection_->loop(), *place, until);
  }
}

void ChannelCore::wake_next() noexcept {
  if (!turns_.empty()) turns_.front().notify_all();
}

Result<Confirmation, Failure> ChannelCore::hand_over(Message message, SteadyTime deadline) {
  if (transaction_is_lost_) {
    return Failure{.kind = Failure::Kind::disconnected,
                   .text =
                       "the transaction was lost with an earlier connection; commit or roll "
                       "back to begin another"};
  }
  Confirmation confirmation;
  Link& link = *connection_->link();
  const Bytes& outbox = link.outbox();
  const std::size_t before = outbox.size();
  write_publish(message);
  // Of the frames written only the first two are not cut to size, and only the second has no bound.
  constexpr std::size_t fixed_bytes = 22;
  const std::size_t header_bytes = fixed_bytes + wire::encode_properties(message.properties).size();
  if (header_bytes > link.frame_bytes_max()) {
    link.outbox().resize(before);
    return Failure{.kind = Failure::Kind::too_large,
                   .text = "the properties are larger than the connection's frames of " +
                           std::to_string(link.frame_bytes_max()) + " bytes"};
  }
  ++connection_->statistics().published_total;
  if (options_.mode != PublishMode::confirmed) {
    transaction_is_dirty_ = options_.mode == PublishMode::transactional;
    confirmation.outcome_.set(Result<void, Failure>{});
    return confirmation;
  }
  Unconfirmed& publish = unconfirmed_.emplace_back();
  publish.outcome = confirmation.outcome_;
  publish.exchange = message.exchange;
  publish.bytes = message.body.size();
  publish.deadline = deadline;
  if (message.mandatory) {
    publish.fingerprint =
        fingerprint_of(message.exchange, message.routing_key, *message.properties.message_id);
  }
  ++unsettled_count_;
  unsettled_bytes_ += publish.bytes;
  if (options_.republish) publish.message = std::make_shared<const Message>(std::move(message));
  watch_deadlines(deadline);
  return confirmation;
}

void ChannelCore::write_publish(const Message& message) {
  Link& link = *connection_->link();
  Bytes& out = link.outbox();
  wire::append_method_frame(out, number_,
                            wire::BasicPublish{.exchange = message.exchange,
                                               .routing_key = message.routing_key,
                                               .mandatory = message.mandatory});
  const Bytes properties = wire::encode_properties(message.properties);
  wire::append_content_frames(out, number_, properties, message.body, link.frame_bytes_max());
  link.wake_writer();
}

/// After a reconnect: what is still wanted and not confirmed goes out again, as the first of the
/// new tags.
void ChannelCore::send_again() {
  std::erase_if(unconfirmed_, [](const Unconfirmed& publish) { return publish.is_settled; });
  first_tag_ = 1;
  for (Unconfirmed& publish : unconfirmed_) {
    PRONTO_ASSERT(publish.message != nullptr);
    publish.returned.reset();
    write_publish(*publish.message);
  }
}

std::optional<Failure> ChannelCore::on_confirm(std::uint64_t tag, bool is_multiple, bool is_ack) {
  const std::uint64_t end = first_tag_ + unconfirmed_.size();
  if (tag >= end || options_.mode != PublishMode::confirmed) {
    return Failure{
        .kind = Failure::Kind::broken_peer,
        .text = "the broker confirmed publish " + std::to_string(tag) + ", which was not sent"};
  }
  if (tag < first_tag_ && !(is_multiple && tag == 0)) return std::nullopt;  // we gave it up
  const std::size_t last = tag == 0 ? unconfirmed_.size() : tag - first_tag_ + 1;
  for (std::size_t index = is_multiple ? 0 : last - 1; index < last; ++index) {
    Unconfirmed& publish = unconfirmed_[index];
    if (publish.is_settled) continue;
    if (publish.returned) {
      settle(publish, *publish.returned);
    } else if (is_ack) {
      ++connection_->statistics().confirmed_total;
      settle(publish, Result<void, Failure>{});
    } else {
      ++connection_->statistics().nacked_total;
      settle(publish, Failure{.kind = Failure::Kind::nacked,
                              .text = "the broker did not take a message for exchange '" +
                                      publish.exchange + "'"});
    }
  }
  forget_settled();
  return std::nullopt;
}

void ChannelCore::on_return(const wire::BasicReturn& returned, const Delivery& content) {
  ++connection_->statistics().returned_total;
  const Failure failure{
      .kind = Failure::Kind::unroutable,
      .text = returned.reply_text.text() + ": " + where(returned.exchange, returned.routing_key),
      .code = wire::ReplyCode{returned.reply_code}};
  if (options_.mode == PublishMode::transactional) {
    if (!transaction_return_) transaction_return_ = failure;
    return;
  }
  const std::uint64_t fingerprint =
      fingerprint_of(returned.exchange, returned.routing_key,
                     content.properties.message_id ? content.properties.message_id->view() : "");
  // The return comes before the confirm, so the publish is still there unless we gave it up.
  for (Unconfirmed& publish : unconfirmed_) {
    if (publish.is_settled || publish.returned || publish.fingerprint != fingerprint) continue;
    publish.returned = failure;
    return;
  }
  log::warning("amqp message came back unroutable",
               {{"connection", connection_->options().name}, {"reason", failure.text}});
}

void ChannelCore::settle(Unconfirmed& publish, Result<void, Failure> outcome) {
  PRONTO_ASSERT(!publish.is_settled);
  publish.is_settled = true;
  --unsettled_count_;
  unsettled_bytes_ -= publish.bytes;
  publish.message.reset();
  publish.outcome.set(std::move(outcome));
}

void ChannelCore::forget_settled() {
  while (!unconfirmed_.empty() && unconfirmed_.front().is_settled) {
    unconfirmed_.pop_front();
    ++first_tag_;
  }
  if (unsettled_count_ == 0) changed_.notify_all();
  wake_next();
}

void ChannelCore::settle_all(const Failure& failure) {
  for (Unconfirmed& publish : unconfirmed_) {
    if (!publish.is_settled) settle(publish, failure);
  }
  unconfirmed_.clear();
  changed_.notify_all();
}

/// The broker closed the channel over one publish and does not say which. Those that name the
/// exchange it complains of share the blame; the others were interrupted.
void ChannelCore::settle_for_close(const wire::Fault& fault) {
  const Failure refused{
      .kind = Failure::Kind::refused, .text = fault.reply_text(), .code = fault.code};
  const Failure interrupted{
      .kind = Failure::Kind::disconnected,
      .text = "the broker closed the channel before the confirm: " + refused.text};
  const bool is_about_publish = fault.method == wire::BasicPublish::id;
  const auto is_named = [&](const Unconfirmed& publish) {
    return !publish.is_settled && fault.text.contains("'" + publish.exchange + "'");
  };
  const bool names_one = std::ranges::any_of(unconfirmed_, is_named);
  for (Unconfirmed& publish : unconfirmed_) {
    if (publish.is_settled) continue;
    if (is_about_publish && (!names_one || is_named(publish))) {
      settle(publish, refused);
    } else if (!options_.republish) {
      settle(publish, interrupted);
    }
  }
  if (unsettled_count_ == 0) changed_.notify_all();
}

void ChannelCore::settle_for_disconnect(const Failure& failure) {
  if (failure.kind == Failure::Kind::closed) return settle_all(failure);
  if (options_.republish) return;
  settle_all({.kind = Failure::Kind::disconnected,
              .text = "the connection went away before the confirm: " + failure.text,
              .code = failure.code,
              .cause = failure.cause});
}

void ChannelCore::watch_deadlines(SteadyTime first) {
  if (is_watching_) return;
  is_watching_ = true;
  Loop& loop = connection_->loop();
  deadline_timer_ = Timer{loop, std::max(first - loop.now(), SteadyTime::duration::zero()),
                          [this] { on_deadline(); }};
}

void ChannelCore::on_deadline() {
  is_watching_ = false;
  const SteadyTime now = connection_->loop().now();
  SteadyTime next = SteadyTime::max();
  for (Unconfirmed& publish : unconfirmed_) {
    if (publish.is_settled) continue;
    if (publish.deadline > now) {
      next = std::min(next, publish.deadline);
      continue;
    }
    settle(publish, Failure{.kind = Failure::Kind::timed_out,
                            .text = "no confirm in time for a message to exchange '" +
                                    publish.exchange + "'; it may be stored all the same",
                            .cause = Error::timed_out});
  }
  forget_settled();
  if (next != SteadyTime::max()) watch_deadlines(next);
}

Task<Result<void, Failure>> ChannelCore::drain(std::shared_ptr<ChannelCore> self,
                                               milliseconds limit) {
  ChannelCore& my = *self;
  Loop& loop = my.connection_->loop();
  const SteadyTime deadline = loop.now() + limit;
  while (!my.is_idle()) {
    if (loop.now() >= deadline) {
      co_return Failure{.kind = Failure::Kind::timed_out,
                        .text = std::to_string(my.unsettled_count_ + my.turns_.size()) +
                                " publishes were still without a confirm",
                        .cause = Error::timed_out};
    }
    co_await wait_until(loop, my.changed_, deadline);
  }
  co_return Result<void, Failure>{};
}

Task<Result<void, Failure>> ChannelCore::commit(std::shared_ptr<ChannelCore> self) {
  co_return co_await self->end_transaction(true);
}

Task<Result<void, Failure>> ChannelCore::rollback(std::shared_ptr<ChannelCore> self) {
  co_return co_await self->end_transaction(false);
}

Task<Result<void, Failure>> ChannelCore::end_transaction(bool is_commit) {
  PRONTO_ASSERT(options_.mode == PublishMode::transactional);
  const SteadyTime deadline = answer_deadline();
  const bool is_lost = transaction_is_lost_;
  // What reached a later connection of a transaction begun on an earlier one must not be committed
  // alone.
  const bool commits = is_commit && !is_lost;
  const Result<void, Failure> open = co_await until_open(shared_from_this(), deadline);
  if (!open) co_return open.error();
  transaction_is_lost_ = false;
  transaction_is_dirty_ = false;
  const Result<Reply, Failure> reply =
      commits ? co_await call_now(wire::TxCommit{}, wire::TxCommitOk::id, deadline)
              : co_await call_now(wire::TxRollback{}, wire::TxRollbackOk::id, deadline);
  const std::optional<Failure> returned = std::exchange(transaction_return_, std::nullopt);
  if (!reply) co_return reply.error();
  if (is_commit && is_lost) {
    co_return Failure{.kind = Failure::Kind::disconnected,
                      .text = "the transaction was lost with an earlier connection"};
  }
  if (is_commit && returned) co_return *returned;
  co_return Result<void, Failure>{};
}

}  // namespace pronto::client::detail
