#include "pronto/bus/dead_letters.hpp"

#include <algorithm>

#include "failures.hpp"
#include "limited.hpp"
#include "pronto/base/log.hpp"
#include "wire_message.hpp"

namespace pronto {

using detail::to_bus_failure;

DeadLetters::DeadLetters(client::Connection& connection, Options options)
    : connection_{connection}, options_{options} {}

Task<Result<std::size_t, BusFailure>> DeadLetters::count(std::string queue) {
  const auto found = co_await connection_.find_queue(queue_of(queue));
  if (found) co_return std::size_t{found->message_count};
  if (found.error().code == wire::ReplyCode::not_found) co_return std::size_t{0};
  co_return to_bus_failure(found.error());
}

Task<Result<std::size_t, BusFailure>> DeadLetters::go_through(std::string queue, Decide decide) {
  const Slots::Held turn = co_await turn_.take();
  auto done = co_await detail::within(options_.limit,
                                      go_through_in_turn(std::move(queue), std::move(decide)));
  if (!done) {
    co_return BusFailure{BusFailure::Kind::timed_out, "going through dead letters took too long"};
  }
  co_return std::move(*done);
}

Task<Result<std::size_t, BusFailure>> DeadLetters::go_through_in_turn(std::string queue,
                                                                      Decide decide) {
  // What is kept stays in hand until the channel closes: then the broker puts it back in its place.
  auto channel = co_await connection_.open_channel({.prefetch_count = 0});
  if (!channel) co_return to_bus_failure(channel.error());
  std::size_t moved_count = 0;
  std::optional<BusFailure> failure;
  std::vector<client::Delivery> kept;
  for (std::size_t scanned = 0; scanned < options_.scanned_max && !failure; ++scanned) {
    auto taken = co_await channel->get(queue_of(queue));
    if (!taken) {
      if (taken.error().code != wire::ReplyCode::not_found) {
        failure = to_bus_failure(taken.error());
      }
      break;
    }
    if (!*taken) break;
    client::Delivery& delivery = **taken;
    const DeadLetter letter = detail::read_dead_letter(delivery, queue);
    const Verdict verdict = decide(letter);
    if (verdict == Verdict::keep || verdict == Verdict::stop) {
      kept.push_back(std::move(delivery));
      if (verdict == Verdict::stop) break;
      continue;
    }
    if (verdict == Verdict::retry) {
      const auto sent = co_await channel->publish(detail::make_redriven(delivery, queue));
      if (!sent) {
        failure = to_bus_failure(sent.error());
        break;
      }
      log::info("a dead letter was sent back", {{"queue", queue}, {"id", letter.id}});
    }
    delivery.ack();
    ++moved_count;
  }
  static_cast<void>(co_await channel->close());
  if (failure) co_return std::move(*failure);
  co_return moved_count;
}

Task<Result<std::vector<DeadLetter>, BusFailure>> DeadLetters::list(std::string queue,
                                                                    std::size_t count_max) {
  std::vector<DeadLetter> letters;
  const auto done = co_await go_through(std::move(queue), [&](const DeadLetter& letter) {
    letters.push_back(letter);
    return letters.size() >= count_max ? Verdict::stop : Verdict::keep;
  });
  if (!done) co_return done.error();
  co_return letters;
}

Task<Result<void, BusFailure>> DeadLetters::retry(std::string queue, std::string id) {
  co_return co_await move_one(std::move(queue), std::move(id), Verdict::retry);
}

Task<Result<void, BusFailure>> DeadLetters::discard(std::string queue, std::string id,
                                                    std::string reason) {
  log::info("a dead letter is discarded", {{"queue", queue}, {"id", id}, {"reason", reason}});
  co_return co_await move_one(std::move(queue), std::move(id), Verdict::discard);
}

Task<Result<void, BusFailure>> DeadLetters::move_one(std::string queue, std::string id,
                                                     Verdict verdict) {
  bool is_found = false;
  const auto done = co_await go_through(queue, [&](const DeadLetter& letter) {
    if (is_found) return Verdict::stop;
    if (letter.id != id) return Verdict::keep;
    is_found = true;
    return verdict;
  });
  if (!done) co_return done.error();
  if (*done == 0) {
    co_return BusFailure{BusFailure::Kind::not_found,
                         "no dead letter '" + id + "' of queue '" + queue + "'"};
  }
  co_return Result<void, BusFailure>{};
}

Task<Result<std::size_t, BusFailure>> DeadLetters::retry_all(std::string queue) {
  co_return co_await go_through(std::move(queue), [](const DeadLetter&) { return Verdict::retry; });
}

Task<Result<std::size_t, BusFailure>> DeadLetters::discard_all(std::string queue,
                                                               std::string reason) {
  co_return co_await go_through(queue, [&queue, &reason](const DeadLetter& letter) {
    log::info("a dead letter is discarded",
              {{"queue", queue}, {"id", letter.id}, {"reason", reason}});
    return Verdict::discard;
  });
}

}  // namespace pronto
