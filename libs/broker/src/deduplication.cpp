#include "deduplication.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "pronto/base/assert.hpp"
#include "pronto/base/bytes.hpp"
#include "pronto/base/crypto.hpp"
#include "queue_arguments.hpp"

namespace pronto::broker {

namespace {

constexpr std::size_t id_bytes_max = 255;  // a longer one is known by its digest
constexpr std::int64_t count_max_max = 10'000'000;
constexpr std::size_t entry_bytes = 128;  // about what an id costs beside its own octets

std::string id_from(char type, std::string_view text) {
  std::string id{type};
  if (text.size() < id_bytes_max) return id.append(text);
  const Digest digest = sha256(as_bytes(text));
  return id.append("#").append(to_string(digest));
}

/// What a header calls the message.
std::optional<std::string> id_in(const wire::Table* headers, const std::string& header) {
  const wire::Value* value = headers ? headers->find(header) : nullptr;
  if (!value) return std::nullopt;
  if (const auto* text = value->get_if<wire::LongString>()) return id_from('t', *text);
  if (const auto* octets = value->get_if<Bytes>()) return id_from('o', to_string(*octets));
  if (const auto number = value->integer()) return id_from('i', std::to_string(*number));
  return std::nullopt;
}

}  // namespace

Result<std::optional<DeduplicationArguments>, wire::Fault> parse_deduplication(
    const wire::Table& table, const std::string& subject, bool is_on) {
  using Parsed = std::optional<DeduplicationArguments>;
  if (const wire::Value* value = table.find("x-message-deduplication")) {
    const bool* flag = value->get_if<bool>();
    if (!flag) {
      return invalid_argument("x-message-deduplication", subject,
                              fmt::format("{{unacceptable_type,{}}}", value->type_name()));
    }
    is_on = is_on || *flag;
  }
  if (!is_on) return Parsed{};
  DeduplicationArguments arguments;
  const auto size = read_number(table, "x-cache-size", {1, count_max_max}, subject);
  if (!size) return size.error();
  if (*size) arguments.count_max = static_cast<std::size_t>(**size);
  const auto ttl = read_number(table, "x-cache-ttl", {1, milliseconds_max}, subject);
  if (!ttl) return ttl.error();
  arguments.ttl_ms = *ttl;
  auto header = read_text(table, "x-deduplication-header", subject);
  if (!header) return header.error();
  if (*header) arguments.header = std::move(**header);
  return Parsed{std::move(arguments)};
}

DeduplicationWindow::DeduplicationWindow(DeduplicationArguments arguments,
                                         std::uint64_t& memory_bytes)
    : arguments_{std::move(arguments)}, memory_bytes_{memory_bytes} {}

DeduplicationWindow::~DeduplicationWindow() {
  memory_bytes_ -= counted_bytes_;
}

const std::optional<std::string>& MessageNames::by(const std::string& header) {
  const auto found = std::ranges::find(known_, header, [](const auto& one) { return one.first; });
  if (found != known_.end()) return found->second;
  return known_.emplace_back(header, id_in(headers_, header)).second;
}

std::int64_t DeduplicationWindow::expires_at(const wire::Table& headers, std::int64_t now) const {
  const auto own = headers.find_integer("x-cache-ttl");
  if (own && *own > 0) return now + std::min(*own, milliseconds_max);
  return arguments_.ttl_ms ? now + *arguments_.ttl_ms : 0;
}

bool DeduplicationWindow::has(const std::string& id, std::int64_t now, bool is_persistent) const {
  const auto found = known_.find(id);
  if (found == known_.end()) return false;
  if (is_persistent && !found->second.is_persistent) return false;
  return found->second.expires_at == 0 || found->second.expires_at > now;
}

void DeduplicationWindow::add(std::string id, std::int64_t expires_at, bool is_persistent,
                              bool is_journaled) {
  const std::size_t bytes = id.size();
  const auto [place, is_new] = known_.try_emplace(std::move(id));
  if (is_new) id_bytes_ += bytes;
  place->second = {++last_number_, expires_at, is_persistent, is_journaled};
  arrivals_.push_back({last_number_, &*place});
  while (known_.size() > arguments_.count_max) forget_oldest();
  // Of ids that came again after they had expired, older arrivals are left behind.
  if (arrivals_.size() > 2 * known_.size() + 64) {
    std::erase_if(arrivals_,
                  [](const Arrival& one) { return one.known->second.number != one.number; });
  }
  count_memory();
}

void DeduplicationWindow::forget_oldest() {
  PRONTO_ASSERT(!arrivals_.empty());
  const Arrival oldest = arrivals_.front();
  arrivals_.pop_front();
  if (oldest.known->second.number != oldest.number) return;
  id_bytes_ -= oldest.known->first.size();
  known_.erase(known_.find(oldest.known->first));
}

void DeduplicationWindow::count_memory() {
  const std::uint64_t bytes = known_.size() * entry_bytes + id_bytes_;
  memory_bytes_ += bytes - counted_bytes_;
  counted_bytes_ = bytes;
}

}  // namespace pronto::broker
