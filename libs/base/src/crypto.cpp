#include "pronto/base/crypto.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "pronto/base/assert.hpp"

namespace pronto {
namespace {

const unsigned char* raw(BytesView bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

}  // namespace

Digest hmac_sha256(BytesView key, BytesView message) {
  Digest digest;
  unsigned size = 0;
  const auto* made = HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), raw(message),
                          message.size(), reinterpret_cast<unsigned char*>(digest.data()), &size);
  PRONTO_ASSERT(made != nullptr && size == digest.size());
  return digest;
}

Digest sha256(BytesView message) {
  Digest digest;
  unsigned size = 0;
  const int made =
      EVP_Digest(message.data(), message.size(), reinterpret_cast<unsigned char*>(digest.data()),
                 &size, EVP_sha256(), nullptr);
  PRONTO_ASSERT(made == 1 && size == digest.size());
  return digest;
}

bool equal_in_constant_time(BytesView left, BytesView right) noexcept {
  return left.size() == right.size() && CRYPTO_memcmp(left.data(), right.data(), left.size()) == 0;
}

std::string to_base64(BytesView bytes) {
  std::string text((bytes.size() + 2) / 3 * 4, '\0');
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), raw(bytes),
                  static_cast<int>(bytes.size()));
  return text;
}

std::optional<Bytes> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  for (const char c : text.substr(0, text.size() - padding)) {
    const bool known = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                       c == '+' || c == '/';
    if (!known) return std::nullopt;
  }
  Bytes bytes(text.size() / 4 * 3);
  if (!text.empty() && EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                                       raw(as_bytes(text)), static_cast<int>(text.size())) < 0) {
    return std::nullopt;
  }
  bytes.resize(bytes.size() - padding);
  return bytes;
}

std::string to_base64url(BytesView bytes) {
  std::string text = to_base64(bytes);
  while (!text.empty() && text.back() == '=') text.pop_back();
  for (char& c : text) {
    if (c == '+') c = '-';
    if (c == '/') c = '_';
  }
  return text;
}

std::optional<Bytes> from_base64url(std::string_view text) {
  std::string padded{text};
  for (char& c : padded) {
    if (c == '+' || c == '/' || c == '=') return std::nullopt;
    if (c == '-') c = '+';
    if (c == '_') c = '/';
  }
  while (padded.size() % 4 != 0) padded += '=';
  return from_base64(padded);
}

}  // namespace pronto
