#include "event_pump.hpp"

#include <array>

#include "pronto/base/log.hpp"

namespace pronto::http {

Task<Result<void>> EventPump::send(Event event) {
  const std::string text = to_text(event);
  while (!ending_ && !client_left_ && !pending_.empty() &&
         pending_.size() + text.size() > limits_.event_buffer_bytes_max) {
    co_await changed_.wait();
  }
  if (ending_ || client_left_) co_return Error::closed;
  pending_ += text;
  changed_.notify_all();
  co_return Result<void>{};
}

void EventPump::end() {
  ending_ = true;
  changed_.notify_all();
}

Task<> EventPump::run_source(EventSource& source) {
  try {
    co_await source(*this);
  } catch (const std::exception& error) {
    log::error("an event stream failed", {{"peer", stream_.peer_name()}, {"error", error.what()}});
    source_failed_ = true;
  }
  source_ended_ = true;
  changed_.notify_all();
}

Task<> EventPump::watch_client() {
  std::array<std::byte, 1024> ignored;
  while (co_await stream_.read_some(ignored)) {
  }
  client_left_ = true;
  stream_.close();  // a write that waits for the client waits for nobody
  changed_.notify_all();
}

Task<> EventPump::wait_for_events() {
  while (pending_.empty() && !source_ended_ && !ending_ && !client_left_) {
    co_await changed_.wait();
  }
}

Task<bool> EventPump::write_out(std::string text) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string size = "\r\n";
  for (std::size_t rest = text.size(); rest > 0; rest /= 16) size.insert(0, 1, digits[rest % 16]);
  const BytesView parts[] = {as_bytes(is_chunked_ ? std::string_view{size} : std::string_view{}),
                             as_bytes(text),
                             as_bytes(is_chunked_ ? std::string_view{"\r\n"} : std::string_view{})};
  const auto written = co_await with_deadline(limits_.write_time_max, stream_.write(parts));
  if (written) co_return true;
  if (written.error() == make_error_code(Error::timed_out)) {
    log::info("an event stream was closed, its client reads too slowly",
              {{"peer", stream_.peer_name()}});
  }
  co_return false;
}

Task<> EventPump::pump() {
  for (;;) {
    const auto waited = co_await with_deadline(limits_.event_heartbeat, wait_for_events());
    if (client_left_) co_return;
    if (!waited) {
      pending_ += ": alive\n\n";
    } else if (pending_.empty()) {
      co_return;
    }
    std::string text = std::exchange(pending_, {});
    changed_.notify_all();
    if (!co_await write_out(std::move(text))) {
      client_left_ = true;
      changed_.notify_all();
      co_return;
    }
  }
}

Task<bool> EventPump::run(EventSource& source) {
  TaskGroup tasks{(co_await current_context()).loop, "event stream"};
  tasks.spawn(run_source(source));
  tasks.spawn(watch_client());
  co_await pump();
  ending_ = true;
  tasks.cancel();
  co_await tasks.join();
  if (client_left_ || source_failed_) co_return false;
  if (!is_chunked_) co_return true;
  const auto written =
      co_await with_deadline(limits_.write_time_max, write_all(stream_, as_bytes("0\r\n\r\n")));
  co_return written.has_value();
}

}  // namespace pronto::http
