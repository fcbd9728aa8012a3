#include "pronto/http/operation.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "pronto/http/event_stream.hpp"
#include "pronto/http/wait.hpp"

namespace pronto::http {
namespace {

constexpr milliseconds first_pause{5};
constexpr milliseconds near_pause_max{100};
constexpr seconds far_pause{1};

}  // namespace

std::string etag_of(const Operation& operation) {
  return fmt::format("\"{}-{}\"", operation.id(), operation.sequence());
}

Operations::Operations(Loop& loop, OperationStore& store, Options options)
    : loop_{loop}, store_{store}, options_{std::move(options)} {}

std::shared_ptr<Operations::Watch> Operations::watch(const std::string& id) {
  std::weak_ptr<Watch>& place = watches_[id];
  std::shared_ptr<Watch> watch = place.lock();
  if (!watch) {
    // The last one to go takes the place in the map along.
    watch = std::shared_ptr<Watch>{new Watch, [this, id](Watch* gone) {
                                     watches_.erase(id);
                                     delete gone;
                                   }};
    watches_[id] = watch;
  }
  return watch;
}

void Operations::on_entry(const std::string& id, std::int64_t sequence) {
  const auto found = watches_.find(id);
  if (found == watches_.end()) return;
  if (const auto watch = found->second.lock()) {
    watch->sequence = std::max(watch->sequence, sequence);
    watch->changed.notify_all();
  }
}

Task<OperationPtr> Operations::find(std::string id) {
  co_return co_await find_after(std::move(id), 0, options_.first_entry_limit);
}

Task<OperationPtr> Operations::find_after(std::string id, std::int64_t seen,
                                          SteadyTime::duration limit) {
  const auto watching = watch(id);
  const SteadyTime until = loop_.now() + limit;
  SteadyTime::duration pause = first_pause;
  for (;;) {
    OperationPtr operation = co_await store_.find_operation(id);
    const bool is_known = operation && operation->sequence() > 0;
    if (is_known && (operation->sequence() > seen || operation->is_final())) co_return operation;
    const SteadyTime now = loop_.now();
    if (now >= until) co_return is_known ? std::move(operation) : nullptr;
    // Once an entry was heard of its row is a moment away; until then the news wakes us, and a slow
    // look now and then is for those that came while nobody listened.
    const bool is_near = !is_known || watching->sequence > operation->sequence();
    pause = is_near ? std::min<SteadyTime::duration>(pause * 2, near_pause_max)
                    : SteadyTime::duration{far_pause};
    const auto heard = [&watching, at = watching->sequence] { return watching->sequence > at; };
    (void)co_await wait_until(watching->changed, std::min(pause, until - now), heard);
    if (heard()) pause = first_pause;
  }
}

Response Operations::accepted(std::string location, std::string body) {
  return Response::json_text(202, std::move(body))
      .with("Location", std::move(location))
      .with("Cache-Control", "no-store");
}

Task<OperationPtr> Operations::wait_as_preferred(const Request& request, std::string id) {
  const auto wait = request.prefer_wait(options_.wait_max);
  if (!wait) co_return nullptr;
  const SteadyTime until = loop_.now() + *wait;
  OperationPtr operation;
  while (!operation || !operation->is_final()) {
    const SteadyTime now = loop_.now();
    if (now >= until) break;
    const std::int64_t seen = operation ? operation->sequence() : 0;
    auto next = co_await find_after(id, seen, until - now);
    if (!next || next->sequence() == seen) break;
    operation = std::move(next);
  }
  co_return operation;
}

Response Operations::applied(const Request& request, Response response) const {
  if (const auto wait = request.prefer_wait(options_.wait_max)) {
    response.with("Preference-Applied", fmt::format("wait={}", wait->count()));
  }
  return response;
}

Task<std::optional<Response>> Operations::show(const Request& request, std::string id) {
  auto operation = co_await find(id);
  if (!operation) co_return std::nullopt;
  const auto wait = request.prefer_wait(options_.wait_max);
  // Without an entity tag, the next change is the one after what is known now.
  const bool is_current =
      !request.headers.find("If-None-Match") || request.has_seen(etag_of(*operation));
  if (wait && is_current && !operation->is_final()) {
    if (auto next = co_await find_after(std::move(id), operation->sequence(), *wait)) {
      operation = std::move(next);
    }
  }
  Response response = Response::json_text(200, operation->body());
  response.with("Cache-Control", "no-cache");
  co_return applied(request, conditional(request, std::move(response), etag_of(*operation)));
}

Response Operations::events(const Request& request, std::string id) {
  constexpr std::uint64_t sequence_max = 1'000'000'000;  // what a client makes up is no promise
  auto seen =
      static_cast<std::int64_t>(std::min(request.last_event_id().value_or(0), sequence_max));
  return Response::stream([this, id = std::move(id), seen](EventWriter& writer) mutable -> Task<> {
    for (;;) {
      const auto operation = co_await find_after(id, seen, options_.stream_wait_max);
      if (!operation) co_return;
      const std::int64_t before = seen;
      for (const Operation::Entry& entry : operation->log_after(seen)) {
        const auto sent = co_await writer.send({.id = std::to_string(entry.sequence),
                                                .name = options_.event_name,
                                                .data = entry.data});
        if (!sent) co_return;
        seen = entry.sequence;
      }
      if (operation->is_final() || seen == before) co_return;
    }
  });
}

}  // namespace pronto::http
