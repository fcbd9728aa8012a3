#include "topic_tree.hpp"

#include <algorithm>
#include <utility>

#include "pronto/base/assert.hpp"
#include "pronto/base/text.hpp"

namespace pronto::broker {
namespace {

std::vector<std::string_view> words_of(std::string_view text) {
  return text.empty() ? std::vector<std::string_view>{} : split(text, '.');
}

}  // namespace

TopicTree::TopicTree() : root_{std::make_unique<Node>()} {}

TopicTree::~TopicTree() {
  // A level at a time: a tree may be as deep as a key is long.
  std::vector<std::unique_ptr<Node>> left;
  left.push_back(std::move(root_));
  while (!left.empty()) {
    const std::unique_ptr<Node> node = std::move(left.back());
    left.pop_back();
    for (auto& [word, child] : node->children) left.push_back(std::move(child));
  }
}

void TopicTree::add(std::string_view pattern, const Destination& destination) {
  Node* node = root_.get();
  for (const std::string_view word : words_of(pattern)) {
    auto found = node->children.find(word);
    if (found == node->children.end()) {
      found = node->children.emplace(std::string{word}, std::make_unique<Node>()).first;
      Node* made = found->second.get();
      if (word == "*") node->any_word = made;
      if (word == "#") node->any_words = made;
      made->is_any_words = word == "#";
    }
    node = found->second.get();
  }
  node->destinations.push_back(destination);
}

void TopicTree::remove(std::string_view pattern, const Destination& destination) {
  std::vector<std::pair<Node*, std::string_view>> way;
  Node* node = root_.get();
  for (const std::string_view word : words_of(pattern)) {
    way.emplace_back(node, word);
    node = node->children.find(word)->second.get();
  }
  const auto found = std::ranges::find(node->destinations, destination);
  PRONTO_ASSERT(found != node->destinations.end());
  node->destinations.erase(found);
  for (; !way.empty() && node->destinations.empty() && node->children.empty(); way.pop_back()) {
    const auto& [parent, word] = way.back();
    if (word == "*") parent->any_word = nullptr;
    if (word == "#") parent->any_words = nullptr;
    parent->children.erase(parent->children.find(word));
    node = parent;
  }
}

/// With a node its `#`, which may be no word at all.
void TopicTree::reach(const Node& node, std::vector<const Node*>& nodes) const {
  for (const Node* at = &node; at && std::exchange(at->reached_at, step_) != step_;
       at = at->any_words) {
    nodes.push_back(at);
  }
}

void TopicTree::match(std::string_view key, std::vector<Destination>& to) const {
  std::vector<const Node*> nodes;
  std::vector<const Node*> next;
  ++step_;
  reach(*root_, nodes);
  for (const std::string_view word : words_of(key)) {
    ++step_;
    next.clear();
    for (const Node* node : nodes) {
      if (node->is_any_words) reach(*node, next);
      if (node->any_word) reach(*node->any_word, next);
      const auto child = node->children.find(word);
      if (child != node->children.end()) reach(*child->second, next);
    }
    nodes.swap(next);
  }
  for (const Node* node : nodes) {
    to.insert(to.end(), node->destinations.begin(), node->destinations.end());
  }
}

}  // namespace pronto::broker
