#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "pronto/async/address.hpp"
#include "pronto/base/bytes.hpp"
#include "pronto/base/time.hpp"
#include "pronto/broker/broker.hpp"
#include "pronto/broker/effects.hpp"
#include "pronto/server/metrics.hpp"
#include "pronto/server/outbox.hpp"
#include "pronto/server/users.hpp"
#include "pronto/wire/frame.hpp"
#include "pronto/wire/methods.hpp"

namespace pronto::server {

/// What one connection may use, and what it is told of the broker.
struct SessionOptions {
  /// Clients choose features by product and version; ours are RabbitMQ's, so we say so by default.
  std::string product = "RabbitMQ";
  std::string version = "3.10.8";
  std::string platform = "Pronto";
  std::string cluster_name = "pronto";

  std::uint16_t channels_max = 2'047;
  std::uint32_t frame_bytes_max = wire::frame_bytes_default;
  seconds heartbeat{60};
  seconds handshake_limit{10};
  seconds closing_limit{5};  ///< for the peer's answer to connection.close
  /// A peer whose commands wait because it does not read their answers is left when it takes none
  /// for so long.
  seconds stalling_limit{120};
  std::uint64_t message_bytes_max = 16 * 1024 * 1024;
  /// What publishers send while they are blocked is held up to here, then the socket is not read.
  std::size_t parked_bytes_max = 1024 * 1024;
  /// Where the management page and TLS are, for those who knock at the wrong door; may be empty.
  std::string management_address;
  std::string tls_address;
};

/// Both clocks at one moment.
struct Now {
  WallTime wall;
  SteadyTime steady;
};

/// One AMQP connection as a pure state machine: bytes in; bytes and engine calls out.
///
/// No socket, no clock, no thread: whoever owns it hands in what was received and the time, sends
/// what is in the outbox, and closes when `is_over`. Effects of the engine come in through
/// `send` ... `close_connection`; they only write to the outbox. Runs on: the engine's thread.
/// Source: AMQP 0-9-1; RabbitMQ 3.10.8's replies.
class Session {
 public:
  struct Peer {
    std::string name;              ///< for logs: "127.0.0.1:40001", "embedded"
    std::optional<Endpoint> from;  ///< nothing: in this process
  };
  /// All that sessions share; outlives them.
  struct Shared {
    const SessionOptions& options;
    const Users& users;
    broker::Broker& engine;
    Counters& counters;
    /// While more than this waits to be sent to the peer, beside a large delivery, none of its
    /// commands is taken.
    std::size_t unsent_bytes_max = 1024 * 1024;
  };

  Session(broker::ConnectionId id, Peer peer, Shared shared, Now now);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  /// Takes what was received and not taken before. Returns: how many bytes it took; the rest is to
  /// come again with more behind it, or later when `wants_bytes` says so.
  std::size_t on_bytes(BytesView received, Now now);
  /// The peer will send no more.
  void on_end_of_stream(Now now);
  /// The stream is gone: the engine forgets the connection.
  void on_lost(Now now);
  /// Heartbeats and limits of time.
  void on_time(Now now);
  /// When `on_time` has something to do; nothing for a long rest.
  std::optional<SteadyTime> next_due() const;
  /// Ends what effects have begun: to be called after every engine command that was not this
  /// session's own. Never from inside an effect.
  void settle(Now now);

  /// Publishers are to wait, or may go on. `reason`: told to clients that asked to be told; empty:
  /// slowed down without a word. Runs what was held when they may go on.
  void block(std::string_view reason);
  void unblock(Now now);
  /// Tells the peer that the broker goes.
  void shut_down(Now now);

  // What the engine answers.
  void send(broker::ChannelId channel, const wire::Method& method);
  void deliver(const broker::Deliver& delivery, const broker::ContentPtr& content);
  void get_ok(const broker::GetOk& answer, const broker::ContentPtr& content);
  void return_message(broker::ChannelId channel, wire::ReplyCode code, std::string_view text,
                      const broker::ContentPtr& content);
  void confirm(broker::ChannelId channel, std::uint64_t tag, bool multiple, bool is_ack);
  void close_channel(broker::ChannelId channel, const wire::Fault& fault);
  void close_connection(const wire::Fault& fault);

  broker::ConnectionId id() const noexcept { return id_; }
  Outbox& outbox() noexcept { return outbox_; }
  const Outbox& outbox() const noexcept { return outbox_; }
  /// What the owner took from the outbox is on its way, and then sent. The latter may make
  /// `wants_bytes` true again.
  void on_sending(std::size_t bytes) noexcept { in_flight_bytes_ = bytes; }
  void on_sent(Now now);
  bool is_sending() const noexcept { return in_flight_bytes_ > 0; }
  /// What waits for the peer to read it.
  std::size_t unsent_bytes() const noexcept { return outbox_.bytes() + in_flight_bytes_; }
  /// Whether reading makes sense now: not while too much of a blocked publisher is held, nor while
  /// the peer leaves too much unread.
  bool wants_bytes() const noexcept { return !is_stuck_ && !is_stalled_; }
  /// Nothing more will happen: close the stream once the outbox is sent.
  bool is_over() const noexcept { return state_ == State::over; }
  /// Room for a whole frame of this peer.
  std::size_t receive_bytes_min() const noexcept;
  /// What is held of publishes: parked, or still coming in.
  std::size_t held_bytes() const noexcept { return parked_bytes_ + assembling_bytes_; }
  void describe(ConnectionView& view) const;

