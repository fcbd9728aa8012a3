#pragma once

#include <string>
#include <string_view>

namespace pronto::http {

/// What a client speaks that has come to the HTTP port by mistake.
enum class ForeignProtocol { none, tls, amqp };

/// Looks at the first bytes of a connection that did not parse as HTTP.
ForeignProtocol recognise(std::string_view first_bytes);

/// Returns: an answer in that protocol that says so. `amqp_address` may be empty.
std::string foreign_answer(ForeignProtocol protocol, std::string_view amqp_address);

}  // namespace pronto::http
