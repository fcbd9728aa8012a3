#pragma once

#include <memory>
#include <string>

#include "pronto/async/deadline.hpp"
#include "pronto/async/stream.hpp"
#include "pronto/async/sync.hpp"
#include "pronto/async/task_group.hpp"
#include "pronto/http/event_stream.hpp"
#include "pronto/http/server.hpp"

namespace pronto::http {

/// Carries one event stream from its handler to its client.
///
/// ```
/// source --send--> pending (bounded) --pump--> stream      watcher: reads, until the client leaves
/// ```
/// Runs on: the loop's thread.
class EventPump final : public EventWriter {
 public:
  /// `stream` and `limits` outlive the pump. The head has been sent already.
  EventPump(Stream& stream, const ServerLimits& limits, bool is_chunked)
      : stream_{stream}, limits_{limits}, is_chunked_{is_chunked} {}

  Task<Result<void>> send(Event event) override;

  /// Runs `source` until it returns, the client leaves, is too slow, or `end` is called.
  /// Returns: whether the stream ended in good order. Errors: throws `Cancelled`.
  Task<bool> run(EventSource& source);
  /// Ends the stream after what has been sent so far.
  void end();

 private:
  Task<> run_source(EventSource& source);
  Task<> watch_client();
  Task<> pump();
  Task<bool> write_out(std::string text);
  Task<> wait_for_events();

  Stream& stream_;
  const ServerLimits& limits_;
  bool is_chunked_;
  std::string pending_;
  bool source_ended_ = false;
  bool source_failed_ = false;
  bool ending_ = false;
  bool client_left_ = false;
  Signal changed_;
};

}  // namespace pronto::http
