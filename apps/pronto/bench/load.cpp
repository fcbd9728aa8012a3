#include "bench/load.hpp"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>

#include "bench/load_inside.hpp"
#include "pronto/async/deadline.hpp"
#include "pronto/async/task_group.hpp"
#include "pronto/base/random.hpp"
#include "pronto/client/connection.hpp"

namespace pronto::bench {
namespace {

using Seconds = std::chrono::duration<double>;

// What a killed load leaves behind goes by itself.
constexpr std::int64_t queue_expires_ms = 1'800'000;
constexpr milliseconds tick{100};
constexpr seconds goodbye_limit{5};

SteadyTime::duration whole(Seconds time) {
  return std::chrono::duration_cast<SteadyTime::duration>(time);
}

LoadCounters between(const LoadCounters& from, const LoadCounters& to) {
  return {to.published - from.published, to.confirmed - from.confirmed,
          to.delivered - from.delivered};
}

double rate_of(std::uint64_t count, Seconds time) {
  return time.count() > 0 ? static_cast<double>(count) / time.count() : 0;
}

/// Pronto says RabbitMQ for its product, since clients choose features by it, and who it is beside.
std::string name_of(const wire::Table& broker) {
  const std::string_view platform = broker.find_string("platform").value_or("");
  if (platform.starts_with("Pronto ")) return std::string{platform};
  return fmt::format("{} {}", broker.find_string("product").value_or("unknown"),
                     broker.find_string("version").value_or(""));
}

/// Reports what happened since the last time.
class Sampler {
 public:
  Sampler(const LoadState& state, const LoadControl& control)
      : state_{state}, control_{control}, last_{state.begin} {}

  void look(SteadyTime now, double done) {
    if (!control_.on_sample || now - last_ < control_.sample_every) return;
    control_.on_sample({.at = now - state_.measure_from,
                        .length = now - last_,
                        .counted = between(counted_, state_.counters),
                        .done = done});
    counted_ = state_.counters;
    last_ = now;
  }

 private:
  const LoadState& state_;
  const LoadControl& control_;
  SteadyTime last_;
  LoadCounters counted_;
};

/// What the load itself has taken of the processors so far.
Seconds processor_time() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto seconds_of = [](const timeval& time) {
    return Seconds{static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6};
  };
  return seconds_of(used.ru_utime) + seconds_of(used.ru_stime);
}

/// The queues of one run, made and removed over a connection of their own.
class Topology {
 public:
  Topology(Loop& loop, const LoadOptions& options)
      : loop_{loop},
        connection_{loop, {.addresses = {options.broker}, .name = "pronto bench"}},
        options_{options} {}

  Task<Result<void, Failure>> make(LoadState& state) {
    const auto opened = co_await connection_.open(seconds{5});
    if (!opened) co_return opened.error();
    const std::string prefix = fmt::format("pronto-bench-{:016x}", state.run);
    wire::Table arguments;
    arguments.set("x-expires", queue_expires_ms);
    if (options_.priorities > 0) {
      arguments.set("x-max-priority", static_cast<std::int64_t>(options_.priorities - 1));
    }
    if (!options_.queue_type.empty()) arguments.set("x-queue-type", options_.queue_type);
    if (options_.fan_out > 0 || options_.bindings > 0) {
      const auto declared = co_await connection_.declare_exchange(
          {.name = prefix, .type = options_.fan_out > 0 ? "fanout" : "direct"});
      if (!declared) co_return declared.error();
      state.exchange = prefix;
    }
    for (std::uint64_t i = 0; i < options_.queue_count(); ++i) {
      std::string name = fmt::format("{}-{}", prefix, i);
      const auto declared =
          co_await connection_.declare_queue({.name = name, .arguments = arguments});
      if (!declared) co_return declared.error();
      state.queues.push_back(name);
      if (state.exchange.empty()) continue;
      const auto bound = co_await connection_.bind_queue(
          {.source = prefix, .destination = name, .routing_key = name});
      if (!bound) co_return bound.error();
    }
    if (options_.bindings == 0) co_return Result<void, Failure>{};
    // The connection would keep each of them, to make it again.
    auto link = co_await Link::open(loop_, options_.broker, "pronto bench bindings");
    if (!link) co_return link.error();
    for (std::uint64_t i = 0; i < options_.bindings; ++i) {
      const auto bound = co_await (*link)->ask<wire::QueueBindOk>(
          wire::QueueBind{.queue = state.queues.front(),
                          .exchange = prefix,
                          .routing_key = fmt::format("other-{}", i)});
      if (!bound) co_return bound.error();
    }
    co_return Result<void, Failure>{};
  }

