#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <optional>

#include "pronto/async/system_loop.hpp"

namespace pronto {

std::unique_ptr<Network> make_system_network(boost::asio::io_context& io);

struct SystemLoop::Inside {
  boost::asio::io_context io{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard{io.get_executor()};
  SystemRandom random;
  std::unique_ptr<Network> network = make_system_network(io);
  bool stopped = false;

  /// Runs one handler, or none when `due` comes first.
  void run_one_until(SteadyTime due);

 private:
  boost::asio::steady_timer exact_{io};
  std::optional<SteadyTime> exact_due_;  // while it is armed
};

namespace detail {

/// Joins one Asio operation with the coroutine that waits for it.
///
/// Asio's handler holds the shared part, so it may come after the waiting coroutine was destroyed.
class AsioWait : public Suspension {
 public:
  struct Shared {
    AsioWait* wait = nullptr;
    boost::system::error_code ec;
    std::size_t bytes = 0;
  };

 protected:
  ~AsioWait() { shared_->wait = nullptr; }
  using Suspension::Suspension;

  /// A handler for any Asio operation that gives an error code and perhaps a count.
  auto handler() {
    return [shared = shared_](const boost::system::error_code& ec, std::size_t bytes = 0) {
      shared->ec = ec;
      shared->bytes = bytes;
      if (shared->wait) shared->wait->complete();
    };
  }
  const Shared& outcome() const { return *shared_; }

 private:
  std::shared_ptr<Shared> shared_ = [this] {
    auto made = std::make_shared<Shared>();
    made->wait = this;
    return made;
  }();
};

/// An operation begun and stopped by two functions.
template <class Start, class Stop>
class AsioOperation final : public AsioWait {
 public:
  AsioOperation(Start start, Stop stop) : start_{std::move(start)}, stop_{std::move(stop)} {}
  Shared await_resume() const {
    throw_if_cancelled();
    return outcome();
  }

 private:
  bool start() override {
    start_(handler());
    return true;
  }
  void stop() override { stop_(); }

  Start start_;
  Stop stop_;
};

}  // namespace detail
}  // namespace pronto
