#pragma once

namespace pronto::detail {

/// In a reply: why the handler could not answer.
inline constexpr const char* reply_error_header = "pronto-error";

}  // namespace pronto::detail