  Task<> remove(const LoadState& state) {
    for (const std::string& queue : state.queues) (void)co_await connection_.delete_queue(queue);
    if (!state.exchange.empty()) (void)co_await connection_.delete_exchange(state.exchange);
    (void)co_await connection_.close(goodbye_limit);
  }

 private:
  Loop& loop_;
  client::Connection connection_;
  const LoadOptions& options_;
};

class Load {
 public:
  Load(Loop& loop, const LoadOptions& options, LoadControl& control)
      : loop_{loop},
        options_{options},
        control_{control},
        state_{loop, options},
        topology_{loop, options},
        links_{loop, "bench connections"},
        publishing_{loop, "bench publishers"} {
    state_.run = loop.random().next();
  }

  Task<Result<LoadResult, Failure>> run() {
    const auto prepared = co_await prepare();
    if (!prepared) {
      state_.fail(prepared.error());
    } else {
      co_await measure();
      publishing_.cancel();
      co_await publishing_.join();
      if (!state_.failure) co_await drain();
    }
    co_await take_leave();
    co_await topology_.remove(state_);
    if (state_.failure) co_return *state_.failure;
    finish_result();
    co_return std::move(state_.result);
  }

 private:
  Task<Result<void, Failure>> prepare() {
    const auto made = co_await topology_.make(state_);
    if (!made) co_return made.error();
    std::vector<std::vector<std::size_t>> queues_of_connections;
    for (std::size_t queue = 0; queue < state_.queues.size(); ++queue) {
      if (queue == 0 || !options_.is_connection_shared) queues_of_connections.emplace_back();
      queues_of_connections.back().push_back(queue);
    }
    for (const std::vector<std::size_t>& queues : queues_of_connections) {
      for (std::size_t number = 0; number < options_.consumers_of_queue; ++number) {
        auto link = co_await Link::open(loop_, options_.broker, "pronto bench consumer");
        if (!link) co_return link.error();
        consumers_.push_back(std::make_unique<Consumer>(state_, queues, number, std::move(*link)));
        const auto ready = co_await consumers_.back()->prepare();
        if (!ready) co_return ready.error();
      }
    }
    for (std::size_t index = 0; index < options_.publishers; ++index) {
      auto link = co_await Link::open(loop_, options_.broker, "pronto bench publisher");
      if (!link) co_return link.error();
      publishers_.push_back(std::make_unique<Publisher>(state_, index, std::move(*link)));
      const auto ready = co_await publishers_.back()->prepare();
      if (!ready) co_return ready.error();
    }
    state_.result.broker = name_of(publishers_.front()->link().server_properties());
    for (const auto& consumer : consumers_) serve(consumer->link(), *consumer);
    for (const auto& publisher : publishers_) serve(publisher->link(), *publisher);
    co_return Result<void, Failure>{};
  }

  void serve(Link& link, LinkSink& sink) {
    links_.spawn(link.write());
    links_.spawn([](LoadState& state, Link& from, LinkSink& to) -> Task<> {
      const auto ended = co_await from.read(to);
      if (!ended) state.fail(ended.error());
    }(state_, link, sink));
  }

  Task<> measure() {
    const bool is_counted = options_.count > 0;
    state_.begin = loop_.now();
    state_.measure_from = state_.begin + (is_counted ? whole({}) : whole(options_.warmup));
    if (!is_counted) state_.measure_to = state_.measure_from + whole(options_.duration);
    for (const auto& publisher : publishers_) publishing_.spawn(publisher->publish());

    Sampler sampler{state_, control_};
    LoadCounters at_start;
    SteadyTime measuring_since = state_.measure_from;
    Seconds processor_at_start = processor_time();
    bool is_measuring = is_counted;
    for (;;) {
      const SteadyTime now = loop_.now();
      if (!is_measuring && now >= state_.measure_from) {
        is_measuring = true;
        measuring_since = now;
        at_start = state_.counters;
        processor_at_start = processor_time();
      }
      sampler.look(now, done_by(now));
      if (state_.failure) break;
      if (control_.is_ending) {
        state_.result.is_interrupted = true;
        break;
      }
      if (is_counted ? publishing_.size() == 0 : now >= state_.measure_to) break;
      SteadyTime next = now + tick;
      if (!is_measuring) next = std::min(next, state_.measure_from);
      if (!is_counted) next = std::min(next, state_.measure_to);
      co_await sleep_for(next - now);
    }
    state_.measure_to = std::min(state_.measure_to, loop_.now());
    state_.result.measured = std::max(Seconds{loop_.now() - measuring_since}, Seconds{0});
    state_.result.processor_share =
        rate_of(1, state_.result.measured) * (processor_time() - processor_at_start).count();
    state_.result.counted = between(at_start, state_.counters);
    if (!is_measuring) state_.result.counted = {};  // interrupted before the warm-up's end
  }

