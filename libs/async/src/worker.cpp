#include "pronto/async/worker.hpp"

#include <pthread.h>

namespace pronto {

Worker::Worker(std::string name) : name_{std::move(name)}, thread_{[this] { work(); }} {}

Worker::~Worker() {
  {
    const std::lock_guard lock{mutex_};
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void Worker::post(std::move_only_function<void()> call) {
  {
    const std::lock_guard lock{mutex_};
    calls_.push_back(std::move(call));
  }
  changed_.notify_one();
}

bool Worker::Wait::start() {
  worker_.post([this, &home = loop()] {
    call_();
    home.post([this] { complete(); });
  });
  return true;
}

void Worker::work() {
  pthread_setname_np(pthread_self(), name_.substr(0, 15).c_str());
  std::unique_lock lock{mutex_};
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !calls_.empty(); });
    if (calls_.empty()) return;
    auto call = std::move(calls_.front());
    calls_.pop_front();
    lock.unlock();
    call();
    call = nullptr;
    lock.lock();
  }
}

}  // namespace pronto
