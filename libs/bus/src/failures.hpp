#pragma once

#include "pronto/bus/failure.hpp"
#include "pronto/client/failure.hpp"

namespace pronto::detail {

/// What the client says, in the bus's words.
BusFailure to_bus_failure(const client::Failure& failure);

}  // namespace pronto::detail
