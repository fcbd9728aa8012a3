#include "pronto/http/idempotency.hpp"

#include <algorithm>
#include <map>
#include <utility>

#include "pronto/async/deadline.hpp"
#include "pronto/async/sync.hpp"
#include "pronto/async/task_group.hpp"
#include "pronto/base/crypto.hpp"
#include "pronto/base/log.hpp"

namespace pronto::http {
namespace {

using Place = std::pair<std::string, std::string>;  // caller, key

std::vector<Migration> migrations() {
  return {{1, R"sql(
    create table http_idempotency (
      caller text not null,
      key text not null,
      fingerprint text not null,
      answer_id text not null,
      answer text,
      created_at bigint not null,
      primary key (caller, key)
    );
    create index http_idempotency_age on http_idempotency (created_at)
  )sql"}};
}

bool is_printable(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= 0x20 && c < 0x7F; });
}

struct Found {
  std::string fingerprint;
  std::string answer_id;
  std::optional<std::string> answer;
  bool is_new = false;
};

}  // namespace

class Idempotency::Inside {
 public:
  Inside(Loop& loop_, Database& database_, Options options_)
      : loop{loop_}, database{database_}, options{options_} {}

  Task<Found> find_or_insert(Place place, std::string fingerprint,
                             std::function<std::string()> make_id);
  Task<> store(Place place, std::string answer);
  Task<std::int64_t> delete_expired();
  Task<> expire_now_and_then();
  void release(const Place& place) {
    busy.erase(place);
    released.notify_all();
  }

  Loop& loop;
  Database& database;
  Options options;
  // Requests under way, with their body's fingerprint.
  std::map<Place, std::string> busy;
  // Answers on their way into the database.
  std::map<Place, std::string> unstored;
  Signal released;
  TaskGroup writing{loop, "idempotency"};
  TaskGroup expiring{loop, "idempotency expiry"};
};

Task<Found> Idempotency::Inside::find_or_insert(Place place, std::string fingerprint,
                                                std::function<std::string()> make_id) {
  const std::int64_t now = millis_of(loop.wall_now());
  const std::int64_t oldest = now - milliseconds{options.kept}.count();
  Found found;
  co_await database.transact([&](Transaction& tx) -> Task<> {
    Rows rows = co_await tx.execute(
        "select fingerprint, answer_id, answer, created_at from http_idempotency "
        "where caller = $1 and key = $2",
        place.first, place.second);
    if (!rows.empty() && rows[0].integer(3) > oldest) {
      found = {rows[0].text(0), rows[0].text(1), {}, false};
      if (!rows[0].is_null(2)) found.answer = rows[0].text(2);
      co_return;
    }
    found = {fingerprint, make_id(), {}, true};
    if (!rows.empty()) {
      co_await tx.execute("delete from http_idempotency where caller = $1 and key = $2",
                          place.first, place.second);
    }
    co_await tx.execute(
        "insert into http_idempotency (caller, key, fingerprint, answer_id, created_at) "
        "values ($1, $2, $3, $4, $5)",
        place.first, place.second, fingerprint, found.answer_id, now);
  });
  co_return found;
}

Task<> Idempotency::Inside::store(Place place, std::string answer) {
  try {
    co_await database.transact([&](Transaction& tx) -> Task<> {
      co_await tx.execute("update http_idempotency set answer = $1 where caller = $2 and key = $3",
                          answer, place.first, place.second);
    });
  } catch (const DatabaseError& error) {
    // The next request with this key does its work again, under the same id.
    log::warning("an answer could not be kept for repeats", {{"error", error.what()}});
  }
  const auto kept = unstored.find(place);
  if (kept != unstored.end()) unstored.erase(kept);
}

Task<std::int64_t> Idempotency::Inside::delete_expired() {
  std::int64_t deleted = 0;
  for (;;) {
    const std::int64_t oldest = millis_of(loop.wall_now()) - milliseconds{options.kept}.count();
    std::int64_t count = 0;
    co_await database.transact([&](Transaction& tx) -> Task<> {
      const Rows rows = co_await tx.execute(
          "delete from http_idempotency where (caller, key) in (select caller, key from "
          "http_idempotency where created_at <= $1 order by created_at limit $2)",
          oldest, options.expired_batch_max);
      count = rows.changed_count;
    });
    deleted += count;
    if (count < static_cast<std::int64_t>(options.expired_batch_max)) co_return deleted;
  }
}

