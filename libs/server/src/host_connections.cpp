#include <algorithm>
#include <cstring>

#include "host_inside.hpp"
#include "pronto/base/log.hpp"

namespace pronto::server {
namespace {

/// A receive buffer that grows to what the peer may send in one frame, and to no more.
class Inbox {
 public:
  BytesView waiting() const { return BytesView{bytes_}.subspan(begin_, end_ - begin_); }
  void take(std::size_t count) {
    begin_ += count;
    if (begin_ == end_) begin_ = end_ = 0;
  }
  /// Room to read into. Takes: the largest frame; what waits is less than one.
  std::span<std::byte> space(std::size_t frame_bytes_max) {
    if (begin_ > 0) {
      std::memmove(bytes_.data(), bytes_.data() + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
    }
    // Small for those that only sit there, larger for those that fill it.
    if (bytes_.empty()) bytes_.resize(first_bytes);
    if (was_filled_ || end_ == bytes_.size()) {
      const std::size_t most = std::max(frame_bytes_max, first_bytes);
      bytes_.resize(std::min(most, bytes_.size() * 2));
    }
    return std::span{bytes_}.subspan(end_);
  }
  void put(std::size_t count) {
    end_ += count;
    was_filled_ = end_ == bytes_.size();
  }

 private:
  static constexpr std::size_t first_bytes = 8 * 1024;
  Bytes bytes_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  bool was_filled_ = false;
};

/// What all connections together may bring before each has had its turn again, about: many that
/// publish leave a consumer its turn to answer.
constexpr std::size_t bytes_of_a_round = 512 * 1024;
constexpr std::size_t bytes_of_a_turn_min = 8 * 1024;

constexpr seconds linger_limit{1};

}  // namespace

void BrokerHost::Inside::serve(std::unique_ptr<Stream> stream) {
  if (is_shutting_down || connections.size() >= options.connections_max) {
    ++counters.connections_refused_total;
    log::warning("connection refused: too many, or shutting down",
                 {{"peer", stream->peer_name()}, {"connections", connections.size()}});
    stream->close();
    return;
  }
  ++counters.connections_total;
  const broker::ConnectionId id{++last_connection_};
  Session::Peer peer{stream->peer_name(), stream->peer()};
  const Session::Shared shared{options.session, users_, engine_, counters,
                               2 * options.outbox_bytes_max};
  auto connection =
      std::make_shared<Connection>(std::move(stream), id, std::move(peer), shared, now());
  connections.emplace(static_cast<std::uint64_t>(id), connection);
  if (is_blocked_) block(*connection);
  arm(*connection);
  tasks_.spawn(read(*this, connection));
  tasks_.spawn(write(*this, std::move(connection)));
}

/// Hands what comes in to the session, as much as it takes at once.
Task<> BrokerHost::Inside::read(Inside& self, std::shared_ptr<Connection> connection) {
  Session& session = connection->session;
  Inbox inbox;
  for (;;) {
    while (!session.wants_bytes()) co_await connection->input.wait();
    if (!inbox.waiting().empty()) {
      // What was left over while it could not be taken, or a frame that is not whole yet.
      inbox.take(session.on_bytes(inbox.waiting(), self.now()));
      self.after(*connection);
      if (!session.wants_bytes()) continue;
    }
    const std::span<std::byte> space = inbox.space(session.receive_bytes_min());
    const std::size_t share = std::max(
        bytes_of_a_turn_min, bytes_of_a_round / std::max<std::size_t>(1, self.connections.size()));
    const auto count =
        co_await connection->stream->read_some(space.first(std::min(space.size(), share)));
    if (!count) {
      if (count.error() == Error::end_of_stream) {
        session.on_end_of_stream(self.now());
      } else {
        session.on_lost(self.now());
      }
      break;
    }
    inbox.put(*count);
    inbox.take(session.on_bytes(inbox.waiting(), self.now()));
    self.after(*connection);
  }
  connection->is_reading = false;
  self.after(*connection);
  self.end_if_done(*connection);
}

/// The one place from which bytes leave: all that has gathered since the last write, in one.
Task<> BrokerHost::Inside::write(Inside& self, std::shared_ptr<Connection> connection) {
  Session& session = connection->session;
  Outbox::Batch batch;
  for (;;) {
    while (session.outbox().empty() && !session.is_over()) co_await connection->output.wait();
    if (session.outbox().empty()) break;
    batch = session.outbox().take(std::move(batch));
    session.on_sending(batch.bytes());
    const std::vector<BytesView> parts = batch.parts();
    const auto sent = co_await connection->stream->write(parts);
    session.on_sent(self.now());
    if (!sent) {
      session.on_lost(self.now());
      break;
    }
    self.counters.sent_bytes_total += batch.bytes();
    self.give_credit(*connection);
  }
  connection->stream->shutdown_write();
  connection->is_writing = false;
  if (connection->is_reading) {
    // Closed at once, with bytes of the peer unread, our last words might never reach it.
    Connection* raw = connection.get();
    connection->linger = Timer{self.loop, linger_limit, [raw] { raw->stream->close(); }};
  }
  self.after(*connection);
  self.end_if_done(*connection);
}

void BrokerHost::Inside::end_if_done(Connection& connection) {
  if (connection.is_reading || connection.is_writing) return;
  connection.linger.stop();
  connection.timer.stop();
  connection.stream->close();
  log::debug("connection ended",
             {{"connection", static_cast<std::uint64_t>(connection.session.id())},
              {"peer", connection.stream->peer_name()}});
  found_ = nullptr;
  connections.erase(static_cast<std::uint64_t>(connection.session.id()));
  connection_ended.notify_all();
}

/// Follows whatever a session did: others may have been told something, too.
void BrokerHost::Inside::after(Connection& connection) {
  wake(connection);
  arm(connection);
  settle_all();
  touch();
}

void BrokerHost::Inside::wake(Connection& connection) {
  if (!connection.session.outbox().empty() || connection.session.is_over()) {
    connection.output.notify_one();
  }
  if (connection.session.wants_bytes()) connection.input.notify_one();
}

void BrokerHost::Inside::arm(Connection& connection) {
  const auto due = connection.session.next_due();
  // A timer that comes early finds nothing to do and is armed again; only a late one is wrong.
  if (!due || (connection.timer_due && *connection.timer_due <= *due)) return;
  connection.timer_due = due;
  const auto after_this = std::max(*due - loop.now(), SteadyTime::duration::zero());
  connection.timer = Timer{loop, after_this, [this, raw = &connection] {
                             raw->timer_due.reset();
                             raw->session.on_time(now());
                             if (raw->session.is_over() && raw->session.is_sending()) {
                               // A peer that does not read would hold the writer for ever.
                               raw->stream->close();
                             }
                             after(*raw);
                           }};
}

/// After something was sent: what had to wait for room, commands and consumers, goes on.
void BrokerHost::Inside::give_credit(Connection& connection) {
  if (connection.session.wants_bytes()) connection.input.notify_one();
  if (!connection.is_short_of_room ||
      connection.session.unsent_bytes() > options.outbox_bytes_max / 4) {
    return;
  }
  connection.is_short_of_room = false;
  engine_.on_credit(connection.session.id(), true, loop.wall_now());
  after(connection);
}

/// Does what effects could not do from within a command, until there is no more.
void BrokerHost::Inside::settle_all() {
  if (is_settling_) return;
  is_settling_ = true;
  while (!to_settle_.empty() || !short_of_room_.empty()) {
    const auto settling = std::exchange(to_settle_, {});
    for (const std::uint64_t id : settling) {
      const auto found = connections.find(id);
      if (found == connections.end()) continue;
      const std::shared_ptr<Connection> connection = found->second;
      connection->session.settle(now());
      wake(*connection);
      arm(*connection);
    }
    const auto short_of_room = std::exchange(short_of_room_, {});
    for (const std::uint64_t id : short_of_room) {
      const auto found = connections.find(id);
      if (found == connections.end() || !found->second->is_short_of_room) continue;
      engine_.on_credit(broker::ConnectionId{id}, false, loop.wall_now());
    }
  }
  is_settling_ = false;
}

}  // namespace pronto::server
