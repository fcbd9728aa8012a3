#include "pronto/http/callback.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "callback_attempt.hpp"
#include "callback_store.hpp"
#include "circuit.hpp"
#include "pronto/async/deadline.hpp"
#include "pronto/async/sync.hpp"
#include "pronto/async/task_group.hpp"
#include "pronto/base/log.hpp"
#include "pronto/base/text.hpp"

namespace pronto::http {
namespace {

constexpr std::size_t batch_max = 64;
constexpr std::size_t delete_batch_max = 1000;
constexpr seconds poll_interval{30};  // for what another instance has left behind
constexpr seconds database_pause{1};
constexpr seconds clean_interval{3600};
constexpr seconds claim_slack{5};
constexpr std::size_t schedule_steps_max = 100;
constexpr double schedule_seconds_max = 31.0 * 24 * 3600;

std::string destination_of(const Url& url) {
  const std::string host = url.is_ipv6 ? '[' + url.host + ']' : url.host;
  return (url.is_https ? "https://" : "http://") + host + ':' + std::to_string(url.port);
}

}  // namespace

class Callbacks::Inside {
 public:
  Inside(Loop& loop_, Database& database, AddressCheck check_, SecretsOf secrets_of_,
         Options options_)
      : loop{loop_},
        store{database, options_.instance},
        check{std::move(check_)},
        secrets_of{std::move(secrets_of_)},
        options{std::move(options_)} {}

  Task<> run();
  Task<bool> start_due();
  Task<> wait_for_work();
  Task<> attempt(DueCallback callback);
  Task<> attempt_and_record(DueCallback callback);
  CallbackOutcome outcome_of(const DueCallback& callback, const CallbackAnswer& answer);
  Task<> clean_up();
  void wake() {
    is_woken = true;
    changed.notify_all();
  }

  struct Destination {
    explicit Destination(const Circuit::Options& circuit_options) : circuit{circuit_options} {}
    Circuit circuit;
    std::size_t under_way = 0;
  };
  Destination& destination(const std::string& name) {
    return destinations
        .try_emplace(name, Circuit::Options{options.circuit_failures_max, options.circuit_open_min,
                                            options.circuit_open_max})
        .first->second;
  }
  void give_back(const std::string& name) {
    const auto found = destinations.find(name);
    PRONTO_ASSERT(found != destinations.end() && found->second.under_way > 0);
    --found->second.under_way;
    if (found->second.under_way == 0 && found->second.circuit.is_calm()) destinations.erase(found);
  }
  bool has_room(const Destination& one) const {
    return one.under_way < (one.circuit.is_probing() ? 1 : options.concurrent_per_destination_max);
  }
  std::vector<std::string> blocked() const;
  milliseconds give_up_after() const;

