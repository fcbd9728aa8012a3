#pragma once

#include "contracts.hpp"
#include "order_id.hpp"
#include "pronto/async/task_group.hpp"
#include "pronto/bus/bus.hpp"
#include "pronto/http/callback.hpp"

namespace pizzeria {

/// Sends an order's result to the address that came with it. Source: ONE_ORDER.md step 10.
class Notifier {
 public:
  static constexpr const char* queue = "notifier";

  Notifier(pronto::http::Callbacks& callbacks, const OrderIds& ids)
      : callbacks_{callbacks}, ids_{ids} {}

  static std::vector<pronto::Migration> migrations();
  void subscribe(pronto::Bus& bus) { bus.on<&Notifier::status>(*this, queue); }

  /// Remembers the secret that a customer brought along, until the order has ended; part of
  /// accepting it. Those of orders that were never stored go after `secrets_kept`.
  /// Errors: as `Transaction::execute`.
  static pronto::Task<> keep_secret(pronto::Transaction& tx, std::string order, std::string secret,
                                    pronto::WallTime now);
  static constexpr pronto::seconds secrets_kept = std::chrono::days{30};

 private:
  pronto::Task<> status(const OrderStatus& event, pronto::Transaction& tx);

  pronto::http::Callbacks& callbacks_;
  const OrderIds& ids_;
};

}  // namespace pizzeria
