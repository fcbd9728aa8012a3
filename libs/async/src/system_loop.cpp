#include "pronto/async/system_loop.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>

#include "system_inside.hpp"

namespace pronto {

SystemLoop::SystemLoop() : inside_{std::make_unique<Inside>()} {}

SystemLoop::~SystemLoop() = default;

void SystemLoop::run() {
  inside_->stopped = false;
  while (!inside_->stopped) {
    run_due_timers();
    run_ready();
    if (inside_->stopped) break;
    if (has_ready()) {
      inside_->io.poll();
    } else if (const auto next = next_timer()) {
      inside_->run_one_until(*next);
      inside_->io.poll();
    } else {
      inside_->io.run_one();
      inside_->io.poll();
    }
  }
}

/// The reactor waits for whole milliseconds, rounded up. A timer that is due soon wants better:
/// that costs a call to arm the system's own timer, which most turns of a busy loop can do without.
void SystemLoop::Inside::run_one_until(SteadyTime due) {
  constexpr milliseconds soon{20};
  if (due - std::chrono::steady_clock::now() >= soon) {
    io.run_one_until(due);
    return;
  }
  if (!exact_due_ || *exact_due_ > due) {
    exact_due_ = due;
    exact_.expires_at(due);
    exact_.async_wait([this](const boost::system::error_code& ec) {
      if (!ec) exact_due_.reset();
    });
  }
  io.run_one();
}

void SystemLoop::stop() {
  post([this] { inside_->stopped = true; });
}

void SystemLoop::post(std::move_only_function<void()> work) {
  boost::asio::post(inside_->io, std::move(work));
}

SteadyTime SystemLoop::now() const {
  return std::chrono::steady_clock::now();
}

WallTime SystemLoop::wall_now() const {
  return std::chrono::floor<milliseconds>(std::chrono::system_clock::now());
}

Random& SystemLoop::random() {
  return inside_->random;
}

Network& SystemLoop::network() {
  return *inside_->network;
}

Task<int> SystemLoop::next_signal(std::initializer_list<int> signals) {
  return [](boost::asio::io_context& io, std::vector<int> numbers) -> Task<int> {
    auto set = std::make_shared<boost::asio::signal_set>(io);
    for (const int number : numbers) set->add(number);
    int number = 0;
    const auto wait = co_await detail::AsioOperation{
        [&](auto handler) {
          set->async_wait([set, handler, &number](const auto& ec, int seen) {
            if (!ec) number = seen;
            handler(ec);
          });
        },
        [&] { set->cancel(); }};
    PRONTO_ASSERT(!wait.ec);
    co_return number;
  }(inside_->io, std::vector<int>(signals));
}

}  // namespace pronto
