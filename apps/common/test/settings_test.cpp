#include "common/settings.hpp"

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace pronto {
namespace {

using testing::HasSubstr;

class SettingsTest : public testing::Test {
 protected:
  SettingsTest() {
    folder_ = std::filesystem::temp_directory_path() /
              ("pronto-settings-" + std::to_string(::getpid()) + "-" +
               testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder_);
    settings.add_endpoint("amqp", amqp, "Where AMQP clients connect.");
    settings.add_text("data", "DIR", data, "The data folder.");
    settings.add_list("allow", "NAME", allow, "Who may.");
    settings.add_number("limit", "N", limit, {1, 100}, "How many.");
    settings.add_switch("quiet", quiet, "Says less.");
    settings.add_secret("password", "TEXT", password, "Keep it.");
  }
  ~SettingsTest() override { std::filesystem::remove_all(folder_); }

  std::string file(std::string_view text) {
    const std::string path = folder_ / "pronto.toml";
    std::ofstream{path} << text;
    return path;
  }
  Settings::Outcome read(std::vector<const char*> arguments) {
    return settings.read(arguments, environment);
  }
  std::string failure(std::vector<const char*> arguments) {
    try {
      read(std::move(arguments));
    } catch (const StartError& error) {
      return error.what();
    }
    return "no failure";
  }

  Endpoint amqp = *Endpoint::parse("127.0.0.1:5672");
  std::string data = "data";
  std::vector<std::string> allow;
  std::uint64_t limit = 10;
  bool quiet = false;
  std::string password;
  Settings::Environment environment;
  Settings settings{{"pronto", "1.2.3", "PRONTO_", {"broker", "bench"}}, "broker", "Runs it."};
  std::filesystem::path folder_;
};

TEST_F(SettingsTest, AFlagIsStrongerThanAVariableAndAVariableThanTheFile) {
  const std::string path = file("[broker]\ndata = 'file'\nlimit = 3\namqp = '127.0.0.1:1'\n");
  environment = {{"PRONTO_DATA", "variable"}, {"PRONTO_LIMIT", "4"}};
  ASSERT_EQ(read({"--config", path.c_str(), "--limit", "5"}), Settings::Outcome::run);
  EXPECT_EQ(amqp.port, 1);
  EXPECT_EQ(data, "variable");
  EXPECT_EQ(limit, 5U);
  std::vector<std::string> origins;
  for (const auto& shown : settings.values()) origins.emplace_back(name_of(shown.origin));
  EXPECT_THAT(origins,
              testing::ElementsAre("file", "environment", "default", "flag", "default", "default"));
}

TEST_F(SettingsTest, ListsComeFromRepeatedFlagsCommasAndArrays) {
  read({"--allow", "a", "--allow=b,c"});
  EXPECT_THAT(allow, testing::ElementsAre("a", "b", "c"));
  const std::string path = file("[broker]\nallow = ['x', 'y']\n");
  environment = {{"PRONTO_CONFIG", path}};
  read({});
  EXPECT_THAT(allow, testing::ElementsAre("x", "y"));
}

TEST_F(SettingsTest, ASwitchStandsAloneOrSaysItsValue) {
  read({"--quiet"});
  EXPECT_TRUE(quiet);
  read({"--quiet=false"});
  EXPECT_FALSE(quiet);
}

TEST_F(SettingsTest, ASecretMayComeFromAFileAndIsNotShown) {
  const std::string path = file("hush\n");
  environment = {{"PRONTO_PASSWORD_FILE", path}};
  read({});
  EXPECT_EQ(password, "hush");
  EXPECT_EQ(settings.values().back().value, "(secret)");
}

TEST_F(SettingsTest, AnUnknownFlagNamesTheNearestOne) {
  EXPECT_THAT(failure({"--dat", "x"}), HasSubstr("did you mean 'data'?"));
}

TEST_F(SettingsTest, AnUnknownKeyIsToldWithLineColumnAndTheNearestOne) {
  const std::string path = file("[broker]\nlimit = 3\n  dta = 'x'\n");
  EXPECT_THAT(failure({"--config", path.c_str()}),
              HasSubstr(path + ":3:3: unknown key 'dta'; did you mean 'data'?"));
}

TEST_F(SettingsTest, AnUnknownTableIsToldAndOtherCommandsTablesArePassedOver) {
  EXPECT_THAT(failure({"--config", file("[brokr]\n").c_str()}), HasSubstr("unknown table [brokr]"));
  EXPECT_EQ(failure({"--config", file("[bench]\nanything = 1\n").c_str()}), "no failure");
}

TEST_F(SettingsTest, ABadValueNamesItsSourceAndWhatIsExpected) {
  EXPECT_THAT(failure({"--limit", "101"}),
              "--limit: '101' cannot be used: expected a number from 1 to 100");
  EXPECT_THAT(failure({"--amqp", "nowhere"}), HasSubstr("expected ADDRESS:PORT"));
  environment = {{"PRONTO_LIMIT", "0"}};
  EXPECT_THAT(failure({}), HasSubstr("PRONTO_LIMIT: '0'"));
}

TEST_F(SettingsTest, ABrokenOrMissingFileIsToldWithItsPlace) {
  EXPECT_THAT(failure({"--config", file("[broker]\nx = = 1\n").c_str()}), HasSubstr(":2:"));
  EXPECT_THAT(failure({"--config", (folder_ / "none").c_str()}), HasSubstr("none"));
}

TEST_F(SettingsTest, HelpShowsAllThreeNamesAndTheDefault) {
  const std::string help = settings.help();
  EXPECT_THAT(help, HasSubstr("--amqp ADDRESS:PORT"));
  EXPECT_THAT(help, HasSubstr("PRONTO_AMQP, amqp in [broker]; default 127.0.0.1:5672"));
  EXPECT_THAT(settings.sample_file(), HasSubstr("# limit = 10\n"));
}

TEST_F(SettingsTest, ExtraAndMissingWordsAreErrors) {
  EXPECT_THAT(failure({"word"}), HasSubstr("unexpected argument 'word'"));
  std::string what;
  settings.add_positional("WHAT", what, true, "The order.");
  EXPECT_THAT(failure({}), HasSubstr("WHAT is missing"));
  read({"2 margherita", "--limit", "7"});
  EXPECT_EQ(what, "2 margherita");
  EXPECT_EQ(limit, 7U);
}

TEST_F(SettingsTest, ThePortsFileIsWrittenWhole) {
  const std::string path = folder_ / "ports.json";
  write_ports_file(path, {{"amqp", amqp}, {"management", *Endpoint::parse("127.0.0.1:7")}});
  std::ifstream in{path};
  const std::string text{std::istreambuf_iterator<char>{in}, {}};
  EXPECT_EQ(text, "{\"amqp\": \"127.0.0.1:5672\", \"management\": \"127.0.0.1:7\"}\n");
  EXPECT_THROW(write_ports_file(folder_ / "none" / "ports", {}), StartError);
}

}  // namespace
}  // namespace pronto
