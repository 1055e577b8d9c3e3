#include "train/fim.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "base/rng.h"

namespace fathom {
namespace {

struct Spelling {
  const char* begin;
  const char* hole;
  const char* end;
};

constexpr std::array<Spelling, 4> kSpellings = {{
    {"<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"},
    {"<|fim_begin|>", "<|fim_hole|>", "<|fim_end|>"},
    {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"},
    {"<fim_prefix>", "<fim_suffix>", "<fim_middle>"},
}};

/// The beginning of the character at `at`.
std::size_t character_begin(std::string_view text, std::size_t at) {
  while (at > 0 && at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80U) --at;
  return at;
}

}  // namespace

std::optional<FimTokens> FimTokens::of(const Tokenizer& tokenizer) {
  for (const Spelling& spelling : kSpellings) {
    const auto begin = tokenizer.id_of(spelling.begin);
    const auto hole = tokenizer.id_of(spelling.hole);
    const auto end = tokenizer.id_of(spelling.end);
    if (begin && hole && end) return FimTokens{*begin, *hole, *end};
  }
  return std::nullopt;
}

std::optional<FimParts> fim_parts(std::string_view text, std::uint64_t hash, std::uint64_t seed,
                                  double rate) {
  if (rate <= 0) return std::nullopt;
  Rng random(seed, hash);
  if (random.uniform() >= rate) return std::nullopt;
  std::size_t first = character_begin(text, random.below(text.size() + 1));
  std::size_t second = character_begin(text, random.below(text.size() + 1));
  if (first > second) std::swap(first, second);
  return FimParts{text.substr(0, first), text.substr(first, second - first), text.substr(second)};
}

}  // namespace fathom
