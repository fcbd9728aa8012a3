#include "fixture.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "pronto/base/log.hpp"

namespace pronto::server {
namespace {

struct Words {
  std::string operator()(const wire::ConnectionClose& close) const {
    return fmt::format("connection.close {} {}", close.reply_code, close.reply_text.view());
  }
  std::string operator()(const wire::ChannelClose& close) const {
    return fmt::format("channel.close {} {}", close.reply_code, close.reply_text.view());
  }
  std::string operator()(const wire::ConnectionTune& tune) const {
    return fmt::format("connection.tune {} {} {}", tune.channel_max, tune.frame_max,
                       tune.heartbeat);
  }
  std::string operator()(const wire::ConnectionStart& start) const {
    return fmt::format("connection.start {}.{} {}", start.version_major, start.version_minor,
                       start.mechanisms);
  }
  std::string operator()(const wire::ConnectionBlocked& blocked) const {
    return fmt::format("connection.blocked {}", blocked.reason.view());
  }
  std::string operator()(const wire::QueueDeclareOk& ok) const {
    return fmt::format("queue.declare-ok {} {} {}", ok.queue.view(), ok.message_count,
                       ok.consumer_count);
  }
  std::string operator()(const wire::BasicAck& ack) const {
    return fmt::format("basic.ack {}{}", ack.multiple ? "up to " : "", ack.delivery_tag);
  }
  std::string operator()(const wire::BasicNack& nack) const {
    return fmt::format("basic.nack {}{}", nack.multiple ? "up to " : "", nack.delivery_tag);
  }
  std::string operator()(const wire::BasicDeliver& one) const {
    return fmt::format("basic.deliver {} {}{}", one.consumer_tag.view(), one.delivery_tag,
                       one.redelivered ? " redelivered" : "");
  }
  std::string operator()(const wire::BasicGetOk& one) const {
    return fmt::format("basic.get-ok {}{}", one.delivery_tag,
                       one.redelivered ? " redelivered" : "");
  }
  std::string operator()(const wire::BasicReturn& one) const {
    return fmt::format("basic.return {} {}", one.reply_code, one.reply_text.view());
  }
  template <class Other>
  std::string operator()(const Other&) const {
    return std::string{Other::name};
  }
};

}  // namespace

RawClient::RawClient(VirtualLoop& loop, std::unique_ptr<Stream> stream)
    : loop_{loop}, stream_{std::move(stream)}, tasks_{loop, "raw client"} {
  tasks_.spawn(read());
  tasks_.spawn(write_out());
}

RawClient::~RawClient() {
  stream_->close();
  tasks_.cancel();
  loop_.run_until_idle();
}

Task<> RawClient::read() {
  Bytes buffer(64 * 1024);
  const std::shared_ptr<Stream> stream = stream_;
  for (;;) {
    while (!is_reading_) co_await wake_reader_.wait();
    const auto count = co_await stream->read_some(buffer);
    if (!count) break;
    received_bytes_ += *count;
    append(in_, BytesView{buffer}.first(*count));
    parse();
  }
  has_ended_ = true;
  stream->close();
}

Task<> RawClient::write_out() {
  const std::shared_ptr<Stream> stream = stream_;
  for (;;) {
    while (out_.empty()) co_await wake_writer_.wait();
    const Bytes sent = std::exchange(out_, {});
    is_writing_ = true;
    const auto written = co_await write_all(*stream, sent);
    is_writing_ = false;
    if (!written) break;
  }
}

void RawClient::parse() {
  std::size_t taken = 0;
  while (is_amqp_) {
    const auto frame = wire::parse_frame(BytesView{in_}.subspan(taken), 64 * 1024 * 1024);
    if (!frame) {
      is_amqp_ = false;
      break;
    }
    if (!frame->has_value()) break;
    taken += (*frame)->frame_bytes();
    const std::uint16_t channel = (*frame)->channel;
    switch ((*frame)->type) {
      case wire::FrameType::heartbeat:
        told_.emplace_back("heartbeat");
        break;
      case wire::FrameType::method: {
        const auto method = wire::decode_method((*frame)->payload);
        ASSERT_TRUE(method) << method.error().text;
        on_method(channel, *method);
        break;
      }
      case wire::FrameType::header: {
        const auto header = wire::decode_content_header((*frame)->payload);
        ASSERT_TRUE(header) << header.error().text;
        contents_[channel].bytes_missing = header->body_bytes;
        on_content(channel);
        break;
      }
      case wire::FrameType::body:
        contents_[channel].body += to_string((*frame)->payload);
        contents_[channel].bytes_missing -= (*frame)->payload.size();
        on_content(channel);
        break;
    }
  }
  in_.erase(in_.begin(), in_.begin() + static_cast<long>(taken));
}

void RawClient::on_method(std::uint16_t channel, const wire::Method& method) {
  if (wire::is_followed_by_content(method)) {
    contents_[channel] = {.method = method};
    return;
  }
  told_.push_back(fmt::format("{} {}", channel, std::visit(Words{}, method)));
}

void RawClient::on_content(std::uint16_t channel) {
  Content& content = contents_.at(channel);
  if (content.bytes_missing > 0) return;
  told_.push_back(
      fmt::format("{} {} {}", channel, std::visit(Words{}, content.method), content.body));
  bodies_.push_back(content.body);
  if (const auto* deliver = std::get_if<wire::BasicDeliver>(&content.method)) {
    deliveries.push_back(
        {deliver->delivery_tag, deliver->redelivered, deliver->consumer_tag.text(), content.body});
  } else if (const auto* got = std::get_if<wire::BasicGetOk>(&content.method)) {
    deliveries.push_back({got->delivery_tag, got->redelivered, "", content.body});
  }
  contents_.erase(channel);
}

void RawClient::write(BytesView bytes) {
  append(out_, bytes);
  wake_writer_.notify_all();
  loop_.run_until_idle();
}

void RawClient::send(std::uint16_t channel, const wire::Method& method) {
  Bytes bytes;
  wire::append_method_frame(bytes, channel, method);
  write(bytes);
}

void RawClient::frame(wire::FrameType type, std::uint16_t channel, std::string_view payload) {
  Bytes bytes;
  wire::append_frame(bytes, type, channel, as_bytes(payload));
  write(bytes);
}

Bytes RawClient::published(std::uint16_t channel, std::string_view exchange, std::string_view key,
                           std::string_view body, wire::BasicProperties properties,
                           bool mandatory) {
  Bytes bytes;
  wire::append_method_frame(
      bytes, channel,
      wire::BasicPublish{.exchange = exchange, .routing_key = key, .mandatory = mandatory});
  wire::append_content_frames(bytes, channel, wire::encode_properties(properties), as_bytes(body),
                              4096);
  return bytes;
}

void RawClient::publish(std::uint16_t channel, std::string_view queue, std::string_view body) {
  wire::BasicProperties properties;
  properties.delivery_mode = 2;
  write(published(channel, "", queue, body, properties));
}

std::string RawClient::call(std::uint16_t channel, const wire::Method& method) {
  told();
  send(channel, method);
  std::string all;
  for (const std::string& line : told()) all += (all.empty() ? "" : "\n") + line;
  return all;
}

void RawClient::greet_and_start(const Login& login) {
  write(wire::protocol_header());
  wire::ConnectionStartOk start;
  start.mechanism = "PLAIN";
  start.response = std::string{'\0'} + login.user + '\0' + login.password;
  start.locale = "en_US";
  if (login.is_capable) {
    start.client_properties = {
        {"capabilities", wire::Table{{"connection.blocked", true},
                                     {"consumer_cancel_notify", true},
                                     {"authentication_failure_close", true}}}};
  }
  send(0, start);
}

void RawClient::log_in(const Login& login) {
  greet_and_start(login);
  send(0,
       wire::ConnectionTuneOk{
           .channel_max = 0, .frame_max = login.frame_max, .heartbeat = login.heartbeat_seconds});
  send(0, wire::ConnectionOpen{.virtual_host = login.virtual_host});
  send(1, wire::ChannelOpen{});
}

std::vector<std::string> RawClient::told() {
  return std::exchange(told_, {});
}

void RawClient::set_reading(bool on) {
  is_reading_ = on;
  wake_reader_.notify_all();
  loop_.run_until_idle();
}

void RawClient::die() {
  stream_->close();
  loop_.run_until_idle();
}

HostTest::HostTest() {
  log::set_level(log::Level::error);
  options.journal.threading = journal::Threading::manual;
  options.journal.segment_bytes = 1024 * 1024;
  options.journal.free_bytes_min = 0;
  options.memory_bytes_max = 1024 * 1024 * 1024;
}

HostTest::~HostTest() {
  host.reset();
  loop.run_until_idle();
}

void HostTest::open() {
  HostOptions chosen = options;
  chosen.on_failure = [this](std::error_code error) { failures.push_back(error); };
  auto opened = BrokerHost::open(loop, disk.open(), users, chosen);
  ASSERT_TRUE(opened) << opened.error().message();
  host = std::move(*opened);
}

void HostTest::shut_down() {
  const auto ended = loop.run(host->shut_down(seconds{5}));
  EXPECT_TRUE(ended);
  host.reset();
}

std::string HostTest::body(int number, std::size_t size) {
  std::string text = std::to_string(number) + ':';
  text.resize(std::max(size, text.size()), 'x');
  return text;
}

void HostTest::crash(Random* random) {
  host.reset();
  if (random) disk.crash(*random);
}

std::unique_ptr<RawClient> HostTest::connect() {
  return std::make_unique<RawClient>(loop, host->connect());
}

std::unique_ptr<RawClient> HostTest::log_in(const RawClient::Login& login) {
  auto client = connect();
  client->log_in(login);
  const std::vector<std::string> told = client->told();
  EXPECT_FALSE(told.empty());
  if (!told.empty()) EXPECT_EQ(told.back(), "1 channel.open-ok");
  return client;
}

broker::QueueView HostTest::queue(std::string_view name) const {
  for (const broker::QueueView& view : host->overview().queues) {
    if (view.name == name) return view;
  }
  ADD_FAILURE() << "no queue " << name;
  return {};
}

}  // namespace pronto::server
