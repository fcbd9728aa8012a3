#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pronto {

/// Runs on: any thread, as everything in this header.
std::vector<std::string_view> split(std::string_view text, char separator);
std::string_view trim(std::string_view text);
std::string to_lower(std::string_view text);
bool equal_ignoring_case(std::string_view left, std::string_view right);

/// Decimal digits only, no sign, no space. Returns: nothing when it is anything else or too large.
std::optional<std::uint64_t> parse_unsigned(std::string_view text);
/// Returns: nothing when `text` is not wholly a finite decimal number.
std::optional<double> parse_double(std::string_view text);

/// Whether `text` is well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms).
bool is_utf8(std::string_view text);

/// Percent-decoding. Returns: nothing for a broken escape. `plus_is_space` for forms.
std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space = false);
/// Escapes all but RFC 3986's unreserved characters.
std::string percent_encode(std::string_view text);

/// Text that is safe inside HTML text and quoted attributes.
std::string html_escape(std::string_view text);

/// The candidate nearest to `text` by edit distance, or nothing when none is within a third of its
/// length.
std::optional<std::string> nearest_name(std::string_view text,
                                        const std::vector<std::string>& candidates);

}  // namespace pronto
