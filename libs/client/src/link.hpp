#pragma once

#include <memory>
#include <optional>

#include "pronto/async/stream.hpp"
#include "pronto/async/sync.hpp"
#include "pronto/async/task.hpp"
#include "pronto/base/bytes.hpp"
#include "pronto/client/connection.hpp"
#include "pronto/client/failure.hpp"
#include "pronto/client/uri.hpp"
#include "pronto/wire/frame.hpp"
#include "pronto/wire/methods.hpp"

namespace pronto::client::detail {

/// Takes what a link reads.
class FrameSink {
 public:
  virtual ~FrameSink() = default;
  /// Returns: why the link must end, or nothing.
  virtual std::optional<Failure> on_frame(const wire::FrameView& frame) = 0;
  /// Bytes have left the outbox.
  virtual void on_room() = 0;
  /// The link is of no use any more; called once.
  virtual void on_failed(const Failure& failure) = 0;
};

/// One established stream to a broker: handshake, frames in, bytes out, heartbeats. Lives as long
/// as the stream; everything that outlives it is the connection's.
class Link {
 public:
  Link(Loop& loop, std::unique_ptr<Stream> stream, std::uint32_t frame_bytes_max);

  struct Login {
    std::string user;
    std::string password;
    std::string virtual_host;
    wire::Table client_properties;
    seconds heartbeat{};
    std::uint16_t channels_max = 0;
  };
  /// Says hello up to `connection.open-ok`. No limit of time. Errors: `refused`, `disconnected`,
  /// `broken_peer`.
  Task<Result<void, Failure>> handshake(Login login);

  /// The three tasks of a link after its handshake; each ends when the link has failed.
  Task<> read_loop(FrameSink& sink);
  Task<> write_loop(FrameSink& sink);
  Task<> heartbeat_loop(FrameSink& sink);

  /// What is to be sent; `wake_writer` after appending.
  Bytes& outbox() noexcept { return outbox_; }
  void wake_writer() noexcept { writer_wake_.notify_all(); }
  /// Whether everything appended has been handed to the system.
  bool is_flushed() const noexcept { return outbox_.empty() && !is_sending_; }
  /// What is still to be said when the link has failed; see `finish`.
  void set_last_words(const wire::Method& method);
  /// Says the last words, if any and if no write was cut short, and closes the stream. After the
  /// tasks have ended.
  Task<> finish();

  void fail(FrameSink& sink, Failure failure);
  const std::optional<Failure>& failure() const noexcept { return failure_; }
  /// Notified when the link fails and when bytes have left.
  Signal& changed() noexcept { return changed_; }

  Stream& stream() noexcept { return *stream_; }
  const wire::Table& server_properties() const noexcept { return server_properties_; }
  std::uint32_t frame_bytes_max() const noexcept { return frame_bytes_max_; }
  std::uint16_t channels_max() const noexcept { return channels_max_; }
  seconds heartbeat() const noexcept { return heartbeat_; }

 private:
  /// The next whole frame among the bytes received; in place, until more is read.
  Result<std::optional<wire::FrameView>, Failure> take_frame();
  Task<Result<void, Failure>> read_more();
  Task<Result<wire::Method, Failure>> next_method();
  template <class M>
  Task<Result<void, Failure>> say(M method);
  Task<Result<void, Failure>> say_goodbye();
  Result<void, Failure> agree(const wire::ConnectionTune& tune, const Login& login);

  Loop& loop_;
  std::unique_ptr<Stream> stream_;
  Bytes inbox_;
  std::size_t inbox_begin_ = 0;
  std::size_t inbox_end_ = 0;
  Bytes outbox_;
  Bytes sending_;
  bool is_sending_ = false;
  Signal writer_wake_;
  Signal changed_;
  SteadyTime last_sent_{};
  SteadyTime last_received_{};
  std::optional<Failure> failure_;
  Bytes last_words_;
  wire::Table server_properties_;
  std::uint32_t frame_bytes_max_;
  std::uint16_t channels_max_ = 0;
  seconds heartbeat_{};
};

}  // namespace pronto::client::detail
