#include "message_parser.hpp"

#include <algorithm>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>

#include "chunk_decoder.hpp"
#include "pronto/base/assert.hpp"
#include "pronto/base/text.hpp"

namespace pronto::http {
namespace {

namespace beast = boost::beast::http;
using BeastRequest = beast::request_parser<beast::empty_body>;
using BeastResponse = beast::response_parser<beast::empty_body>;

constexpr std::size_t method_bytes_max = 32;

bool is_token_character(char c) {
  constexpr std::string_view others = "!#$%&'*+-.^_`|~";
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         others.contains(c);
}
bool is_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, is_token_character);
}
bool is_value_character(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte >= 0x20 && byte != 0x7F) || byte == '\t';
}
bool is_host(std::string_view text) {
  constexpr std::string_view others = "-._~!$&'()*+,;=:[]%";
  return std::ranges::all_of(text, [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           others.contains(c);
  });
}

Problem refusal(int status, std::string detail) {
  Problem problem;
  problem.status = status;
  problem.detail = std::move(detail);
  return problem;
}

/// Finds the end of a head as it grows; a bare CR or LF or another control ends it in a refusal.
class HeadScanner {
 public:
  /// Returns: the count of bytes of the whole head, or nothing as yet.
  Result<std::optional<std::size_t>, Problem> scan(std::string_view inbox) {
    for (; position_ < inbox.size(); ++position_) {
      const char c = inbox[position_];
      if (after_return_ != (c == '\n')) {
        return refusal(400, "A line of the head ends in a bare carriage return or line feed.");
      }
      if (c == '\n') {
        after_return_ = false;
        if (line_bytes_ == 0) return std::optional{position_ + 1};
        line_bytes_ = 0;
      } else if (c == '\r') {
        after_return_ = true;
      } else if (!is_value_character(c)) {
        return refusal(400, "The head has a control character in it.");
      } else {
        ++line_bytes_;
      }
    }
    return std::optional<std::size_t>{};
  }
  std::size_t position() const noexcept { return position_; }

 private:
  std::size_t position_ = 0;
  std::size_t line_bytes_ = 0;
  bool after_return_ = false;
};

Result<void, Problem> check_request_line(std::string_view line, const ServerLimits& limits) {
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == line.npos || first == last) {
    return refusal(400, "The request line is not METHOD TARGET HTTP/1.1.");
  }
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (!is_token(method) || method.size() > method_bytes_max) {
    return refusal(400, "The method is not a token of at most 32 characters.");
  }
  if (target.empty() || !std::ranges::all_of(target, [](char c) { return c > 0x20 && c < 0x7F; })) {
    return refusal(400, "The target has characters that must be escaped.");
  }
  if (target.size() > limits.target_bytes_max) {
    return refusal(
        414, "The target is longer than " + std::to_string(limits.target_bytes_max) + " bytes.");
  }
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    if (version.starts_with("HTTP/")) return refusal(505, "HTTP/1.1 is spoken here.");
    return refusal(400, "The request line is not METHOD TARGET HTTP/1.1.");
  }
  return {};
}

/// What must be known of the fields that decide where the message ends.
struct Framing {
  std::size_t hosts = 0;
  std::size_t lengths = 0;
  std::size_t codings = 0;
  std::string_view coding;
  std::string_view length;
};

Result<void, Problem> check_field(std::string_view line, Framing& framing) {
  if (line.front() == ' ' || line.front() == '\t') {
    return refusal(400, "A field is folded over two lines.");
  }
  const std::size_t colon = line.find(':');
  if (colon == line.npos || !is_token(line.substr(0, colon))) {
    return refusal(400, "A line of the head is not NAME: VALUE.");
  }
  const std::string_view name = line.substr(0, colon);
  const std::string_view value = trim(line.substr(colon + 1));
  if (equal_ignoring_case(name, "host")) {
    ++framing.hosts;
    if (!is_host(value)) return refusal(400, "The Host field is not a host.");
  } else if (equal_ignoring_case(name, "content-length")) {
    ++framing.lengths;
    framing.length = value;
  } else if (equal_ignoring_case(name, "transfer-encoding")) {
    ++framing.codings;
    framing.coding = value;
  }
  return {};
}

