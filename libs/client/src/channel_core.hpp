#pragma once

#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pronto/async/loop.hpp"
#include "pronto/async/sync.hpp"
#include "pronto/async/task.hpp"
#include "pronto/client/channel.hpp"
#include "pronto/client/failure.hpp"
#include "pronto/wire/methods.hpp"
#include "pronto/wire/properties.hpp"

namespace pronto::client::detail {

class ConnectionCore;

/// The answer to something asked on a channel; `delivery` for `basic.get-ok`.
struct Reply {
  wire::Method method;
  std::optional<Delivery> delivery;
};

/// The inside of a `Channel`. Runs as a task of its connection, from open to open: see `run`.
class ChannelCore : public std::enable_shared_from_this<ChannelCore> {
 public:
  enum class Role {
    user,       ///< opens when the topology is declared again
    management  ///< declares it, so it opens as soon as there is a link
  };

  ChannelCore(std::shared_ptr<ConnectionCore> connection, std::uint16_t number,
              ChannelOptions options, Role role);

  // What `Channel` offers. `self` keeps the channel alive while the caller waits.
  static Task<Result<Confirmation, Failure>> send(std::shared_ptr<ChannelCore> self,
                                                  Message message);
  static Task<Result<void, Failure>> publish(std::shared_ptr<ChannelCore> self, Message message);
  static Task<Result<std::string, Failure>> consume(std::shared_ptr<ChannelCore> self,
                                                    ConsumeOptions options,
                                                    DeliveryHandler handler);
  static Task<Result<void, Failure>> cancel(std::shared_ptr<ChannelCore> self, std::string tag);
  static Task<Result<std::optional<Delivery>, Failure>> get(std::shared_ptr<ChannelCore> self,
                                                            std::string queue, bool no_ack);
  static Task<Result<void, Failure>> commit(std::shared_ptr<ChannelCore> self);
  static Task<Result<void, Failure>> rollback(std::shared_ptr<ChannelCore> self);
  static Task<Result<void, Failure>> drain(std::shared_ptr<ChannelCore> self, milliseconds limit);
  static Task<Result<void, Failure>> close(std::shared_ptr<ChannelCore> self);
  /// Waits until the channel is open. Errors: `timed_out`, and how the channel ended.
  static Task<Result<void, Failure>> until_open(std::shared_ptr<ChannelCore> self,
                                                SteadyTime deadline);
  /// Asks once the channel is open and waits for the answer, the method `answer`.
  /// Errors: `refused` when the broker closed the channel over it, `timed_out`, `disconnected`,
  /// `too_large`.
  static Task<Result<Reply, Failure>> call(std::shared_ptr<ChannelCore> self, wire::Method method,
                                           wire::MethodId answer, SteadyTime deadline);

  /// Opens the channel again and again until it is closed by us.
  static Task<> run(std::shared_ptr<ChannelCore> self);

  // From the connection.
  std::optional<Failure> on_method(wire::Method method);
  std::optional<Failure> on_header(BytesView payload);
  std::optional<Failure> on_body(BytesView payload);
  /// `method`: the one that made the broker close the connection, if it said so.
  void on_link_lost(const Failure& failure, wire::MethodId method);
  /// The link is up, unblocked, or has room again.
  void on_change();
  /// Ends the channel for good without a word to the broker.
  void end(const Failure& failure);
  /// Ends the channel for good and tells the broker, without waiting.
  void abandon();
  void rename_queue(const std::string& from, const std::string& to);

  bool is_open() const noexcept { return state_ == State::open; }
  bool is_idle() const noexcept { return unsettled_count_ == 0 && turns_.empty(); }
  std::size_t unconfirmed_count() const noexcept { return unsettled_count_; }
  bool is_current(std::uint64_t generation) const noexcept {
    return state_ == State::open && generation == generation_;
  }
  void answer(std::uint64_t generation, std::uint64_t tag, std::optional<Requeue> rejected);
  std::uint16_t number() const noexcept { return number_; }

 private:
  enum class State { down, opening, open, closing };

  /// Something asked, until its answer is there; abandoned ones keep their place in the order of
  /// answers.
  struct Call {
    wire::MethodId asked;
    wire::MethodId answer;
    wire::MethodId other_answer;
    std::optional<Result<Reply, Failure>> outcome;
    Signal changed;
  };

