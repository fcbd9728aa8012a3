#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include "checks.hpp"
#include "samples.hpp"

namespace pronto::wire {
namespace {

using Check = void (*)(BytesView);

// Goal: what the fuzzers once found stays fixed. Method: every file of the corpus through its
// check.
TEST(HostileBytes, TheCorpusIsReplayed) {
  const std::pair<std::string_view, Check> kinds[] = {
      {"method", &fuzz::check_method},
      {"content_header", &fuzz::check_content_header},
      {"table", &fuzz::check_table},
      {"frames", &fuzz::check_frames}};
  for (const auto& [kind, check] : kinds) {
    std::size_t count = 0;
    for (const auto& file :
         std::filesystem::directory_iterator{std::filesystem::path{PRONTO_WIRE_CORPUS} / kind}) {
      SCOPED_TRACE(file.path().string());
      std::ifstream in{file.path(), std::ios::binary};
      const std::string content{std::istreambuf_iterator<char>{in}, {}};
      check(as_bytes(content));
      ++count;
    }
    EXPECT_GT(count, 0U) << kind;
  }
}

std::uint64_t seed_of_this_run() {
  const char* given = std::getenv("PRONTO_SEED");
  return given ? std::strtoull(given, nullptr, 10) : SystemRandom{}.next() % 1'000'000;
}

/// Changes, inserts, removes or repeats a few bytes.
Bytes mutated(Bytes bytes, Random& random) {
  for (std::uint64_t left = 1 + random.below(3); left > 0; --left) {
    const std::size_t at = random.below(bytes.size() + 1);
    const auto place = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    switch (random.below(5)) {
      case 0:
        if (at < bytes.size()) *place = static_cast<std::byte>(random.next());
        break;
      case 1:
        if (at < bytes.size()) *place ^= std::byte{1} << random.below(8);
        break;
      case 2:
        bytes.insert(place, static_cast<std::byte>(random.next()));
        break;
      case 3:
        if (at < bytes.size()) bytes.erase(place);
        break;
      default:
        bytes.resize(at);
    }
  }
  return bytes;
}

// Goal: no bytes of a peer crash a decoder or make it unstable. Method: valid input, changed at
// random.
TEST(HostileBytes, MutationsOfValidInputNeverBreakADecoder) {
  const std::uint64_t seed = seed_of_this_run();
  std::cout << "seed " << seed << "; repeat with PRONTO_SEED=" << seed << " wire_test "
            << "--gtest_filter=HostileBytes.*\n";
  SeededRandom random{seed};
  for (int round = 0; round < 60; ++round) {
    SCOPED_TRACE(testing::Message() << "seed " << seed << " round " << round);
    Bytes stream;
    for (const Method& method : random_methods(random)) {
      Bytes payload;
      std::visit([&](const auto& known) { append_method(payload, known); }, method);
      fuzz::check_method(payload);
      fuzz::check_method(mutated(payload, random));
      if (stream.size() < 10'000) append_frame(stream, FrameType::method, 1, payload);
    }
    for (int i = 0; i < 20; ++i) {
      Bytes header;
      append_content_header(header, {.body_bytes = 9, .properties = random_properties(random)});
      fuzz::check_content_header(mutated(header, random));
      append_frame(stream, FrameType::header, 1, header);
      Bytes table;
      Writer{table}.write(random_table(random, 6));
      fuzz::check_table(mutated(table, random));
    }
    for (int i = 0; i < 20; ++i) fuzz::check_frames(mutated(stream, random));
  }
}

}  // namespace
}  // namespace pronto::wire
