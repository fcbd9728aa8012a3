#include "fixture.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace pronto::broker {
namespace {

struct Words {
  std::string operator()(const wire::QueueDeclareOk& ok) const {
    return fmt::format("queue.declare-ok {} {} messages {} consumers", ok.queue.view(),
                       ok.message_count, ok.consumer_count);
  }
  std::string operator()(const wire::QueuePurgeOk& ok) const {
    return fmt::format("queue.purge-ok {}", ok.message_count);
  }
  std::string operator()(const wire::QueueDeleteOk& ok) const {
    return fmt::format("queue.delete-ok {}", ok.message_count);
  }
  std::string operator()(const wire::BasicConsumeOk& ok) const {
    return fmt::format("basic.consume-ok {}", ok.consumer_tag.view());
  }
  std::string operator()(const wire::BasicCancelOk& ok) const {
    return fmt::format("basic.cancel-ok {}", ok.consumer_tag.view());
  }
  std::string operator()(const wire::BasicCancel& cancel) const {
    return fmt::format("basic.cancel {}", cancel.consumer_tag.view());
  }
  template <class Other>
  std::string operator()(const Other&) const {
    return std::string{Other::name};
  }
};

constexpr std::uint64_t kept_bit = std::uint64_t{1} << 63U;

bool is_answer(const std::string& line) {
  const std::string first = line.substr(0, line.find(' '));
  return first.ends_with("-ok") || first.ends_with("-empty") ||
         line.starts_with("channel closed") || line.starts_with("connection closed");
}

}  // namespace

std::string body_of(const Content& content) {
  return to_string(content.body);
}

wire::BasicProperties with_headers(wire::Table headers) {
  wire::BasicProperties properties;
  properties.headers = std::move(headers);
  return properties;
}

void Outside::send(ConnectionId connection, ChannelId channel, const wire::Method& method) {
  tell(connection, channel, std::visit(Words{}, method));
}

void Outside::deliver(const Deliver& delivery) {
  EXPECT_TRUE(is_at_hand(delivery.body));
  const ContentPtr content = content_of(delivery.body);
  if (!content) return;
  if (const auto left = room.find(delivery.connection); left != room.end()) {
    EXPECT_GT(left->second, 0U) << "a delivery without room";
    --left->second;
  }
  deliveries.push_back({delivery.connection, delivery.channel, delivery.delivery_tag,
                        delivery.redelivered, content});
  std::string line =
      fmt::format("{} {} {}", delivery.consumer_tag, delivery.delivery_tag, body_of(*content));
  if (delivery.redelivered) line += " redelivered";
  if (delivery.delivery_count) line += fmt::format(" count {}", *delivery.delivery_count);
  tell(delivery.connection, delivery.channel, line);
}

bool Outside::has_credit(ConnectionId connection) const {
  const auto left = room.find(connection);
  return left == room.end() || left->second > 0;
}

bool Outside::is_at_hand(const BodyRef& body) const {
  const ContentPtr content = content_of(body);
  return content && !unreadable.contains(body_of(*content)) && !on_disk.contains(body_of(*content));
}

void Outside::cache(const BodyRef& body, const ContentPtr& content) {
  EXPECT_EQ(content_of(body), content);
  on_disk.erase(body_of(*content));
}

ContentPtr Outside::read(const BodyRef& body) const {
  // A message that has gone meanwhile: it is read nevertheless, and nobody takes it.
  const auto found = bodies_.find(body.position);
  if (found == bodies_.end() && !copies_.contains(body.position)) {
    return std::make_shared<Content>();
  }
  const ContentPtr content = content_of(body);
  return unreadable.contains(body_of(*content)) ? nullptr : content;
}

void Outside::get_ok(const GetOk& answer) {
  EXPECT_TRUE(is_at_hand(answer.body));
  const ContentPtr content = content_of(answer.body);
  if (!content) return;
  deliveries.push_back(
      {answer.connection, answer.channel, answer.delivery_tag, answer.redelivered, content});
  std::string line = fmt::format("basic.get-ok {} {}", answer.delivery_tag, body_of(*content));
  if (answer.redelivered) line += " redelivered";
  if (answer.delivery_count) line += fmt::format(" count {}", *answer.delivery_count);
  tell(answer.connection, answer.channel, line + fmt::format(", {} left", answer.message_count));
}

void Outside::return_message(ConnectionId connection, ChannelId channel, wire::ReplyCode code,
                             std::string_view text, const ContentPtr& content) {
  tell(connection, channel,
       fmt::format("returned {} {} {}", static_cast<int>(code), text, body_of(*content)));
}

