#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "capacity.hpp"
#include "common/settings.hpp"
#include "order_service.hpp"
#include "pronto/base/bytes.hpp"

namespace pizzeria {

/// What a process of the pizzeria is told. Every member is a setting; see `add_settings`.
struct Config {
  pronto::Endpoint http;
  pronto::Endpoint amqp;
  std::optional<pronto::Endpoint> management;  ///< nothing: nowhere
  std::string data = "data";
  std::string ports_file;
  std::string broker = "embedded";
  std::string store;  ///< empty: sqlite in the data folder
  std::string instance;
  std::string secret;  ///< hexadecimal; empty: made once and kept in the data folder
  std::string operator_password;
  std::array<StageCapacity, 3> stages{{{2, pronto::milliseconds{6000}},
                                       {2, pronto::milliseconds{8000}},
                                       {2, pronto::milliseconds{6000}}}};
  std::vector<pronto::milliseconds> callback_schedule;
  std::vector<std::string> allow_callbacks_to;
  std::uint64_t accept_limit = 100'000;
  std::uint64_t drain_seconds = 20;

  Config();
};

/// Which parts of the system run in this process.
struct Roles {
  bool api = false;
  bool history = false;
  bool executor = false;
  bool notifier = false;
};

/// Describes the settings that a process with `roles` has; "up" may embed the broker.
void add_settings(pronto::Settings& settings, Config& config, const Roles& roles, bool is_up);
/// Only where data and secret are: for `token` and `order`.
void add_identity_settings(pronto::Settings& settings, Config& config);

/// The server's key: from the setting, else kept in the data folder, made on the first start.
/// Errors: throws `StartError`.
pronto::Bytes load_key(const Config& config);

/// The program's name, version and sections, for `Settings`.
pronto::Program program();

}  // namespace pizzeria
