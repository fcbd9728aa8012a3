#pragma once

#include <array>
#include <deque>
#include <memory>
#include <set>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "capacity.hpp"
#include "history.hpp"
#include "kitchen.hpp"
#include "order_id.hpp"
#include "order_request.hpp"
#include "pronto/bus/bus.hpp"
#include "pronto/http/callback.hpp"
#include "pronto/http/idempotency.hpp"
#include "pronto/http/identity.hpp"
#include "pronto/http/operation.hpp"
#include "pronto/http/router.hpp"

namespace pizzeria {

/// What OrderService stands on; all outlive it.
struct OrderServiceParts {
  pronto::Loop& loop;
  pronto::Bus& bus;
  pronto::Database& database;
  OrderIds& ids;
  pronto::http::Sessions& sessions;
  pronto::http::Idempotency& idempotency;
  const pronto::http::AddressCheck& callback_check;
  Capacity& capacity;
};

/// An order as an operation: its journey is the log.
class OrderOperation final : public pronto::http::Operation {
 public:
  OrderOperation(Order of, const OrderIds& ids) : order{std::move(of)}, ids_{ids} {}

  const std::string& id() const override { return order.id; }
  std::int64_t sequence() const override { return order.sequence(); }
  bool is_final() const override { return pizzeria::is_final(order.status()); }
  std::string body() const override;
  std::vector<Entry> log_after(std::int64_t seen) const override;

  const Order order;

 private:
  const OrderIds& ids_;
};

/// Orders as operations, each an `OrderOperation`, from the history.
class OrderLog final : public pronto::http::OperationStore {
 public:
  OrderLog(const History& history, const OrderIds& ids) : history_{history}, ids_{ids} {}
  pronto::Task<pronto::http::OperationPtr> find_operation(std::string id) override;

 private:
  const History& history_;
  const OrderIds& ids_;
};

/// Accepts orders, and shows them, by JSON and by HTML, to those who placed them.
///
/// An order is on stable storage, with the broker, before its 202 is sent. Source: DESIGN.md
/// section 3, ONE_ORDER.md. Runs on: the loop's thread.
class OrderService {
 public:
  struct Options {
    std::int64_t accept_limit = 100'000;         ///< orders in flight
    pronto::seconds projection_limit{5};         ///< how long a read waits for what was accepted
    pronto::seconds wait_max{60};                ///< of `Prefer: wait`
    pronto::milliseconds refresh_interval{500};  ///< of what is known of the kitchen
    std::array<StageCapacity, 3> stages = {};    ///< of one kitchen process, until seen
  };

  OrderService(OrderServiceParts parts, Options options);

  void add_routes(pronto::http::Router& router);
  /// Looks at the kitchen again and again: counts the orders in flight, from queues and rows.
  pronto::Task<> refresh_for_ever();
  /// Looks once. Until that has worked nothing is accepted: the limit could not be kept.
  pronto::Task<> refresh();
  bool knows_kitchen() const { return knows_kitchen_; }
  /// To be told of each that is heard of: for who waits for the order, and for the measured rate.
  void on_placed(const OrderPlaced& event);
  void on_status(const OrderStatus& event);

  std::int64_t in_flight() const;

 private:
  using Request = pronto::http::Request;
  using Response = pronto::http::Response;

  /// Who asks; somebody new when the request does not say.
  struct Visitor {
    std::string name;
    bool is_new = false;
  };
  /// Nothing when the request says who, but cannot prove it.
  std::optional<Visitor> visitor(const Request& request);
  Response not_authorised(const Request& request) const;
  Response greeted(Response response, const Visitor& visitor) const;

  pronto::Task<Response> index(Request& request);
  pronto::Task<Response> menu(Request& request);
  /// Room in the kitchen for one order that is being accepted, until it counts as open.
  class Room {
   public:
    explicit Room(std::int64_t& taken) : taken_{&taken} { ++taken; }
    Room(const Room&) = delete;
    ~Room() { give_back(); }
    void give_back() {
      if (taken_) --*std::exchange(taken_, nullptr);
    }

   private:
    std::int64_t* taken_;
  };

  pronto::Task<Response> place(Request& request);
  pronto::Task<Response> place_checked(Request& request, Visitor visitor, OrderRequest order,
                                       std::optional<std::string> key, Room& room);
  pronto::Task<Response> publish(Request& request, Visitor visitor, OrderRequest order,
                                 std::string id, Room& room,
                                 pronto::http::Idempotency::Claim* claim);
  pronto::Task<Response> show(Request& request);
  pronto::Task<Response> events(Request& request);
  pronto::Task<Response> history(Request& request);
  pronto::Task<Response> cancel(Request& request);

  pronto::Task<> look_at_kitchen();
  /// Forgets what has ended without being heard of: what the pages' queue missed while the
  /// connection was away never comes.
  pronto::Task<> drop_finished();
  /// Returns: false when the order's end was heard of before.
  bool note_end(const std::string& order);
  std::array<StageNow, 3> stages_now(const Kitchen::InWork& in_work,
                                     const std::vector<pronto::Bus::QueueState>& queues);
  pronto::http::Problem overloaded() const;

  std::string accepted_body(const Order& order, const OrderRequest& request) const;
  pronto::http::Response accepted(const Request& request, const std::string& id,
                                  std::string body) const;

  OrderServiceParts parts_;
  Options options_;
  History history_;
  OrderLog order_log_;
  pronto::http::Operations operations_;
  std::int64_t counted_ = 0;          // at the last refresh
  std::int64_t open_at_count_ = 0;    // of `open_` at that refresh
  std::set<std::string> open_;        // accepted here, end not heard of yet
  std::string open_asked_;            // of `open_`, the last one that the kitchen was asked about
  std::vector<std::string> unheard_;  // of `open_`, those that had ended at the last look
  std::unordered_set<std::string> ended_;   // the newest ends that were heard of,
  std::deque<std::string> ended_in_order_;  // oldest first
  std::int64_t rooms_taken_ = 0;
  bool knows_kitchen_ = false;
  std::array<double, 3> workers_seen_{};
};

}  // namespace pizzeria
