#include "settings.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <toml++/toml.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "pronto/base/error.hpp"
#include "pronto/base/text.hpp"

extern char** environ;  // NOLINT: POSIX declares it so

namespace pronto {
namespace {

/// The end of an error line: the known name that was perhaps meant.
std::string hint_for(std::string_view name, const std::vector<std::string>& known) {
  const auto near = nearest_name(name, known);
  return near ? fmt::format("; did you mean '{}'?", *near) : std::string{};
}

std::vector<std::string> split_list(const std::vector<std::string>& values) {
  std::vector<std::string> items;
  for (const std::string& value : values) {
    for (const std::string_view part : split(value, ',')) {
      if (const std::string_view item = trim(part); !item.empty()) items.emplace_back(item);
    }
  }
  return items;
}

bool parse_switch(const std::string& text) {
  for (const std::string_view yes : {"true", "yes", "on", "1"}) {
    if (equal_ignoring_case(text, yes)) return true;
  }
  for (const std::string_view no : {"false", "no", "off", "0"}) {
    if (equal_ignoring_case(text, no)) return false;
  }
  throw std::invalid_argument{"expected true or false"};
}

/// A scalar of the file as the text that a flag would have given.
std::optional<std::string> text_of(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return std::to_string(number->get());
  if (const auto* real = node.as_floating_point()) return fmt::format("{}", real->get());
  if (const auto* flag = node.as_boolean()) return flag->get() ? "true" : "false";
  return std::nullopt;
}

std::string place_of(const std::string& path, const toml::source_position& at) {
  return fmt::format("{}:{}:{}", path, at.line, at.column);
}

std::string in_quotes(std::string_view text) {
  std::string out{'"'};
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out += '"';
}

std::string joined(const std::vector<std::string>& items, std::string_view between) {
  return fmt::format("{}", fmt::join(items, between));
}

constexpr std::string_view secret_shown = "(secret)";
constexpr const char* output_name = "output";  // the one setting with a short flag: -o

}  // namespace

std::string_view name_of(Origin origin) noexcept {
  switch (origin) {
    case Origin::built_in:
      return "default";
    case Origin::file:
      return "file";
    case Origin::environment:
      return "environment";
    case Origin::flag:
      return "flag";
  }
  return "unknown";
}

Settings::Environment Settings::environment_of_process() {
  Environment environment;
  for (char** at = environ; at != nullptr && *at != nullptr; ++at) {
    const std::string_view line{*at};
    const std::size_t equals = line.find('=');
    if (equals == std::string_view::npos) continue;
    environment.emplace(line.substr(0, equals), line.substr(equals + 1));
  }
  return environment;
}

Settings::Settings(Program program, std::string command, std::string summary)
    : program_{std::move(program)}, command_{std::move(command)}, summary_{std::move(summary)} {
  section_ = command_;
  std::ranges::replace(section_, ' ', '-');
}

Settings::Setting& Settings::add(std::string name, std::string value_name, Kind kind,
                                 std::string shown_default, std::string help) {
  Setting setting{.name = std::move(name),
                  .value_name = std::move(value_name),
                  .help = std::move(help),
                  .shown_default = std::move(shown_default),
                  .kind = kind};
  setting.shown = {.name = setting.name, .value = setting.shown_default};
  settings_.push_back(std::move(setting));
  return settings_.back();
}

void Settings::add_text(std::string name, std::string value_name, std::string& into,
                        std::string help) {
  add(std::move(name), std::move(value_name), Kind::value, into, std::move(help)).set =
      [&into](const std::vector<std::string>& values) { into = values.back(); };
}

void Settings::add_secret(std::string name, std::string value_name, std::string& into,
                          std::string help) {
  add(std::move(name), std::move(value_name), Kind::secret, "", std::move(help)).set =
      [&into](const std::vector<std::string>& values) { into = values.back(); };
}

void Settings::add_list(std::string name, std::string value_name, std::vector<std::string>& into,
                        std::string help) {
  add(std::move(name), std::move(value_name), Kind::list, joined(into, ","), std::move(help)).set =
      [&into](const std::vector<std::string>& values) { into = split_list(values); };
}

void Settings::add_switch(std::string name, bool& into, std::string help) {
  add(std::move(name), "", Kind::on_off, into ? "true" : "false", std::move(help)).set =
      [&into](const std::vector<std::string>& values) { into = parse_switch(values.back()); };
}

void Settings::add_number(std::string name, std::string value_name, std::uint64_t& into,
                          Range range, std::string help) {
  add(std::move(name), std::move(value_name), Kind::value, std::to_string(into), std::move(help))
      .set = [&into, range](const std::vector<std::string>& values) {
    const auto number = parse_unsigned(values.back());
    if (!number || *number < range.min || *number > range.max) {
      throw std::invalid_argument{
          range.max == std::numeric_limits<std::uint64_t>::max()
              ? fmt::format("expected a number from {} on", range.min)
              : fmt::format("expected a number from {} to {}", range.min, range.max)};
    }
    into = *number;
  };
}

void Settings::add_endpoint(std::string name, Endpoint& into, std::string help) {
  add(std::move(name), "ADDRESS:PORT", Kind::value, into.to_string(), std::move(help)).set =
      [&into](const std::vector<std::string>& values) {
        const auto endpoint = Endpoint::parse(values.back());
        if (!endpoint) {
          throw std::invalid_argument{"expected ADDRESS:PORT, as 127.0.0.1:5672 or [::1]:0"};
        }
        into = *endpoint;
      };
}

void Settings::add_parsed(std::string name, std::string value_name, std::string default_text,
                          std::function<void(const std::string&)> set, std::string help) {
  add(std::move(name), std::move(value_name), Kind::value, std::move(default_text), std::move(help))
      .set = [set = std::move(set)](const std::vector<std::string>& values) { set(values.back()); };
}

void Settings::add_output(OutputForm& into) {
  add_parsed(
      output_name, "table|json|jsonl", "table",
      [&into](const std::string& text) {
        if (text == "table") {
          into = OutputForm::table;
        } else if (text == "json") {
          into = OutputForm::json;
        } else if (text == "jsonl") {
          into = OutputForm::jsonl;
        } else {
          throw std::invalid_argument{"expected table, json or jsonl"};
        }
      },
      "How to show it: for people, as one JSON value, or as one a line. Short: -o.");
}

void Settings::add_positional(std::string name, std::string& into, bool required,
                              std::string help) {
  positionals_.push_back({std::move(name), std::move(help), required, &into});
}

std::string Settings::flag_of(std::string_view name) {
  return "--" + std::string{name};
}

std::string Settings::variable_of(std::string_view name) const {
  std::string variable = program_.environment_prefix;
  for (const char c : name) {
    variable += c == '-' ? '_' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  }
  return variable;
}

std::vector<std::string> Settings::names() const {
  std::vector<std::string> all;
  for (const Setting& setting : settings_) all.push_back(setting.name);
  return all;
}

void Settings::apply(Setting& setting, const std::vector<std::string>& values, Origin origin,
                     std::string detail) {
  try {
    setting.set(values);
  } catch (const std::invalid_argument& problem) {
    const std::string value =
        setting.kind == Kind::secret ? std::string{secret_shown} : joined(values, ",");
    throw StartError{fmt::format("{}: '{}' cannot be used: {}", detail, value, problem.what())};
  }
  setting.shown = {
      .name = setting.name,
      .value = setting.kind == Kind::secret ? std::string{secret_shown} : joined(values, ","),
      .origin = origin,
      .detail = std::move(detail)};
}

Settings::Outcome Settings::read(std::span<const char* const> arguments,
                                 const Environment& environment) {
  CLI::App flags{summary_};
  flags.set_help_flag();
  bool help_wanted = false;
  bool version_wanted = false;
  flags.add_flag("-h,--help", help_wanted);
  flags.add_flag("--version", version_wanted);
  std::string config;
  CLI::Option* config_option = flags.add_option("--config", config);
  std::vector<std::vector<std::string>> given(settings_.size());
  std::vector<std::string> switched(settings_.size());
  std::vector<CLI::Option*> options;
  for (std::size_t i = 0; i < settings_.size(); ++i) {
    // A switch may stand alone or say "=false"; all others take exactly one word a time.
    if (settings_[i].kind == Kind::on_off) {
      options.push_back(flags.add_flag(flag_of(settings_[i].name), switched[i]));
      continue;
    }
    const std::string flag = flag_of(settings_[i].name);
    CLI::Option* option =
        flags.add_option(settings_[i].name == output_name ? "-o," + flag : flag, given[i]);
    option->expected(1);
    option->allow_extra_args(false);
    option->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    options.push_back(option);
  }
  std::vector<std::string> words;
  flags.add_option("words", words);

  std::vector<std::string> reversed;  // as CLI11 wants them
  for (auto at = arguments.rbegin(); at != arguments.rend(); ++at) reversed.emplace_back(*at);
  try {
    flags.parse(reversed);
  } catch (const CLI::ExtrasError&) {
    for (const std::string& word : flags.remaining()) {
      if (!word.starts_with("-")) continue;
      const std::string name = word.substr(word.find_first_not_of('-'), word.find('=') - 2);
      throw StartError{fmt::format("unknown flag {}{}; {} {} --help lists them", word,
                                   hint_for(name, names()), program_.name, command_)};
    }
    throw StartError{fmt::format("unexpected argument; see {} {} --help", program_.name, command_)};
  } catch (const CLI::ParseError& problem) {
    throw StartError{fmt::format("{}; see {} {} --help", problem.what(), program_.name, command_)};
  }
  if (help_wanted) {
    fmt::print("{}", help());
    return Outcome::shown;
  }
  if (version_wanted) {
    fmt::print("{} {}\n", program_.name, program_.version);
    return Outcome::shown;
  }
  if (words.size() > positionals_.size()) {
    throw StartError{fmt::format("unexpected argument '{}'; see {} {} --help",
                                 words[positionals_.size()], program_.name, command_)};
  }
  for (std::size_t i = 0; i < positionals_.size(); ++i) {
    if (i < words.size()) {
      *positionals_[i].into = words[i];
    } else if (positionals_[i].required) {
      throw StartError{fmt::format("{} is missing; see {} {} --help", positionals_[i].name,
                                   program_.name, command_)};
    }
  }

  // Weakest first: what comes later replaces it.
  const std::string config_variable = variable_of("config");
  if (config_option->count() > 0) {
    config_path_ = config;
  } else if (const auto named = environment.find(config_variable); named != environment.end()) {
    config_path_ = named->second;
  }
  if (!config_path_.empty()) read_file(config_path_);
  read_environment(environment);
  for (std::size_t i = 0; i < settings_.size(); ++i) {
    if (options[i]->count() == 0) continue;
    if (settings_[i].kind == Kind::on_off) given[i] = {switched[i]};
    apply(settings_[i], given[i], Origin::flag, flag_of(settings_[i].name));
  }
  return Outcome::run;
}

void Settings::read_file(const std::string& path) {
  toml::table file;
  try {
    file = toml::parse_file(path);
  } catch (const toml::parse_error& problem) {
    const auto& begin = problem.source().begin;
    if (begin.line == 0) {
      throw StartError{fmt::format("--config {}: {}", path, problem.description())};
    }
    throw StartError{fmt::format("{}: {}", place_of(path, begin), problem.description())};
  }
  for (const auto& [section_key, node] : file) {
    const std::string section{section_key.str()};
    const toml::table* table = node.as_table();
    if (table == nullptr) {
      throw StartError{fmt::format("{}: '{}' stands outside of a table; put it under [{}]",
                                   place_of(path, section_key.source().begin), section, section_)};
    }
    const bool is_known = section == section_ ||
                          std::find(program_.sections.begin(), program_.sections.end(), section) !=
                              program_.sections.end();
    if (!is_known) {
      throw StartError{fmt::format("{}: unknown table [{}]{}",
                                   place_of(path, section_key.source().begin), section,
                                   hint_for(section, program_.sections))};
    }
    if (section != section_) continue;
    for (const auto& [key, value] : *table) {
      const std::string name{key.str()};
      const std::string place = place_of(path, key.source().begin);
      const auto setting = std::find_if(settings_.begin(), settings_.end(),
                                        [&](const Setting& one) { return one.name == name; });
      if (setting == settings_.end()) {
        throw StartError{
            fmt::format("{}: unknown key '{}'{}", place, name, hint_for(name, names()))};
      }
      std::vector<std::string> values;
      if (const toml::array* array = value.as_array(); array && setting->kind == Kind::list) {
        for (const toml::node& item : *array) {
          if (auto text = text_of(item)) values.push_back(std::move(*text));
        }
        if (values.size() != array->size()) {
          throw StartError{fmt::format("{}: '{}' takes an array of texts", place, name)};
        }
      } else if (auto text = text_of(value)) {
        values.push_back(std::move(*text));
      } else {
        throw StartError{fmt::format("{}: '{}' takes a single value", place, name)};
      }
      apply(*setting, values, Origin::file, place + ": " + name);
    }
  }
}

void Settings::read_environment(const Environment& environment) {
  for (Setting& setting : settings_) {
    const std::string variable = variable_of(setting.name);
    if (const auto found = environment.find(variable); found != environment.end()) {
      apply(setting, {found->second}, Origin::environment, variable);
    } else if (setting.kind == Kind::secret) {
      const auto named = environment.find(variable + "_FILE");
      if (named == environment.end()) continue;
      std::ifstream file{named->second, std::ios::binary};
      const std::string text{std::istreambuf_iterator<char>{file}, {}};
      if (!file) {
        throw StartError{fmt::format("{}_FILE: cannot read {}", variable, named->second)};
      }
      apply(setting, {std::string{trim(text)}}, Origin::environment, variable + "_FILE");
    }
  }
}

std::string Settings::help() const {
  std::string out = fmt::format("{} {}: {}\n\nUsage: {} {}", program_.name, command_, summary_,
                                program_.name, command_);
  for (const Positional& word : positionals_) {
    out += word.required ? fmt::format(" {}", word.name) : fmt::format(" [{}]", word.name);
  }
  out += " [--flag VALUE ...]\n\n";
  for (const Positional& word : positionals_) {
    out += fmt::format("  {}\n      {}\n", word.name, word.help);
  }
  for (const Setting& setting : settings_) {
    out += fmt::format("  {}{}{}\n      {}\n      {}, {} in [{}]", flag_of(setting.name),
                       setting.value_name.empty() ? "" : " ", setting.value_name, setting.help,
                       variable_of(setting.name), setting.name, section_);
    if (setting.kind == Kind::secret) out += fmt::format(", {}_FILE", variable_of(setting.name));
    if (!setting.shown_default.empty()) out += fmt::format("; default {}", setting.shown_default);
    out += '\n';
  }
  out += fmt::format(
      "  --config FILE\n      A TOML file with the table [{}].\n      {}\n"
      "  --help, --version\n\nA flag is stronger than a variable, a variable stronger than the "
      "file.\n",
      section_, variable_of("config"));
  return out;
}

std::string Settings::sample_file() const {
  std::string out = fmt::format("[{}]\n", section_);
  for (const Setting& setting : settings_) {
    const bool is_bare = setting.kind == Kind::on_off || parse_double(setting.shown_default);
    std::string value = is_bare ? setting.shown_default : in_quotes(setting.shown_default);
    if (setting.kind == Kind::list) {
      std::vector<std::string> items;
      for (const std::string& item : split_list({setting.shown_default})) {
        items.push_back(in_quotes(item));
      }
      value = "[" + joined(items, ", ") + "]";
    }
    out += fmt::format("# {}\n# {} = {}\n", setting.help, setting.name, value);
  }
  return out;
}

std::vector<Settings::Shown> Settings::values() const {
  std::vector<Shown> all;
  for (const Setting& setting : settings_) all.push_back(setting.shown);
  return all;
}

void write_whole_file(const std::string& path, std::string_view text) {
  const std::string beside = fmt::format("{}.{}.new", path, ::getpid());
  {
    std::ofstream file{beside, std::ios::binary | std::ios::trunc};
    file << text << std::flush;
    if (!file) {
      std::error_code error = last_system_error();
      std::error_code ignored;
      std::filesystem::remove(beside, ignored);
      throw std::system_error{error, path};
    }
  }
  std::filesystem::rename(beside, path);
}

void write_ports_file(const std::string& path, const std::map<std::string, Endpoint>& ports) {
  std::vector<std::string> members;
  for (const auto& [name, endpoint] : ports) {
    members.push_back(fmt::format("\"{}\": \"{}\"", name, endpoint.to_string()));
  }
  try {
    write_whole_file(path, fmt::format("{{{}}}\n", fmt::join(members, ", ")));
  } catch (const std::system_error& problem) {
    throw StartError{fmt::format("--ports-file {}: {}", path, problem.code().message())};
  }
}

std::string listen_failure(const Endpoint& at, std::string_view setting,
                           const std::error_code& error) {
  const std::string flag = Settings::flag_of(setting);
  if (error == std::errc::address_in_use) {
    return fmt::format(
        "port {} on {} is in use by another process; end it, or choose another with {} {}:PORT "
        "(port 0: any free one)",
        at.port, at.address.to_string(), flag, at.address.to_string());
  }
  return fmt::format("cannot listen on {}: {}; change it with {} ADDRESS:PORT", at.to_string(),
                     error.message(), flag);
}

}  // namespace pronto
