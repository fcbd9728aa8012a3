#pragma once

#include <string_view>

namespace pronto::broker {

/// What a user wants to do with a queue or exchange. Source: RabbitMQ, access control.
enum class Access { configure, write, read };

/// The one place where permissions are asked.
class Permissions {
 public:
  Permissions() = default;
  Permissions(const Permissions&) = delete;
  Permissions& operator=(const Permissions&) = delete;
  virtual ~Permissions() = default;

  virtual bool is_allowed(std::string_view user, std::string_view virtual_host, Access access,
                          std::string_view resource) const = 0;
};

}  // namespace pronto::broker
