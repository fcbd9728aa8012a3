#pragma once

#include <memory>
#include <optional>
#include <string>

#include "pronto/async/stream.hpp"
#include "pronto/async/sync.hpp"
#include "pronto/async/task.hpp"
#include "pronto/client/failure.hpp"
#include "pronto/client/uri.hpp"
#include "pronto/wire/frame.hpp"
#include "pronto/wire/methods.hpp"

namespace pronto::bench {

using client::Failure;

/// Takes what a link reads, once its conversation is over.
class LinkSink {
 public:
  virtual ~LinkSink() = default;
  /// Takes: `now`, when the bytes were read. Returns: why the link must end, or nothing.
  virtual std::optional<Failure> on_frame(const wire::FrameView& frame, SteadyTime now) = 0;
  /// All frames of one read have been handed in.
  virtual void on_frames_end() = 0;
};

/// A connection with one channel and nothing that a load generator can do without: no reconnect, no
/// heartbeats, no methods decoded that come with each message.
///
/// First a conversation (`open`, `ask`), then `run`. Runs on: the loop's thread.
class Link {
 public:
  static constexpr std::uint16_t channel = 1;

  Link(Loop& loop, std::unique_ptr<Stream> stream);

  /// Connects, logs in and opens the channel.
  static Task<Result<std::unique_ptr<Link>, Failure>> open(Loop& loop, client::Address address,
                                                           std::string name);

  /// Says `method` on the channel and waits for an `Answer`. Errors: `refused`, `disconnected`.
  template <class Answer, class M>
  Task<Result<void, Failure>> ask(M method) {
    wire::append_method_frame(outbox_, channel, method);
    co_return co_await expect(Answer::id);
  }

  /// Hands frames to `sink` until the broker has taken leave or something breaks; meanwhile `write`
  /// runs, too. Returns: nothing after `leave`. Errors: `disconnected`, the sink's.
  Task<Result<void, Failure>> read(LinkSink& sink);
  /// Sends what is appended, all that has gathered in one write.
  Task<> write();
  /// Says goodbye; then `read` comes to its end.
  void leave();

  /// What is to be sent; `wake_writer` after appending.
  Bytes& outbox() noexcept { return outbox_; }
  void wake_writer() noexcept { writer_wake_.notify_all(); }
  /// Bytes that have not left yet, those under way included.
  std::size_t waiting_bytes() const noexcept { return outbox_.size() + sending_.size(); }
  /// Notified when bytes have left, and by whoever else has made room for more.
  Signal& room() noexcept { return room_; }

  std::uint32_t frame_bytes_max() const noexcept { return frame_bytes_max_; }
  const wire::Table& server_properties() const noexcept { return server_properties_; }

 private:
  Task<Result<void, Failure>> handshake(client::Address address, std::string name);
  Task<Result<void, Failure>> expect(wire::MethodId id);
  Task<Result<wire::Method, Failure>> next_method();
  Task<Result<void, Failure>> send_outbox();
  Task<Result<void, Failure>> read_more();
  Result<std::optional<wire::FrameView>, Failure> take_frame();

  Loop& loop_;
  std::unique_ptr<Stream> stream_;
  Bytes inbox_;
  std::size_t inbox_begin_ = 0;
  std::size_t inbox_end_ = 0;
  Bytes outbox_;
  Bytes sending_;
  Signal writer_wake_;
  Signal room_;
  bool is_leaving_ = false;
  std::uint32_t frame_bytes_max_ = wire::frame_bytes_default;
  wire::Table server_properties_;
};

/// What a broker says by closing, or by a method that was not expected.
Failure failure_of(const wire::Method& method);

}  // namespace pronto::bench