void Outside::confirm(ConnectionId connection, ChannelId channel, std::uint64_t tag, bool multiple,
                      bool is_ack) {
  tell(connection, channel,
       fmt::format("{}{} {}", is_ack ? "confirmed" : "refused", multiple ? " up to" : "", tag));
}

void Outside::close_channel(ConnectionId connection, ChannelId channel, const wire::Fault& fault) {
  EXPECT_FALSE(fault.is_connection_error);
  tell(connection, channel,
       fmt::format("channel closed {} {}", static_cast<int>(fault.code), fault.reply_text()));
}

void Outside::close_connection(ConnectionId connection, const wire::Fault& fault) {
  // Told on all channels: the test that caused it reads its own.
  tell(connection, ChannelId{0},
       fmt::format("connection closed {} {}", static_cast<int>(fault.code), fault.reply_text()));
}

Appended Outside::append(std::span<const Record> records, Awaited awaited) {
  ++appends_of_command;
  if (awaited == Awaited::durable) ++awaited_appends;
  Unit unit{.sequence = ++last_sequence_, .records = {}};
  Appended appended;
  appended.sequence = JournalSequence{unit.sequence};
  for (const Record& record : records) {
    // A segment for each unit, so that tests see which are needed.
    StoredRecord stored{
        type_of(record), BodyPosition{unit.sequence << 32U | 8 * unit.records.size()}, {}};
    append_payload(stored.payload, record);
    pronto::append(stored.payload, trailing_bytes(record));
    if (const auto* body = std::get_if<BodyRecord>(&record)) {
      bodies_[stored.position] = {body->content, 0};
      appended.bodies.push_back(stored.position);
    }
    if (const auto* enqueue = std::get_if<EnqueueRecord>(&record)) {
      ++bodies_[appended.bodies[appended.bodies.size() - 1 - enqueue->bodies_back]].holders;
    }
    if (const auto* moved = std::get_if<MovedRecord>(&record)) {
      make_copy(appended.bodies[appended.bodies.size() - 1 - moved->bodies_back]);
    }
    unit.records.push_back(std::move(stored));
  }
  units.push_back(std::move(unit));
  return appended;
}

std::optional<PageRef> Outside::write_page(QueuePageRecord page) {
  if (!journal_has_room) return std::nullopt;
  const Unit unit{.sequence = ++last_sequence_, .records = {}};
  StoredRecord stored{RecordType::index_page, BodyPosition{unit.sequence << 32U}, {}};
  append_payload(stored.payload, IndexPageRecord{std::move(page)});
  const PageRef at{stored.position, static_cast<std::uint32_t>(stored.payload.size())};
  units.push_back(unit);
  units.back().records.push_back(std::move(stored));
  pages.insert(at);
  return at;
}

Result<QueuePageRecord> Outside::read_page(const PageRef& page) {
  EXPECT_TRUE(pages.contains(page)) << "a page is read that was released";
  const StoredRecord* record = find_record(page.position);
  if (!record || !pages_are_readable) return Error::damaged;
  const auto decoded = decode_record(record->type, record->payload);
  if (!decoded) return decoded.error();
  return std::get<IndexPageRecord>(*decoded).page;
}

void Outside::release_page(const PageRef& page, bool are_entries_gone) {
  if (are_entries_gone && pages_are_readable) {
    const auto gone = read_page(page);
    ASSERT_TRUE(gone);
    for (const QueuePageRecord::Entry& entry : gone->entries) release(entry.body);
  }
  EXPECT_EQ(pages.erase(page), 1U) << "a page is released that nobody needs";
}

const Outside::StoredRecord* Outside::find_record(BodyPosition position) const {
  const std::uint64_t sequence = static_cast<std::uint64_t>(position) >> 32U;
  const auto unit = std::ranges::lower_bound(units, sequence, {}, &Unit::sequence);
  if (unit == units.end() || unit->sequence != sequence) return nullptr;
  const auto record = std::ranges::find(unit->records, position, &StoredRecord::position);
  return record == unit->records.end() ? nullptr : &*record;
}

/// The entries of a page hold their bodies after a restart.
void Outside::hold(const QueuePageRecord& page) {
  for (const QueuePageRecord::Entry& entry : page.entries) {
    const StoredRecord* record = find_record(entry.body.position);
    ASSERT_NE(record, nullptr);
    Held& held = bodies_[entry.body.position];
    const auto content = decode_body(record->payload);
    ASSERT_TRUE(content);
    held.content = *content;
    ++held.holders;
  }
}

