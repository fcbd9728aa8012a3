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

/// Work that a request began and that goes on after its answer, as far as its log tells.
struct Operation {
  struct Entry {
    std::int64_t sequence = 0;
    std::string data;  ///< JSON, as an event stream sends it
  };

  std::string id;
  std::vector<Entry> log;  ///< by sequence, which counts from 1
  bool is_final = false;   ///< nothing follows
  std::string body;        ///< JSON: what the status resource shows

  std::int64_t sequence() const noexcept { return log.empty() ? 0 : log.back().sequence; }
};

/// Where operations are read from. Runs on: the loop's thread.
class OperationStore {
 public:
  OperationStore() = default;
  OperationStore(const OperationStore&) = delete;
  OperationStore& operator=(const OperationStore&) = delete;
  virtual ~OperationStore() = default;

  /// The operation as it is now; nothing while none of its log is there. Errors: throws what its
  /// database throws.
  virtual Task<std::optional<Operation>> find_operation(std::string id) = 0;
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

  /// The operation; nothing when none of its log came within `Options::first_entry_limit`.
  Task<std::optional<Operation>> find(std::string id);
  /// The operation once it has an entry after `seen` or has ended, at the latest after `limit` as
  /// it is then. Returns: nothing when none of its log is there.
  Task<std::optional<Operation>> find_after(std::string id, std::int64_t seen,
                                            SteadyTime::duration limit);

  /// 202 with `Location`, not to be stored by caches.
  static Response accepted(std::string location, std::string body);
  /// For an accept: waits as `Prefer: wait=N` asks, until the operation has ended.
  /// Returns: nothing when the client does not ask, or nothing is known yet.
  Task<std::optional<Operation>> wait_as_preferred(const Request& request, std::string id);
  /// Adds `Preference-Applied` when the client had asked to wait.
  Response applied(const Request& request, Response response) const;
  /// The status resource: 200 with `ETag`; 304 when the client has seen that one; with
  /// `Prefer: wait=N` not before it changes or N seconds have passed.
  /// Returns: nothing as `find`.
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
