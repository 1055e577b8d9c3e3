#include "text/token_trie.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "text/byte_alphabet.h"

namespace fathom {
namespace {

/// Longer tokens, which no tokenizer has learned, are never chosen under a grammar.
constexpr std::size_t kLongestToken = 1024;

/// What a token that was learned from text stands for; nothing for a hole or for a token that marks
/// something, which is special or spelled in characters of its own ("<｜User｜>").
std::string_view text_of_token(const Tokenizer& tokenizer, std::int64_t id) {
  try {
    if (tokenizer.is_special(id) || !is_byte_spelling(tokenizer.token_spelling(id))) return {};
    return tokenizer.token_bytes(id);
  } catch (const Error&) {
    return {};
  }
}

}  // namespace

TokenTrie::TokenTrie(const Tokenizer& tokenizer, std::span<const std::int64_t> end_of_text)
    : is_text_(static_cast<std::size_t>(tokenizer.vocab_size())) {
  std::vector<std::pair<std::string_view, std::int32_t>> sorted;
  for (std::int64_t id = 0; id < tokenizer.vocab_size(); ++id) {
    const std::string_view bytes = text_of_token(tokenizer, id);
    if (bytes.empty() || bytes.size() > kLongestToken) continue;
    if (std::ranges::find(end_of_text, id) != end_of_text.end()) continue;
    is_text_[static_cast<std::size_t>(id)] = true;
    longest_ = std::max(longest_, bytes.size());
    sorted.emplace_back(bytes, static_cast<std::int32_t>(id));
  }
  std::ranges::sort(sorted);

  nodes_.emplace_back();
  std::vector<std::uint32_t> path = {0};  // by depth: nodes whose subtrees are open
  std::string_view previous;
  for (const auto& [bytes, id] : sorted) {
    add(bytes, previous, path);
    tokens_.push_back(id);
    previous = bytes;
  }
  for (const std::uint32_t node : path) nodes_[node].end = static_cast<std::uint32_t>(nodes_.size());
  nodes_.push_back({.tokens = static_cast<std::uint32_t>(tokens_.size())});
}

/// Nodes for the bytes in which a token differs from the one before it.
void TokenTrie::add(std::string_view bytes, std::string_view previous, std::vector<std::uint32_t>& path) {
  const auto shared = static_cast<std::size_t>(std::ranges::mismatch(bytes, previous).in1 - bytes.begin());
  while (path.size() > shared + 1) {
    nodes_[path.back()].end = static_cast<std::uint32_t>(nodes_.size());
    path.pop_back();
  }
  for (std::size_t depth = shared; depth < bytes.size(); ++depth) {
    path.push_back(static_cast<std::uint32_t>(nodes_.size()));
    nodes_.push_back({.tokens = static_cast<std::uint32_t>(tokens_.size()),
                      .depth = static_cast<std::uint16_t>(depth + 1),
                      .byte = static_cast<std::uint8_t>(bytes[depth])});
  }
}

}  // namespace fathom