Task<> Idempotency::Inside::expire_now_and_then() {
  for (;;) {
    co_await sleep_for(options.expiry_interval);
    try {
      co_await delete_expired();
    } catch (const DatabaseError& error) {
      log::warning("old idempotency keys could not be deleted", {{"error", error.what()}});
    }
  }
}

Idempotency::Claim::Claim(std::shared_ptr<Inside> inside, std::string caller, std::string key)
    : inside_{std::move(inside)}, caller_{std::move(caller)}, key_{std::move(key)} {}
Idempotency::Claim::Claim(Claim&&) noexcept = default;
Idempotency::Claim& Idempotency::Claim::operator=(Claim&& other) noexcept {
  if (this == &other) return *this;
  if (inside_) inside_->release({caller_, key_});
  inside_ = std::move(other.inside_);
  caller_ = std::move(other.caller_);
  key_ = std::move(other.key_);
  answer_id_ = std::move(other.answer_id_);
  is_new_ = other.is_new_;
  answer_ = std::move(other.answer_);
  return *this;
}
Idempotency::Claim::~Claim() {
  if (inside_) inside_->release({caller_, key_});
}

void Idempotency::Claim::finish(std::string answer) {
  answer_ = std::move(answer);
  const Place place{caller_, key_};
  inside_->unstored[place] = *answer_;
  inside_->writing.spawn(inside_->store(place, *answer_));
}

Idempotency::Idempotency(Loop& loop, Database& database, Options options)
    : inside_{std::make_shared<Inside>(loop, database, options)} {}
Idempotency::Idempotency(Loop& loop, Database& database) : Idempotency{loop, database, Options{}} {}
Idempotency::~Idempotency() {
  inside_->expiring.cancel();
  inside_->writing.cancel();
}

Task<> Idempotency::start() {
  co_await inside_->database.migrate("http_idempotency", migrations());
  inside_->expiring.spawn(inside_->expire_now_and_then());
}

Task<> Idempotency::stop(SteadyTime::duration limit) {
  inside_->expiring.cancel();
  co_await inside_->expiring.join();
  (void)co_await with_deadline(limit, inside_->writing.join());
}

Task<bool> Idempotency::is_known(std::string caller, std::string key) {
  const std::shared_ptr<Inside> inside = inside_;
  if (inside->busy.contains({caller, key})) co_return true;
  const std::int64_t oldest =
      millis_of(inside->loop.wall_now()) - milliseconds{inside->options.kept}.count();
  const Rows rows = co_await inside->database.query(
      "select 1 from http_idempotency where caller = $1 and key = $2 and created_at > $3",
      std::move(caller), std::move(key), oldest);
  co_return !rows.empty();
}

Task<std::int64_t> Idempotency::delete_expired() {
  return inside_->delete_expired();
}

Task<Result<Idempotency::Claim, Problem>> Idempotency::claim(std::string caller, std::string key,
                                                             std::string body,
                                                             std::function<std::string()> make_id,
                                                             WhileBusy busy) {
  const std::shared_ptr<Inside> inside = inside_;
  if (key.empty() || key.size() > inside->options.key_bytes_max || !is_printable(key)) {
    const std::string reason = "must be 1 to " + std::to_string(inside->options.key_bytes_max) +
                               " printable ASCII characters";
    co_return bad_request("The Idempotency-Key is not usable: it " + reason + '.',
                          {{"Idempotency-Key", reason}});
  }
  const std::string fingerprint = to_base64url(sha256(as_bytes(body)));
  const Problem other_body = unprocessable(
      "This Idempotency-Key came before with another body. Use a new key for a new request.",
      {{"Idempotency-Key", "was used with another body"}});
  const Place place{caller, key};
  for (auto first = inside->busy.find(place); first != inside->busy.end();
       first = inside->busy.find(place)) {
    if (first->second != fingerprint) co_return other_body;
    if (busy == WhileBusy::refuse) {
      co_return conflict("The first request with this Idempotency-Key is still under way.",
                         inside->options.retry_after);
    }
    co_await inside->released.wait();
  }
  inside->busy.emplace(place, fingerprint);
  Claim claim{inside, std::move(caller), std::move(key)};
  const Found found = co_await inside->find_or_insert(place, fingerprint, std::move(make_id));
  if (found.fingerprint != fingerprint) co_return other_body;
  claim.answer_id_ = found.answer_id;
  claim.is_new_ = found.is_new;
  claim.answer_ = found.answer;
  if (const auto unstored = inside->unstored.find(place); unstored != inside->unstored.end()) {
    claim.answer_ = unstored->second;
  }
  co_return std::move(claim);
}

}  // namespace pronto::http
