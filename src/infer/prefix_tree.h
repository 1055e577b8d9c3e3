#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "infer/cache_options.h"

namespace fathom {

/// What of a text is cached.
struct PrefixMatch {
  std::vector<PageId> pages;        // of its whole pages, as far as they are there
  PageId partial = -1;              // a page that goes on with some of its next tokens; -1: none
  std::int64_t partial_tokens = 0;  // how many
};

/// A radix tree over token ids: an edge is a page's worth of tokens, a node the page that holds their latents
/// behind those on the way to it. Says who was used least recently. Knows nothing of memory.
class PrefixTree {
 public:
  explicit PrefixTree(std::int64_t page_positions);
  ~PrefixTree();
  PrefixTree(const PrefixTree&) = delete;
  PrefixTree& operator=(const PrefixTree&) = delete;

  /// The longest cached beginning of `tokens`; it counts as used now.
  PrefixMatch find(std::span<const std::int32_t> tokens);
  /// How many of `tokens` that would be, without using it.
  [[nodiscard]] std::int64_t matched(std::span<const std::int32_t> tokens) const;

  /// Takes the pages of a text's whole pages, but for those that it has already under these tokens.
  /// @return  the pages taken
  /// @param goes_on  also behind a page that the tree has from somebody else, where the text's own holds the
  /// same
  std::vector<PageId> insert(std::span<const std::int32_t> tokens, std::span<const PageId> pages,
                             bool goes_on = true);

  struct Removed {
    PageId page;
    std::vector<std::int32_t> tokens;  // from the text's beginning to the end of the page

    bool operator==(const Removed&) const = default;
  };
  /// Takes out the page that was used least recently of those that nothing follows and that `is_free` allows.
  template <typename IsFree>
  std::optional<Removed> remove_oldest(const IsFree& is_free) {
    for (const auto& [used, leaf] : leaves_)
      if (is_free(page_of(*leaf))) return remove(*leaf);
    return std::nullopt;
  }

  [[nodiscard]] std::int64_t size() const { return size_; }

 private:
  struct Node;
  using Edge = std::vector<std::int32_t>;  // page_positions tokens

  static PageId page_of(const Node& node);
  Removed remove(Node& leaf);
  void take_out(Node& leaf);
  void use(Node& node);
  /// The child with the most of `tokens`, and how many; null: none has any.
  std::pair<Node*, std::int64_t> nearest(const Node& node, std::span<const std::int32_t> tokens) const;

  std::size_t page_positions_;
  std::unique_ptr<Node> root_;
  std::set<std::pair<std::uint64_t, Node*>> leaves_;  // by when they were used last
  std::uint64_t clock_ = 0;
  std::int64_t size_ = 0;
};

}  // namespace fathom
