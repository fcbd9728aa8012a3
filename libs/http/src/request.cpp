#include "pronto/http/request.hpp"

#include <algorithm>
#include <boost/json/stream_parser.hpp>
#include <boost/json/value.hpp>

#include "pronto/base/assert.hpp"
#include "pronto/base/text.hpp"

namespace pronto::http {
namespace {

constexpr std::size_t json_depth_max = 32;
constexpr std::size_t form_fields_max = 1'000;

/// "Text/HTML; charset=x" gives "text/html".
std::string media_type_of(std::string_view content_type) {
  return to_lower(trim(content_type.substr(0, content_type.find(';'))));
}

/// One member of a list with weights: `text/html;level=1;q=0.5`.
struct Weighted {
  std::string value;
  double weight = 1;
};

std::vector<Weighted> parse_weighted(const std::string& list) {
  std::vector<Weighted> members;
  for (const std::string_view member : split(list, ',')) {
    const auto parts = split(member, ';');
    Weighted one{to_lower(trim(parts.front())), 1};
    if (one.value.empty()) continue;
    for (std::size_t i = 1; i < parts.size(); ++i) {
      const std::string parameter = to_lower(trim(parts[i]));
      if (!parameter.starts_with("q=")) continue;
      one.weight = std::clamp(parse_double(parameter.substr(2)).value_or(0), 0.0, 1.0);
    }
    members.push_back(std::move(one));
  }
  return members;
}

/// How well `range` ("text/*") fits `type`: 0 not at all, 3 exactly.
int fit(std::string_view range, std::string_view type) {
  if (range == type) return 3;
  if (range == "*/*") return 1;
  const bool is_family =
      range.ends_with("/*") && type.starts_with(range.substr(0, range.size() - 1));
  return is_family ? 2 : 0;
}

std::string_view opaque(std::string_view etag) {
  return etag.starts_with("W/") ? etag.substr(2) : etag;
}

Problem unsupported(std::string detail) {
  Problem problem;
  problem.status = 415;
  problem.detail = std::move(detail);
  return problem;
}

}  // namespace

std::optional<Fields> Fields::parse(std::string_view text) {
  Fields fields;
  if (text.empty()) return fields;
  for (const std::string_view pair : split(text, '&')) {
    if (pair.empty()) continue;
    if (fields.fields_.size() >= form_fields_max) return std::nullopt;
    const std::size_t equals = pair.find('=');
    auto name = percent_decode(pair.substr(0, equals), true);
    auto value = percent_decode(equals == pair.npos ? "" : pair.substr(equals + 1), true);
    if (!name || !value) return std::nullopt;
    fields.fields_.emplace_back(std::move(*name), std::move(*value));
  }
  return fields;
}

std::optional<std::string> Fields::find(std::string_view name) const {
  for (const auto& [known, value] : fields_) {
    if (known == name) return value;
  }
  return std::nullopt;
}

const std::string& Request::parameter(std::string_view name) const {
  const auto found = parameters.find(name);
  PRONTO_ASSERT(found != parameters.end());
  return found->second;
}

std::optional<std::string> Request::cookie(std::string_view name) const {
  for (const Headers::Field& field : headers) {
    if (!equal_ignoring_case(field.name, "cookie")) continue;
    for (const std::string_view pair : split(field.value, ';')) {
      const std::size_t equals = pair.find('=');
      if (equals == pair.npos || trim(pair.substr(0, equals)) != name) continue;
      std::string_view value = trim(pair.substr(equals + 1));
      if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
        value = value.substr(1, value.size() - 2);
      }
      return std::string{value};
    }
  }
  return std::nullopt;
}

std::optional<std::string> Request::bearer_token() const {
  const auto field = headers.find("authorization");
  if (!field) return std::nullopt;
  const std::size_t space = field->find(' ');
  if (space == field->npos || !equal_ignoring_case(field->substr(0, space), "bearer")) {
    return std::nullopt;
  }
  return std::string{trim(field->substr(space + 1))};
}