BodyRef Outside::keep(const ContentPtr& content, std::uint32_t holders) {
  const BodyPosition position{kept_bit | ++last_kept_};
  bodies_[position] = {content, holders};
  return {position, static_cast<std::uint32_t>(content->body.size())};
}

void Outside::make_copy(BodyPosition position) {
  const auto body = bodies_.find(position);
  if (body == bodies_.end()) return;
  copies_[position] = body->second.content;
  bodies_.erase(body);
}

void Outside::release(const BodyRef& body) {
  if (copies_.contains(body.position)) return;
  const auto found = bodies_.find(body.position);
  ASSERT_NE(found, bodies_.end()) << "a body is released that nobody holds";
  if (--found->second.holders == 0) bodies_.erase(found);
}

ContentPtr Outside::content_of(const BodyRef& body) const {
  if (const auto copy = copies_.find(body.position); copy != copies_.end()) return copy->second;
  const auto found = bodies_.find(body.position);
  if (found == bodies_.end()) {
    ADD_FAILURE() << "a body is used after it was released";
    return nullptr;
  }
  EXPECT_EQ(found->second.content->body.size(), body.bytes);
  return found->second.content;
}

void Outside::crash(std::uint64_t sequence) {
  while (!units.empty() && units.back().sequence > sequence) units.pop_back();
  told.clear();
  deliveries.clear();
  fetches.clear();
  page_fetches.clear();
  pages.clear();
  room.clear();
  bodies_.clear();
  copies_.clear();
  adopted_.clear();
}

void Outside::adopt(const StoredRecord& record) {
  if (record.type == RecordType::body) {
    const auto content = decode_body(record.payload);
    ASSERT_TRUE(content);
    bodies_[record.position] = {*content, 0};
    adopted_.push_back(record.position);
  } else if (record.type == RecordType::enqueue) {
    const auto decoded = decode_record(record.type, record.payload);
    ASSERT_TRUE(decoded);
    const auto& enqueue = std::get<EnqueueRecord>(*decoded);
    ++bodies_[adopted_[adopted_.size() - 1 - enqueue.bodies_back]].holders;
  } else if (record.type == RecordType::queue_page) {
    hold(std::get<QueuePageRecord>(*decode_record(record.type, record.payload)));
  } else if (record.type == RecordType::written_page) {
    const auto page = std::get<WrittenPage>(*decode_record(record.type, record.payload));
    pages.insert(page.image);
    const auto image = read_page(page.image);
    ASSERT_TRUE(image || !pages_are_readable);
    if (image) hold(*image);
  } else if (record.type == RecordType::moved) {
    const auto decoded = decode_record(record.type, record.payload);
    ASSERT_TRUE(decoded);
    make_copy(adopted_[adopted_.size() - 1 - std::get<MovedRecord>(*decoded).bodies_back]);
  }
}

bool DeniedByName::is_allowed(std::string_view user, std::string_view virtual_host, Access access,
                              std::string_view resource) const {
  EXPECT_EQ(virtual_host, "/");
  EXPECT_NE(resource, "");
  const Denied asked{std::string{user}, access, std::string{resource}};
  return std::ranges::find(denied, asked) == denied.end();
}

std::string Peer::call(const wire::Method& method) {
  const std::size_t before = test_->outside.told.size();
  test_->run([&](Broker& broker) { broker.on_method(connection_, channel_, method, test_->now); });
  auto& told = test_->outside.told;
  for (std::size_t i = before; i < told.size(); ++i) {
    if (told[i].connection != connection_ || !is_answer(told[i].line) ||
        (told[i].channel != channel_ && told[i].channel != ChannelId{0})) {
      continue;
    }
    std::string line = told[i].line;
    // What basic.get brought is a delivery, too.
    if (!line.starts_with("basic.get-ok")) told.erase(told.begin() + static_cast<long>(i));
    return line;
  }
  return "";
}

