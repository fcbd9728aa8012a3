#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "pronto/async/address.hpp"

namespace pronto {

/// A start that cannot be: `what()` is one line that says what is wrong and what to do.
/// Caught once, in `main`: print it, exit status 2.
class StartError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The program around the commands, as all of them share it.
struct Program {
  std::string name;                ///< "pronto"
  std::string version;             ///< "0.1.0"
  std::string environment_prefix;  ///< "PRONTO_"
  /// Every command that has settings: each is a table of the one configuration file.
  std::vector<std::string> sections;
};

/// Where a value came from, weakest first.
enum class Origin { built_in, file, environment, flag };
std::string_view name_of(Origin origin) noexcept;

/// How a command shows what it found.
enum class OutputForm { table, json, jsonl };

/// The settings of one command, each described once: as a flag `--data`, as an environment variable
/// `PRONTO_DATA`, as a line `data = "..."` of the table `[broker]` in one TOML file, in that order
/// of strength, with a default and a help text.
///
/// `add_*` take the variable that holds the default and receives the value; it outlives this.
/// Runs on: one thread, before anything else is started.
class Settings {
 public:
  /// The process's environment, or one that a test made.
  using Environment = std::map<std::string, std::string, std::less<>>;
  static Environment environment_of_process();

  /// Takes: `command`, the words after the program's name and, with a - for each space, the table
  /// in the file: "broker".
  Settings(Program program, std::string command, std::string summary);
  Settings(const Settings&) = delete;
  Settings& operator=(const Settings&) = delete;

  void add_text(std::string name, std::string value_name, std::string& into, std::string help);
  /// As `add_text`; never shown, and `PRONTO_<NAME>_FILE` names a file that holds it.
  void add_secret(std::string name, std::string value_name, std::string& into, std::string help);
  /// A flag may be repeated; variable and flag also take several, separated by commas; the file
  /// takes an array. What a stronger source gives replaces the weaker one's.
  void add_list(std::string name, std::string value_name, std::vector<std::string>& into,
                std::string help);
  void add_switch(std::string name, bool& into, std::string help);
  struct Range {
    std::uint64_t min = 0;
    std::uint64_t max = std::numeric_limits<std::uint64_t>::max();
  };
  void add_number(std::string name, std::string value_name, std::uint64_t& into, Range range,
                  std::string help);
  /// ADDRESS:PORT; port 0 is any free one.
  void add_endpoint(std::string name, Endpoint& into, std::string help);
  /// Any other form. Takes: `set`, which throws `std::invalid_argument` saying what it expects.
  void add_parsed(std::string name, std::string value_name, std::string default_text,
                  std::function<void(const std::string&)> set, std::string help);
  /// `-o, --output table|json|jsonl`.
  void add_output(OutputForm& into);
  /// A word without a flag, in the order of these calls. `required`: an error when it is missing.
  void add_positional(std::string name, std::string& into, bool required, std::string help);

  enum class Outcome { run, shown };
  /// Reads flags, environment and the file that `--config` or `<PREFIX>CONFIG` names, and sets all
  /// variables.
  ///
  /// Takes: `arguments` after the command's name.
  /// Returns: `shown` when `--help` or `--version` was asked for and written to standard output.
  /// Errors: throws `StartError`: an unknown flag or key (with line and column and the nearest
  /// known name), a value that is out of its form.
  Outcome read(std::span<const char* const> arguments, const Environment& environment);

  /// What `--help` prints: every setting under its three names, with its default.
  std::string help() const;
  /// The table of a configuration file that holds every key with its default, commented out.
  std::string sample_file() const;

  struct Shown {
    std::string name;
    std::string value;  ///< "(secret)" for secrets
    Origin origin = Origin::built_in;
    std::string detail;  ///< the variable's name, or file, line and column
  };
  /// Every setting with its value in use and where it came from. After `read`.
  std::vector<Shown> values() const;
  /// The flag that a message to the user names: `--data`.
  static std::string flag_of(std::string_view name);

 private:
  enum class Kind { value, list, on_off, secret };
  struct Setting {
    std::string name;
    std::string value_name;
    std::string help;
    std::string shown_default;
    Kind kind = Kind::value;
    std::function<void(const std::vector<std::string>&)> set;
    Shown shown;
  };
  struct Positional {
    std::string name;
    std::string help;
    bool required = false;
    std::string* into = nullptr;
  };

  Setting& add(std::string name, std::string value_name, Kind kind, std::string shown_default,
               std::string help);
  std::string variable_of(std::string_view name) const;
  std::vector<std::string> names() const;
  void apply(Setting& setting, const std::vector<std::string>& values, Origin origin,
             std::string detail);
  void read_file(const std::string& path);
  void read_environment(const Environment& environment);

  Program program_;
  std::string command_;
  std::string section_;  // of the file: the command, a - for each space
  std::string summary_;
  std::string config_path_;
  std::vector<Setting> settings_;
  std::vector<Positional> positionals_;
};

/// Writes `text` to `path` whole: to a file beside it, then by rename.
/// Errors: the system's.
void write_whole_file(const std::string& path, std::string_view text);

/// The `--ports-file`: `{"amqp": "127.0.0.1:43211", ...}`, written whole when all are ready.
/// Errors: throws `StartError`.
void write_ports_file(const std::string& path, const std::map<std::string, Endpoint>& ports);

/// The one line for an address that cannot be listened on: which port, which flag changes it.
std::string listen_failure(const Endpoint& at, std::string_view setting,
                           const std::error_code& error);

}  // namespace pronto
