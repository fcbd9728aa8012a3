#include "pronto/bus/json.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <cmath>

namespace pronto::detail {

namespace json = boost::json;

namespace {
const json::value& as_value(const void* value) {
  return *static_cast<const json::value*>(value);
}
}  // namespace

void JsonWriter::write_integer(std::int64_t value) {
  out_ += std::to_string(value);
}

void JsonWriter::write_integer(std::uint64_t value) {
  out_ += std::to_string(value);
}

void JsonWriter::write_real(double value) {
  // JSON has no infinity and no NaN.
  out_ += std::isfinite(value) ? json::serialize(json::value(value)) : "null";
}

void JsonWriter::write_text(std::string_view value) {
  out_ += json::serialize(json::string_view{value.data(), value.size()});
}

bool JsonView::is_null() const {
  return as_value(value_).is_null();
}

bool JsonView::is_object() const {
  return as_value(value_).is_object();
}

bool JsonView::is_array() const {
  return as_value(value_).is_array();
}

std::optional<bool> JsonView::boolean() const {
  const bool* value = as_value(value_).if_bool();
  return value ? std::optional{*value} : std::nullopt;
}

std::optional<std::int64_t> JsonView::integer() const {
  json::error_code ec;
  const auto number = as_value(value_).to_number<std::int64_t>(ec);
  return ec ? std::nullopt : std::optional{number};
}

std::optional<std::uint64_t> JsonView::unsigned_integer() const {
  json::error_code ec;
  const auto number = as_value(value_).to_number<std::uint64_t>(ec);
  return ec ? std::nullopt : std::optional{number};
}

std::optional<double> JsonView::real() const {
  json::error_code ec;
  const auto number = as_value(value_).to_number<double>(ec);
  return ec ? std::nullopt : std::optional{number};
}

std::optional<std::string_view> JsonView::text() const {
  const json::string* text = as_value(value_).if_string();
  return text ? std::optional{std::string_view{text->data(), text->size()}} : std::nullopt;
}

std::size_t JsonView::size() const {
  const json::array* array = as_value(value_).if_array();
  return array ? array->size() : 0;
}

JsonView JsonView::operator[](std::size_t index) const {
  return JsonView{&as_value(value_).as_array().at(index)};
}

std::optional<JsonView> JsonView::find(std::string_view member) const {
  const json::object* object = as_value(value_).if_object();
  const json::value* found =
      object ? object->if_contains(json::string_view{member.data(), member.size()}) : nullptr;
  return found ? std::optional{JsonView{found}} : std::nullopt;
}

std::size_t JsonView::member_count() const {
  const json::object* object = as_value(value_).if_object();
  return object ? object->size() : 0;
}

std::string_view JsonView::member_name(std::size_t index) const {
  const auto name = (as_value(value_).as_object().begin() + index)->key();
  return {name.data(), name.size()};
}

JsonView JsonView::member_value(std::size_t index) const {
  return JsonView{&(as_value(value_).as_object().begin() + index)->value()};
}

struct JsonDocument::Inside {
  json::value root;
};

JsonDocument::JsonDocument(std::unique_ptr<Inside> inside) : inside_{std::move(inside)} {}
JsonDocument::JsonDocument(JsonDocument&&) noexcept = default;
JsonDocument& JsonDocument::operator=(JsonDocument&&) noexcept = default;
JsonDocument::~JsonDocument() = default;

Result<JsonDocument, std::string> JsonDocument::parse(BytesView text) {
  json::error_code ec;
  json::value root = json::parse({as_text(text).data(), text.size()}, ec);
  if (ec) return "not JSON: " + ec.message();
  return JsonDocument{std::make_unique<Inside>(Inside{std::move(root)})};
}

JsonView JsonDocument::root() const {
  return JsonView{&inside_->root};
}

}  // namespace pronto::detail
