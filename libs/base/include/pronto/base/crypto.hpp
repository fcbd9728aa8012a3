#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "pronto/base/bytes.hpp"

namespace pronto {

using Digest = std::array<std::byte, 32>;

/// HMAC-SHA256 of `message` under `key`. Runs on: any thread. Source: RFC 2104, FIPS 180-4.
Digest hmac_sha256(BytesView key, BytesView message);
/// SHA-256 of `message`. Runs on: any thread. Source: FIPS 180-4.
Digest sha256(BytesView message);

/// Whether both are the same, in a time that depends on their length only.
bool equal_in_constant_time(BytesView left, BytesView right) noexcept;

/// Base64 with padding (RFC 4648 section 4).
std::string to_base64(BytesView bytes);
/// Returns: the bytes, or nothing when `text` is not padded base64.
std::optional<Bytes> from_base64(std::string_view text);
/// Base64url without padding (RFC 4648 section 5): safe in URLs, cookies and headers.
std::string to_base64url(BytesView bytes);
std::optional<Bytes> from_base64url(std::string_view text);

}  // namespace pronto
