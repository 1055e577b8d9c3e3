#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "text/tokenizer.h"

namespace fathom {

/// The three tokens by which a document is rearranged so that a model learns to fill in its middle.
struct FimTokens {
  std::int32_t begin = 0;
  std::int32_t hole = 0;
  std::int32_t end = 0;

  /// As DeepSeek spells them (<｜fim▁begin｜>, <｜fim▁hole｜>, <｜fim▁end｜>), or as Qwen and StarCoder do
  /// (fim_prefix, fim_suffix, fim_middle). Nothing where the tokenizer has none of them.
  static std::optional<FimTokens> of(const Tokenizer& tokenizer);
};

/// A document's three parts, in its own order: prefix, middle, suffix.
struct FimParts {
  std::string_view prefix;
  std::string_view middle;
  std::string_view suffix;
};

/// Decides for a document whether it is rearranged, and where it is cut: at two places between characters,
/// each as likely as any other (Bavarian et al. 2022, "context-level" cuts at character positions). A pure
/// function of seed and hash.
/// @param hash  of the document
/// @param rate  the part of the documents that are
/// @return nothing: it stays as it is
std::optional<FimParts> fim_parts(std::string_view text, std::uint64_t hash, std::uint64_t seed, double rate);

}  // namespace fathom
