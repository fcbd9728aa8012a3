#pragma once

#include <boost/json/fwd.hpp>

#include "pronto/http/router.hpp"

namespace pizzeria {

/// The HTTP API with its callbacks. Source: OpenAPI 3.1.0.
boost::json::object openapi();
/// The messages between the services, made from their contracts. Source: AsyncAPI 3.0.0, AMQP
/// binding 0.3.0.
boost::json::object asyncapi();

/// `GET /openapi.json`, `GET /asyncapi.json`.
void add_description_routes(pronto::http::Router& router);

}  // namespace pizzeria
