#include "text/added_tokens.h"

#include <algorithm>
#include <cstring>

namespace fathom {
namespace {

// The library looks around added tokens with another engine than it splits with: Unicode's definition of a
// word character, joiners included.
constexpr std::string_view kWordCharacter =
    R"(\A(?:(?![\x{b2}\x{b3}\x{b9}\x{bc}-\x{be}])\w|[\x{200c}\x{200d}]))";

std::size_t previous_character(std::string_view text, std::size_t at) {
  do --at;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80U);
  return at;
}

std::uint64_t edge(std::uint32_t node, unsigned char byte) {
  return (std::uint64_t{node} << 8) | byte;
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(const std::vector<AddedToken>& tokens)
    : tokens_(tokens),
      token_at_(1, -1),
      white_space_("\\A\\s+", "white space"),
      word_at_begin_(kWordCharacter, "word") {
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    std::uint32_t node = 0;
    for (const char byte : tokens_[i].content) {
      const auto [next, fresh] = edges_.try_emplace(edge(node, static_cast<unsigned char>(byte)),
                                                    static_cast<std::uint32_t>(token_at_.size()));
      if (fresh) token_at_.push_back(-1);
      node = next->second;
    }
    if (token_at_[node] < 0) token_at_[node] = static_cast<std::int32_t>(i);
    starts_[static_cast<unsigned char>(tokens_[i].content.front())] = true;
  }
  if (std::count(starts_.begin(), starts_.end(), true) == 1) {
    only_start_ = static_cast<int>(std::find(starts_.begin(), starts_.end(), true) - starts_.begin());
  }
}

std::size_t AddedTokenMatcher::next_candidate(std::string_view text, std::size_t from) const {
  if (only_start_ >= 0) {
    const void* found = std::memchr(text.data() + from, only_start_, text.size() - from);
    return found == nullptr ? text.size()
                            : static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
  }
  while (from < text.size() && !starts_[static_cast<unsigned char>(text[from])]) ++from;
  return from;
}

AddedTokenMatcher::Found AddedTokenMatcher::find(std::string_view text, std::size_t from) const {
  while (from < text.size()) {
    const std::size_t begin = next_candidate(text, from);
    Found found;
    std::uint32_t node = 0;
    for (std::size_t at = begin; at < text.size(); ++at) {
      const auto next = edges_.find(edge(node, static_cast<unsigned char>(text[at])));
      if (next == edges_.end()) break;
      node = next->second;
      if (token_at_[node] >= 0) {
        found = {begin, at + 1, &tokens_[static_cast<std::size_t>(token_at_[node])]};
      }
    }
    if (found.token != nullptr) return found;
    from = begin + 1;
  }
  return {};
}

void AddedTokenMatcher::split(std::string_view text, RegexScratch& scratch,
                              std::vector<Piece>& pieces) const {
  if (tokens_.empty()) {
    if (!text.empty()) pieces.push_back({text});
    return;
  }
  const auto word_begins_at = [&](std::size_t at) {
    return at < text.size() && word_at_begin_.find(text.substr(at), 0, scratch).has_value();
  };
  const auto spaces_at = [&](std::size_t at) -> std::size_t {
    const auto match = at < text.size() ? white_space_.find(text.substr(at), 0, scratch) : std::nullopt;
    return match ? match->end : 0;
  };
  std::size_t done = 0;
  for (std::size_t from = 0; from < text.size();) {
    Found found = find(text, from);
    if (found.token == nullptr) break;
    from = found.end;
    if (found.token->single_word) {
      const bool inside_word = word_begins_at(found.end) ||
                               (found.begin > 0 && word_begins_at(previous_character(text, found.begin)));
      if (inside_word) continue;
    }
    if (found.token->left_strip) {
      while (found.begin > done) {
        const std::size_t before = previous_character(text, found.begin);
        if (!white_space_.find(text.substr(before, found.begin - before), 0, scratch)) break;
        found.begin = before;
      }
    }
    if (found.token->right_strip) found.end += spaces_at(found.end);
    if (done < found.begin) pieces.push_back({text.substr(done, found.begin - done)});
    pieces.push_back({text.substr(found.begin, found.end - found.begin), found.token->id});
    done = found.end;
  }
  if (done < text.size()) pieces.push_back({text.substr(done)});
}

}  // namespace fathom