std::string Peer::declare(std::string_view queue, QueueOptions options) {
  return call(wire::QueueDeclare{.queue = queue,
                                 .passive = options.passive,
                                 .durable = options.durable,
                                 .exclusive = options.exclusive,
                                 .auto_delete = options.auto_delete,
                                 .arguments = std::move(options.arguments)});
}
std::string Peer::exchange(std::string_view name, std::string_view type, ExchangeOptions options) {
  return call(wire::ExchangeDeclare{.exchange = name,
                                    .type = type,
                                    .passive = options.passive,
                                    .durable = options.durable,
                                    .auto_delete = options.auto_delete,
                                    .internal = options.internal,
                                    .arguments = std::move(options.arguments)});
}
std::string Peer::bind(std::string_view queue, std::string_view exchange, std::string_view key,
                       wire::Table arguments) {
  return call(wire::QueueBind{
      .queue = queue, .exchange = exchange, .routing_key = key, .arguments = std::move(arguments)});
}
std::string Peer::unbind(std::string_view queue, std::string_view exchange, std::string_view key) {
  return call(wire::QueueUnbind{.queue = queue, .exchange = exchange, .routing_key = key});
}
std::string Peer::purge(std::string_view queue) {
  return call(wire::QueuePurge{.queue = queue});
}
std::string Peer::remove(std::string_view queue, bool if_unused, bool if_empty) {
  return call(wire::QueueDelete{.queue = queue, .if_unused = if_unused, .if_empty = if_empty});
}
std::string Peer::consume(std::string_view queue, std::string_view tag, ConsumeOptions options) {
  return call(wire::BasicConsume{.queue = queue,
                                 .consumer_tag = tag,
                                 .no_ack = options.no_ack,
                                 .exclusive = options.exclusive});
}
std::string Peer::cancel(std::string_view tag) {
  return call(wire::BasicCancel{.consumer_tag = tag});
}
std::string Peer::qos(std::uint16_t count, bool global) {
  return call(wire::BasicQos{.prefetch_count = count, .global = global});
}
std::string Peer::get(std::string_view queue, bool no_ack) {
  return call(wire::BasicGet{.queue = queue, .no_ack = no_ack});
}
std::string Peer::ack(std::uint64_t tag, bool multiple) {
  return call(wire::BasicAck{.delivery_tag = tag, .multiple = multiple});
}
std::string Peer::nack(std::uint64_t tag, bool multiple, bool requeue) {
  return call(wire::BasicNack{.delivery_tag = tag, .multiple = multiple, .requeue = requeue});
}
std::string Peer::reject(std::uint64_t tag, bool requeue) {
  return call(wire::BasicReject{.delivery_tag = tag, .requeue = requeue});
}
std::string Peer::recover() {
  return call(wire::BasicRecover{.requeue = true});
}
std::string Peer::confirms() {
  return call(wire::ConfirmSelect{});
}
std::string Peer::select() {
  return call(wire::TxSelect{});
}
std::string Peer::commit() {
  return call(wire::TxCommit{});
}
std::string Peer::rollback() {
  return call(wire::TxRollback{});
}

void Peer::send(std::string_view queue, std::string_view body, MessageOptions options) {
  publish("", queue, body, std::move(options));
}

void Peer::publish(std::string_view exchange, std::string_view key, std::string_view body,
                   MessageOptions options) {
  auto content = std::make_shared<Content>();
  content->exchange = exchange;
  content->routing_key = key;
  if (options.persistent) options.properties.delivery_mode = 2;
  content->properties = wire::encode_properties(options.properties);
  content->body = to_bytes(body);
  const PublishFlags flags{.mandatory = options.mandatory, .immediate = options.immediate};
  test_->run([&](Broker& broker) {
    broker.on_publish(connection_, channel_, flags, std::move(content), test_->now);
  });
}

void Peer::close() {
  test_->run([&](Broker& broker) { broker.channel_closed(connection_, channel_, test_->now); });
}

std::vector<std::string> Peer::told() {
  std::vector<std::string> lines;
  std::erase_if(test_->outside.told, [&](const Outside::Told& one) {
    const bool is_mine =
        one.connection == connection_ && (one.channel == channel_ || one.channel == ChannelId{0});
    if (is_mine) lines.push_back(one.line);
    return is_mine;
  });
  return lines;
}

std::vector<std::string> Peer::bodies() {
  std::vector<std::string> bodies;
  std::erase_if(test_->outside.deliveries, [&](const Outside::Delivered& one) {
    const bool is_mine = one.connection == connection_ && one.channel == channel_;
    if (is_mine) bodies.push_back(body_of(*one.content));
    return is_mine;
  });
  return bodies;
}

ContentPtr Peer::last_content() const {
  for (auto at = test_->outside.deliveries.rbegin(); at != test_->outside.deliveries.rend(); ++at) {
    if (at->connection == connection_ && at->channel == channel_) return at->content;
  }
  ADD_FAILURE() << "nothing was delivered";
  return std::make_shared<Content>();
}