  Loop& loop;
  CallbackStore store;
  AddressCheck check;
  SecretsOf secrets_of;
  Options options;
  Counts counts;
  // Those with requests under way or trouble; the others are forgotten.
  std::map<std::string, Destination> destinations;
  bool is_woken = false;
  bool is_stopping = false;
  SteadyTime cleaned_at{};
  Signal changed;
  TaskGroup attempts{loop, "callbacks"};
  TaskGroup scheduler{loop, "callback scheduler"};
};

std::vector<std::string> Callbacks::Inside::blocked() const {
  std::vector<std::string> names;
  for (const auto& [name, one] : destinations) {
    if (one.under_way > 0 && !has_room(one)) names.push_back(name);
  }
  return names;
}

/// A callback that waits behind an open circuit is given up when its schedule would have ended.
milliseconds Callbacks::Inside::give_up_after() const {
  const milliseconds total =
      std::accumulate(options.schedule.begin(), options.schedule.end(), milliseconds{0});
  return std::chrono::duration_cast<milliseconds>(total * (1 + options.jitter)) +
         options.circuit_open_max + options.limits.total_time_max;
}

Task<> Callbacks::Inside::run() {
  bool has_released = false;
  while (!is_stopping) {
    bool has_failed = false;
    try {
      if (!has_released) co_await store.release_claims();
      has_released = true;
      while (!is_stopping && co_await start_due()) {
      }
      if (loop.now() - cleaned_at >= clean_interval) co_await clean_up();
      if (!is_stopping) co_await wait_for_work();
    } catch (const DatabaseError& error) {
      log::error("callbacks cannot be read", {{"error", error.what()}});
      has_failed = true;
    }
    if (has_failed) co_await sleep_for(database_pause);
  }
}

/// Begins what is due. Returns: whether to look again at once.
Task<bool> Callbacks::Inside::start_due() {
  is_woken = false;
  if (attempts.size() >= options.concurrent_max) co_return false;
  const WallTime now = loop.wall_now();
  const std::size_t room = std::min(options.concurrent_max - attempts.size(), batch_max);
  const std::vector<DueCallback> due = co_await store.due(now, blocked(), room);
  std::vector<DueCallback> chosen;
  std::map<std::string, WallTime> closed;
  for (const DueCallback& one : due) {
    Destination& to = destination(one.destination);
    if (const auto until = to.circuit.open_until(now)) {
      closed.emplace(one.destination, *until);
    } else if (has_room(to)) {
      ++to.under_way;  // given back by `attempt`, or below
      chosen.push_back(one);
    }
  }
  std::vector<DueCallback> claimed;
  std::exception_ptr error;
  try {
    for (const auto& [name, until] : closed) {
      const auto given_up = co_await store.postpone(name, until, now - give_up_after(), now);
      counts.dead += static_cast<std::uint64_t>(given_up);
    }
    if (!chosen.empty()) {
      claimed =
          co_await store.claim(chosen, now, now + options.limits.total_time_max + claim_slack);
    }
  } catch (const DatabaseError&) {
    error = std::current_exception();  // handed on once the places are given back
  }
  for (const DueCallback& one : chosen) {
    const bool is_ours = std::ranges::find(claimed, one.id, &DueCallback::id) != claimed.end();
    if (!is_ours) give_back(one.destination);
  }
  if (error) std::rethrow_exception(error);
  for (DueCallback& one : claimed) attempts.spawn(attempt(std::move(one)));
  co_return !due.empty();
}

Task<> Callbacks::Inside::wait_for_work() {
  if (is_woken) co_return;
  SteadyTime::duration wait = poll_interval;
  if (attempts.size() < options.concurrent_max) {
    if (const auto due = co_await store.next_due(blocked())) {
      wait = std::clamp<SteadyTime::duration>(*due - loop.wall_now(), milliseconds{1}, wait);
    }
  }
  if (is_woken) co_return;
  (void)co_await with_deadline(wait, [](Inside& inside) -> Task<> {
    while (!inside.is_woken && !inside.is_stopping) co_await inside.changed.wait();
  }(*this));
}

Task<> Callbacks::Inside::clean_up() {
  cleaned_at = loop.now();
  std::int64_t deleted = 0;
  do {
    deleted = co_await store.delete_finished(loop.wall_now() - options.kept, delete_batch_max);
  } while (deleted == static_cast<std::int64_t>(delete_batch_max) && !is_stopping);
}

CallbackOutcome Callbacks::Inside::outcome_of(const DueCallback& callback,
                                              const CallbackAnswer& answer) {
  using State = CallbackView::State;
  const WallTime now = loop.wall_now();
  CallbackOutcome outcome{State::waiting, now, answer.status, answer.error, {}};
  if (answer.is_taken()) {
    outcome.state = State::delivered;
  } else if (answer.status == 410) {
    outcome.state = State::ended;
  } else if (callback.step >= static_cast<std::int64_t>(options.schedule.size())) {
    outcome.state = State::dead;
  } else {
    const milliseconds planned = options.schedule[static_cast<std::size_t>(callback.step)];
    milliseconds wait = planned + std::chrono::duration_cast<milliseconds>(
                                      planned * (options.jitter * loop.random().unit()));
    if (answer.retry_after && (answer.status == 429 || answer.status == 503)) {
      wait = std::max(wait, std::min<milliseconds>(*answer.retry_after, options.retry_after_max));
    }
    outcome.next_try_at = now + wait;
  }
  return outcome;
}

Task<> Callbacks::Inside::attempt(DueCallback callback) {
  struct Place {
    Inside& inside;
    const std::string& name;
    ~Place() {
      inside.give_back(name);
      inside.wake();
    }
  };
  const std::string name = callback.destination;
  const Place place{*this, name};
  co_await attempt_and_record(std::move(callback));
}

Task<> Callbacks::Inside::attempt_and_record(DueCallback callback) {
  using State = CallbackView::State;
  const SteadyTime began = loop.now();
  ++counts.attempts;
  const CallbackAnswer answer = co_await attempt_callback(
      loop.network(), check,
      {callback.id, callback.url, callback.body, secrets_of(callback.subject, callback.secret),
       loop.wall_now(), options.user_agent, options.ca_file},
      options.limits);
  Circuit& circuit = destination(callback.destination).circuit;
  if (answer.is_unreachable) {
    circuit.on_failure(loop.wall_now());
  } else if (!answer.is_refused) {
    circuit.on_answer();
  }
  CallbackOutcome outcome = outcome_of(callback, answer);
  outcome.duration = std::chrono::duration_cast<milliseconds>(loop.now() - began);
  counts.refused += answer.is_refused ? 1 : 0;
  counts.delivered += outcome.state == State::delivered ? 1 : 0;
  counts.failed += outcome.state == State::delivered ? 0 : 1;
  counts.dead += outcome.state == State::dead ? 1 : 0;
  log::write(answer.is_taken() ? log::Level::debug : log::Level::warning,
             answer.is_taken() ? "a callback was taken" : "a callback was not taken",
             {{"webhook_id", callback.id},
              {"subject", callback.subject},
              {"destination", callback.destination},
              {"attempt", callback.step},
              {"status", answer.status},
              {"error", answer.error},
              {"state", to_string(outcome.state)}});
  try {
    if (!co_await store.record(callback.id, callback.attempt, outcome, loop.wall_now())) {
      log::info("a callback was sent again while an attempt was under way",
                {{"webhook_id", callback.id}, {"attempt", callback.step}});
    }
  } catch (const DatabaseError& error) {
    // The claim runs out and the callback is sent again, with the same webhook-id.
    log::error("the outcome of a callback could not be recorded",
               {{"webhook_id", callback.id}, {"error", error.what()}});
  }
}

Callbacks::Callbacks(Loop& loop, Database& database, AddressCheck check, SecretsOf secrets_of,
                     Options options)
    : inside_{std::make_unique<Inside>(loop, database, std::move(check), std::move(secrets_of),
                                       std::move(options))} {
  PRONTO_ASSERT(!inside_->options.schedule.empty());
}
Callbacks::~Callbacks() = default;

Task<> Callbacks::prepare() {
  return inside_->store.migrate();
}

void Callbacks::start() {
  inside_->cleaned_at = inside_->loop.now();
  inside_->scheduler.spawn(inside_->run());
}

Task<> Callbacks::stop(SteadyTime::duration limit) {
  inside_->is_stopping = true;
  inside_->wake();
  co_await inside_->scheduler.join();
  const auto ended = co_await with_deadline(limit, inside_->attempts.join());
  if (ended) co_return;
  inside_->attempts.cancel();
  co_await inside_->attempts.join();
}

Result<void, std::string> Callbacks::check_url(std::string_view url) const {
  const auto parsed = Url::parse(url);
  if (!parsed) return parsed.error();
  const auto checked = inside_->check.check_host(*parsed);
  if (!checked) {
    return "leads to an address that callbacks may not go to: " + checked.error().to_string() +
           "; the operator can allow it with --allow-callbacks-to";
  }
  return {};
}

Task<bool> Callbacks::add(Transaction& tx, NewCallback callback) {
  const auto url = Url::parse(callback.url);
  const std::string destination = url ? destination_of(*url) : callback.url;
  co_return co_await inside_->store.insert(tx, "msg_" + inside_->loop.random().url_safe_id(),
                                           destination, std::move(callback),
                                           inside_->loop.wall_now());
}

void Callbacks::wake() {
  inside_->wake();
}

Task<bool> Callbacks::resend(std::string id) {
  const auto destination = co_await inside_->store.resend(std::move(id), inside_->loop.wall_now());
  if (!destination) co_return false;
  const auto known = inside_->destinations.find(*destination);
  if (known != inside_->destinations.end()) {
    known->second.circuit.allow_probe(inside_->loop.wall_now());
  }
  inside_->wake();
  co_return true;
}

Task<std::vector<CallbackView>> Callbacks::list(std::optional<CallbackView::State> state,
                                                std::size_t count_max) {
  return inside_->store.list(state, count_max);
}
Task<std::vector<CallbackView>> Callbacks::of_subject(std::string subject) {
  return inside_->store.of_subject(std::move(subject));
}
Task<std::vector<DestinationView>> Callbacks::destinations(std::size_t count_max) {
  auto found = co_await inside_->store.destinations(count_max);
  for (DestinationView& one : found) {
    const auto known = inside_->destinations.find(one.destination);
    one.is_circuit_open = known != inside_->destinations.end() &&
                          known->second.circuit.open_until(inside_->loop.wall_now()).has_value();
  }
  co_return found;
}
const Callbacks::Counts& Callbacks::counts() const noexcept {
  return inside_->counts;
}

Result<std::vector<milliseconds>, std::string> parse_schedule(std::string_view text) {
  std::vector<milliseconds> schedule;
  for (const std::string_view part : split(text, ',')) {
    const auto wait = parse_double(trim(part));
    if (!wait || *wait < 0 || *wait > schedule_seconds_max) {
      return '"' + std::string{part} + "\" is not a number of seconds from 0 to 31 days";
    }
    if (schedule.size() == schedule_steps_max) {
      return "has more than " + std::to_string(schedule_steps_max) + " attempts";
    }
    schedule.push_back(milliseconds{std::llround(*wait * 1000)});
  }
  return schedule;
}

}  // namespace pronto::http
