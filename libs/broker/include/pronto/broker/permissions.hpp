#pragma once

#include <string_view>

namespace pronto::broker {

/// What a user wants to do with a queue or exchange. Source: RabbitMQ, access control.
enum class Access { configure, write, read };

/// The one place where permissions are asked, anew for each command. Runs on: the engine's thread.
class Permissions {
 public:
  Permissions() = default;
  Permissions(const Permissions&) = delete;
  Permissions& operator=(const Permissions&) = delete;
  virtual ~Permissions() = default;

  /// Takes: `resource`, a queue's or exchange's name; the default exchange's is "amq.default".
  virtual bool is_allowed(std::string_view user, std::string_view virtual_host, Access access,
                          std::string_view resource) const = 0;
};

/// Whoever is let in may do everything.
class AllAllowed final : public Permissions {
 public:
  bool is_allowed(std::string_view, std::string_view, Access, std::string_view) const override {
    return true;
  }
};

/// For brokers that ask nobody; lives for ever.
inline const Permissions& all_allowed() {
  static const AllAllowed all;
  return all;
}

}  // namespace pronto::broker