Result<void, Problem> check_framing(const Framing& framing, bool is_http_1_0,
                                    const ServerLimits& limits) {
  if (framing.hosts > 1 || (framing.hosts == 0 && !is_http_1_0)) {
    return refusal(400, "There must be exactly one Host field.");
  }
  if (framing.lengths > 0 && framing.codings > 0) {
    return refusal(400, "Content-Length and Transfer-Encoding exclude each other.");
  }
  if (framing.lengths > 1 || framing.codings > 1) {
    return refusal(400, "There is more than one Content-Length or Transfer-Encoding.");
  }
  if (framing.codings == 1) {
    if (is_http_1_0) return refusal(400, "HTTP/1.0 has no Transfer-Encoding.");
    if (!equal_ignoring_case(framing.coding, "chunked")) {
      return refusal(501, "The only Transfer-Encoding understood here is chunked.");
    }
  }
  if (framing.lengths == 1) {
    const bool is_number =
        !framing.length.empty() &&
        std::ranges::all_of(framing.length, [](char c) { return c >= '0' && c <= '9'; });
    if (!is_number) return refusal(400, "Content-Length is not a decimal number.");
    const auto length = parse_unsigned(framing.length);
    if (!length || *length > limits.body_bytes_max) {
      return refusal(
          413, "The body is larger than " + std::to_string(limits.body_bytes_max) + " bytes.");
    }
  }
  return {};
}

/// `head` ends in an empty line, and each of its lines in CR LF.
Result<void, Problem> check_head(std::string_view head, const ServerLimits& limits) {
  head.remove_suffix(2);
  std::size_t end = head.find("\r\n");
  const std::string_view request_line = head.substr(0, end);
  auto checked = check_request_line(request_line, limits);
  if (!checked) return checked;
  head.remove_prefix(end + 2);
  Framing framing;
  for (std::size_t count = 1; !head.empty(); ++count) {
    if (count > limits.fields_max) {
      return refusal(431, "There are more than " + std::to_string(limits.fields_max) + " fields.");
    }
    end = head.find("\r\n");
    checked = check_field(head.substr(0, end), framing);
    if (!checked) return checked;
    head.remove_prefix(end + 2);
  }
  return check_framing(framing, request_line.ends_with("1.0"), limits);
}

/// Splits the target into path and query. Errors: a form that is not for this server.
Result<void, Problem> read_target(Request& request) {
  std::string_view target = request.target;
  if (target.starts_with("http://") || target.starts_with("https://")) {
    const std::size_t slash = target.find_first_of("/?", target.find("://") + 3);
    target = slash == target.npos ? "/" : target.substr(slash);
  } else if (target == "*" && request.method == "OPTIONS") {
    request.path = "*";
    return {};
  } else if (!target.starts_with('/')) {
    return refusal(400, "The target is not a path.");
  }
  target = target.substr(0, target.find('#'));
  const std::size_t question = target.find('?');
  request.path = target.substr(0, question);
  if (request.path.empty()) request.path = "/";
  if (question == target.npos) return {};
  auto query = Fields::parse(target.substr(question + 1));
  if (!query) return refusal(400, "The query has a broken escape or too many fields.");
  request.query = std::move(*query);
  return {};
}

}  // namespace

struct RequestParser::Inside {
  explicit Inside(const ServerLimits& limits_) : limits{limits_}, chunks{limits_.body_bytes_max} {
    parser.header_limit(static_cast<std::uint32_t>(limits.head_bytes_max + 4));
    parser.body_limit(boost::none);  // bodies are read here, heads by Beast
    parser.eager(false);
  }

  Result<std::size_t, Problem> put_head(std::string_view inbox);
  Result<std::size_t, Problem> put_body(std::string_view inbox);

  ServerLimits limits;
  HeadScanner scanner;
  BeastRequest parser;
  Request request;
  ChunkDecoder chunks;
  std::size_t body_bytes_left = 0;
  bool is_done = false;
};

