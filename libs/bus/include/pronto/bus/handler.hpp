#pragma once

#include <concepts>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "pronto/async/task.hpp"
#include "pronto/base/bytes.hpp"
#include "pronto/base/time.hpp"
#include "pronto/bus/contract.hpp"
#include "pronto/bus/database.hpp"

namespace pronto {

/// What is known of a message beside its content. Source: docs/formats/cloudevents.md.
struct Envelope {
  std::string id;    ///< the same for every copy of the message
  std::string type;  ///< the wire name
  int version = 1;
  std::string source;  ///< who made it
  WallTime time{};     ///< when it was made
  std::string key;     ///< what orders it; may be empty
  std::string traceparent;
  std::string queue;         ///< where it was taken from
  int attempt = 1;           ///< 1 the first time, one more after each failed handling
  bool redelivered = false;  ///< an earlier delivery of it was not answered
};

/// Thrown by a handler for a message that no later attempt can handle: it goes to the dead letters
/// at once.
class Rejected : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

namespace detail {

/// A message on its way out.
struct OutgoingMessage {
  std::string id;
  ContractInfo info;
  std::string route;
  std::string key;
  std::string body;
  std::string traceparent;
};

/// What a handler has published so far.
class Outgoing {
 public:
  template <Message T>
  void add(const T& message) {
    messages.push_back({.info = contract<T>.info,
                        .route = route_of(message),
                        .key = key_of(message),
                        .body = to_json(message)});
  }
  std::vector<OutgoingMessage> messages;
};

template <class T, class... Listed>
inline constexpr bool is_one_of = (std::same_as<T, Listed> || ...);

}  // namespace detail

/// What a handler may publish. Anything else does not compile.
///
/// Messages leave when the handler's transaction has committed (as outbox rows, relayed with
/// confirms); of a handler without rows, when it has returned and before its message is
/// acknowledged. When the handler fails, nothing leaves. Cheap to copy; not kept after the handler.
template <class... Messages>
class Out {
  static_assert((Message<Messages> && ...), "Out<...> lists message types with a contract");
  static_assert(!(RequestMessage<Messages> || ...), "a request is made with Bus::request");

 public:
  explicit Out(detail::Outgoing& outgoing) : outgoing_{&outgoing} {}
  /// A part of what another may publish.
  template <class... Others>
    requires((sizeof...(Messages) < sizeof...(Others)) &&
             (detail::is_one_of<Messages, Others...> && ...))
  Out(const Out<Others...>& other) : outgoing_{&other.outgoing()} {}  // NOLINT: implicit

  template <class T>
    requires detail::is_one_of<T, Messages...>
  void publish(const T& message) const {
    outgoing_->add(message);
  }
  detail::Outgoing& outgoing() const noexcept { return *outgoing_; }

 private:
  detail::Outgoing* outgoing_;
};

namespace detail {

/// The part of `Work` that is the same for all.
class WorkCore {
 public:
  using Step = std::move_only_function<Task<>(Transaction&, Outgoing&)>;

  WorkCore() = default;
  WorkCore(const WorkCore&) = delete;
  WorkCore& operator=(const WorkCore&) = delete;
  virtual ~WorkCore() = default;
  virtual const Envelope& envelope() const = 0;
  virtual WallTime now() const = 0;
  virtual Task<> transact(Step step) = 0;
  virtual Task<> wait_until(WallTime due) = 0;
};

}  // namespace detail

/// For a handler that takes time: its message stays unacknowledged, and its slot taken, while it
/// goes through several transactions with waits between them.
///
/// There is no inbox note: what has been done already must show in the handler's own rows, since
/// after a crash the message comes again and the handler starts anew. Returning acknowledges.
template <class... Messages>
class Work {
 public:
  explicit Work(detail::WorkCore& core) : core_{&core} {}

  const Envelope& envelope() const { return core_->envelope(); }
  WallTime now() const { return core_->now(); }

  /// Runs `step(Transaction&, Out<Messages...>)`: its rows and messages become durable together.
  /// Errors: throws what `step` throws, `DatabaseError`, `Cancelled`.
  template <class Step>
    requires std::is_invocable_r_v<Task<>, Step&, Transaction&, Out<Messages...>>
  Task<> transact(Step step) {
    return core_->transact(
        [step = std::move(step)](Transaction& transaction, detail::Outgoing& outgoing) mutable {
          return step(transaction, Out<Messages...>{outgoing});
        });
  }
  /// Waits until the wall clock says `due`. Keep `due` in a row, and a restart waits what is left.
  /// Errors: throws `Cancelled` when the service drains, and when the broker has given the message
  /// to somebody else after a lost connection.
  Task<> wait_until(WallTime due) { return core_->wait_until(due); }