  struct Unconfirmed {
    Promise<Result<void, Failure>> outcome;
    std::string exchange;
    std::size_t bytes = 0;
    std::uint64_t fingerprint = 0;  // of exchange, key and message id: finds what was returned
    SteadyTime deadline;
    std::shared_ptr<const Message> message;  // for sending it again
    std::optional<Failure> returned;
    bool is_settled = false;
  };

  struct Consumer {
    ConsumeOptions options;
    DeliveryHandler handler;
    enum class State { starting, active, lost } state = State::starting;
    SteadyTime retry_at{};
    milliseconds backoff{};
  };

  /// Content on its way in, behind `basic.deliver`, `basic.get-ok` or `basic.return`.
  struct Incoming {
    wire::Method method;
    Delivery delivery;
    std::uint64_t bytes_missing = 0;
    bool has_header = false;
  };

  // channel_core.cpp: life of the channel, calls, what the broker sends.
  Task<Result<void, Failure>> open_once();
  Task<> stay_open();
  void go_down();
  /// As `call`, on a channel that may just be opening.
  Task<Result<Reply, Failure>> call_now(wire::Method method, wire::MethodId answer,
                                        SteadyTime deadline, wire::MethodId other_answer = {});
  /// Returns: why the link must end, or nothing.
  std::optional<Failure> on_answer(wire::Method method, std::optional<Delivery> delivery);
  void fail_calls(const Failure& failure, const Failure& first);
  void write(const wire::Method& method);
  SteadyTime answer_deadline() const;
  std::optional<Failure> on_channel_close(const wire::ChannelClose& close);
  std::optional<Failure> on_content_complete();

  // publishing.cpp
  std::optional<Failure> problem_of(const Message& message) const;
  std::optional<Failure> obstacle(std::size_t bytes) const;
  Task<Result<void, Failure>> wait_for_turn(std::size_t bytes, SteadyTime started,
                                            SteadyTime deadline);
  Result<Confirmation, Failure> hand_over(Message message, SteadyTime deadline);
  void write_publish(const Message& message);
  void send_again();
  std::optional<Failure> on_confirm(std::uint64_t tag, bool is_multiple, bool is_ack);
  void on_return(const wire::BasicReturn& returned, const Delivery& content);
  void settle(Unconfirmed& publish, Result<void, Failure> outcome);
  void forget_settled();
  void settle_all(const Failure& failure);
  void settle_for_close(const wire::Fault& fault);
  void settle_for_disconnect(const Failure& failure);
  void watch_deadlines(SteadyTime first);
  void on_deadline();
  void wake_next() noexcept;
  Task<Result<void, Failure>> end_transaction(bool is_commit);

  // consuming.cpp
  void deliver(Delivery delivery);
  void lose_consumer(Consumer& consumer, const Failure& failure);
  wire::BasicConsume consume_method(const Consumer& consumer) const;
  Task<Result<void, Failure>> start_consumers();
  std::shared_ptr<Consumer> next_lost() const;
  Task<> revive(std::shared_ptr<Consumer> consumer);

  const std::shared_ptr<ConnectionCore> connection_;
  const std::uint16_t number_;
  const ChannelOptions options_;
  const Role role_;
  State state_ = State::down;
  std::optional<Failure> ended_;
  std::uint64_t generation_ = 0;
  bool was_open_ = false;
  bool closed_by_broker_ = false;
  bool is_flowing_ = true;
  Signal changed_;

  std::deque<std::shared_ptr<Call>> calls_;
  std::optional<Incoming> incoming_;

  std::deque<Unconfirmed> unconfirmed_;
  std::uint64_t first_tag_ = 1;  // of the front of `unconfirmed_`
  std::size_t unsettled_count_ = 0;
  std::size_t unsettled_bytes_ = 0;
  std::list<Signal> turns_;  // publishes that wait for room, in order
  Timer deadline_timer_;
  bool is_watching_ = false;

  bool transaction_is_dirty_ = false;
  bool transaction_is_lost_ = false;
  std::optional<Failure> transaction_return_;

  std::map<std::string, std::shared_ptr<Consumer>, std::less<>> consumers_;
};

/// Waits for `signal`, at most until `deadline`; may wake early.
Task<> wait_until(Loop& loop, Signal& signal, SteadyTime deadline);

/// Checks a name that goes into a short string. Errors: `too_large`, naming what it is.
Result<wire::ShortString, Failure> short_string(std::string_view what, std::string_view text);
/// Errors: `too_large` when a table nests too deep or holds too much.
Result<void, Failure> check_table(std::string_view of_what, const wire::Table& table);

}  // namespace pronto::client::detail