Result<std::size_t, Problem> RequestParser::Inside::put_head(std::string_view inbox) {
  // Empty lines before a request line are passed over, as RFC 9112 section 2.2 asks.
  if (scanner.position() == 0) {
    if (inbox.starts_with("\r\n")) return std::size_t{2};
    if (inbox == "\r") return std::size_t{0};
  }
  const auto head_bytes = scanner.scan(inbox.substr(0, limits.head_bytes_max + 1));
  if (!head_bytes) return head_bytes.error();
  if ((*head_bytes && **head_bytes > limits.head_bytes_max) ||
      (!*head_bytes && inbox.size() > limits.head_bytes_max)) {
    const bool is_in_first_line = !inbox.substr(0, limits.head_bytes_max).contains('\n');
    if (is_in_first_line) return refusal(414, "The target is too long.");
    return refusal(431,
                   "The head is larger than " + std::to_string(limits.head_bytes_max) + " bytes.");
  }
  if (!*head_bytes) return std::size_t{0};
  const std::string_view head = inbox.substr(0, **head_bytes);
  auto checked = check_head(head, limits);
  if (!checked) return checked.error();

  boost::system::error_code ec;
  const std::size_t used = parser.put(boost::asio::const_buffer{head.data(), head.size()}, ec);
  if (ec || !parser.is_header_done() || used != head.size()) {
    return refusal(400, "The head does not parse: " + ec.message() + '.');
  }
  for (const auto& field : parser.get()) {
    request.headers.add(std::string_view{field.name_string().data(), field.name_string().size()},
                        std::string_view{field.value().data(), field.value().size()});
  }
  const auto method = parser.get().method_string();
  request.method.assign(method.data(), method.size());
  const auto target = parser.get().target();
  request.target.assign(target.data(), target.size());
  checked = read_target(request);
  if (!checked) return checked.error();
  if (!parser.chunked()) {
    body_bytes_left = static_cast<std::size_t>(parser.content_length().value_or(0));
    is_done = body_bytes_left == 0;
  }
  return used;
}

Result<std::size_t, Problem> RequestParser::Inside::put_body(std::string_view inbox) {
  if (parser.chunked()) {
    const auto used = chunks.put(inbox, request.body);
    if (used) {
      is_done = chunks.is_done();
      return *used;
    }
    if (used.error() == make_error_code(Error::too_large)) {
      return refusal(413, "The body is larger than " + std::to_string(limits.body_bytes_max) +
                              " bytes, or its chunks are too small.");
    }
    return refusal(400, "The body's chunks do not parse.");
  }
  const std::size_t count = std::min(body_bytes_left, inbox.size());
  request.body += inbox.substr(0, count);
  body_bytes_left -= count;
  is_done = body_bytes_left == 0;
  return count;
}

RequestParser::RequestParser(const ServerLimits& limits)
    : inside_{std::make_unique<Inside>(limits)} {}
RequestParser::RequestParser(RequestParser&&) noexcept = default;
RequestParser& RequestParser::operator=(RequestParser&&) noexcept = default;
RequestParser::~RequestParser() = default;

Result<std::size_t, Problem> RequestParser::put(std::string_view inbox) {
  return has_head() ? inside_->put_body(inbox) : inside_->put_head(inbox);
}
bool RequestParser::has_head() const noexcept {
  return inside_->parser.is_header_done();
}
bool RequestParser::is_done() const noexcept {
  return inside_->is_done;
}
bool RequestParser::expects_continue() const noexcept {
  return inside_->request.headers.has_token("expect", "100-continue");
}
bool RequestParser::is_keep_alive() const noexcept {
  return inside_->parser.is_header_done() && inside_->parser.keep_alive();
}
bool RequestParser::is_http_1_0() const noexcept {
  return inside_->parser.is_header_done() && inside_->parser.get().version() == 10;
}
Request RequestParser::take() {
  PRONTO_ASSERT(is_done());
  return std::move(inside_->request);
}