wire::BasicProperties Peer::last_properties() const {
  const auto properties = wire::decode_properties(last_content()->properties);
  if (!properties) return {};
  return *properties;
}

void BrokerTest::start() {
  broker = std::make_unique<Broker>(outside, random, limits, permissions);
}

Peer BrokerTest::open(std::uint64_t connection, std::uint16_t channel, std::string user) {
  const ConnectionId id{connection};
  if (!connections[connection]) {
    connections[connection] = true;
    broker->connection_opened(id, "/", std::move(user));
  }
  broker->channel_opened(id, ChannelId{channel});
  return {*this, id, ChannelId{channel}};
}

void BrokerTest::disconnect(std::uint64_t connection) {
  connections[connection] = false;
  run([&](Broker& one) { one.connection_closed(ConnectionId{connection}, now); });
}

void BrokerTest::make_durable(std::uint64_t sequence) {
  durable_upto = sequence;
  broker->on_durable(JournalSequence{sequence}, now);
}

void BrokerTest::settle() {
  const auto is_idle = [this] { return outside.fetches.empty() && outside.page_fetches.empty(); };
  for (std::uint64_t last = 0; last != outside.last_sequence() || !is_idle();) {
    last = outside.last_sequence();
    make_durable(last);
    while (!outside.page_fetches.empty()) answer_page();
    while (!outside.fetches.empty()) answer_fetch();
  }
}

void BrokerTest::answer_fetch() {
  ASSERT_FALSE(outside.fetches.empty());
  const auto [body, ticket] = outside.fetches.front();
  outside.fetches.pop_front();
  broker->on_fetched(ticket, outside.read(body), now);
}

void BrokerTest::answer_page() {
  ASSERT_FALSE(outside.page_fetches.empty());
  const auto [page, ticket] = outside.page_fetches.front();
  outside.page_fetches.pop_front();
  // One that has come by another way meanwhile is not there any more.
  const auto image = outside.pages.contains(page) ? outside.read_page(page) : Error::not_found;
  broker->on_page(ticket, image ? std::optional{*image} : std::nullopt, now);
}

void BrokerTest::take_checkpoint() {
  ASSERT_EQ(durable_upto, outside.last_sequence());
  outside.checkpoint.clear();
  outside.checkpoint_sequence = durable_upto;
  broker->state([this](const Record& record) {
    Outside::StoredRecord stored{type_of(record), {}, {}};
    append_payload(stored.payload, record);
    outside.checkpoint.push_back(std::move(stored));
  });
}

void BrokerTest::crash() {
  broker.reset();
  connections.clear();
  outside.crash(durable_upto);
  start();
  const auto tell = [this](const Outside::StoredRecord& record) {
    outside.adopt(record);
    const auto taken = broker->on_record(record.type, record.position, record.payload);
    ASSERT_TRUE(taken) << "record of type " << static_cast<int>(record.type) << ": "
                       << taken.error().message();
  };
  for (const Outside::StoredRecord& record : outside.checkpoint) tell(record);
  for (const Outside::Unit& unit : outside.units) {
    if (unit.sequence <= outside.checkpoint_sequence) continue;
    SCOPED_TRACE(testing::Message() << "unit " << unit.sequence);
    for (const Outside::StoredRecord& record : unit.records) tell(record);
  }
  broker->finish_recovery(now);
}

void BrokerTest::advance(milliseconds by) {
  const WallTime end = now + by;
  // As a timer would: at each moment that the engine names.
  for (auto due = broker->next_due(); due && *due <= end; due = broker->next_due()) {
    now = std::max(now, *due);
    run([&](Broker& one) { one.on_time(now); });
  }
  now = end;
}

QueueView BrokerTest::view(std::string_view queue) const {
  for (const QueueView& view : broker->queues()) {
    if (view.name == queue) return view;
  }
  ADD_FAILURE() << "no queue " << queue;
  return {};
}

bool BrokerTest::has_queue(std::string_view queue) const {
  return std::ranges::any_of(broker->queues(),
                             [&](const QueueView& view) { return view.name == queue; });
}

std::vector<std::string> BrokerTest::ready(std::string_view queue) const {
  std::vector<std::string> bodies;
  for (const Broker::Peeked& seen : broker->peek("/", queue, 0, 1'000'000)) {
    if (seen.is_unacked) continue;
    if (const ContentPtr content = outside.content_of(seen.body))
      bodies.push_back(body_of(*content));
  }
  return bodies;
}

}  // namespace pronto::broker
