#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/regex.h"
#include "text/tokenizer_spec.h"

namespace fathom {

/// Finds added tokens in text: leftmost first, the longest of those that begin together.
class AddedTokenMatcher {
 public:
  struct Piece {
    std::string_view text;
    std::int32_t id = -1;  // of the added token; -1: ordinary text
  };

  /// @param tokens    among equal contents the first counts
  explicit AddedTokenMatcher(const std::vector<AddedToken>& tokens);

  /// Cuts `text` into tokens and the text between them, in order, appended to `pieces`.
  /// @param text  valid UTF-8
  void split(std::string_view text, RegexScratch& scratch, std::vector<Piece>& pieces) const;

 private:
  struct Found {
    std::size_t begin = 0;
    std::size_t end = 0;
    const AddedToken* token = nullptr;
  };
  [[nodiscard]] Found find(std::string_view text, std::size_t from) const;
  [[nodiscard]] std::size_t next_candidate(std::string_view text, std::size_t from) const;

  std::vector<AddedToken> tokens_;
  // A trie: (node, byte) to node; node 0 is the root.
  std::unordered_map<std::uint64_t, std::uint32_t> edges_;
  std::vector<std::int32_t> token_at_;  // by node: index into tokens_, or -1
  std::array<bool, 256> starts_{};      // bytes with which some token begins
  int only_start_ = -1;                 // that byte, where all tokens begin alike
  Regex white_space_;                   // at the beginning, possibly none
  Regex word_at_begin_;
};

}  // namespace fathom
