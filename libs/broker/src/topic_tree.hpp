#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "exchange.hpp"

namespace pronto::broker {

/// The bindings of a topic exchange as a tree of their words, so that a message is compared with
/// what it can match and not with each of them.
///
/// A pattern's words are between dots: `*` is one word of a key, `#` any number of them. A key goes
/// down all its ways at once, a word at a time, and no place twice with the same word: so the work
/// is bounded by the places times the words, whatever the patterns are.
/// Runs on: the engine's thread. Source: RabbitMQ, topic exchange.
class TopicTree {
 public:
  TopicTree();
  ~TopicTree();

  void add(std::string_view pattern, const Destination& destination);
  /// One that was added.
  void remove(std::string_view pattern, const Destination& destination);
  /// Appends the destinations of all patterns that match; perhaps some of them twice.
  void match(std::string_view key, std::vector<Destination>& to) const;

 private:
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  struct Node;
  using Children = std::unordered_map<std::string, std::unique_ptr<Node>, Hash, std::equal_to<>>;
  struct Node {
    std::vector<Destination> destinations;
    Children children;
    Node* any_word = nullptr;   // the child `*`
    Node* any_words = nullptr;  // the child `#`
    bool is_any_words = false;
    mutable std::uint64_t reached_at = 0;
  };

  void reach(const Node& node, std::vector<const Node*>& nodes) const;

  std::unique_ptr<Node> root_;
  mutable std::uint64_t step_ = 0;
};

}  // namespace pronto::broker