Result<boost::json::value, Problem> Request::json() const {
  const std::string type = media_type_of(headers.find("content-type").value_or("application/json"));
  if (type != "application/json" &&
      !(type.starts_with("application/") && type.ends_with("+json"))) {
    return unsupported("The body must be application/json, not " + type + '.');
  }
  if (!is_utf8(body)) return bad_request("The body is not UTF-8.");
  boost::json::parse_options options;
  options.max_depth = json_depth_max;
  boost::json::stream_parser parser{{}, options};
  boost::system::error_code ec;
  const std::size_t consumed = parser.write_some(body, ec);
  if (!ec && consumed < body.size()) ec = boost::json::error::extra_data;
  if (!ec) parser.finish(ec);
  if (ec) {
    return bad_request("The body is not JSON: " + ec.message() + " at byte " +
                       std::to_string(consumed) + '.');
  }
  return parser.release();
}

bool Request::has_form() const {
  const auto type = headers.find("content-type");
  return type && media_type_of(*type) == "application/x-www-form-urlencoded";
}

Result<Fields, Problem> Request::form() const {
  if (!has_form()) return unsupported("The body must be application/x-www-form-urlencoded.");
  auto fields = Fields::parse(body);
  if (!fields) return bad_request("The form has a broken escape or too many fields.");
  return std::move(*fields);
}

std::string_view Request::preferred_type(std::initializer_list<std::string_view> offers) const {
  const std::string accept = headers.all("accept");
  const auto ranges = parse_weighted(accept);
  if (ranges.empty()) return *offers.begin();
  std::string_view best;
  double best_weight = 0;
  for (const std::string_view offer : offers) {
    int best_fit = 0;
    double weight = 0;
    for (const Weighted& range : ranges) {
      const int this_fit = fit(range.value, offer);
      if (this_fit <= best_fit) continue;
      best_fit = this_fit;
      weight = range.weight;
    }
    if (weight <= best_weight) continue;
    best = offer;
    best_weight = weight;
  }
  return best;
}

bool Request::wants_html() const {
  const auto ranges = parse_weighted(headers.all("accept"));
  return std::ranges::any_of(
      ranges, [](const Weighted& range) { return range.value == "text/html" && range.weight > 0; });
}

bool Request::accepts_gzip() const {
  bool by_star = false;
  for (const Weighted& coding : parse_weighted(headers.all("accept-encoding"))) {
    if (coding.value == "gzip" || coding.value == "x-gzip") return coding.weight > 0;
    if (coding.value == "*") by_star = coding.weight > 0;
  }
  return by_star;
}

std::optional<seconds> Request::prefer_wait(seconds wait_max) const {
  const std::string preferences = headers.all("prefer");
  for (const std::string_view preference : split(preferences, ',')) {
    const std::string_view text = trim(preference.substr(0, preference.find(';')));
    const std::size_t equals = text.find('=');
    if (equals == text.npos || !equal_ignoring_case(trim(text.substr(0, equals)), "wait")) continue;
    std::string_view value = trim(text.substr(equals + 1));
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
      value = value.substr(1, value.size() - 2);
    }
    const auto wait = parse_unsigned(value);
    if (!wait) return std::nullopt;  // a preference that is not understood is ignored
    return *wait >= static_cast<std::uint64_t>(wait_max.count())
               ? wait_max
               : seconds{static_cast<long>(*wait)};
  }
  return std::nullopt;
}

bool Request::has_seen(std::string_view etag) const {
  const std::string seen = headers.all("if-none-match");
  return std::ranges::any_of(split(seen, ','), [&](std::string_view one) {
    const std::string_view tag = trim(one);
    return tag == "*" || (!tag.empty() && opaque(tag) == opaque(etag));
  });
}

std::optional<std::uint64_t> Request::last_event_id() const {
  if (const auto field = headers.find("last-event-id")) return parse_unsigned(trim(*field));
  if (const auto field = query.find("last_event_id")) return parse_unsigned(*field);
  return std::nullopt;
}

}  // namespace pronto::http
