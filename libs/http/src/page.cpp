#include "pronto/http/page.hpp"

#include "pronto/base/assert.hpp"
#include "pronto/base/text.hpp"

namespace pronto::http {
namespace {

constexpr std::string_view name_characters = "abcdefghijklmnopqrstuvwxyz_";

/// Returns: the name when `text` begins with `open`, a name and `close`; else empty.
std::string_view name_between(std::string_view text, std::string_view open,
                              std::string_view close) {
  if (!text.starts_with(open)) return {};
  text.remove_prefix(open.size());
  const std::size_t end = text.find_first_not_of(name_characters);
  if (end == text.npos || end == 0 || !text.substr(end).starts_with(close)) return {};
  return text.substr(0, end);
}

std::string_view value_of(const std::map<std::string_view, std::string_view>& values,
                          std::string_view name) {
  const auto found = values.find(name);
  PRONTO_ASSERT(found != values.end());
  return found->second;
}

}  // namespace

std::string fill_page(std::string_view page_template,
                      const std::map<std::string_view, std::string_view>& values) {
  std::string page;
  page.reserve(page_template.size() * 2);
  for (;;) {
    const std::size_t brace = page_template.find("{{");
    page += page_template.substr(0, brace);
    if (brace == page_template.npos) return page;
    page_template.remove_prefix(brace);
    if (const auto raw = name_between(page_template, "{{{", "}}}"); !raw.empty()) {
      page += value_of(values, raw);
      page_template.remove_prefix(raw.size() + 6);
    } else if (const auto name = name_between(page_template, "{{", "}}"); !name.empty()) {
      page += html_escape(value_of(values, name));
      page_template.remove_prefix(name.size() + 4);
    } else {
      page += '{';
      page_template.remove_prefix(1);
    }
  }
}

}  // namespace pronto::http
