#pragma once

#include <string>

#include "config.hpp"
#include "pronto/async/system_loop.hpp"

namespace pizzeria {

/// What `pizzeria order` was told.
struct OrderCommand {
  std::string words;  ///< "2 margherita"
  std::string as = "guest";
  std::string url = "http://127.0.0.1:8080";
  bool follow = false;
  std::string output = "text";  ///< text or json
};

/// A bearer token of `name` for whoever has `config`'s key.
std::string make_token(const Config& config, const std::string& name, pronto::WallTime now);

/// Orders over HTTP, and with `follow` shows each status as it comes, through lost connections,
/// until the last. Data goes to standard output, talk to standard error. Returns: the exit status.
pronto::Task<int> run_order(pronto::SystemLoop& loop, const Config& config, OrderCommand command);

}  // namespace pizzeria
