#pragma once

#include "pronto/http/router.hpp"
#include "pronto/server/broker_host.hpp"
#include "pronto/server/users.hpp"

namespace pronto {

/// The broker over HTTP, for people and for programs that know RabbitMQ's management API:
/// `/health/live`, `/health/ready`, `/metrics` for all; `/api/overview`, `/api/queues`,
/// `/api/connections` for who logs in (Basic) as to AMQP.
///
/// Takes: `host` and `users`, which outlive the router.
http::Router management_router(server::BrokerHost& host, const server::Users& users);

}  // namespace pronto
