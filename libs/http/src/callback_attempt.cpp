#include "callback_attempt.hpp"

#include <algorithm>
#include <array>
#include <chrono>

#include "pronto/async/deadline.hpp"
#include "pronto/base/text.hpp"
#include "pronto/http/webhook.hpp"

namespace pronto::http {
namespace {

CallbackAnswer refused(std::string why) {
  CallbackAnswer answer;
  answer.error = std::move(why);
  answer.is_refused = true;
  return answer;
}

CallbackAnswer unreachable(std::string why) {
  CallbackAnswer answer;
  answer.error = std::move(why);
  answer.is_unreachable = true;
  return answer;
}

std::string text_of(const std::error_code& error, const char* doing, seconds limit) {
  if (error == make_error_code(Error::timed_out)) {
    return std::string{doing} + ": no answer within " + std::to_string(limit.count()) + " s";
  }
  return std::string{doing} + ": " + error.message();
}

Task<Result<std::vector<IpAddress>>> addresses_of(Network& network, Url url) {
  // Addresses are not asked for: what was checked at the accept is what is used.
  if (const auto address = IpAddress::parse(url.host)) co_return std::vector{*address};
  if (const auto address = parse_loose_ipv4(url.host)) co_return std::vector{*address};
  co_return co_await network.resolve(url.host);
}

Task<Result<ClientResponse>> send(Network& network, Url url, std::vector<IpAddress> addresses,
                                  CallbackRequest request, ClientRequest message,
                                  ClientLimits limits, std::string& error) {
  ConnectOptions options;
  if (url.is_https)
    options.tls = TlsClientOptions{.server_name = url.host, .ca_file = request.ca_file};
  std::unique_ptr<Stream> stream;
  std::error_code last;
  for (const IpAddress& address : addresses) {
    auto connected = co_await with_deadline(limits.connect_time_max,
                                            network.connect(Endpoint{address, url.port}, options));
    if (connected) {
      stream = std::move(*connected);
      break;
    }
    last = connected.error();
    error = text_of(last, "cannot connect", limits.connect_time_max);
  }
  if (!stream) co_return last;
  auto response = co_await with_deadline(
      limits.answer_time_max,
      exchange(*stream, url.authority(), url.target, std::move(message), limits));
  if (!response) error = text_of(response.error(), "no answer", limits.answer_time_max);
  co_return response;
}

Task<CallbackAnswer> resolve_and_send(Network& network, const AddressCheck& check, Url url,
                                      CallbackRequest request, ClientLimits limits) {
  const auto addresses = co_await addresses_of(network, url);
  if (!addresses) {
    co_return unreachable("cannot resolve " + url.host + ": " + addresses.error().message());
  }
  const auto checked = check.check_all(*addresses, url.host);
  if (!checked) {
    co_return refused("callbacks may not go to " + url.host + ": " + checked.error().to_string());
  }
  std::vector<WebhookSecret> secrets;
  for (const std::string& text : request.secrets) {
    if (const auto secret = WebhookSecret::parse(text)) secrets.push_back(*secret);
  }
  if (secrets.empty()) co_return refused("there is no usable secret to sign with");

  ClientRequest message{.method = "POST", .headers = {}, .body = request.body};
  const auto timestamp = std::chrono::floor<seconds>(request.at).time_since_epoch().count();
  message.headers.add("Content-Type", "application/cloudevents+json");
  message.headers.add("User-Agent", request.user_agent);
  message.headers.add("Accept", "*/*");
  message.headers.add("webhook-id", request.webhook_id);
  message.headers.add("webhook-timestamp", std::to_string(timestamp));
  message.headers.add("webhook-signature",
                      sign_all(secrets, request.webhook_id, request.at, request.body));
  std::string error;
  const auto response = co_await send(network, url, *addresses, request, message, limits, error);
  if (!response) co_return unreachable(std::move(error));

  CallbackAnswer answer;
  answer.status = response->status;
  if (const auto field = response->headers.find("retry-after")) {
    answer.retry_after = parse_retry_after(*field, request.at);
  }
  answer.is_unreachable = answer.status >= 500 || answer.status == 429;
  if (!answer.is_taken()) answer.error = "answered " + std::to_string(answer.status);
  if (answer.status >= 300 && answer.status < 400) answer.error += ", redirects are not followed";
  co_return answer;
}

}  // namespace

Task<CallbackAnswer> attempt_callback(Network& network, const AddressCheck& check,
                                      CallbackRequest request, ClientLimits limits) {
  const auto url = Url::parse(request.url);
  if (!url) co_return refused("the URL " + url.error());
  const auto host = check.check_host(*url);
  if (!host) co_return refused("callbacks may not go to " + host.error().to_string());
  auto answer = co_await with_deadline(
      limits.total_time_max, resolve_and_send(network, check, *url, std::move(request), limits));
  if (answer) co_return std::move(*answer);
  co_return unreachable("no answer within " + std::to_string(limits.total_time_max.count()) + " s");
}

std::optional<milliseconds> parse_retry_after(std::string_view text, WallTime now) {
  text = trim(text);
  if (const auto wait = parse_unsigned(text)) {
    constexpr std::uint64_t year = 366 * 24 * 3600;
    return seconds{static_cast<long>(std::min(*wait, year))};
  }
  // "Tue, 24 Nov 2026 15:04:05 GMT"
  constexpr std::array<std::string_view, 12> months{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const auto parts = split(text, ' ');
  if (parts.size() != 6 || parts[5] != "GMT") return std::nullopt;
  const auto month = std::ranges::find(months, parts[2]);
  const auto day = parse_unsigned(parts[1]);
  const auto year = parse_unsigned(parts[3]);
  const auto clock = split(parts[4], ':');
  if (month == months.end() || !day || !year || clock.size() != 3) return std::nullopt;
  const auto hour = parse_unsigned(clock[0]);
  const auto minute = parse_unsigned(clock[1]);
  const auto second = parse_unsigned(clock[2]);
  if (!hour || !minute || !second || *hour > 23 || *minute > 59 || *second > 60)
    return std::nullopt;
  const std::chrono::year_month_day date{
      std::chrono::year{static_cast<int>(std::min<std::uint64_t>(*year, 9999))},
      std::chrono::month{static_cast<unsigned>(month - months.begin()) + 1},
      std::chrono::day{static_cast<unsigned>(std::min<std::uint64_t>(*day, 99))}};
  if (!date.ok()) return std::nullopt;
  const WallTime at = std::chrono::sys_days{date} + std::chrono::hours{*hour} +
                      std::chrono::minutes{*minute} + seconds{*second};
  return std::max(at - now, milliseconds{0});
}

}  // namespace pronto::http
