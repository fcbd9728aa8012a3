#include "pronto/bus/handler.hpp"

namespace pronto::detail {

std::string name_in(std::string_view pretty_function) {
  // Clang: "... make_handler(Service &) [function = &shop::History::on, Service = ...]".
  const auto begin = pretty_function.find('&', pretty_function.find("function = "));
  if (begin == std::string_view::npos) return "a handler";
  const auto end = pretty_function.find_first_of(",;]", begin);
  std::string_view name = pretty_function.substr(begin + 1, end - begin - 1);
  for (constexpr std::string_view anonymous = "(anonymous namespace)::";
       name.find(anonymous) < name.size();) {
    name.remove_prefix(name.find(anonymous) + anonymous.size());
  }
  return std::string{name};
}

}  // namespace pronto::detail
