#include "requests.hpp"

#include "failures.hpp"
#include "limited.hpp"
#include "reply_headers.hpp"

namespace pronto::detail {
namespace {

constexpr const char* reply_queue = "amq.rabbitmq.reply-to";
constexpr std::size_t waiting_count_max = 10'000;

}  // namespace

Task<Result<void, BusFailure>> Requests::start() {
  auto channel = co_await core_.publishing.open_channel({.prefetch_count = 0});
  if (!channel) co_return to_bus_failure(channel.error());
  channel_.emplace(std::move(*channel));
  auto tag = co_await channel_->consume({.queue = reply_queue, .no_ack = true},
                                        [this](const client::Delivery& reply) { on_reply(reply); });
  if (!tag) co_return to_bus_failure(tag.error());
  co_return Result<void, BusFailure>{};
}

void Requests::on_reply(const client::Delivery& reply) {
  const auto& id = reply.properties.correlation_id;
  const auto found = id ? waiting_.find(id->text()) : waiting_.end();
  if (found == waiting_.end()) return;  // too late: nobody waits any more
  const auto& headers = reply.properties.headers;
  if (const auto error = headers ? headers->find_string(reply_error_header) : std::nullopt) {
    found->second.reply.set(BusFailure{BusFailure::Kind::failed, std::string{*error}});
  } else {
    found->second.reply.set(to_string(reply.body));
  }
}

Task<Requests::Reply> Requests::request(OutgoingMessage message, RequestOptions options) {
  if (waiting_.size() >= waiting_count_max) {
    co_return BusFailure{BusFailure::Kind::unavailable, "too many requests wait for a reply"};
  }
  const std::string id = core_.loop.random().url_safe_id();
  const std::string exchange = message.info.exchange();
  const struct Place {
    Place(Requests& all, std::string which) : requests{all}, id{std::move(which)} {
      requests.waiting_.try_emplace(id);
    }
    Place(const Place&) = delete;
    ~Place() { requests.waiting_.erase(id); }
    Requests& requests;
    std::string id;
  } place{*this, id};
  auto reply = co_await within(options.limit, ask(id, std::move(message), options));
  if (!reply) {
    const bool is_kept = options.outlives_limit && waiting_.at(id).is_stored;
    co_return BusFailure{
        is_kept ? BusFailure::Kind::unanswered : BusFailure::Kind::timed_out,
        "no reply to " + exchange + " within " + std::to_string(options.limit.count()) + " ms"};
  }
  co_return std::move(*reply);
}

Task<Requests::Reply> Requests::ask(std::string id, OutgoingMessage message,
                                    RequestOptions options) {
  const auto declared = co_await core_.exchanges.ensure(message.info.exchange(), message.info.kind);
  if (!declared) co_return to_bus_failure(declared.error());
  client::Message request = to_client_message(core_.to_wire(std::move(message), nullptr));
  request.properties.correlation_id = wire::ShortString{id};
  request.properties.reply_to = reply_queue;
  if (!options.outlives_limit) {
    request.persistent = false;
    request.properties.delivery_mode = 1;
    // Nobody waits for a reply to what has waited too long itself.
    request.properties.expiration = std::to_string(options.limit.count());
  }
  const auto published = co_await channel_->publish(std::move(request));
  if (!published) co_return to_bus_failure(published.error());
  Waiting& waiting = waiting_.at(id);
  waiting.is_stored = true;
  co_return co_await waiting.reply.get();
}

}  // namespace pronto::detail
