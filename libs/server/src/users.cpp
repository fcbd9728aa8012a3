#include "pronto/server/users.hpp"

#include <algorithm>

#include "pronto/base/crypto.hpp"

namespace pronto::server {

wire::Fault login_refused(std::string_view mechanism) {
  return {.code = wire::ReplyCode::access_refused,
          .text = "Login was refused using authentication mechanism " + std::string{mechanism} +
                  ". For details see the broker logfile.",
          .is_connection_error = true};
}

FixedUsers::FixedUsers(std::vector<User> users) : users_{std::move(users)} {}

Result<void, wire::Fault> FixedUsers::authenticate(const Login& login) const {
  const auto user = std::ranges::find(users_, login.user, &User::name);
  // An unknown user costs the same as a wrong password.
  const std::string& expected = user == users_.end() ? login.user : user->password;
  const bool is_right =
      equal_in_constant_time(sha256(as_bytes(expected)), sha256(as_bytes(login.password)));
  if (user == users_.end() || !is_right) return login_refused(login.mechanism);
  if (user->loopback_only && login.peer && !login.peer->address.is_loopback()) {
    return wire::Fault{.code = wire::ReplyCode::access_refused,
                       .text = "user '" + user->name +
                               "' can only connect via localhost, not from " +
                               login.peer->address.to_string() +
                               ": start the broker with --user NAME and --password for a user of "
                               "your own, or with --guest-from-anywhere",
                       .is_connection_error = true};
  }
  return {};
}

bool FixedUsers::may_open(std::string_view user, std::string_view) const {
  return std::ranges::find(users_, user, &User::name) != users_.end();
}

}  // namespace pronto::server
