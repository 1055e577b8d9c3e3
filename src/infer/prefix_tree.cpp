#include "infer/prefix_tree.h"

#include <algorithm>
#include <iterator>

namespace fathom {

struct PrefixTree::Node {
  Node* parent = nullptr;
  const Edge* edge = nullptr;  // the parent's key
  PageId page = -1;
  std::uint64_t used = 0;
  std::map<Edge, std::unique_ptr<Node>> children;
};

PrefixTree::PrefixTree(std::int64_t page_positions)
    : page_positions_(static_cast<std::size_t>(page_positions)), root_(std::make_unique<Node>()) {}

PrefixTree::~PrefixTree() {
  // From the leaves up: a long text's nodes would otherwise be destroyed within one another, as deep as it is
  // long.
  while (!leaves_.empty()) take_out(*leaves_.begin()->second);
}

PageId PrefixTree::page_of(const Node& node) {
  return node.page;
}

void PrefixTree::use(Node& node) {
  if (node.children.empty()) leaves_.erase({node.used, &node});
  node.used = ++clock_;
  if (node.children.empty()) leaves_.insert({node.used, &node});
}

std::pair<PrefixTree::Node*, std::int64_t> PrefixTree::nearest(const Node& node,
                                                               std::span<const std::int32_t> tokens) const {
  const std::span<const std::int32_t> sought = tokens.first(std::min(tokens.size(), page_positions_));
  // In order of tokens, whatever has most in common stands beside where they would stand.
  const auto after = node.children.lower_bound(Edge(sought.begin(), sought.end()));
  std::pair<Node*, std::int64_t> best{nullptr, 0};
  const auto consider = [&](const auto& child) {
    const auto common = std::ranges::mismatch(child->first, sought).in2 - sought.begin();
    if (common > best.second) best = {child->second.get(), common};
  };
  if (after != node.children.end()) consider(after);
  if (after != node.children.begin()) consider(std::prev(after));
  return best;
}

PrefixMatch PrefixTree::find(std::span<const std::int32_t> tokens) {
  PrefixMatch match;
  Node* node = root_.get();
  while (!tokens.empty()) {
    const auto [child, common] = nearest(*node, tokens);
    if (child == nullptr) break;
    use(*child);
    if (common < static_cast<std::int64_t>(page_positions_)) {
      match.partial = child->page;
      match.partial_tokens = common;
      break;
    }
    match.pages.push_back(child->page);
    tokens = tokens.subspan(page_positions_);
    node = child;
  }
  return match;
}

std::int64_t PrefixTree::matched(std::span<const std::int32_t> tokens) const {
  std::int64_t sum = 0;
  const Node* node = root_.get();
  while (!tokens.empty()) {
    const auto [child, common] = nearest(*node, tokens);
    if (child == nullptr) break;
    sum += common;
    if (common < static_cast<std::int64_t>(page_positions_)) break;
    tokens = tokens.subspan(page_positions_);
    node = child;
  }
  return sum;
}

std::vector<PageId> PrefixTree::insert(std::span<const std::int32_t> tokens, std::span<const PageId> pages,
                                       bool goes_on) {
  std::vector<PageId> taken;
  Node* node = root_.get();
  for (std::size_t i = 0; i < pages.size() && (i + 1) * page_positions_ <= tokens.size(); ++i) {
    const auto edge = tokens.subspan(i * page_positions_, page_positions_);
    const auto [at, is_new] = node->children.try_emplace(Edge(edge.begin(), edge.end()), nullptr);
    if (is_new) {
      if (node->children.size() == 1) leaves_.erase({node->used, node});
      at->second = std::make_unique<Node>();
      at->second->parent = node;
      at->second->edge = &at->first;
      at->second->page = pages[i];
      taken.push_back(pages[i]);
      ++size_;
    }
    use(*at->second);
    node = at->second.get();
    if (!goes_on && node->page != pages[i]) break;
  }
  return taken;
}

PrefixTree::Removed PrefixTree::remove(Node& leaf) {
  Removed removed{leaf.page, {}};
  std::vector<const Edge*> way;
  for (const Node* node = &leaf; node->parent != nullptr; node = node->parent) way.push_back(node->edge);
  std::ranges::reverse(way);
  for (const Edge* edge : way) removed.tokens.insert(removed.tokens.end(), edge->begin(), edge->end());
  take_out(leaf);
  return removed;
}

void PrefixTree::take_out(Node& leaf) {
  leaves_.erase({leaf.used, &leaf});
  Node* const parent = leaf.parent;
  parent->children.erase(parent->children.find(*leaf.edge));
  if (parent != root_.get() && parent->children.empty()) leaves_.insert({parent->used, parent});
  --size_;
}

}  // namespace fathom
