#pragma once

#include <map>
#include <string>
#include <string_view>

namespace pronto::http {

/// Fills an HTML template: `{{name}}` is replaced by the escaped value, `{{{name}}}` by the value
/// as it is. Names are `[a-z_]+`; other braces stand for themselves.
///
/// `fill_page(text, {{"title", title}, {"list", rows}})`. Values live until the call ends.
/// Runs on: any thread. Errors: a name without a value is a bug of ours and ends the process.
std::string fill_page(std::string_view page_template,
                      const std::map<std::string_view, std::string_view>& values);

}  // namespace pronto::http
