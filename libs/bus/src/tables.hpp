#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pronto/bus/database.hpp"
#include "wire_message.hpp"

namespace pronto::detail {

/// A row of the outbox.
struct OutboxRow {
  std::int64_t position = 0;
  std::string instance;
  WireMessage message;

  /// Rows of one lane leave in their order; empty: no order is asked for.
  std::string lane() const { return message.key.empty() ? "" : message.type + '\n' + message.key; }
};

/// The bus's own tables. Each function is one statement or few; errors as `Transaction::execute`.
/// Source: docs/formats/bus-tables.md.
class Tables {
 public:
  explicit Tables(std::string instance) : instance_{std::move(instance)} {}

  static Task<> migrate(Database& database);

  /// Notes that `queue` handles `message_id`. Returns: false when it has before.
  static Task<bool> add_to_inbox(Transaction& transaction, std::string queue,
                                 std::string message_id, WallTime now);
  /// Forgets up to `count_max` notes made before `until`. Returns: how many.
  static Task<std::int64_t> expire_inbox(Transaction& transaction, WallTime until, int count_max);

  Task<> add_to_outbox(Transaction& transaction, const std::vector<WireMessage>& messages) const;
  /// Rows behind `position`, oldest first: this instance's, and those of others made before
  /// `adopt_until`.
  Task<std::vector<OutboxRow>> read_outbox(Database& database, std::int64_t position,
                                           WallTime adopt_until, std::size_t count_max) const;
  Task<std::int64_t> count_outbox(Database& database) const;
  /// Deletes the rows at `positions`, which are sorted.
  static Task<> delete_from_outbox(Transaction& transaction, std::vector<std::int64_t> positions);

 private:
  std::string instance_;
};

}  // namespace pronto::detail
