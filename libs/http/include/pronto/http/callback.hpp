#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pronto/async/loop.hpp"
#include "pronto/async/task.hpp"
#include "pronto/base/result.hpp"
#include "pronto/bus/database.hpp"
#include "pronto/http/address_check.hpp"
#include "pronto/http/client.hpp"

namespace pronto::http {

/// A result that is to be sent to the address that came with a request.
struct NewCallback {
  std::string subject;  ///< what it is about: the order's id
  std::string event;    ///< which change of it: "pizzeria.order-ready". Sent once for each subject
  std::string url;
  std::string body;  ///< JSON of a CloudEvent, sent and signed as it is
  /// Handed to `Callbacks::SecretsOf` again; empty where that can tell from the subject alone.
  std::string secret = {};
};

/// One delivery as an operator sees it.
struct CallbackView {
  enum class State {
    waiting,    ///< for its next attempt, or under way
    delivered,  ///< taken with 2xx
    ended,      ///< the receiver said 410
    dead        ///< given up; can be sent again
  };
  std::string id;  ///< the webhook-id
  std::string subject;
  std::string event;
  std::string url;
  std::string destination;  ///< "https://example.com:443"
  State state = State::waiting;
  std::int64_t attempts = 0;
  WallTime created_at{};
  WallTime next_try_at{};
  int last_status = 0;     ///< 0: no answer
  std::string last_error;  ///< "connection refused", "answered 500", ...
  milliseconds last_duration{0};
};
std::string_view to_string(CallbackView::State state) noexcept;

/// How callbacks stand with one destination.
struct DestinationView {
  std::string destination;
  std::int64_t waiting = 0;
  std::int64_t delivered = 0;
  std::int64_t dead = 0;
  bool is_circuit_open = false;
};

/// Sends callbacks: signed, again and again until taken or given up, one bad receiver hurting
/// nobody else.
///
/// Each is a row that is written in the transaction of whoever causes it and changed at every
/// attempt, so a restart goes on where it was; every attempt has the same `webhook-id`. Names are
/// resolved and checked at each attempt, and the address that was checked is the one connected to.
/// Runs on: the loop's thread. Source: SERVICES.md section 3, docs/formats/http-tables.md.
class Callbacks {
 public:
  struct Options {
    /// Time before attempt 1, 2, 3, ...; when the last has failed the callback is dead.
    std::vector<milliseconds> schedule = {
        seconds{0},      seconds{5},      seconds{300},    seconds{1'800},  seconds{7'200},
        seconds{18'000}, seconds{36'000}, seconds{50'400}, seconds{72'000}, seconds{86'400}};
    double jitter = 0.2;                 ///< each wait is longer by up to this part of itself
    seconds retry_after_max{24 * 3600};  ///< a receiver's `Retry-After` beyond it is cut
    ClientLimits limits = {.connect_time_max = seconds{5},
                           .answer_time_max = seconds{10},
                           .total_time_max = seconds{15},
                           .head_bytes_max = 16 * 1024,
                           .body_bytes_max = 16 * 1024};
    std::size_t concurrent_max = 256;  ///< requests at a time
    std::size_t concurrent_per_destination_max = 8;
    std::uint32_t circuit_failures_max = 10;    ///< in a row; one more opens the circuit
    milliseconds circuit_open_min{seconds{5}};  ///< doubled at each failed probe
    milliseconds circuit_open_max{seconds{600}};
    seconds kept{7 * 24 * 3600};  ///< rows of what was delivered or ended
    std::string user_agent = "pronto";
    std::string ca_file = {};  ///< PEM of who signs receivers' certificates; empty: the system's
    /// Names this sender among several on one database; the same again after its restart.
    std::string instance = "callbacks";
  };
  /// Returns: the secrets ("whsec_...") to sign with: the newest first, several while one replaces
  /// another. `secret` is what `NewCallback` brought.
  using SecretsOf =
      std::function<std::vector<std::string>(std::string_view subject, std::string_view secret)>;
  struct Counts {
    std::uint64_t attempts = 0;
    std::uint64_t delivered = 0;
    std::uint64_t failed = 0;  ///< attempts
    std::uint64_t dead = 0;
    std::uint64_t refused = 0;  ///< attempts whose address was refused
  };

  /// `loop` and `database` outlive this.
  Callbacks(Loop& loop, Database& database, AddressCheck check, SecretsOf secrets_of,
            Options options);
  /// Ends like a crash: attempts under way are begun again by the next start. Prefer `stop`.
  ~Callbacks();

  /// Brings the tables up to date. Errors: throws `DatabaseError`.
  Task<> prepare();
  /// Begins to send, also what an earlier process left.
  void start();
  /// Begins no attempt any more, lets those under way end for at most `limit`, cancels the rest.
  Task<> stop(SteadyTime::duration limit);

  /// Whether a callback to `url` can be accepted: http(s), without user and password, not an
  /// address that is refused. Errors: why not, for people and for the 422.
  Result<void, std::string> check_url(std::string_view url) const;

  /// Writes the callback as part of `tx`; call `wake` once that is committed. A second one for the
  /// same subject and event is none. Returns: whether it is new.
  /// Errors: throws `DatabaseError`.
  Task<bool> add(Transaction& tx, NewCallback callback);
  /// Looks for what is due now.
  void wake();

  /// Begins again with the schedule: a dead or ended one, or one that waits.
  /// Returns: false when there is no such callback, or it was delivered.
  Task<bool> resend(std::string id);

  /// Returns: at most `count_max` callbacks, newest first; of one state, or of all.
  Task<std::vector<CallbackView>> list(std::optional<CallbackView::State> state,
                                       std::size_t count_max);
  Task<std::vector<CallbackView>> of_subject(std::string subject);
  Task<std::vector<DestinationView>> destinations(std::size_t count_max);
  const Counts& counts() const noexcept;

 private:
  class Inside;
  std::unique_ptr<Inside> inside_;
};

/// Reads a schedule in seconds: "0,5,300,1800" (decimals allowed). Errors: what is wrong with it.
Result<std::vector<milliseconds>, std::string> parse_schedule(std::string_view text);

}  // namespace pronto::http