 private:
  detail::WorkCore* core_;
};

namespace detail {

/// One call of a handler.
struct Invocation {
  const Envelope& envelope;
  BytesView body;
  Transaction* transaction = nullptr;
  Outgoing* outgoing = nullptr;
  WorkCore* work = nullptr;
  std::string reply{};
};

/// A handler of one message type, its types erased.
struct Handler {
  ContractInfo info;
  std::string name;  ///< for logs and dead letters
  bool has_transaction = false;
  bool is_work = false;
  std::vector<ContractInfo> outputs;
  /// Errors: throws `Rejected` for a body that is not the message, and what the handler throws.
  std::move_only_function<Task<>(Invocation&)> invoke;
};

template <class Parameter>
struct Argument;  // a handler takes its message, then Transaction&, Out<...>, Work<...>&, Envelope

template <>
struct Argument<Transaction> {
  explicit Argument(Invocation& call) : value{*call.transaction} {}
  Transaction& value;
};
template <>
struct Argument<Envelope> {
  explicit Argument(Invocation& call) : value{call.envelope} {}
  const Envelope& value;
};
template <class... Messages>
struct Argument<Out<Messages...>> {
  explicit Argument(Invocation& call) : value{*call.outgoing} {}
  Out<Messages...> value;
};
template <class... Messages>
struct Argument<Work<Messages...>> {
  explicit Argument(Invocation& call) : value{*call.work} {}
  Work<Messages...> value;
};

template <class T>
struct OutputsOf {
  static void add(std::vector<ContractInfo>&) {}
};
template <class... Messages>
struct OutputsOf<Out<Messages...>> {
  static void add(std::vector<ContractInfo>& to) { (to.push_back(contract<Messages>.info), ...); }
};
template <class... Messages>
struct OutputsOf<Work<Messages...>> : OutputsOf<Out<Messages...>> {};
template <class T>
inline constexpr bool is_work_type = false;
template <class... Messages>
inline constexpr bool is_work_type<Work<Messages...>> = true;

template <class Function>
struct HandlerTraits;
template <class Returned, class Service, class First, class... Rest>
struct HandlerTraits<Task<Returned> (Service::*)(First, Rest...)> {
  using Input = std::remove_cvref_t<First>;
  using Reply = Returned;
  using Arguments = std::tuple<Argument<std::remove_cvref_t<Rest>>...>;
  static constexpr bool has_transaction =
      (std::same_as<std::remove_cvref_t<Rest>, Transaction> || ...);
  static constexpr bool is_work = (is_work_type<std::remove_cvref_t<Rest>> || ...);
  static std::vector<ContractInfo> outputs() {
    std::vector<ContractInfo> all;
    (OutputsOf<std::remove_cvref_t<Rest>>::add(all), ...);
    return all;
  }
  static Arguments arguments(Invocation& call) {
    return Arguments{Argument<std::remove_cvref_t<Rest>>{call}...};
  }
};
template <class Returned, class Service, class First, class... Rest>
struct HandlerTraits<Task<Returned> (Service::*)(First, Rest...) const>
    : HandlerTraits<Task<Returned> (Service::*)(First, Rest...)> {};

template <auto function, class Service>
Task<> call_handler(Service& service, Invocation& call) {
  using Traits = HandlerTraits<decltype(function)>;
  auto message = from_json<typename Traits::Input>(call.body);
  if (!message) throw Rejected{"the message is not what its type says: " + message.error()};
  auto arguments = Traits::arguments(call);
  auto task = std::apply(
      [&](auto&... argument) { return (service.*function)(*message, argument.value...); },
      arguments);
  if constexpr (std::is_void_v<typename Traits::Reply>) {
    co_await std::move(task);
  } else {
    call.reply = to_json(co_await std::move(task));
  }
}

/// "OrderHistoryService::on", from what the compiler calls `function`. Not for the wire.
std::string name_in(std::string_view pretty_function);

template <auto function, class Service>
Handler make_handler(Service& service) {
  using Traits = HandlerTraits<decltype(function)>;
  static_assert(Message<typename Traits::Input>, "a handler takes a type with a contract first");
  static_assert(!(Traits::has_transaction && Traits::is_work),
                "Work brings its own transactions: co_await work.transact(...)");
  return {.info = contract<typename Traits::Input>.info,
          .name = name_in(__PRETTY_FUNCTION__),
          .has_transaction = Traits::has_transaction,
          .is_work = Traits::is_work,
          .outputs = Traits::outputs(),
          .invoke = [&service](Invocation& call) { return call_handler<function>(service, call); }};
}

}  // namespace detail

}  // namespace pronto
