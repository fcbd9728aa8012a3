#include "wire_message.hpp"

#include <algorithm>
#include <array>

#include "pronto/base/crypto.hpp"
#include "pronto/base/text.hpp"
#include "topology.hpp"

namespace pronto::detail {
namespace {

using wire::ShortString;
using wire::Table;

constexpr const char* id_header = "cloudEvents:id";
constexpr const char* type_header = "cloudEvents:type";
constexpr const char* source_header = "cloudEvents:source";
constexpr const char* time_header = "cloudEvents:time";
constexpr const char* key_header = "cloudEvents:partitionkey";
constexpr const char* trace_header = "traceparent";
constexpr const char* attempts_header = "pronto-attempts";
constexpr const char* error_header = "pronto-error";
constexpr const char* handler_header = "pronto-handler";
constexpr const char* queue_header = "pronto-queue";
constexpr const char* first_failed_header = "pronto-first-failed-at";
constexpr const char* failed_header = "pronto-failed-at";

constexpr std::size_t error_bytes_max = 1'000;
constexpr std::size_t shown_body_bytes_max = 64 * 1024;
constexpr std::uint8_t persistent = 2;

/// A text that fits where the protocol has 255 bytes; a longer one is named by its digest.
ShortString short_string(const std::string& text) {
  if (auto made = ShortString::make(text)) return *made;
  return ShortString{to_hex(sha256(as_bytes(text)))};
}

/// At most `bytes_max` bytes of `text`, never half a character.
std::string cut(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return std::string{text};
  std::size_t end = bytes_max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  return std::string{text.substr(0, end)};
}

const Table& headers_of(const client::Delivery& delivery) {
  static const Table none;
  return delivery.properties.headers ? *delivery.properties.headers : none;
}

std::string header(const client::Delivery& delivery, const char* name,
                   const std::optional<ShortString>& otherwise = std::nullopt) {
  if (const auto found = headers_of(delivery).find_string(name)) return std::string{*found};
  return otherwise ? otherwise->text() : std::string{};
}

WallTime time_header_of(const client::Delivery& delivery, const char* name) {
  return WallTime{milliseconds{headers_of(delivery).find_integer(name).value_or(0)}};
}

WallTime made_at(const client::Delivery& delivery) {
  if (const auto time = from_rfc3339(header(delivery, time_header))) return *time;
  const auto stamp = delivery.properties.timestamp;
  return WallTime{seconds{stamp ? static_cast<std::int64_t>(stamp->seconds) : 0}};
}

/// Wire name and version of "pizzeria.order-placed.v1".
std::pair<std::string, int> split_type(const std::string& type) {
  const auto dot = type.rfind(".v");
  if (dot != std::string::npos) {
    if (const auto version = parse_unsigned(std::string_view{type}.substr(dot + 2));
        version && *version <= 1'000'000) {
      return {type.substr(0, dot), static_cast<int>(*version)};
    }
  }
  return {type, 1};
}

/// The same content for another exchange, without what brokers have noted on it.
client::Message again(const client::Delivery& delivery) {
  client::Message message{.body = delivery.body, .properties = delivery.properties};
  message.properties.delivery_mode = persistent;
  message.properties.user_id.reset();  // ours may be another one, which brokers refuse
  message.properties.expiration.reset();
  if (!message.properties.headers) message.properties.headers.emplace();
  for (const char* name : {"x-death", "x-first-death-exchange", "x-first-death-queue",
                           "x-first-death-reason", "x-last-death-exchange", "x-last-death-queue",
                           "x-last-death-reason", "x-delivery-count", "CC", "BCC"}) {
    message.properties.headers->erase(name);
  }
  return message;
}

void note_failure(Table& headers, const FailureNote& note) {
  const std::int64_t at = millis_of(note.at);
  headers.set(attempts_header, std::int32_t{note.attempts});
  headers.set(error_header, cut(note.error, error_bytes_max));
  headers.set(handler_header, cut(note.handler, error_bytes_max));
  headers.set(queue_header, note.queue);
  headers.set(failed_header, at);
  if (headers.find(first_failed_header) == nullptr) headers.set(first_failed_header, at);
}

}  // namespace

client::Message to_client_message(const WireMessage& message) {
  Table headers{{"cloudEvents:specversion", "1.0"},
                {id_header, message.id},
                {type_header, message.type},
                {source_header, message.source},
                {time_header, to_rfc3339(message.time)}};
  if (!message.key.empty()) headers.append(key_header, message.key);
  if (!message.traceparent.empty()) headers.append(trace_header, message.traceparent);
  const auto since_1970 = std::chrono::duration_cast<seconds>(message.time.time_since_epoch());
  return {.exchange = message.type,
          .routing_key = message.routing_key,
          .body = to_bytes(message.body),
          .properties = {.content_type = "application/json",
                         .headers = std::move(headers),
                         .delivery_mode = persistent,
                         .message_id = short_string(message.id),
                         .timestamp = wire::Timestamp{static_cast<std::uint64_t>(
                             std::max<std::int64_t>(0, since_1970.count()))},
                         .type = short_string(message.type),
                         .app_id = short_string(message.source)}};
}

std::string read_type(const client::Delivery& delivery) {
  return header(delivery, type_header, delivery.properties.type);
}

Envelope read_envelope(const client::Delivery& delivery, std::string queue, Random& random) {
  auto [type, version] = split_type(read_type(delivery));
  Envelope envelope{.id = header(delivery, id_header, delivery.properties.message_id),
                    .type = std::move(type),
                    .version = version,
                    .source = header(delivery, source_header, delivery.properties.app_id),
                    .time = made_at(delivery),
                    .key = header(delivery, key_header),
                    .traceparent = header(delivery, trace_header),
                    .queue = std::move(queue),
                    .attempt = read_attempts(delivery) + 1,
                    .redelivered = delivery.redelivered};
  if (envelope.id.empty()) envelope.id = random.url_safe_id();
  return envelope;
}

int read_attempts(const client::Delivery& delivery) {
  const auto count = headers_of(delivery).find_integer(attempts_header).value_or(0);
  return static_cast<int>(std::clamp<std::int64_t>(count, 0, 1'000'000));
}

std::int64_t read_delivery_count(const client::Delivery& delivery) {
  return headers_of(delivery).find_integer("x-delivery-count").value_or(0);
}

client::Message make_retry(const client::Delivery& delivery, const FailureNote& note,
                           milliseconds delay) {
  client::Message message = again(delivery);
  note_failure(*message.properties.headers, note);
  message.exchange = delay_name(delay);
  message.routing_key = note.queue;
  return message;
}

client::Message make_dead(const client::Delivery& delivery, const FailureNote& note) {
  client::Message message = again(delivery);
  note_failure(*message.properties.headers, note);
  message.routing_key = DeadLetters::queue_of(note.queue);
  return message;
}

client::Message make_redriven(const client::Delivery& dead, const std::string& queue) {
  client::Message message = again(dead);
  for (const char* name : {attempts_header, error_header, handler_header, queue_header,
                           first_failed_header, failed_header}) {
    message.properties.headers->erase(name);
  }
  message.routing_key = queue;
  return message;
}

DeadLetter read_dead_letter(const client::Delivery& delivery, const std::string& queue) {
  auto [type, version] = split_type(read_type(delivery));
  DeadLetter letter{.id = header(delivery, id_header, delivery.properties.message_id),
                    .type = std::move(type),
                    .version = version,
                    .queue = queue,
                    .key = header(delivery, key_header),
                    .handler = header(delivery, handler_header),
                    .error = header(delivery, error_header),
                    .attempts = read_attempts(delivery),
                    .made_at = made_at(delivery),
                    .first_failed_at = time_header_of(delivery, first_failed_header),
                    .dead_at = time_header_of(delivery, failed_header),
                    .traceparent = header(delivery, trace_header),
                    .body = cut(as_text(delivery.body), shown_body_bytes_max)};
  // A foreign letter without an id must still be told from others.
  if (letter.id.empty()) letter.id = to_hex(sha256(delivery.body));
  return letter;
}

}  // namespace pronto::detail
