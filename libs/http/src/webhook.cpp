#include "pronto/http/webhook.hpp"

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include "pronto/base/crypto.hpp"
#include "pronto/base/text.hpp"

namespace pronto::http {
namespace {

constexpr std::string_view prefix = "whsec_";
constexpr std::size_t key_bytes_min = 24;
constexpr std::size_t key_bytes_max = 64;

}  // namespace

Result<WebhookSecret, std::string> WebhookSecret::parse(std::string_view text) {
  if (!text.starts_with(prefix)) return std::string{"does not begin with whsec_"};
  auto key = from_base64(text.substr(prefix.size()));
  if (!key) return std::string{"is not whsec_ and base64"};
  if (key->size() < key_bytes_min || key->size() > key_bytes_max) {
    return std::string{"must hold 24 to 64 bytes"};
  }
  return WebhookSecret{std::move(*key)};
}

WebhookSecret WebhookSecret::derive(BytesView server_key, std::string_view subject) {
  std::string message = "pronto callback secret 1";
  message += '\0';
  message += subject;
  const Digest digest = hmac_sha256(server_key, as_bytes(message));
  return WebhookSecret{Bytes{digest.begin(), digest.end()}};
}

std::string WebhookSecret::to_string() const {
  return std::string{prefix} + to_base64(key_);
}

std::string WebhookSecret::sign(std::string_view webhook_id, WallTime at,
                                std::string_view body) const {
  std::string message{webhook_id};
  message += '.';
  message += std::to_string(std::chrono::floor<seconds>(at).time_since_epoch().count());
  message += '.';
  message += body;
  return "v1," + to_base64(hmac_sha256(key_, as_bytes(message)));
}

std::string sign_all(const std::vector<WebhookSecret>& secrets, std::string_view webhook_id,
                     WallTime at, std::string_view body) {
  std::string signatures;
  for (const WebhookSecret& secret : secrets) {
    signatures += (signatures.empty() ? "" : " ") + secret.sign(webhook_id, at, body);
  }
  return signatures;
}

bool is_signed(const WebhookSecret& secret, std::string_view webhook_id, std::string_view timestamp,
               std::string_view signatures, std::string_view body) {
  const auto at = parse_unsigned(timestamp);
  if (!at || *at > 100'000'000'000U) return false;
  const std::string expected =
      secret.sign(webhook_id, WallTime{seconds{static_cast<long>(*at)}}, body);
  bool is_right = false;
  for (const std::string_view one : split(signatures, ' ')) {
    if (equal_in_constant_time(as_bytes(expected), as_bytes(one))) is_right = true;
  }
  return is_right;
}

std::string CloudEvent::to_json() const {
  // The data is JSON already; it goes in as it is, in the place of the closing brace.
  const boost::json::object head{
      {"specversion", "1.0"},     {"type", type},
      {"source", source},         {"id", id},
      {"time", to_rfc3339(time)}, {"datacontenttype", "application/json"}};
  std::string text = boost::json::serialize(head);
  text.pop_back();
  return text + ",\"data\":" + data_json + '}';
}

}  // namespace pronto::http
