#include "pronto/http/server.hpp"

#include <algorithm>
#include <list>
#include <vector>

#include "connection.hpp"
#include "pronto/async/task_group.hpp"
#include "pronto/base/log.hpp"

namespace pronto::http {
namespace {

constexpr milliseconds accept_pause{100};
// So many are told that there are too many; those beyond are closed without a word.
constexpr std::size_t refusals_max = 256;

}  // namespace

class Server::Inside {
 public:
  Inside(Loop& loop, Handler handler, Options options)
      : serving{loop, std::move(handler), std::move(options), {}, false} {}

  Task<> accept(Acceptor& acceptor);
  Task<> serve(std::unique_ptr<Stream> stream);
  Task<> refuse(std::unique_ptr<Stream> stream);
  void start(std::unique_ptr<Stream> stream);

  Serving serving;
  std::size_t refusals = 0;
  std::vector<std::unique_ptr<Acceptor>> acceptors;
  std::list<Connection*> connections;
  // Last, so that no task outlives what it uses.
  TaskGroup tasks{serving.loop, "http"};
};

Task<> Server::Inside::accept(Acceptor& acceptor) {
  for (;;) {
    auto stream = co_await acceptor.accept();
    if (stream) {
      start(std::move(*stream));
    } else if (stream.error() == make_error_code(Error::closed)) {
      co_return;
    } else {
      log::warning("cannot accept a connection",
                   {{"at", acceptor.local().to_string()}, {"error", stream.error()}});
      co_await sleep_for(accept_pause);
    }
  }
}

void Server::Inside::start(std::unique_ptr<Stream> stream) {
  if (serving.is_stopping) return;
  if (connections.size() < serving.options.limits.connections_max) {
    ++serving.counts.connections;
    tasks.spawn(serve(std::move(stream)));
  } else if (refusals < refusals_max) {
    tasks.spawn(refuse(std::move(stream)));
  }
}

namespace {

/// Counts something up while it lives.
template <class Count>
struct Counted {
  explicit Counted(Count& counted) : count{counted} { ++count; }
  Counted(const Counted&) = delete;
  ~Counted() { --count; }
  Count& count;
};

struct Listed {
  Listed(std::list<Connection*>& list, Connection& connection)
      : all{list}, place{list.insert(list.end(), &connection)} {}
  Listed(const Listed&) = delete;
  ~Listed() { all.erase(place); }
  std::list<Connection*>& all;
  std::list<Connection*>::iterator place;
};

}  // namespace

Task<> Server::Inside::serve(std::unique_ptr<Stream> stream) {
  Connection connection{serving, std::move(stream)};
  const Listed listed{connections, connection};
  const Counted counted{serving.counts.connections_open};
  co_await connection.run();
}

Task<> Server::Inside::refuse(std::unique_ptr<Stream> stream) {
  const Counted counted{refusals};
  Connection connection{serving, std::move(stream)};
  co_await connection.refuse();
}

Server::Server(Loop& loop, Handler handler, Options options)
    : inside_{std::make_unique<Inside>(loop, std::move(handler), std::move(options))} {}
Server::Server(Loop& loop, Handler handler) : Server{loop, std::move(handler), Options{}} {}
Server::~Server() = default;

Result<Endpoint> Server::listen(const Endpoint& at) {
  auto acceptor = inside_->serving.loop.network().listen(at);
  if (!acceptor) return acceptor.error();
  const Endpoint local = (*acceptor)->local();
  Acceptor& kept = *inside_->acceptors.emplace_back(std::move(*acceptor));
  inside_->tasks.spawn(inside_->accept(kept));
  return local;
}

void Server::serve(std::unique_ptr<Stream> stream) {
  inside_->start(std::move(stream));
}

Task<> Server::stop(SteadyTime::duration limit) {
  inside_->serving.is_stopping = true;
  for (const auto& acceptor : inside_->acceptors) acceptor->close();
  for (Connection* connection : inside_->connections) connection->on_stop();
  const auto ended = co_await with_deadline(limit, inside_->tasks.join());
  if (ended) co_return;
  log::warning("requests were still under way when the server stopped",
               {{"connections", inside_->connections.size()}});
  inside_->tasks.cancel();
  co_await inside_->tasks.join();
}

const Server::Counts& Server::counts() const noexcept {
  return inside_->serving.counts;
}

}  // namespace pronto::http
