#pragma once

#include <string>
#include <string_view>

#include "pronto/base/bytes.hpp"
#include "pronto/base/random.hpp"

namespace pizzeria {

/// Makes and checks the ids of orders.
///
/// An id carries a MAC over itself and its caller: a valid id was given out by us to that caller,
/// so nobody is told 404 after a 202, and nobody reads another's order. Source: ONE_ORDER.md. Runs
/// on: the loop's thread.
class OrderIds {
 public:
  OrderIds(pronto::Bytes key, pronto::Random& random) : key_{std::move(key)}, random_{random} {}

  /// 30 URL-safe characters: 12 random bytes, 10 bytes of MAC.
  std::string make(std::string_view caller);
  bool is_of(std::string_view id, std::string_view caller) const;
  /// The secret that signs this order's callbacks: "whsec_" and base64, the same at every call.
  std::string callback_secret(std::string_view id) const;
  /// Four characters that a person can say at the counter, the same at every call.
  std::string pickup_code(std::string_view id) const;

 private:
  std::string mac(std::string_view purpose, std::string_view part, std::string_view caller) const;

  pronto::Bytes key_;
  pronto::Random& random_;
};

}  // namespace pizzeria
