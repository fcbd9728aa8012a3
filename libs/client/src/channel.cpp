#include "pronto/client/channel.hpp"

#include "channel_core.hpp"

namespace pronto::client {

using detail::ChannelCore;

Channel::Channel(std::shared_ptr<ChannelCore> core) : core_{std::move(core)} {}

Channel& Channel::operator=(Channel&& other) noexcept {
  std::swap(core_, other.core_);
  return *this;
}

Channel::~Channel() {
  if (core_) core_->abandon();
}

Task<Result<void, Failure>> Channel::publish(Message message) {
  return ChannelCore::publish(core_, std::move(message));
}
Task<Result<Confirmation, Failure>> Channel::send(Message message) {
  return ChannelCore::send(core_, std::move(message));
}
Task<Result<std::string, Failure>> Channel::consume(ConsumeOptions options,
                                                    DeliveryHandler handler) {
  return ChannelCore::consume(core_, std::move(options), std::move(handler));
}
Task<Result<void, Failure>> Channel::cancel(std::string tag) {
  return ChannelCore::cancel(core_, std::move(tag));
}
Task<Result<std::optional<Delivery>, Failure>> Channel::get(std::string queue, bool no_ack) {
  return ChannelCore::get(core_, std::move(queue), no_ack);
}
Task<Result<void, Failure>> Channel::commit() {
  return ChannelCore::commit(core_);
}
Task<Result<void, Failure>> Channel::rollback() {
  return ChannelCore::rollback(core_);
}
Task<Result<void, Failure>> Channel::drain(milliseconds limit) {
  return ChannelCore::drain(core_, limit);
}
Task<Result<void, Failure>> Channel::close() {
  return ChannelCore::close(core_);
}

bool Channel::is_open() const noexcept {
  return core_->is_open();
}
std::size_t Channel::unconfirmed_count() const noexcept {
  return core_->unconfirmed_count();
}

void Delivery::ack() {
  if (std::exchange(answered_, true)) return;
  if (const std::shared_ptr<ChannelCore> channel = channel_.lock()) {
    channel->answer(generation_, tag_, std::nullopt);
  }
}

void Delivery::reject(Requeue requeue) {
  if (std::exchange(answered_, true)) return;
  if (const std::shared_ptr<ChannelCore> channel = channel_.lock()) {
    channel->answer(generation_, tag_, requeue);
  }
}

bool Delivery::is_current() const noexcept {
  const std::shared_ptr<ChannelCore> channel = channel_.lock();
  return channel && channel->is_current(generation_);
}

}  // namespace pronto::client
