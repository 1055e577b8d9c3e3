// Haystacks, and where needles go in them.
#include <algorithm>
#include <cmath>
#include <memory>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/rng.h"
#include "train/needle.h"
#include "train/retrieval_text.h"

namespace fathom {
namespace {

using Tokens = std::vector<std::int32_t>;

std::int64_t count_of(const Tokens& tokens) {
  return static_cast<std::int64_t>(tokens.size());
}

void append(Tokens& to, const Tokens& tokens) {
  to.insert(to.end(), tokens.begin(), tokens.end());
}

/// Cuts a text before the white space that follows a sentence's end or a line; a piece without any is cut at
/// `kLongest` bytes, between characters.
std::vector<std::string> sentences_of(const std::string& text) {
  constexpr std::size_t kLongest = 400;
  const auto is_space = [](char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; };
  std::vector<std::string> sentences;
  std::size_t begin = 0;
  const auto cut = [&](std::size_t end) {
    const std::string_view piece = std::string_view(text).substr(begin, end - begin);
    if (!std::ranges::all_of(piece, is_space)) sentences.emplace_back(piece);
    begin = end;
  };
  for (std::size_t i = 1; i < text.size(); ++i) {
    const char before = text[i - 1];
    const bool ends_sentence = before == '.' || before == '!' || before == '?';
    const bool inside_character = (static_cast<unsigned char>(text[i]) & 0xC0U) == 0x80U;
    if ((ends_sentence && is_space(text[i])) || (text[i] == '\n' && !is_space(before)) ||
        (i - begin >= kLongest && !inside_character))
      cut(i);
  }
  cut(text.size());
  return sentences;
}

}  // namespace

Haystack generated_haystack() {
  return [](std::uint64_t seed) { return [rng = Rng(seed)]() mutable { return filler_sentence(rng); }; };
}

Haystack text_haystack(const std::string& text) {
  const auto sentences = std::make_shared<const std::vector<std::string>>(sentences_of(text));
  require(!sentences->empty(), "the haystack has no text: give one with at least a sentence");
  return [sentences](std::uint64_t seed) {
    Rng rng(seed);
    return [sentences, next = rng.below(sentences->size())]() mutable {
      const std::string& sentence = (*sentences)[next];
      next = (next + 1) % sentences->size();
      return sentence;
    };
  };
}

NeedleText::NeedleText(const Tokenizer& tokenizer, const Haystack& haystack, std::int64_t length,
                       std::int64_t distractors, std::uint64_t seed) {
  Rng rng(seed, static_cast<std::uint64_t>(length));
  const auto encode = [&](const std::string& text) { return tokenizer.encode(text, /*add_special=*/false); };

  std::vector<std::pair<std::string, Tokens>> sentences;
  const auto next = haystack(rng.next_u64());
  for (std::int64_t tokens = 0; tokens < length;) {
    std::string sentence = next();
    Tokens ids = encode(sentence);
    tokens += std::max<std::int64_t>(1, count_of(ids));
    sentences.emplace_back(std::move(sentence), std::move(ids));
  }
  const std::vector<Fact> facts =
      random_facts(rng, 1 + static_cast<std::size_t>(distractors), [&](std::string_view key) {
        return std::ranges::none_of(sentences,
                                    [&](const auto& s) { return s.first.find(key) != std::string::npos; });
      });
  needle_ = encode(facts[0].statement());
  question_ = encode(facts[0].question());
  answer_ = encode(facts[0].answer());
  std::vector<Tokens> others;
  for (std::size_t i = 1; i < facts.size(); ++i) others.push_back(encode(facts[i].statement()));

  hay_ = tokenizer.encode("", /*add_special=*/true);
  std::int64_t room = length - count_of(hay_) - count_of(needle_) - count_of(question_) - count_of(answer_);
  for (const Tokens& other : others) room -= count_of(other);
  require(room >= 0, "a needle with its question and {} distractors takes {} tokens, more than the length {}",
          distractors, length - room, length);
  std::vector<Tokens> pieces;
  for (auto& [text, ids] : sentences) {
    room -= count_of(ids);
    if (room < 0) break;
    pieces.push_back(std::move(ids));
  }
  for (Tokens& other : others)
    pieces.insert(pieces.begin() + static_cast<std::ptrdiff_t>(rng.below(pieces.size() + 1)),
                  std::move(other));
  boundaries_.push_back(hay_.size());
  for (const Tokens& piece : pieces) {
    append(hay_, piece);
    boundaries_.push_back(hay_.size());
  }
}

std::size_t NeedleText::place(double depth) const {
  const auto first = static_cast<double>(boundaries_.front());
  const double wanted = first + depth * (static_cast<double>(boundaries_.back()) - first);
  return *std::ranges::min_element(
      boundaries_, {}, [&](std::size_t at) { return std::abs(static_cast<double>(at) - wanted); });
}

std::int64_t shortest_needle_text(const Tokenizer& tokenizer) {
  const Fact fact{"Lisbon", "golden compass"};
  return 2 *
         count_of(tokenizer.encode(fact.statement() + fact.question() + fact.answer(), /*add_special=*/true));
}

std::vector<std::int64_t> doubling_lengths(std::int64_t longest, std::int64_t shortest, std::int64_t count) {
  std::vector<std::int64_t> lengths = {longest};
  while (static_cast<std::int64_t>(lengths.size()) < count && lengths.front() / 2 >= shortest)
    lengths.insert(lengths.begin(), lengths.front() / 2);
  return lengths;
}

std::vector<double> even_depths(std::int64_t count) {
  if (count == 1) return {0.5};
  std::vector<double> depths;
  for (std::int64_t i = 0; i < count; ++i)
    depths.push_back(static_cast<double>(i) / static_cast<double>(count - 1));
  return depths;
}

}  // namespace fathom
