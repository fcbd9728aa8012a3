#include "pronto/server/listener.hpp"

#include "pronto/base/log.hpp"

namespace pronto::server {

Result<std::unique_ptr<Listener>> Listener::open(Loop& loop, const Endpoint& at, BrokerHost& host) {
  auto acceptor = loop.network().listen(at);
  if (!acceptor) return acceptor.error();
  return std::make_unique<Listener>(loop, std::move(*acceptor), host);
}

Listener::Listener(Loop& loop, std::unique_ptr<Acceptor> acceptor, BrokerHost& host)
    : acceptor_{std::move(acceptor)}, host_{host}, tasks_{loop, "listener"} {
  tasks_.spawn(run(*this));
}

Listener::~Listener() = default;

Task<> Listener::run(Listener& self) {
  constexpr milliseconds pause_min{10};
  constexpr milliseconds pause_max{1000};
  milliseconds pause = pause_min;
  for (;;) {
    auto stream = co_await self.acceptor_->accept();
    if (stream) {
      pause = pause_min;
      self.host_.serve(std::move(*stream));
      continue;
    }
    if (stream.error() == Error::closed) co_return;
    // Out of files or memory: whoever knocks waits in the system's backlog meanwhile.
    if (pause == pause_min) {
      log::warning("cannot accept a connection, trying again",
                   {{"address", self.local().to_string()}, {"error", stream.error()}});
    }
    co_await sleep_for(pause);
    pause = std::min(pause * 2, pause_max);
  }
}

Task<> Listener::stop() {
  acceptor_->close();
  tasks_.cancel();
  co_await tasks_.join();
}

}  // namespace pronto::server
