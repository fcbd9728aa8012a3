#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pronto/async/task.hpp"
#include "pronto/base/result.hpp"

namespace pronto::http {

/// One server-sent event. Source: WHATWG HTML section 9.2.
struct Event {
  std::string id;    ///< empty: none. What comes back as `Last-Event-ID`
  std::string name;  ///< the `event` field; empty: "message"
  std::string data;  ///< lines are kept; other control characters too
  std::optional<std::chrono::milliseconds> retry = {};  ///< when the client shall come again
};

/// The event as it goes over the wire. Line ends in `id` and `name` become spaces.
std::string to_text(const Event& event);

/// Where the handler of an event stream writes to. Runs on: the loop's thread.
class EventWriter {
 public:
  EventWriter() = default;
  EventWriter(const EventWriter&) = delete;
  EventWriter& operator=(const EventWriter&) = delete;
  virtual ~EventWriter() = default;

  /// Waits while the client's bounded buffer is full.
  /// Errors: `Error::closed` when the client has left, was too slow, or the server stops; throws
  /// `Cancelled` then, too, so that a handler that waits for something else ends as well.
  virtual Task<Result<void>> send(Event event) = 0;
};

/// Sends events until it returns, which ends the stream in good order. It is called once and kept
/// alive until its task has ended; the request is alive as long. The server sends heartbeats, and
/// cancels it when the client leaves.
using EventSource = std::move_only_function<Task<>(EventWriter&)>;

/// Reads an event stream: bytes in, events out. Runs on: any thread, one at a time.
class EventReader {
 public:
  explicit EventReader(std::size_t event_bytes_max = 1024 * 1024)
      : event_bytes_max_{event_bytes_max} {}

  /// Takes the next bytes. Returns: the events that they complete.
  /// Errors: `Error::too_large` for an event beyond the limit.
  Result<std::vector<Event>> put(std::string_view bytes);
  /// The last id seen: what to send as `Last-Event-ID`.
  const std::string& last_id() const noexcept { return last_id_; }

 private:
  void on_line(std::string_view line, std::vector<Event>& events);

  std::size_t event_bytes_max_;
  std::string line_;
  Event event_;
  bool has_data_ = false;
  bool after_return_ = false;
  bool at_start_ = true;
  std::string last_id_;
};

}  // namespace pronto::http
