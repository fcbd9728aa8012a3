#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "pronto/async/loop.hpp"
#include "pronto/async/task.hpp"
#include "pronto/base/result.hpp"
#include "pronto/bus/database.hpp"
#include "pronto/http/problem.hpp"

namespace pronto::http {

/// Remembers requests by their `Idempotency-Key`, so that a repeated one has one effect.
///
/// A row (caller, key, fingerprint of the body, id of what is made) is committed before anything is
/// done. A crash between that and the effect leaves a key without an answer: the retry gets the
/// same id and does it again. Rows are kept 24 hours. Runs on: the loop's thread. Source:
/// ONE_ORDER.md step 1, docs/formats/http-tables.md.
class Idempotency {
  class Inside;

 public:
  struct Options {
    seconds kept{24 * 3600};
    seconds retry_after{1};  ///< of the 409 while the first request is under way
    std::size_t key_bytes_max = 255;
    std::size_t expired_batch_max = 1000;  ///< rows deleted in one transaction
    seconds expiry_interval{600};
  };
  enum class WhileBusy { refuse, wait };

  /// A request that has the key to itself until this goes.
  class Claim {
   public:
    Claim(Claim&&) noexcept;
    Claim& operator=(Claim&&) noexcept;
    ~Claim();

    /// The id of what the first request made or began to make.
    const std::string& answer_id() const noexcept { return answer_id_; }
    /// False: an earlier request came with this key and body.
    bool is_new() const noexcept { return is_new_; }
    /// What that one was answered, when it came so far; else do it again, under `answer_id`.
    const std::optional<std::string>& answer() const noexcept { return answer_; }
    /// Keeps `answer` for repeats: in memory at once, in the database soon after. Does not wait.
    void finish(std::string answer);

   private:
    friend class Idempotency;
    Claim(std::shared_ptr<Inside> inside, std::string caller, std::string key);
    std::shared_ptr<Inside> inside_;
    std::string caller_;
    std::string key_;
    std::string answer_id_;
    bool is_new_ = true;
    std::optional<std::string> answer_;
  };

  /// `loop` and `database` outlive this.
  Idempotency(Loop& loop, Database& database, Options options);
  Idempotency(Loop& loop, Database& database);
  ~Idempotency();

  /// Brings the table up to date and begins to delete old rows. Errors: throws `DatabaseError`.
  Task<> start();
  /// Writes what `finish` has not written yet, for at most `limit`.
  Task<> stop(SteadyTime::duration limit);

  /// Claims (`caller`, `key`) for a request with this `body`. When it returns, the row is on stable
  /// storage. `make_id` is called for a key that is new.
  /// Errors: 400 (the key is empty, too long or has other than printable ASCII characters), 409
  /// with `Retry-After` (the first is under way, and `busy` says refuse), 422 (another body);
  /// throws `DatabaseError`, `Cancelled`.
  Task<Result<Claim, Problem>> claim(std::string caller, std::string key, std::string body,
                                     std::function<std::string()> make_id,
                                     WhileBusy busy = WhileBusy::refuse);

  /// Whether a request came with this key before, so that a repeat is no new work. Stores nothing.
  /// Errors: throws `DatabaseError`.
  Task<bool> is_known(std::string caller, std::string key);

  /// Deletes rows older than `kept`. Returns: how many.
  Task<std::int64_t> delete_expired();

 private:
  std::shared_ptr<Inside> inside_;
};

}  // namespace pronto::http
