#include "pronto/async/virtual_loop.hpp"

#include <map>

#include "pronto/async/sync.hpp"
#include "pronto/base/text.hpp"

namespace pronto {
namespace {

constexpr WallTime start_of_time{milliseconds{1'795'532'400'000}};  // 2026-11-24T15:00:00Z

/// A memory stream that knows the address it was connected to or from.
class NamedStream final : public Stream {
 public:
  NamedStream(std::unique_ptr<Stream> stream, Endpoint peer)
      : stream_{std::move(stream)}, peer_{peer} {}
  Task<Result<std::size_t>> read_some(std::span<std::byte> into) override {
    return stream_->read_some(into);
  }
  Task<Result<void>> write(std::span<const BytesView> parts) override {
    return stream_->write(parts);
  }
  void shutdown_write() override { stream_->shutdown_write(); }
  void close() override { stream_->close(); }
  std::string peer_name() const override { return peer_.to_string(); }
  std::optional<Endpoint> peer() const override { return peer_; }

 private:
  std::unique_ptr<Stream> stream_;
  Endpoint peer_;
};

struct Listening {
  explicit Listening(Endpoint at) : local{at} {}
  Endpoint local;
  Mailbox<std::unique_ptr<Stream>> backlog{1024};
};

}  // namespace

class VirtualLoop::MemoryNetwork final : public Network {
 public:
  Task<Result<std::vector<IpAddress>>> resolve(std::string host) override {
    if (const auto address = IpAddress::parse(host)) co_return std::vector{*address};
    const auto known = hosts.find(to_lower(host));
    if (known == hosts.end()) co_return std::vector{*IpAddress::parse("127.0.0.1")};
    if (known->second.empty()) co_return Error::not_found;
    co_return known->second;
  }

  Task<Result<std::unique_ptr<Stream>>> connect(Endpoint to, ConnectOptions) override {
    co_await yield();
    const auto found = listening_.find(to.port);
    const auto server = found == listening_.end() ? nullptr : found->second.lock();
    if (refusals > 0 || !server) {
      if (refusals > 0) --refusals;
      co_return std::make_error_code(std::errc::connection_refused);
    }
    auto [ours, theirs] = make_memory_streams();
    const Endpoint from{*IpAddress::parse("127.0.0.1"), ++last_port_};
    if (!server->backlog.try_push(std::make_unique<NamedStream>(std::move(theirs), from))) {
      co_return std::make_error_code(std::errc::connection_refused);
    }
    co_return std::unique_ptr<Stream>{std::make_unique<NamedStream>(std::move(ours), to)};
  }

  Result<std::unique_ptr<Acceptor>> listen(const Endpoint& at) override {
    Endpoint local = at;
    if (local.port == 0) local.port = ++last_port_;
    if (!listening_[local.port].expired()) return std::make_error_code(std::errc::address_in_use);
    auto shared = std::make_shared<Listening>(local);
    listening_[local.port] = shared;
    return std::unique_ptr<Acceptor>{std::make_unique<MemoryAcceptor>(std::move(shared))};
  }

  std::map<std::string, std::vector<IpAddress>> hosts;
  int refusals = 0;

 private:
  class MemoryAcceptor final : public Acceptor {
   public:
    explicit MemoryAcceptor(std::shared_ptr<Listening> shared)
        : shared_{std::move(shared)}, local_{shared_->local} {}
    Task<Result<std::unique_ptr<Stream>>> accept() override {
      if (!shared_) co_return Error::closed;
      const std::shared_ptr<Listening> shared = shared_;
      auto stream = co_await shared->backlog.pop();
      if (!stream) co_return Error::closed;
      co_return std::move(*stream);
    }
    void close() override {
      if (shared_) shared_->backlog.close();
      shared_.reset();
    }
    Endpoint local() const override { return local_; }

   private:
    std::shared_ptr<Listening> shared_;
    Endpoint local_;
  };

  std::map<std::uint16_t, std::weak_ptr<Listening>> listening_;
  std::uint16_t last_port_ = 40000;
};

VirtualLoop::VirtualLoop(std::uint64_t seed)
    : random_{seed}, network_{std::make_unique<MemoryNetwork>()} {}

VirtualLoop::~VirtualLoop() = default;

void VirtualLoop::post(std::move_only_function<void()> work) {
  const std::lock_guard lock{posted_mutex_};
  posted_.push_back(std::move(work));
}

WallTime VirtualLoop::wall_now() const {
  return start_of_time + std::chrono::duration_cast<milliseconds>(now_.time_since_epoch());
}

Network& VirtualLoop::network() {
  return *network_;
}

void VirtualLoop::run_until_idle() {
  for (;;) {
    std::deque<std::move_only_function<void()>> posted;
    {
      const std::lock_guard lock{posted_mutex_};
      posted.swap(posted_);
    }
    for (auto& work : posted) work();
    run_due_timers();
    run_ready();
    const auto next = next_timer();
    const std::lock_guard lock{posted_mutex_};
    if (posted_.empty() && !has_ready() && !(next && *next <= now_)) return;
  }
}

void VirtualLoop::advance(SteadyTime::duration duration) {
  const SteadyTime end = now_ + duration;
  run_until_idle();
  for (auto next = next_timer(); next && *next <= end; next = next_timer()) {
    now_ = std::max(now_, *next);
    run_until_idle();
  }
  now_ = end;
  run_until_idle();
}

void VirtualLoop::run_until(const bool& done) {
  run_until_idle();
  while (!done) {
    const auto next = next_timer();
    PRONTO_ASSERT(next.has_value());  // nothing is ready and nothing will ever be
    now_ = std::max(now_, *next);
    run_until_idle();
  }
}

void VirtualLoop::set_host(std::string host, std::vector<IpAddress> addresses) {
  network_->hosts[to_lower(host)] = std::move(addresses);
}

void VirtualLoop::refuse_connects(int count) {
  network_->refusals = count;
}

Task<Result<std::unique_ptr<Stream>>> Network::connect(std::string host, std::uint16_t port,
                                                       ConnectOptions options) {
  const auto addresses = co_await resolve(host);
  if (!addresses) co_return addresses.error();
  std::error_code last = make_error_code(Error::not_found);
  for (const IpAddress& address : *addresses) {
    auto stream = co_await connect(Endpoint{address, port}, options);
    if (stream) co_return std::move(*stream);
    last = stream.error();
  }
  co_return last;
}

}  // namespace pronto
