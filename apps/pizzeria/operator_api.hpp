#pragma once

#include <functional>
#include <string>
#include <vector>

#include "pronto/bus/bus.hpp"
#include "pronto/http/callback.hpp"
#include "pronto/http/identity.hpp"
#include "pronto/http/router.hpp"

namespace pizzeria {

/// A queue as the operator page shows it.
struct QueueRow {
  std::string name;
  std::int64_t ready = 0;
  std::int64_t unacked = 0;
  std::int64_t consumers = 0;
  double publish_rate = 0;  ///< per second
  double deliver_rate = 0;
};

/// The plain operator pages: queues, dead letters with retry and discard, callbacks by destination
/// and those that were given up, behind a password.
/// Runs on: the loop's thread. Source: web/README.md, "Operator".
class OperatorApi {
 public:
  /// Gives the queues as they are now; asked at each view.
  using QueuesOf = std::function<pronto::Task<std::vector<QueueRow>>()>;

  struct Options {
    /// HMAC of the password under the server's key, as `password_mac` makes it.
    pronto::Bytes password_mac;
    pronto::Bytes key;
    /// Queues whose dead letters are shown.
    std::vector<std::string> queues;
  };

  OperatorApi(pronto::Loop& loop, pronto::Bus& bus, pronto::http::Callbacks& callbacks,
              QueuesOf queues_of, Options options);

  void add_routes(pronto::http::Router& router);

  static pronto::Bytes password_mac(pronto::BytesView key, std::string_view password);

 private:
  using Request = pronto::http::Request;
  using Response = pronto::http::Response;

  bool is_signed_in(const Request& request) const;
  /// The token that forms carry: derived from the session, so that no other site knows it.
  std::string csrf_of(const Request& request) const;
  bool has_csrf(const Request& request) const;
  Response login_page(const Request& request, int status, std::string_view message) const;

  pronto::Task<Response> overview_page(Request& request);
  pronto::Task<Response> login_form(Request& request);
  pronto::Task<Response> login(Request& request);
  pronto::Task<Response> logout(Request& request);
  pronto::Task<Response> overview(Request& request);
  pronto::Task<Response> callbacks_page(Request& request);
  pronto::Task<Response> callbacks(Request& request);
  pronto::Task<Response> resend(Request& request);
  /// Those that somebody may want to send again, the given-up ones first.
  pronto::Task<std::vector<pronto::http::CallbackView>> open_callbacks();
  pronto::Task<Response> decide(Request& request, bool is_retry);
  struct Letter {
    std::string id;  ///< queue and message id, URL-safe
    pronto::DeadLetter letter;
  };
  pronto::Task<std::vector<Letter>> letters();

  pronto::Loop& loop_;
  pronto::Bus& bus_;
  pronto::http::Callbacks& callbacks_;
  QueuesOf queues_of_;
  Options options_;
  pronto::http::TokenSigner signer_;
  int failures_ = 0;  // of logins in a row: each delays the next
};

}  // namespace pizzeria
