#include "order_id.hpp"

#include "pronto/base/crypto.hpp"

namespace pizzeria {
namespace {

constexpr std::size_t random_bytes = 12;
constexpr std::size_t mac_bytes = 10;
constexpr std::size_t random_characters = 16;  // base64url of 12 bytes
constexpr std::size_t mac_characters = 14;     // base64url of 10 bytes

pronto::Digest keyed(const pronto::Bytes& key, std::string_view purpose, std::string_view part,
                     std::string_view caller) {
  // Lengths are fixed or separated by NUL, so no two inputs give the same message.
  std::string message{purpose};
  message += '\0';
  message += part;
  message += '\0';
  message += caller;
  return pronto::hmac_sha256(key, pronto::as_bytes(message));
}

}  // namespace

std::string OrderIds::mac(std::string_view purpose, std::string_view part,
                          std::string_view caller) const {
  const pronto::Digest digest = keyed(key_, purpose, part, caller);
  return pronto::to_base64url(pronto::BytesView{digest}.first(mac_bytes));
}

std::string OrderIds::make(std::string_view caller) {
  const std::string part = random_.url_safe_id(random_bytes);
  return part + mac("order-id", part, caller);
}

bool OrderIds::is_of(std::string_view id, std::string_view caller) const {
  if (id.size() != random_characters + mac_characters) return false;
  const std::string expected = mac("order-id", id.substr(0, random_characters), caller);
  return pronto::equal_in_constant_time(pronto::as_bytes(id.substr(random_characters)),
                                        pronto::as_bytes(expected));
}

std::string OrderIds::callback_secret(std::string_view id) const {
  const pronto::Digest digest = keyed(key_, "callback-secret", id, {});
  return "whsec_" + pronto::to_base64(digest);
}

std::string OrderIds::pickup_code(std::string_view id) const {
  constexpr std::string_view readable = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789";  // no I, O, 0, 1
  const pronto::Digest digest = keyed(key_, "pickup-code", id, {});
  std::string code;
  for (std::size_t i = 0; i < 4; ++i) {
    code += readable[std::to_integer<std::size_t>(digest[i]) % readable.size()];
  }
  return code;
}

}  // namespace pizzeria
