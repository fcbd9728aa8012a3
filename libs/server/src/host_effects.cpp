#include <algorithm>
#include <limits>

#include "host_inside.hpp"
#include "pronto/base/log.hpp"

namespace pronto::server {
namespace {

void tell_unreadable(const broker::BodyRef& body, std::error_code error) {
  log::error("a message's body cannot be read: the message is set aside until a restart",
             {{"position", static_cast<std::uint64_t>(body.position)}, {"error", error}});
}

journal::Urgency urgency_of(broker::Awaited awaited) {
  switch (awaited) {
    case broker::Awaited::nothing:
      return journal::Urgency::later;
    case broker::Awaited::written:
      return journal::Urgency::written;
    case broker::Awaited::durable:
      break;
  }
  return journal::Urgency::now;
}

}  // namespace

Connection* BrokerHost::Inside::find(broker::ConnectionId connection) const {
  const auto id = static_cast<std::uint64_t>(connection);
  if (found_ && found_id_ == id) return found_;
  const auto found = connections.find(id);
  if (found == connections.end()) return nullptr;
  found_id_ = id;
  found_ = found->second.get();
  return found_;
}

void BrokerHost::Inside::send(broker::ConnectionId id, broker::ChannelId channel,
                              const wire::Method& method) {
  if (Connection* connection = find(id)) {
    connection->session.send(channel, method);
    wake(*connection);
  }
}

void BrokerHost::Inside::deliver(const broker::Deliver& delivery) {
  Connection* connection = find(delivery.connection);
  if (!connection) return;  // its end gives back what it had
  connection->session.deliver(delivery, store_.find(delivery.body.position));
  wake(*connection);
}

bool BrokerHost::Inside::has_credit(broker::ConnectionId id) const {
  Connection* connection = find(id);
  if (!connection || connection->is_short_of_room) return false;
  if (connection->session.unsent_bytes() < options.outbox_bytes_max) return true;
  // Whatever filled the outbox: who is passed over now is to be told when there is room again.
  connection->is_short_of_room = true;
  short_of_room_.push_back(static_cast<std::uint64_t>(id));
  return false;
}

void BrokerHost::Inside::get_ok(const broker::GetOk& answer) {
  Connection* connection = find(answer.connection);
  if (!connection) return;
  connection->session.get_ok(answer, store_.find(answer.body.position));
  wake(*connection);
}

void BrokerHost::Inside::return_message(broker::ConnectionId id, broker::ChannelId channel,
                                        wire::ReplyCode code, std::string_view text,
                                        const broker::ContentPtr& content) {
  if (Connection* connection = find(id)) {
    connection->session.return_message(channel, code, text, content);
    wake(*connection);
  }
}

void BrokerHost::Inside::confirm(broker::ConnectionId id, broker::ChannelId channel,
                                 std::uint64_t tag, bool multiple, bool is_ack) {
  if (Connection* connection = find(id)) {
    connection->session.confirm(channel, tag, multiple, is_ack);
    wake(*connection);
  }
}

void BrokerHost::Inside::close_channel(broker::ConnectionId id, broker::ChannelId channel,
                                       const wire::Fault& fault) {
  if (Connection* connection = find(id)) {
    log::info("channel closed for a fault of the client",
              {{"connection", static_cast<std::uint64_t>(id)},
               {"channel", static_cast<int>(channel)},
               {"text", fault.reply_text()}});
    connection->session.close_channel(channel, fault);
    wake(*connection);
  }
}

void BrokerHost::Inside::close_connection(broker::ConnectionId id, const wire::Fault& fault) {
  if (Connection* connection = find(id)) {
    log::warning("connection closed for a fault of the client",
                 {{"connection", static_cast<std::uint64_t>(id)}, {"text", fault.reply_text()}});
    connection->session.close_connection(fault);
    to_settle_.push_back(static_cast<std::uint64_t>(id));
    wake(*connection);
  }
}

broker::Appended BrokerHost::Inside::append(std::span<const broker::Record> records,
                                            broker::Awaited awaited) {
  // All payloads first, since they move while they grow.
  payloads_.clear();
  std::vector<std::size_t> ends;
  ends.reserve(records.size());
  holders_.clear();
  std::uint64_t bytes = 0;
  for (const broker::Record& record : records) {
    broker::append_payload(payloads_, record);
    ends.push_back(payloads_.size());
    if (std::holds_alternative<broker::BodyRecord>(record)) holders_.push_back(0);
    if (const auto* enqueue = std::get_if<broker::EnqueueRecord>(&record)) {
      ++holders_[holders_.size() - 1 - enqueue->bodies_back];
    }
    bytes += broker::trailing_bytes(record).size();
  }
  bytes += payloads_.size();
  const bool has_body = !holders_.empty();
  unit_.clear();
  std::size_t begin = 0;
  for (std::size_t i = 0; i < records.size(); ++i) {
    unit_.push_back({.type = static_cast<journal::RecordType>(broker::type_of(records[i])),
                     .parts = {BytesView{payloads_}.subspan(begin, ends[i] - begin),
                               broker::trailing_bytes(records[i])}});
    begin = ends[i];
  }
  if (!held_units_.empty()) return hold(records, bytes);  // in their order
  const journal::Urgency urgency = urgency_of(awaited);
  auto appended =
      log_->append(unit_, has_body ? journal::Need::space : journal::Need::reserve, urgency);
  if (!appended && has_body && appended.error() == std::errc::no_space_on_device) {
    // There was room when the publish was let in; what the reserve is for.
    appended = log_->append(unit_, journal::Need::reserve);
    touch();
  }
  if (!appended && appended.error() == std::errc::no_space_on_device) {
    log::error("the disk is full to the last byte: what happens is on no disk until there is room");
    return hold(records, bytes);
  }
  broker::Appended result;
  if (!appended) {
    // Not written: so it never becomes durable, is never confirmed and never handed out.
    fail(appended.error());
    for (const broker::Record& record : records) {
      if (const auto* body = std::get_if<broker::BodyRecord>(&record)) {
        result.bodies.push_back(keep(body->content, holders_[result.bodies.size()]).position);
      }
    }
    result.sequence = broker::JournalSequence{std::numeric_limits<std::uint64_t>::max()};
    return result;
  }
  for (std::size_t i = 0; i < records.size(); ++i) {
    if (const auto* body = std::get_if<broker::BodyRecord>(&records[i])) {
      const broker::BodyPosition position{static_cast<std::uint64_t>(appended->positions[i])};
      // A copy is for later.
      const std::uint32_t holders = holders_[result.bodies.size()];
      if (holders > 0) store_.cache(position, body->content, holders);
      result.bodies.push_back(position);
    }
  }
  note_appended(appended->sequence, bytes);
  result.sequence = broker::JournalSequence{last_sequence_};
  return result;
}

void BrokerHost::Inside::note_appended(journal::Sequence sequence, std::uint64_t bytes) {
  last_sequence_ = static_cast<std::uint64_t>(sequence);
  undurable_.push_back({broker::JournalSequence{last_sequence_}, bytes, loop.now()});
  watch_disk();
  undurable_bytes_ += bytes;
  schedule_write();
}

/// Keeps the unit under way until the journal takes it: consumers can go on answering on a full
/// disk, which is how it is drained. Its sequence is the one that the journal will give it.
broker::Appended BrokerHost::Inside::hold(std::span<const broker::Record> records,
                                          std::uint64_t bytes) {
  broker::Appended result;
  HeldUnit held;
  for (std::size_t i = 0; i < records.size(); ++i) {
    Bytes payload;
    for (const BytesView part : unit_[i].parts) pronto::append(payload, part);
    held.types.push_back(unit_[i].type);
    held.payloads.push_back(std::move(payload));
    held.is_loose = held.is_loose && broker::is_loose(records[i]);
    if (const auto* body = std::get_if<broker::BodyRecord>(&records[i])) {
      const std::uint32_t holders = holders_[result.bodies.size()];
      // A copy that the cleaner made: what it is of stays where it is.
      const broker::BodyRef kept =
          holders > 0 ? keep(body->content, holders) : broker::BodyRef{ContentStore::nowhere, 0};
      if (holders > 0) held.bodies.push_back({.record = i, .in_memory = kept, .holders = {}});
      result.bodies.push_back(kept.position);
    } else if (const auto* enqueue = std::get_if<broker::EnqueueRecord>(&records[i])) {
      const broker::BodyPosition at =
          result.bodies[result.bodies.size() - 1 - enqueue->bodies_back];
      const auto of = std::ranges::find_if(
          held.bodies, [at](const Homeless& one) { return one.in_memory.position == at; });
      of->holders.push_back(*enqueue);
    }
  }
  if (!held.is_loose) ++held_firm_count_;
  held_units_.push_back(std::move(held));
  result.sequence = broker::JournalSequence{last_sequence_ + held_units_.size()};
  undurable_.push_back({result.sequence, bytes, loop.now()});
  watch_disk();
  undurable_bytes_ += bytes;
  touch();
  return result;
}

/// Hands the journal what was held, as far as it takes it now.
void BrokerHost::Inside::write_held() {
  while (!held_units_.empty() && !alarms_.failure) {
    HeldUnit& held = held_units_.front();
    std::vector<journal::Record> unit;
    for (std::size_t i = 0; i < held.types.size(); ++i) {
      unit.push_back({.type = held.types[i], .parts = {BytesView{held.payloads[i]}, BytesView{}}});
    }
    const auto appended = log_->append(unit, journal::Need::reserve);
    if (!appended) {
      if (appended.error() != std::errc::no_space_on_device) fail(appended.error());
      return;
    }
    ++last_sequence_;
    PRONTO_ASSERT(static_cast<std::uint64_t>(appended->sequence) == last_sequence_);
    for (Homeless& body : held.bodies) {
      body.position =
          broker::BodyPosition{static_cast<std::uint64_t>(appended->positions[body.record])};
      body.durable_with = broker::JournalSequence{last_sequence_};
      homeless_.push_back(std::move(body));
    }
    if (!held.is_loose) --held_firm_count_;
    held_units_.pop_front();
    schedule_write();
  }
}

/// Tells the engine where the bodies lie that a full disk had no room for.
void BrokerHost::Inside::house(broker::JournalSequence upto) {
  while (!homeless_.empty() && homeless_.front().durable_with <= upto) {
    const Homeless body = std::move(homeless_.front());
    homeless_.pop_front();
    for (const broker::EnqueueRecord& entry : body.holders) {
      engine_.on_stored(entry.queue, entry.sequence, entry.priority, body.in_memory, body.position);
    }
  }
}

/// Without a log thread the loop writes, once what is running now has ended.
void BrokerHost::Inside::schedule_write() {
  if (options.journal.threading != journal::Threading::manual || is_write_posted_) return;
  is_write_posted_ = true;
  loop.post([alive = alive_] {
    if (!alive->host) return;
    Inside& self = *alive->host;
    self.is_write_posted_ = false;
    (void)self.log_->write_once();  // a failure comes through on_failure
    if (!self.log_->has_unsynced()) return;
    self.sync_timer_ = Timer{self.loop, self.options.journal.interval, [&self] {
                               if (self.log_->has_unsynced()) self.schedule_write();
                             }};
  });
}

void BrokerHost::Inside::on_written() {
  is_written_posted_ = false;
  engine_.on_written(broker::JournalSequence{written_upto_.load()}, loop.wall_now());
  settle_all();
  touch();
}

void BrokerHost::Inside::on_durable() {
  is_durable_posted_ = false;
  const broker::JournalSequence upto{static_cast<std::uint64_t>(log_->durable_upto())};
  while (!undurable_.empty() && undurable_.front().sequence <= upto) {
    undurable_bytes_ -= undurable_.front().bytes;
    undurable_.pop_front();
  }
  if (alarms_.slow_disk) look_at_disk();
  engine_.on_durable(upto, loop.wall_now());
  house(upto);
  if (is_checkpoint_due()) take_checkpoint();
  clean();
  settle_all();
  touch();
}

bool BrokerHost::Inside::has_room() const {
  return !alarms_.failure && held_units_.empty() && log_->has_room();
}

std::uint64_t BrokerHost::Inside::room_for_copies() const {
  const std::uint64_t left = log_->bytes_left();
  return left - std::min(left, options.journal.segment_bytes / 8);
}

bool BrokerHost::Inside::may_copy(std::uint64_t bytes) const {
  return !alarms_.failure && held_units_.empty() && room_for_copies() >= 2 * bytes;
}

broker::BodyRef BrokerHost::Inside::keep(const broker::ContentPtr& content, std::uint32_t holders) {
  return store_.keep(content, holders);
}

void BrokerHost::Inside::release(const broker::BodyRef& body) {
  store_.release(body.position);
}

bool BrokerHost::Inside::is_at_hand(const broker::BodyRef& body) const {
  return store_.has(body.position);
}

void BrokerHost::Inside::cache(const broker::BodyRef& body, const broker::ContentPtr& content) {
  store_.cache(body.position, content);
}

void BrokerHost::Inside::fetch(const broker::BodyRef& body, broker::FetchTicket ticket) {
  fetches_.push_back({body, ticket});
  schedule_fetches();
}

void BrokerHost::Inside::schedule_fetches() {
  if (fetches_.empty() || std::exchange(are_fetches_running_, true)) return;
  loop.post([alive = alive_] {
    if (alive->host) alive->host->run_fetches();
  });
}

/// Has the oldest fetches answered; what is not in memory by the reader, which blocks on the disk.
void BrokerHost::Inside::run_fetches() {
  constexpr std::size_t fetches_of_a_turn_max = 256;  // others want their turn, too
  constexpr std::uint64_t bytes_of_a_turn_max = 8 * 1024 * 1024;
  std::vector<Fetched> turn;
  std::uint64_t bytes = 0;
  bool is_missing = false;
  while (turn.size() < fetches_of_a_turn_max && bytes < bytes_of_a_turn_max && !fetches_.empty()) {
    const Fetch fetch = fetches_.front();
    fetches_.pop_front();
    turn.push_back({fetch, store_.find(fetch.body.position)});
    if (*turn.back().content) continue;
    is_missing = true;
    bytes += fetch.body.bytes;
  }
  const auto read_missing = [this](std::vector<Fetched>& of) {
    for (auto& [fetch, content] : of) {
      if (!*content) content = read_content(fetch.body);
    }
  };
  if (!is_missing || !reader_) {
    read_missing(turn);
    on_read(turn);
    return;
  }
  // The reader ends before the host does.
  reader_->post([this, alive = alive_, read_missing, turn = std::move(turn)]() mutable {
    read_missing(turn);
    loop.post([alive, turn = std::move(turn)] {
      if (alive->host) alive->host->on_read(turn);
    });
  });
}

void BrokerHost::Inside::on_read(const std::vector<Fetched>& fetched) {
  are_fetches_running_ = false;
  for (const auto& [fetch, content] : fetched) {
    if (!content) tell_unreadable(fetch.body, content.error());
    engine_.on_fetched(fetch.ticket, content ? *content : nullptr, loop.wall_now());
  }
  schedule_fetches();
  clean();
  settle_all();
  touch();
}

/// Runs on: any thread.
Result<broker::ContentPtr> BrokerHost::Inside::read_content(const broker::BodyRef& body) {
  if (ContentStore::is_in_memory_only(body.position)) return Error::not_found;
  const auto payload = log_->read(journal::Position{static_cast<std::uint64_t>(body.position)});
  if (!payload) return payload.error();
  return broker::decode_body(*payload);
}

broker::ContentPtr BrokerHost::Inside::content_of(const broker::BodyRef& body) {
  if (broker::ContentPtr content = store_.find(body.position)) return content;
  auto content = read_content(body);
  if (content) return std::move(*content);
  tell_unreadable(body, content.error());
  return nullptr;
}

}  // namespace pronto::server
