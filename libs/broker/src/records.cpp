#include "pronto/broker/records.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <type_traits>

#include "pronto/base/assert.hpp"
#include "pronto/wire/properties.hpp"
#include "pronto/wire/reader.hpp"
#include "pronto/wire/writer.hpp"

namespace pronto::broker {
namespace {

// Integers are little-endian here, unlike on the wire: no other program reads them.
template <class Number>
void put(Bytes& out, Number number) {
  const std::size_t at = out.size();
  out.resize(at + sizeof number);
  std::memcpy(out.data() + at, &number, sizeof number);
}

/// Seven bits an octet, the lowest first; the highest bit says that more follow.
void put_short(Bytes& out, std::uint64_t number) {
  for (; number >= 0x80; number >>= 7U) put(out, static_cast<std::uint8_t>(number | 0x80U));
  put(out, static_cast<std::uint8_t>(number));
}

void put_text(Bytes& out, std::string_view text) {
  put(out, static_cast<std::uint32_t>(text.size()));
  append(out, as_bytes(text));
}

void put_table(Bytes& out, const wire::Table& table) {
  wire::Writer writer{out};
  writer.write(table);
}

/// Reads what `put` wrote; once short, always failed.
class Source {
 public:
  explicit Source(BytesView bytes) : left_{bytes} {}

  template <class Number>
  Number take() {
    Number number{};
    if (left_.size() < sizeof number) {
      failed_ = true;
      left_ = {};
      return number;
    }
    std::memcpy(&number, left_.data(), sizeof number);
    left_ = left_.subspan(sizeof number);
    return number;
  }
  std::uint64_t take_short() {
    std::uint64_t number = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto octet = take<std::uint8_t>();
      number |= std::uint64_t{octet & 0x7FU} << shift;
      if (octet < 0x80) return number;
    }
    failed_ = true;
    return number;
  }
  bool has_failed() const { return failed_; }
  void fail() { failed_ = true; }
  bool flag() { return take<std::uint8_t>() != 0; }
  std::string text() { return to_string(bytes(take<std::uint32_t>())); }
  BytesView bytes(std::size_t size) {
    if (left_.size() < size) {
      failed_ = true;
      left_ = {};
      return {};
    }
    const BytesView taken = left_.first(size);
    left_ = left_.subspan(size);
    return taken;
  }
  wire::Table table() {
    // A field table begins with its length, big-endian.
    if (left_.size() < 4) {
      failed_ = true;
      return {};
    }
    std::uint32_t size = 0;
    for (std::size_t i = 0; i < 4; ++i) size = size << 8 | std::to_integer<std::uint32_t>(left_[i]);
    auto read = wire::decode_table(bytes(std::size_t{4} + size));
    if (!read) {
      failed_ = true;
      return {};
    }
    return std::move(*read);
  }
  BytesView rest() { return bytes(left_.size()); }
  bool is_done() const { return !failed_ && left_.empty(); }

 private:
  BytesView left_;
  bool failed_ = false;
};

void put_binding(Bytes& out, const BoundRecord& binding) {
  put_text(out, binding.virtual_host);
  put_text(out, binding.source);
  put_text(out, binding.destination);
  put(out, static_cast<std::uint8_t>(binding.to_queue));
  put_text(out, binding.routing_key);
  put_table(out, binding.arguments);
}

BoundRecord take_binding(Source& source) {
  BoundRecord binding;
  binding.virtual_host = source.text();
  binding.source = source.text();
  binding.destination = source.text();
  binding.to_queue = source.flag();
  binding.routing_key = source.text();
  binding.arguments = source.table();
  return binding;
}

/// A difference whose small values, of either sign, are short.
std::uint64_t zigzag(std::uint64_t difference) {
  return difference << 1U ^ (0 - (difference >> 63U));
}
std::uint64_t unzigzag(std::uint64_t number) {
  return number >> 1U ^ (0 - (number & 1U));
}

struct Put {
  Bytes& out;

