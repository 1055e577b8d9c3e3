#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace fathom {

/// The tokens of a vocabulary as a tree of their bytes: those that begin alike are looked at together. Tokens
/// that mark something, such as special ones and ends of text, and holes are not in it.
class TokenTrie {
 public:
  /// Nodes are numbered in preorder: the first child of a node that has any follows it, and its subtree goes
  /// up to `end`.
  struct Node {
    std::uint32_t end = 0;     // the node after the subtree
    std::uint32_t tokens = 0;  // where those that end here begin; those of the next node follow
    std::uint16_t depth = 0;   // bytes from the root, 0
    std::uint8_t byte = 0;     // that leads here
  };

  /// @param end_of_text  ids that end a text; others than the vocabulary's are passed over
  TokenTrie(const Tokenizer& tokenizer, std::span<const std::int64_t> end_of_text);

  [[nodiscard]] std::uint32_t size() const { return static_cast<std::uint32_t>(nodes_.size() - 1); }
  [[nodiscard]] const Node& node(std::uint32_t index) const { return nodes_[index]; }
  [[nodiscard]] bool has_children(std::uint32_t index) const { return nodes_[index].end > index + 1; }
  /// Tokens that end at a node.
  [[nodiscard]] std::span<const std::int32_t> tokens(std::uint32_t index) const {
    return std::span(tokens_).subspan(nodes_[index].tokens, nodes_[index + 1].tokens - nodes_[index].tokens);
  }
  /// Bytes of the longest token.
  [[nodiscard]] std::size_t longest() const { return longest_; }
  /// Ids of the vocabulary, those that are not in the tree included.
  [[nodiscard]] std::size_t vocab_size() const { return is_text_.size(); }
  /// Whether a token is in the tree. @param token  any number
  [[nodiscard]] bool contains(std::int64_t token) const {
    return token >= 0 && static_cast<std::size_t>(token) < is_text_.size() &&
           is_text_[static_cast<std::size_t>(token)];
  }

 private:
  void add(std::string_view bytes, std::string_view previous, std::vector<std::uint32_t>& path);

  std::vector<Node> nodes_;  // and one after the last
  std::vector<std::int32_t> tokens_;
  std::size_t longest_ = 0;
  std::vector<bool> is_text_;  // by id
};

}  // namespace fathom
