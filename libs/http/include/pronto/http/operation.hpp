#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "pronto/async/loop.hpp"
#include "pronto/async/sync.hpp"
#include "pronto/async/task.hpp"
#include "pronto/base/time.hpp"
#include "pronto/http/request.hpp"
#include "pronto/http/response.hpp"

namespace pronto::http {

/// Work that a request began and that goes on after its answer, as far as its log tells. It is what
/// it was when it was read; what it shows is made when it is asked for.
class Operation {
 public:
  struct Entry {
    std::int64_t sequence = 0;
    std::string data;  ///< JSON, as an event stream sends it
  };

  Operation() = default;
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  virtual ~Operation() = default;

  virtual const std::string& id() const = 0;
  /// Of the newest entry of its log, which counts from 1; 0 while there is none.
  virtual std::int64_t sequence() const = 0;
  /// Whether nothing follows.
  virtual bool is_final() const = 0;
  /// What the status resource shows, JSON.
  virtual std::string body() const = 0;
  /// The entries after `seen`, by sequence.
  virtual std::vector<Entry> log_after(std::int64_t seen) const = 0;
};
using OperationPtr = std::shared_ptr<const Operation>;

/// Where operations are read from. Runs on: the loop's thread.
class OperationStore {
 public:
  OperationStore() = default;
  OperationStore(const OperationStore&) = delete;
  OperationStore& operator=(const OperationStore&) = delete;
  virtual ~OperationStore() = default;

  /// The operation as it is now; null while none of its log is there. Errors: throws what its
  /// database throws.
  virtual Task<OperationPtr> find_operation(std::string id) = 0;
};

/// The ways to receive what becomes of an operation: status resource, long poll and event stream
/// read one log with one sequence, so who has seen 5 asks for what comes after 5 on any of them.
/// (The fourth, the signed callback, is `Callbacks`.)
///
/// Runs on: the loop's thread. Source: SERVICES.md section 3; RFC 7240 section 4.3 (wait), RFC 9110
/// section 15.3.3 (202).
class Operations {
 public:
  struct Options {
    seconds wait_max{60};  ///< of `Prefer: wait=N`
    /// How long a status request waits for the first entry of an operation that was accepted a
    /// moment ago.
    milliseconds first_entry_limit{2'000};
    milliseconds stream_wait_max{3'600'000};  ///< without news an event stream ends
    std::string event_name = "status";
  };

  /// Takes: a loop and a store that outlive it.
  Operations(Loop& loop, OperationStore& store, Options options);

  /// The log has got an entry: wakes who waits. What nobody tells is found by looking now and then.
  void on_entry(const std::string& id, std::int64_t sequence);

  /// The operation; null when none of its log came within `Options::first_entry_limit`.
  Task<OperationPtr> find(std::string id);
  /// The operation once it has an entry after `seen` or has ended, at the latest after `limit` as
  /// it is then. Returns: null when none of its log is there.
  Task<OperationPtr> find_after(std::string id, std::int64_t seen, SteadyTime::duration limit);

  /// 202 with `Location`, not to be stored by caches.
  static Response accepted(std::string location, std::string body);
  /// For an accept: waits as `Prefer: wait=N` asks, until the operation has ended.
  /// Returns: null when the client does not ask, or nothing is known yet.
  Task<OperationPtr> wait_as_preferred(const Request& request, std::string id);
  /// Adds `Preference-Applied` when the client had asked to wait.
  Response applied(const Request& request, Response response) const;
  /// The status resource: 200 with `ETag`; 304 when the client has seen that one; with
  /// `Prefer: wait=N` not before it changes or N seconds have passed.
  /// Returns: nothing when `find` returns null.
  Task<std::optional<Response>> show(const Request& request, std::string id);
  /// An event for each entry after `Last-Event-ID`, with its sequence as id, until the end.
  Response events(const Request& request, std::string id);

 private:
  /// Who waits for one operation; lives as long as anybody does.
  struct Watch {
    std::int64_t sequence = 0;  // the highest that was heard of since it began
    Signal changed;
  };
  std::shared_ptr<Watch> watch(const std::string& id);

  Loop& loop_;
  OperationStore& store_;
  const Options options_;
  std::unordered_map<std::string, std::weak_ptr<Watch>> watches_;
};

/// A strong entity tag of the operation as it is.
std::string etag_of(const Operation& operation);

}  // namespace pronto::http