  void operator()(const BodyRecord& record) const {
    const Content& content = *record.content;
    put_text(out, content.exchange);
    put_text(out, content.routing_key);
    put(out, static_cast<std::uint32_t>(content.properties.size()));
    append(out, content.properties);
  }
  void operator()(const EnqueueRecord& record) const {
    put(out, record.queue);
    put(out, record.sequence);
    put(out, record.bodies_back);
    put(out, record.body_bytes);
    put(out, record.priority);
    put(out, record.expires_at);
  }
  void operator()(const RemoveRecord& record) const {
    put(out, record.queue);
    put(out, record.first);
    put(out, record.last);
  }
  void operator()(const DeliveryCountRecord& record) const {
    put(out, record.queue);
    put(out, record.sequence);
    put(out, record.count);
  }
  void operator()(const QueueDeclaredRecord& record) const {
    put(out, record.queue);
    put_text(out, record.virtual_host);
    put_text(out, record.name);
    put(out, static_cast<std::uint8_t>(record.is_auto_delete));
    put_table(out, record.arguments);
  }
  void operator()(const QueueDeletedRecord& record) const { put(out, record.queue); }
  void operator()(const QueuePurgedRecord& record) const {
    put(out, record.queue);
    put(out, record.below);
    for (const std::uint64_t sequence : record.kept) put(out, sequence);
  }
  void operator()(const ExchangeDeclaredRecord& record) const {
    put_text(out, record.virtual_host);
    put_text(out, record.name);
    put_text(out, record.type);
    put(out, static_cast<std::uint8_t>(record.is_auto_delete));
    put(out, static_cast<std::uint8_t>(record.is_internal));
    put_table(out, record.arguments);
  }
  void operator()(const ExchangeDeletedRecord& record) const {
    put_text(out, record.virtual_host);
    put_text(out, record.name);
  }
  void operator()(const BoundRecord& record) const { put_binding(out, record); }
  void operator()(const UnboundRecord& record) const { put_binding(out, record.binding); }
  void operator()(const BrokerStateRecord& record) const { put(out, record.last_queue_id); }
  void operator()(const QueueStateRecord& record) const {
    put(out, record.queue);
    put(out, record.last_sequence);
  }
  void operator()(const DelayedExchangeRecord& record) const {
    put_text(out, record.virtual_host);
    put_text(out, record.exchange);
    put(out, record.queue);
  }
  void operator()(const DeduplicationRecord& record) const {
    put(out, record.queue);
    put_text(out, record.virtual_host);
    put_text(out, record.exchange);
    put_text(out, record.id);
    put(out, record.expires_at);
  }
  void operator()(const MovedRecord& record) const {
    put(out, record.queue);
    put(out, record.sequence);
    put(out, record.bodies_back);
  }
  void operator()(const QueuePageRecord& record) const {
    put(out, record.queue);
    put(out, record.priority);
    const bool expire = std::ranges::any_of(
        record.entries, [](const QueuePageRecord::Entry& one) { return one.expires_at != 0; });
    put(out, static_cast<std::uint8_t>(expire));
    // A backlog's entries follow one another in the queue and in the journal: differences are
    // short.
    std::uint64_t sequence = 0;
    std::uint64_t position = 0;
    for (const QueuePageRecord::Entry& one : record.entries) {
      const auto at = static_cast<std::uint64_t>(one.body.position);
      put_short(out, one.sequence - sequence);
      put_short(out, zigzag(at - position));
      put_short(out, one.body.bytes);
      if (expire) put_short(out, static_cast<std::uint64_t>(one.expires_at));
      sequence = one.sequence;
      position = at;
    }
  }
  void operator()(const IndexPageRecord& record) const { (*this)(record.page); }
  void operator()(const WrittenPage& page) const {
    put(out, page.queue);
    put(out, page.priority);
    put(out, page.first_sequence);
    put(out, page.last_sequence);
    put(out, page.count);
    put(out, page.body_bytes);
    put(out, page.all_expired_at);
    put(out, page.image.position);
    put(out, page.image.bytes);
    for (const SegmentUse& use : page.segments) {
      put(out, use.segment);
      put(out, use.entry_count);
      put(out, use.body_bytes);
    }
  }
  void operator()(const RemoveRunsRecord& record) const {
    std::uint64_t queue = 0;
    std::uint64_t sequence = 0;
    for (const RemoveRecord& run : record.runs) {
      const auto next = static_cast<std::uint64_t>(run.queue);
      if (next != queue) sequence = 0;
      PRONTO_ASSERT(next >= queue && run.first >= sequence && run.last >= run.first);
      put_short(out, next - queue);
      put_short(out, run.first - sequence);
      put_short(out, run.last - run.first);
      queue = next;
      sequence = run.last;
    }
  }
};

RemoveRunsRecord take_runs(Source& source) {
  RemoveRunsRecord record;
  std::uint64_t queue = 0;
  std::uint64_t sequence = 0;
  while (!source.is_done() && !source.has_failed()) {
    const std::uint64_t step = source.take_short();
    queue += step;
    if (step != 0) sequence = 0;
    const std::uint64_t first = sequence + source.take_short();
    const std::uint64_t last = first + source.take_short();
    const bool goes_on = queue >= step && first >= sequence && last >= first;
    if (!goes_on) source.fail();
    record.runs.push_back({QueueId{queue}, first, last});
    sequence = last;
  }
  return record;
}

WrittenPage take_written_page(Source& source) {
  WrittenPage page;
  page.queue = source.take<QueueId>();
  page.priority = source.take<std::uint8_t>();
  page.first_sequence = source.take<std::uint64_t>();
  page.last_sequence = source.take<std::uint64_t>();
  page.count = source.take<std::uint32_t>();
  page.body_bytes = source.take<std::uint64_t>();
  page.all_expired_at = source.take<std::int64_t>();
  page.image.position = source.take<BodyPosition>();
  page.image.bytes = source.take<std::uint32_t>();
  while (!source.is_done() && !source.has_failed()) {
    SegmentUse use;
    use.segment = source.take<std::uint32_t>();
    use.entry_count = source.take<std::uint64_t>();
    use.body_bytes = source.take<std::uint64_t>();
    page.segments.push_back(use);
  }
  return page;
}

QueuePageRecord take_page(Source& source) {
  QueuePageRecord page;
  page.queue = source.take<QueueId>();
  page.priority = source.take<std::uint8_t>();
  const bool expire = source.flag();
  std::uint64_t sequence = 0;
  std::uint64_t position = 0;
  while (!source.is_done() && !source.has_failed()) {
    sequence += source.take_short();
    position += unzigzag(source.take_short());
    const std::uint64_t bytes = source.take_short();
    const std::uint64_t expires_at = expire ? source.take_short() : 0;
    page.entries.push_back({sequence,
                            {BodyPosition{position}, static_cast<std::uint32_t>(bytes)},
                            static_cast<std::int64_t>(expires_at)});
  }
  return page;
}

ContentPtr take_content(Source& source) {
  auto content = std::make_shared<Content>();
  content->exchange = source.text();
  content->routing_key = source.text();
  const BytesView properties = source.bytes(source.take<std::uint32_t>());
  content->properties.assign(properties.begin(), properties.end());
  const BytesView body = source.rest();
  content->body.assign(body.begin(), body.end());
  return content;
}

}  // namespace

