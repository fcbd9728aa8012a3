#include "exchanges.hpp"

#include "topology.hpp"

namespace pronto::detail {

Task<Result<void, client::Failure>> Exchanges::ensure(std::string name, MessageKind kind) {
  if (declared_.contains(name)) co_return Result<void, client::Failure>{};
  auto declared = co_await connection_.declare_exchange(exchange_of(name, kind));
  if (declared) declared_.insert(std::move(name));
  co_return declared;
}

}  // namespace pronto::detail
