#include "queue.hpp"

#include <fmt/format.h>

namespace pronto::broker {

Queue::Queue(QueueId queue_id, std::string host, std::string queue_name,
             QueueArguments queue_arguments, wire::Table queue_table, Paging paging)
    : id{queue_id},
      virtual_host{std::move(host)},
      name{std::move(queue_name)},
      arguments{std::move(queue_arguments)},
      table{std::move(queue_table)},
      entries{arguments.priority_max, paging.page_entries_max, paging.page_bytes} {
  if (arguments.deduplication) window.emplace(*arguments.deduplication, paging.memory_bytes);
}

std::string Queue::subject() const {
  return fmt::format("queue '{}' in vhost '{}'", name, virtual_host);
}

}  // namespace pronto::broker
