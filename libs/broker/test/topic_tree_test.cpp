#include "topic_tree.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <list>
#include <set>

#include "pronto/base/random.hpp"
#include "pronto/base/text.hpp"

namespace pronto::broker {
namespace {

using testing::IsEmpty;

/// The rule, word by word: what the tree is compared with.
bool topic_matches(std::string_view pattern, std::string_view key) {
  const std::vector<std::string_view> wanted = split(pattern, '.');
  const std::vector<std::string_view> words =
      key.empty() ? std::vector<std::string_view>{} : split(key, '.');
  // reached[j]: the pattern so far matches the first j words.
  std::vector<bool> reached(words.size() + 1, false);
  reached[0] = true;
  for (const std::string_view want : wanted) {
    if (want == "#") {
      for (std::size_t j = 1; j <= words.size(); ++j) reached[j] = reached[j] || reached[j - 1];
      continue;
    }
    for (std::size_t j = words.size(); j > 0; --j) {
      reached[j] = reached[j - 1] && (want == "*" || want == words[j - 1]);
    }
    reached[0] = pattern.empty() && words.empty();
  }
  return reached[words.size()];
}

/// A destination that is nothing but a number: the tree never looks behind it.
Destination numbered(std::size_t number) {
  static std::vector<std::uint64_t> places(1'000);
  return {.queue = static_cast<Queue*>(static_cast<void*>(&places[number]))};
}

class TopicModel {
 public:
  explicit TopicModel(std::uint64_t seed) : chance_{seed} {}

  void step() {
    if (chance_.below(3) > 0 || bindings_.empty()) {
      const std::pair binding{text(true), chance_.below(20)};
      tree_.add(binding.first, numbered(binding.second));
      bindings_.push_back(binding);
    } else {
      const std::size_t at = chance_.below(bindings_.size());
      tree_.remove(bindings_[at].first, numbered(bindings_[at].second));
      bindings_.erase(bindings_.begin() + static_cast<std::ptrdiff_t>(at));
    }
    const std::string key = text(false);
    std::multiset<void*> expected;
    for (const auto& [pattern, number] : bindings_) {
      if (topic_matches(pattern, key)) expected.insert(numbered(number).queue);
    }
    std::vector<Destination> found;
    tree_.match(key, found);
    std::multiset<void*> seen;
    for (const Destination& one : found) seen.insert(one.queue);
    ASSERT_EQ(seen, expected) << "key '" << key << "'";
  }

 private:
  std::string text(bool is_pattern) {
    constexpr std::array words{"a", "b", "", "*", "#", "#", "*"};
    std::string all;
    for (std::uint64_t i = chance_.below(5); i > 0; --i) {
      if (!all.empty()) all += '.';
      all += words[chance_.below(is_pattern || chance_.below(8) == 0 ? words.size() : 3)];
    }
    return all;
  }

  SeededRandom chance_;
  TopicTree tree_;
  std::vector<std::pair<std::string, std::uint64_t>> bindings_;
};

TEST(TopicTree, IsWhatComparingEachPatternWouldBe) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    TopicModel model{seed};
    for (int i = 0; i < 300; ++i) {
      model.step();
      ASSERT_FALSE(testing::Test::HasFailure()) << "seed " << seed << ", step " << i;
    }
  }
}

// Goal: no pattern makes a key cost more than the places of the tree times its words.
// Method: patterns that a search with a way back would try in numbers beyond counting; were there
// such a search, this would not end.
TEST(TopicTree, HasNoPatternThatItTakesForEver) {
  TopicTree tree;
  std::string pattern;
  std::string key;
  for (int i = 0; i < 40; ++i) pattern += "#.a.";
  for (int i = 0; i < 80; ++i) key += "a.";
  tree.add(pattern + "b", numbered(1));
  tree.add(pattern + "#.#.#.*.#", numbered(2));
  std::vector<Destination> found;
  tree.match(key + "c", found);
  EXPECT_THAT(found, testing::ElementsAre(numbered(2)));
}

TEST(TopicTree, GivesBackWhatIsRemovedHoweverDeep) {
  TopicTree tree;
  const std::string deep(200'000, '.');
  tree.add(deep, numbered(1));
  tree.add("a", numbered(2));
  tree.remove(deep, numbered(1));
  std::vector<Destination> found;
  tree.match(deep, found);
  EXPECT_THAT(found, IsEmpty());
  tree.add(deep, numbered(3));  // and what is left goes with the tree
}

struct Known {
  Destination destination;
  std::string key;
  int argument = 0;
  bool operator==(const Known&) const = default;
};

// Goal: an exchange's bindings are a set, whatever is bound and unbound. Method: random operations
// on it and on a list.
TEST(ExchangeBindings, AreWhatAListWouldBe) {
  for (const ExchangeType type :
       {ExchangeType::direct, ExchangeType::fanout, ExchangeType::topic, ExchangeType::headers}) {
    SeededRandom chance{static_cast<std::uint64_t>(type) + 1};
    Exchange exchange{"e", type};
    std::vector<Known> known;
    for (int i = 0; i < 3'000; ++i) {
      Known one{numbered(chance.below(5)), std::string(1 + chance.below(3), 'k'),
                static_cast<int>(chance.below(3))};
      const wire::Table arguments{{"n", one.argument}};
      switch (chance.below(8)) {
        case 0:
          ASSERT_EQ(exchange.unbind_all(one.destination),
                    std::erase_if(
                        known, [&](const Known& of) { return of.destination == one.destination; }));
          break;
        case 1:
        case 2:
        case 3:
          ASSERT_EQ(exchange.unbind(one.destination, one.key, arguments).was_there,
                    std::erase(known, one) > 0);
          break;
        default: {
          const bool is_new = std::ranges::find(known, one) == known.end();
          ASSERT_EQ(exchange.has({one.destination, one.key, arguments}), !is_new);
          ASSERT_EQ(exchange.bind({one.destination, one.key, arguments, true}), is_new);
          if (is_new) known.push_back(one);
        }
      }
      ASSERT_EQ(exchange.binding_count(), known.size());
      std::vector<Known> all;
      exchange.for_each_binding([&](const Binding& binding) {
        all.push_back({binding.destination, binding.routing_key,
                       static_cast<int>(*binding.arguments.find_integer("n"))});
      });
      ASSERT_EQ(all, known);
      if (type == ExchangeType::headers) continue;
      std::vector<Destination> found;
      exchange.match("kk", nullptr, found);
      ASSERT_EQ(found.size(), std::ranges::count_if(known, [&](const Known& of) {
                  return type == ExchangeType::fanout || of.key == "kk";
                }));
    }
  }
}

}  // namespace
}  // namespace pronto::broker