  double done_by(SteadyTime now) const {
    if (options_.count > 0) {
      return static_cast<double>(state_.counters.published) / static_cast<double>(options_.count);
    }
    return std::min(1.0, Seconds{now - state_.begin} / Seconds{state_.measure_to - state_.begin});
  }

  bool is_drained() const {
    const bool all_delivered =
        options_.consumers_of_queue == 0 || state_.check.missing_count() == 0;
    return all_delivered && std::ranges::all_of(publishers_, [](const auto& publisher) {
             return publisher->unanswered() == 0;
           });
  }

  /// Waits for what is under way, until nothing has come for a while.
  Task<> drain() {
    const auto wait = [](Signal& progress) -> Task<> { co_await progress.wait(); };
    SteadyTime give_up_at = loop_.now() + options_.drain_limit;
    LoadCounters last = state_.counters;
    while (!is_drained() && !state_.failure && !control_.is_abandoned) {
      (void)co_await with_deadline(tick, wait(state_.progress));
      const SteadyTime now = loop_.now();
      const LoadCounters news = between(last, state_.counters);
      last = state_.counters;
      if (news.confirmed + news.delivered > 0) give_up_at = now + options_.drain_limit;
      if (now >= give_up_at) break;
    }
  }

  Task<> take_leave() {
    for (const auto& consumer : consumers_) {
      consumer->finish();
      consumer->link().leave();
    }
    for (const auto& publisher : publishers_) publisher->link().leave();
    const auto all_gone = [](Load& self) -> Task<> {
      // The writers only end when they are told; the readers when the broker has answered.
      while (self.links_.size() > self.consumers_.size() + self.publishers_.size()) {
        co_await sleep_for(milliseconds{1});
      }
    };
    (void)co_await with_deadline(goodbye_limit, all_gone(*this));
    links_.cancel();
    co_await links_.join();
  }

  void finish_result() {
    LoadResult& result = state_.result;
    result.check = state_.check.totals();
    if (options_.consumers_of_queue == 0) result.check.lost = 0;  // nobody was there to see
    for (const auto& publisher : publishers_) result.unanswered += publisher->unanswered();
    if (options_.count == 0) {
      result.publish_rate = rate_of(result.counted.published, result.measured);
      result.confirm_rate = rate_of(result.counted.confirmed, result.measured);
      result.deliver_rate = rate_of(result.counted.delivered, result.measured);
      return;
    }
    // A counted run is measured to its last confirm and its last delivery.
    result.counted = state_.counters;
    const auto since_begin = [this](SteadyTime end) { return Seconds{end - state_.begin}; };
    result.publish_rate = rate_of(result.counted.published, result.measured);
    if (result.counted.confirmed > 0) {
      result.confirm_rate = rate_of(result.counted.confirmed, since_begin(state_.last_confirm));
      result.publish_rate = result.confirm_rate;
    }
    if (result.counted.delivered > 0) {
      result.deliver_rate = rate_of(result.counted.delivered, since_begin(state_.last_delivery));
    }
    result.measured = since_begin(std::max(state_.last_confirm, state_.last_delivery));
  }

  Loop& loop_;
  const LoadOptions& options_;
  LoadControl& control_;
  LoadState state_;
  Topology topology_;
  std::vector<std::unique_ptr<Consumer>> consumers_;
  std::vector<std::unique_ptr<Publisher>> publishers_;
  TaskGroup links_;       // after what its tasks refer to
  TaskGroup publishing_;  // ends before the links
};

}  // namespace

Task<Result<LoadResult, Failure>> run_load(Loop& loop, LoadOptions options, LoadControl& control) {
  Load load{loop, options, control};
  co_return co_await load.run();
}

}  // namespace pronto::bench