struct ResponseParser::Inside {
  Inside(std::size_t head_max, std::optional<std::size_t> body_max)
      : head_bytes_max{head_max}, body_bytes_max{body_max}, chunks{body_max} {
    parser.header_limit(static_cast<std::uint32_t>(head_max));
    parser.body_limit(boost::none);
    parser.eager(false);
  }

  Result<std::size_t> put_head(std::string_view inbox);
  Result<std::size_t> put_body(std::string_view inbox);

  std::size_t head_bytes_max;
  std::optional<std::size_t> body_bytes_max;
  BeastResponse parser;
  ChunkDecoder chunks;
  std::string body;
  std::size_t body_bytes = 0;
  bool is_done = false;
};

Result<std::size_t> ResponseParser::Inside::put_head(std::string_view inbox) {
  // Beast wants a head in one piece to look at it once only.
  const std::size_t end = inbox.find("\r\n\r\n");
  if (end == inbox.npos ? inbox.size() > head_bytes_max : end + 4 > head_bytes_max) {
    return Error::too_large;
  }
  if (end == inbox.npos) return std::size_t{0};
  boost::system::error_code ec;
  const std::size_t used = parser.put(boost::asio::const_buffer{inbox.data(), end + 4}, ec);
  if (ec || !parser.is_header_done() || used != end + 4) return Error::malformed;
  // "100 Continue" and its like are not asked for, and not expected.
  if (parser.get().result_int() < 200) return Error::malformed;
  if (parser.chunked()) {
    is_done = parser.is_done();
  } else if (const auto length = parser.content_length(); length && !parser.need_eof()) {
    if (body_bytes_max && *length > *body_bytes_max && !parser.is_done()) return Error::too_large;
    is_done = parser.is_done() || *length == 0;
  } else {
    is_done = parser.is_done();
  }
  return used;
}

Result<std::size_t> ResponseParser::Inside::put_body(std::string_view inbox) {
  if (is_done) return std::size_t{0};
  if (parser.chunked()) {
    const auto used = chunks.put(inbox, body);
    if (used) is_done = chunks.is_done();
    return used;
  }
  const auto length = parser.content_length();
  std::size_t count = inbox.size();
  if (length) count = std::min(count, static_cast<std::size_t>(*length) - body_bytes);
  body += inbox.substr(0, count);
  body_bytes += count;
  if (body_bytes_max && body_bytes > *body_bytes_max) return Error::too_large;
  is_done = length && body_bytes == *length;
  return count;
}

ResponseParser::ResponseParser(std::size_t head_bytes_max,
                               std::optional<std::size_t> body_bytes_max, bool is_answer_to_head)
    : inside_{std::make_unique<Inside>(head_bytes_max, body_bytes_max)} {
  inside_->parser.skip(is_answer_to_head);
}
ResponseParser::ResponseParser(ResponseParser&&) noexcept = default;
ResponseParser& ResponseParser::operator=(ResponseParser&&) noexcept = default;
ResponseParser::~ResponseParser() = default;

Result<std::size_t> ResponseParser::put(std::string_view inbox) {
  return has_head() ? inside_->put_body(inbox) : inside_->put_head(inbox);
}

Result<void> ResponseParser::put_end() {
  if (is_done()) return {};
  if (!has_head() || !inside_->parser.need_eof()) return Error::end_of_stream;
  inside_->is_done = true;
  return {};
}
bool ResponseParser::has_head() const noexcept {
  return inside_->parser.is_header_done();
}
bool ResponseParser::is_done() const noexcept {
  return inside_->is_done;
}
int ResponseParser::status() const {
  return static_cast<int>(inside_->parser.get().result_int());
}
Headers ResponseParser::headers() const {
  Headers headers;
  for (const auto& field : inside_->parser.get()) {
    headers.add(std::string_view{field.name_string().data(), field.name_string().size()},
                std::string_view{field.value().data(), field.value().size()});
  }
  return headers;
}
std::string ResponseParser::take_body() {
  return std::exchange(inside_->body, {});
}

}  // namespace pronto::http
