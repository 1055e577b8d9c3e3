#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "text/tokenizer_spec.h"
#include "text/vocabulary.h"

namespace fathom {

/// Byte-pair merging of one word: of all neighbours that have a merge, the earliest-learned (the leftmost
/// among equals) become one token, until none has. Immutable; threads share it, each with a scratch of its
/// own.
class Bpe {
 public:
  struct Scratch;

  Bpe(const TokenizerSpec& spec, const Vocabulary& vocabulary);

  /// Appends the tokens of `word`. Cost: n·log n for a word of n bytes, and quicker for short ones.
  void encode(std::string_view word, std::vector<std::int32_t>& ids, Scratch& scratch) const;

 private:
  struct Rule {
    std::uint64_t pair = kFree;  // left id in the upper half, right id in the lower
    std::uint32_t rank = kNoRank;
    std::int32_t merged = -1;
  };
  static constexpr std::uint64_t kFree = UINT64_MAX;
  static constexpr std::uint32_t kNoRank = UINT32_MAX;

  void add_rule(std::int32_t left, std::int32_t right, std::uint32_t rank, std::int32_t merged);
  [[nodiscard]] const Rule* find_rule(std::int32_t left, std::int32_t right) const;
  void append_symbols(std::string_view word, std::vector<std::int32_t>& symbols) const;
  void merge_short(Scratch& scratch) const;
  void merge_long(Scratch& scratch) const;

  std::array<std::int32_t, 256> byte_ids_{};  // -1: the byte has no token
  std::vector<Rule> rules_;                   // open addressing
  std::optional<std::int32_t> unknown_;
  bool fuse_unknown_ = false;
  bool ignore_merges_ = false;
  std::vector<std::int32_t> whole_words_;  // ignore_merges: ids hashed by their bytes; -1 is free
  const Vocabulary* vocabulary_;
};

/// Working memory of `Bpe::encode`.
struct Bpe::Scratch {
  struct Symbol {
    std::int32_t id = 0;
    std::int32_t previous = -1;
    std::int32_t next = -1;
  };
  struct Candidate {
    std::uint32_t rank = 0;
    std::int32_t position = 0;  // of the left symbol
    std::int32_t left = 0;      // ids when it was found; another pair there now means it is stale
    std::int32_t right = 0;
    std::int32_t merged = 0;
  };
  std::vector<std::int32_t> ids;
  std::vector<const Rule*> rules;
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
};

}  // namespace fathom
