#pragma once

#include "pronto/base/assert.hpp"
#include "pronto/wire/frame.hpp"
#include "pronto/wire/methods.hpp"
#include "pronto/wire/properties.hpp"

namespace pronto::wire::fuzz {

// What must hold for any bytes. Shared by the fuzz targets and by the tests that replay the corpus;
// a violation ends the process.

/// What is decoded, encoded and decoded again is encoded to the same bytes.
inline void check_method(BytesView input) {
  const Result<Method, Fault> method = decode_method(input);
  if (!method) return PRONTO_ASSERT(method.error().reply_text().size() <= 255);
  const auto encoded = [](const Method& what) {
    Bytes out;
    std::visit([&](const auto& known) { append_method(out, known); }, what);
    return out;
  };
  const Bytes once = encoded(*method);
  const Result<Method, Fault> again = decode_method(once);
  PRONTO_ASSERT(again.has_value());
  PRONTO_ASSERT(encoded(*again) == once);
}

/// As for methods; and looking at properties finds what decoding them finds.
inline void check_content_header(BytesView input) {
  const Result<ContentHeaderView, Fault> view = parse_content_header(input);
  const Result<ContentHeader, Fault> header = decode_content_header(input);
  if (!view) return PRONTO_ASSERT(!header);
  const Result<PropertiesView, Fault> peeked = peek_properties(view->encoded_properties);
  PRONTO_ASSERT(peeked.has_value() == header.has_value());
  if (!header) return PRONTO_ASSERT(peeked.error() == header.error());
  const BasicProperties& properties = header->properties;
  PRONTO_ASSERT(peeked->delivery_mode == properties.delivery_mode);
  PRONTO_ASSERT(peeked->expiration.has_value() == properties.expiration.has_value());
  PRONTO_ASSERT(!peeked->expiration || *properties.expiration == *peeked->expiration);
  PRONTO_ASSERT(peeked->headers.has_value() == properties.headers.has_value());

  Bytes once;
  append_content_header(once, *header);
  const Result<ContentHeader, Fault> again = decode_content_header(once);
  PRONTO_ASSERT(again.has_value());
  Bytes twice;
  append_content_header(twice, *again);
  PRONTO_ASSERT(once == twice);
}

/// As for methods; and walking a table accepts what reading it accepts.
inline void check_table(BytesView input) {
  Reader walker{input};
  const BytesView walked = walker.skip_table();
  Reader reader{input};
  Table table;
  reader.read(table);
  PRONTO_ASSERT(walker.failed() == reader.failed());
  if (reader.failed()) return;
  PRONTO_ASSERT(walked.size() == input.size() - reader.bytes_left());
  PRONTO_ASSERT(fits_the_wire(table));

  Bytes once;
  Writer{once}.write(table);
  const Result<Table, Fault> again = decode_table(once);
  PRONTO_ASSERT(again.has_value());
  Bytes twice;
  Writer{twice}.write(*again);
  PRONTO_ASSERT(once == twice);
}

/// Frames lie inside the input and within the limit; no frame appears by taking bytes away.
inline void check_frames(BytesView input) {
  constexpr std::uint32_t frame_bytes_max = frame_bytes_min;
  (void)classify_greeting(input);
  BytesView rest = input;
  for (;;) {
    const auto frame = parse_frame(rest, frame_bytes_max);
    if (!frame || !*frame) return;
    PRONTO_ASSERT((*frame)->frame_bytes() <= frame_bytes_max);
    PRONTO_ASSERT((*frame)->frame_bytes() <= rest.size());
    const auto cut = parse_frame(rest.first((*frame)->frame_bytes() - 1), frame_bytes_max);
    PRONTO_ASSERT(cut.has_value() && !cut->has_value());
    if ((*frame)->type == FrameType::method) check_method((*frame)->payload);
    if ((*frame)->type == FrameType::header) check_content_header((*frame)->payload);
    rest = rest.subspan((*frame)->frame_bytes());
  }
}

}  // namespace pronto::wire::fuzz