 private:
  enum class State {
    greeting,  // until the protocol header
    start,     // until start-ok
    tune,      // until tune-ok
    open,      // until connection.open
    running,
    closing,  // our connection.close is out
    over
  };
  /// A publish whose content is on its way.
  struct Assembly {
    broker::PublishFlags flags;
    std::shared_ptr<broker::Content> content;
    bool has_header = false;
    std::uint64_t bytes_missing = 0;
  };
  struct Channel {
    bool is_closing = false;  // our channel.close is out
    std::size_t parked_count = 0;
    std::size_t parked_method_count = 0;
    std::uint64_t last_confirmed = 0;
    std::optional<Assembly> assembly;
  };
  struct ParkedPublish {
    broker::PublishFlags flags;
    broker::ContentPtr content;
  };
  using ParkedWhat = std::variant<ParkedPublish, wire::Method>;
  struct Parked {
    std::uint16_t channel = 0;
    ParkedWhat what;
    std::size_t bytes = 0;
  };
  enum class Taken { yes, not_now };
  using Outcome = Result<Taken, wire::Fault>;

  // session.cpp: frames and methods.
  Outcome on_frame(const wire::FrameView& frame, Now now);
  Outcome on_frame_while_closing(const wire::FrameView& frame);
  Outcome on_connection_method(const wire::Method& method, Now now);
  Outcome on_channel_frame(const wire::FrameView& frame, Now now);
  /// Takes: `method`, which may be moved from, but keeps its kind.
  Outcome on_channel_method(std::uint16_t number, wire::Method& method, Now now);
  Outcome open_channel(std::uint16_t number);
  Outcome close_channel_for_peer(std::uint16_t number, Now now);
  void fail(const wire::Fault& fault, Now now);
  void say_goodbye(const wire::Fault& fault);
  void leave_engine(Now now);
  Channel* find_channel(std::uint16_t number);
  /// RabbitMQ lets the payload alone be as large as the agreed frame: some clients count that way.
  std::uint32_t frame_bytes_taken_max() const noexcept {
    return frame_bytes_max_ + static_cast<std::uint32_t>(wire::frame_overhead_bytes);
  }
  void erase_channel(std::uint16_t number);

  // session_handshake.cpp
  std::size_t greet(BytesView received);
  void refuse_greeting(wire::Greeting greeting);
  void start(std::uint8_t major, std::uint8_t minor);
  Outcome on_start_ok(const wire::ConnectionStartOk& method);
  Outcome on_tune_ok(const wire::ConnectionTuneOk& method);
  Outcome on_open(const wire::ConnectionOpen& method);

  // session_publish.cpp: contents, and what waits while publishers are blocked.
  Outcome on_header(std::uint16_t number, Channel& channel, BytesView payload, Now now);
  Outcome on_body(std::uint16_t number, Channel& channel, BytesView payload, Now now);
  Outcome on_assembled(std::uint16_t number, Channel& channel, Now now);
  void hand_in(std::uint16_t number, broker::PublishFlags flags, broker::ContentPtr content,
               Now now);
  void hand_in(std::uint16_t number, const wire::Method& method, Now now);
  bool may_overtake(const Channel& channel, const wire::Method& method) const;
  void park(std::uint16_t number, Channel& channel, ParkedWhat what, std::size_t bytes);
  void forget_assembly(Channel& channel);
  void forget_parked(std::uint16_t number);
  bool has_no_room() const noexcept {
    return is_blocked_ && held_bytes() >= shared_.options.parked_bytes_max;
  }
  void tell_blocked();

  // session_output.cpp
  template <class M>
  void append(std::uint16_t channel, const M& method) {
    outbox_.append([&](Bytes& out) { wire::append_method_frame(out, channel, method); });
  }
  void append_content(std::uint16_t channel, const broker::ContentPtr& content,
                      std::optional<std::int64_t> delivery_count);

  const broker::ConnectionId id_;
  const Peer peer_;
  const Shared shared_;
  State state_ = State::greeting;
  Outbox outbox_;
  const SteadyTime started_;
  const WallTime since_;

  bool is_0_8_ = false;
  std::uint32_t frame_bytes_max_ = wire::frame_bytes_initial;
  std::uint16_t channels_max_ = 0;
  std::chrono::nanoseconds heartbeat_{0};
  SteadyTime last_received_;
  SteadyTime last_beat_;  // when it was last looked whether a heartbeat is to be sent
  std::uint64_t sent_at_beat_ = 0;
  SteadyTime closing_since_{};
  std::size_t in_flight_bytes_ = 0;
  std::size_t delivery_bytes_max_ = 0;  // of the largest delivery so far
  bool is_stalled_ = false;             // no command is taken before the peer has read more
  SteadyTime stalled_since_{};          // or when it was last seen to read
  bool is_deaf_ = false;                // what the peer sends has no meaning any more
  bool is_known_to_engine_ = false;
  bool wants_settling_ = false;  // the engine is to forget the connection

  std::string user_;
  std::string virtual_host_;
  std::string client_;
  bool can_be_blocked_ = false;  // the client's capabilities
  bool can_be_cancelled_ = false;
  bool can_be_refused_ = false;

  std::map<std::uint16_t, Channel> channels_;
  std::uint16_t last_number_ = 0;  // the channel looked up last; 0: none
  Channel* last_channel_ = nullptr;

  bool is_blocked_ = false;
  bool is_told_blocked_ = false;
  bool has_published_ = false;
  bool is_stuck_ = false;
  std::string blocked_reason_;
  std::deque<Parked> parked_;
  std::size_t parked_bytes_ = 0;
  std::size_t assembling_bytes_ = 0;

  std::uint64_t received_bytes_ = 0;
};

}  // namespace pronto::server