RecordType type_of(const Record& record) noexcept {
  return static_cast<RecordType>(record.index() + 1);
}
bool is_loose(const Record& record) noexcept {
  return std::holds_alternative<RemoveRunsRecord>(record) ||
         std::holds_alternative<DeliveryCountRecord>(record);
}

static_assert(std::is_same_v<std::variant_alternative_t<19, Record>, RemoveRunsRecord> &&
              static_cast<int>(RecordType::remove_runs) == 20);

void append_payload(Bytes& out, const Record& record) {
  std::visit(Put{out}, record);
}

BytesView trailing_bytes(const Record& record) noexcept {
  if (const auto* body = std::get_if<BodyRecord>(&record)) return body->content->body;
  return {};
}

Result<ContentPtr> decode_body(BytesView payload) {
  Source source{payload};
  ContentPtr content = take_content(source);
  if (!source.is_done()) return Error::malformed;
  return content;
}

Result<Record> decode_record(RecordType type, BytesView payload) {
  Source source{payload};
  Record record;
  switch (type) {
    case RecordType::body:
      record = BodyRecord{take_content(source)};
      break;
    case RecordType::enqueue: {
      EnqueueRecord enqueue;
      enqueue.queue = source.take<QueueId>();
      enqueue.sequence = source.take<std::uint64_t>();
      enqueue.bodies_back = source.take<std::uint32_t>();
      enqueue.body_bytes = source.take<std::uint32_t>();
      enqueue.priority = source.take<std::uint8_t>();
      enqueue.expires_at = source.take<std::int64_t>();
      record = enqueue;
      break;
    }
    case RecordType::remove: {
      RemoveRecord remove;
      remove.queue = source.take<QueueId>();
      remove.first = source.take<std::uint64_t>();
      remove.last = source.take<std::uint64_t>();
      if (remove.first > remove.last) return Error::malformed;
      record = remove;
      break;
    }
    case RecordType::delivery_count: {
      DeliveryCountRecord count;
      count.queue = source.take<QueueId>();
      count.sequence = source.take<std::uint64_t>();
      count.count = source.take<std::uint32_t>();
      record = count;
      break;
    }
    case RecordType::queue_declared: {
      QueueDeclaredRecord queue;
      queue.queue = source.take<QueueId>();
      queue.virtual_host = source.text();
      queue.name = source.text();
      queue.is_auto_delete = source.flag();
      queue.arguments = source.table();
      record = std::move(queue);
      break;
    }
    case RecordType::queue_deleted:
      record = QueueDeletedRecord{source.take<QueueId>()};
      break;
    case RecordType::queue_purged: {
      QueuePurgedRecord purged;
      purged.queue = source.take<QueueId>();
      purged.below = source.take<std::uint64_t>();
      const BytesView kept = source.rest();
      if (kept.size() % sizeof(std::uint64_t) != 0) return Error::malformed;
      purged.kept.resize(kept.size() / sizeof(std::uint64_t));
      if (!kept.empty()) std::memcpy(purged.kept.data(), kept.data(), kept.size());
      record = std::move(purged);
      break;
    }
    case RecordType::exchange_declared: {
      ExchangeDeclaredRecord exchange;
      exchange.virtual_host = source.text();
      exchange.name = source.text();
      exchange.type = source.text();
      exchange.is_auto_delete = source.flag();
      exchange.is_internal = source.flag();
      exchange.arguments = source.table();
      record = std::move(exchange);
      break;
    }
    case RecordType::exchange_deleted: {
      ExchangeDeletedRecord exchange;
      exchange.virtual_host = source.text();
      exchange.name = source.text();
      record = std::move(exchange);
      break;
    }
    case RecordType::bound:
      record = take_binding(source);
      break;
    case RecordType::unbound:
      record = UnboundRecord{take_binding(source)};
      break;
    case RecordType::broker_state:
      record = BrokerStateRecord{source.take<std::uint64_t>()};
      break;
    case RecordType::queue_state: {
      QueueStateRecord state;
      state.queue = source.take<QueueId>();
      state.last_sequence = source.take<std::uint64_t>();
      record = state;
      break;
    }
    case RecordType::queue_page:
      record = take_page(source);
      break;
    case RecordType::index_page:
      record = IndexPageRecord{take_page(source)};
      break;
    case RecordType::written_page:
      record = take_written_page(source);
      break;
    case RecordType::remove_runs:
      record = take_runs(source);
      if (payload.empty()) return Error::malformed;
      break;
    case RecordType::moved: {
      MovedRecord moved;
      moved.queue = source.take<QueueId>();
      moved.sequence = source.take<std::uint64_t>();
      moved.bodies_back = source.take<std::uint32_t>();
      record = moved;
      break;
    }
    case RecordType::deduplication: {
      DeduplicationRecord known;
      known.queue = source.take<QueueId>();
      known.virtual_host = source.text();
      known.exchange = source.text();
      known.id = source.text();
      known.expires_at = source.take<std::int64_t>();
      record = std::move(known);
      break;
    }
    case RecordType::delayed_exchange: {
      DelayedExchangeRecord delayed;
      delayed.virtual_host = source.text();
      delayed.exchange = source.text();
      delayed.queue = source.take<QueueId>();
      record = std::move(delayed);
      break;
    }
    default:
      return Error::malformed;
  }
  if (!source.is_done()) return Error::malformed;
  return record;
}

}  // namespace pronto::broker
