#include "order_executor.hpp"

#include <algorithm>

namespace pizzeria {

using pronto::Out;
using pronto::Task;
using pronto::Transaction;

std::string OrderExecutor::ticket_queue(std::string_view stage) {
  return std::string{queue} + '.' + std::string{stage};
}

void OrderExecutor::subscribe(pronto::Bus& bus) {
  bus.on<&OrderExecutor::open>(*this, queue);
  bus.answer<&OrderExecutor::cancel>(*this, cancel_queue);
  for (std::size_t i = 0; i < stages.size(); ++i) {
    bus.work<&OrderExecutor::work>(*this,
                                   {.queue = ticket_queue(stages[i]),
                                    .route = std::string{stages[i]},
                                    .concurrency = static_cast<std::uint16_t>(stages_[i].workers)});
  }
}

pronto::milliseconds OrderExecutor::duration_of(std::string_view stage) const {
  const auto found = std::ranges::find(stages, stage);
  if (found == stages.end()) {
    throw pronto::Rejected{"there is no stage '" + std::string{stage} + "'"};
  }
  return stages_[static_cast<std::size_t>(found - stages.begin())].duration;
}

Task<> OrderExecutor::open(const OrderPlaced& event, Transaction& tx,
                           Out<Ticket, OrderStatus> out) {
  const Kitchen::Opened opened = co_await Kitchen::open(tx, event, loop_.wall_now());
  if (opened.ticket) out.publish(*opened.ticket);
  if (opened.status) out.publish(*opened.status);
}

Task<> OrderExecutor::work(const Ticket& ticket, pronto::Work<Ticket, OrderStatus>& work) {
  const pronto::milliseconds duration = duration_of(ticket.stage);
  std::optional<pronto::WallTime> due;
  co_await work.transact([&](Transaction& tx, Out<Ticket, OrderStatus> out) -> Task<> {
    const Kitchen::Begun begun = co_await Kitchen::begin(tx, ticket, work.now(), duration);
    if (begun.status) out.publish(*begun.status);
    due = begun.due;
  });
  if (!due) co_return;  // a copy of a ticket that was worked on, or the order is cancelled
  co_await work.wait_until(*due);
  co_await work.transact([&](Transaction& tx, Out<Ticket, OrderStatus> out) -> Task<> {
    const Kitchen::Finished finished = co_await Kitchen::finish(tx, ticket, work.now());
    if (finished.ticket) out.publish(*finished.ticket);
    if (finished.status) out.publish(*finished.status);
  });
}

Task<CancelOutcome> OrderExecutor::cancel(const CancelOrder& request, Transaction& tx,
                                          Out<OrderStatus> out) {
  const Kitchen::Decided decided = co_await Kitchen::cancel(tx, request, loop_.wall_now());
  if (decided.status) out.publish(*decided.status);
  co_return decided.outcome;
}

}  // namespace pizzeria
