#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "pronto/base/bytes.hpp"
#include "pronto/base/result.hpp"
#include "pronto/base/time.hpp"

namespace pronto::http {

/// A secret that signs callbacks, written "whsec_" and base64 of 24 to 64 bytes.
/// Runs on: any thread. Source: Standard Webhooks.
class WebhookSecret {
 public:
  /// Errors: what is wrong with `text`; never `text` itself.
  static Result<WebhookSecret, std::string> parse(std::string_view text);
  /// Derives the secret of `subject` from the server's key: the same each time.
  static WebhookSecret derive(BytesView server_key, std::string_view subject);

  std::string to_string() const;
  /// "v1," and base64 of HMAC-SHA256 over "id.timestamp.body".
  std::string sign(std::string_view webhook_id, WallTime at, std::string_view body) const;

 private:
  explicit WebhookSecret(Bytes key) : key_{std::move(key)} {}
  Bytes key_;
};

/// The value of `webhook-signature`: one signature for each secret, while one replaces another.
std::string sign_all(const std::vector<WebhookSecret>& secrets, std::string_view webhook_id,
                     WallTime at, std::string_view body);

/// Checks a callback as its receiver does, for tests and examples.
bool is_signed(const WebhookSecret& secret, std::string_view webhook_id, std::string_view timestamp,
               std::string_view signatures, std::string_view body);

/// A CloudEvent in the structured JSON form. `data_json` is JSON text.
/// Source: CloudEvents 1.0, JSON event format.
struct CloudEvent {
  std::string type;
  std::string source;
  std::string id;
  WallTime time{};
  std::string data_json;
  std::string to_json() const;
};

}  // namespace pronto::http
