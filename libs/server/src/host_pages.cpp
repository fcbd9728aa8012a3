#include "host_inside.hpp"
#include "pronto/base/log.hpp"
#include "pronto/journal/inspect.hpp"

namespace pronto::server {
namespace {

void tell_unreadable(const broker::PageRef& page, std::error_code error) {
  log::error("a page of a queue cannot be read: its messages are set aside until a restart",
             {{"position", static_cast<std::uint64_t>(page.position)}, {"error", error}});
}

}  // namespace

/// A page is a unit of its own, for which nobody waits: it says nothing new.
std::optional<broker::PageRef> BrokerHost::Inside::write_page(broker::QueuePageRecord page) {
  const broker::Record record = broker::IndexPageRecord{std::move(page)};
  Bytes payload;
  broker::append_payload(payload, record);
  if (!may_copy(payload.size())) return std::nullopt;
  const journal::Record written{.type = static_cast<journal::RecordType>(broker::type_of(record)),
                                .parts = {BytesView{payload}, BytesView{}}};
  const auto appended = log_->append({&written, 1}, journal::Need::space, journal::Urgency::later);
  if (!appended) {
    if (appended.error() != std::errc::no_space_on_device) fail(appended.error());
    return std::nullopt;
  }
  note_appended(appended->sequence, payload.size());
  for (const auto& entry : std::get<broker::IndexPageRecord>(record).page.entries) {
    store_.release(entry.body.position);
  }
  return broker::PageRef{
      broker::BodyPosition{static_cast<std::uint64_t>(appended->positions.front())},
      static_cast<std::uint32_t>(payload.size())};
}

void BrokerHost::Inside::fetch_page(const broker::PageRef& page, broker::FetchTicket ticket) {
  if (!reader_) {
    loop.post([alive = alive_, page, ticket] {
      if (alive->host) alive->host->on_page(page, ticket, alive->host->load_page(page));
    });
    return;
  }
  // The reader ends before the host does.
  reader_->post([this, alive = alive_, page, ticket] {
    loop.post([alive, page, ticket, read = load_page(page)] {
      if (alive->host) alive->host->on_page(page, ticket, read);
    });
  });
}

Result<broker::QueuePageRecord> BrokerHost::Inside::load_page(const broker::PageRef& page) {
  const journal::Position at{static_cast<std::uint64_t>(page.position)};
  const auto payload = replayed_ ? journal::read_record(*replayed_, at) : log_->read(at);
  if (!payload) return payload.error();
  auto record = broker::decode_record(broker::RecordType::index_page, *payload);
  if (!record) return record.error();
  return std::move(std::get<broker::IndexPageRecord>(*record).page);
}

Result<broker::QueuePageRecord> BrokerHost::Inside::read_page(const broker::PageRef& page) {
  auto read = load_page(page);
  if (!read) tell_unreadable(page, read.error());
  return read;
}

void BrokerHost::Inside::on_page(const broker::PageRef& page, broker::FetchTicket ticket,
                                 const Result<broker::QueuePageRecord>& read) {
  const bool is_lost =
      engine_.on_page(ticket, read ? std::optional{*read} : std::nullopt, loop.wall_now());
  if (is_lost) tell_unreadable(page, read ? make_error_code(Error::damaged) : read.error());
  clean();
  settle_all();
  touch();
}

void BrokerHost::Inside::release_page(const broker::PageRef& page, bool) {
  released_since_.insert(
      static_cast<std::uint32_t>(static_cast<std::uint64_t>(page.position) >> 32U));
}

}  // namespace pronto::server
