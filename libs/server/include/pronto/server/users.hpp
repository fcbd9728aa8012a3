#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pronto/async/address.hpp"
#include "pronto/base/result.hpp"
#include "pronto/wire/reply_code.hpp"

namespace pronto::server {

/// Who wants in, as the handshake learnt it.
struct Login {
  std::string user;
  std::string password;
  std::string mechanism;         ///< "PLAIN" or "AMQPLAIN"
  std::optional<Endpoint> peer;  ///< nothing: in the same process
};

/// The place where it is asked who may come in. Runs on: the loop's thread. Blocks: never.
class Users {
 public:
  Users() = default;
  Users(const Users&) = delete;
  Users& operator=(const Users&) = delete;
  virtual ~Users() = default;

  /// Errors: `access_refused` with what the peer is told; it never says whether the user exists.
  virtual Result<void, wire::Fault> authenticate(const Login& login) const = 0;
  /// Whether `user` may open `virtual_host`, which exists.
  virtual bool may_open(std::string_view user, std::string_view virtual_host) const = 0;
};

/// RabbitMQ's text for a login that failed, whatever the reason.
wire::Fault login_refused(std::string_view mechanism);

/// One user of a fixed list.
struct User {
  std::string name = "guest";
  std::string password = "guest";
  /// Refuse it from other machines; in the same process it is always welcome.
  bool loopback_only = true;
};

/// A fixed list of users; who is on it may do everything.
class FixedUsers final : public Users {
 public:
  /// Without users: guest with the password guest, from loopback only, as RabbitMQ has it.
  explicit FixedUsers(std::vector<User> users = {User{}});

  Result<void, wire::Fault> authenticate(const Login& login) const override;
  bool may_open(std::string_view user, std::string_view virtual_host) const override;

 private:
  std::vector<User> users_;
};

}  // namespace pronto::server
