#pragma once

#include <memory>
#include <string>

#include "pronto/async/stream.hpp"
#include "pronto/async/task_group.hpp"
#include "pronto/async/virtual_loop.hpp"
#include "pronto/http/server.hpp"

namespace pronto::http {

/// A client that sends bytes as they are and keeps all that comes back. Time stands still, unless
/// the test moves it.
class RawClient {
 public:
  RawClient(VirtualLoop& loop, Server& server, std::size_t bytes_max = 256 * 1024) : loop_{loop} {
    auto [near, far] = make_memory_streams(bytes_max);
    stream_ = std::move(near);
    server.serve(std::move(far));
    loop_.run_until_idle();
  }
  ~RawClient() { tasks_.cancel(); }

  RawClient& send(std::string bytes) {
    tasks_.spawn([this, bytes = std::move(bytes)]() -> Task<> {
      (void)co_await write_all(*stream_, as_bytes(bytes));
    });
    loop_.run_until_idle();
    return *this;
  }
  /// Reads from now on.
  RawClient& listen() {
    if (is_listening_) return *this;
    is_listening_ = true;
    tasks_.spawn([this]() -> Task<> {
      Bytes buffer(64 * 1024);
      for (;;) {
        const auto got = co_await stream_->read_some(buffer);
        if (!got) break;
        received_ += as_text(BytesView{buffer}.first(*got));
      }
      is_closed_ = true;
    });
    loop_.run_until_idle();
    return *this;
  }
  /// What has come since the last call.
  std::string take() {
    listen();
    return std::exchange(received_, {});
  }
  bool is_closed() {
    listen();
    return is_closed_;
  }
  void leave() {
    stream_->close();
    loop_.run_until_idle();
  }
  void end_sending() {
    stream_->shutdown_write();
    loop_.run_until_idle();
  }

 private:
  VirtualLoop& loop_;
  std::unique_ptr<Stream> stream_;
  std::string received_;
  bool is_listening_ = false;
  bool is_closed_ = false;
  TaskGroup tasks_{loop_, "raw client"};
};

inline std::size_t count_of(std::string_view text, std::string_view what) {
  std::size_t count = 0;
  for (std::size_t at = text.find(what); at != text.npos; at = text.find(what, at + what.size())) {
    ++count;
  }
  return count;
}

}  // namespace pronto::http
