#include "model/sequences.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "model/latent_ring.h"
#include "model/mtp.h"

namespace fathom {
namespace {

using testing::ElementsAre;

constexpr std::int64_t kLengths[] = {16, 0, 1, 7, 23};

/// Sequences of uneven lengths, one of them empty.
Sequences uneven() {
  Sequences whole{{0}};
  for (const std::int64_t length : kLengths) whole.offsets.push_back(whole.offsets.back() + length);
  return whole;
}

TEST(SequencesTest, WholeOnesArePositionsFromZero) {
  const Sequences whole{{0, 3, 3, 5}};
  EXPECT_THAT(whole.positions(), ElementsAre(0, 1, 2, 0, 1));
  EXPECT_EQ(whole.count_with_tokens(), 2);
  EXPECT_THAT(whole.shortened(1).offsets, ElementsAre(0, 2, 2, 3));
  EXPECT_FALSE(whole.part(0, 1).are_shared());
}

TEST(SequencesTest, ARankHasAnEarlyAndALatePiece) {
  const Sequences whole{{0, 8}};
  EXPECT_THAT(whole.part(0, 2).positions(), ElementsAre(0, 1, 6, 7));
  EXPECT_THAT(whole.part(1, 2).positions(), ElementsAre(2, 3, 4, 5));
}

TEST(SequencesTest, TheRanksHaveEachTokenOnceAlsoWhenShortened) {
  for (const int ranks : {1, 2, 3, 5})
    for (const std::int64_t dropped : {0, 1, 2, 6}) {
      const Sequences whole = uneven().shortened(dropped);
      std::multiset<std::pair<std::int64_t, std::int64_t>> found;
      std::set<std::pair<std::int64_t, std::int64_t>> wanted;
      for (int rank = 0; rank < ranks; ++rank) {
        const Sequences part = uneven().part(rank, ranks).shortened(dropped);
        EXPECT_EQ(part.whole_tokens(), whole.tokens());
        EXPECT_EQ(part.count_with_tokens(), whole.count_with_tokens());
        EXPECT_EQ(part.positions(),
                  uneven().part(0, ranks).part_of_rank(rank).shortened(dropped).positions());
        const std::vector<std::int64_t> positions = part.positions();
        std::size_t row = 0;
        for (std::int64_t s = 0; s < part.count(); ++s)
          for (std::int64_t i = 0; i < part.rows_of(s); ++i) found.emplace(s, positions[row++]);
      }
      for (std::int64_t s = 0; s < whole.count(); ++s)
        for (std::int64_t i = 0; i < whole.rows_of(s); ++i) wanted.emplace(s, i);
      EXPECT_EQ(found.size(), wanted.size());
      EXPECT_TRUE(std::ranges::equal(found, wanted));
    }
}

TEST(SequencesTest, ShorterOnesLoseTheirLastRowsAndKeepTheRestInPlace) {
  for (int rank = 0; rank < 3; ++rank) {
    const Sequences part = uneven().part(rank, 3);
    const Sequences shorter = part.shortened(1);
    std::size_t row = 0;
    const std::vector<std::int64_t> positions = part.positions();
    const std::vector<std::int64_t> left = shorter.positions();
    for (std::int64_t s = 0; s < part.count(); ++s) {
      EXPECT_LE(part.rows_of(s) - shorter.rows_of(s), 1);
      for (std::int64_t i = 0; i < shorter.rows_of(s); ++i)
        EXPECT_EQ(left[row++],
                  positions[static_cast<std::size_t>(part.offsets[static_cast<std::size_t>(s)] + i)]);
    }
  }
}

TEST(SequencesTest, IdsAheadAreThoseOfTheWholeSequences) {
  std::vector<std::int32_t> ids;  // 100 · sequence + position
  for (std::int32_t s = 0; const std::int64_t length : kLengths) {
    for (std::int32_t i = 0; i < length; ++i) ids.push_back(100 * s + i);
    ++s;
  }
  for (int rank = 0; rank < 3; ++rank)
    for (const std::int64_t depth : {0, 1, 3}) {
      const Sequences part = uneven().part(rank, 3);
      const Sequences shorter = part.shortened(depth);
      std::vector<std::int32_t> wanted;
      const std::vector<std::int64_t> positions = shorter.positions();
      for (std::int64_t s = 0; s < shorter.count(); ++s)
        for (std::int64_t i = 0; i < shorter.rows_of(s); ++i)
          wanted.push_back(static_cast<std::int32_t>(100 * s + positions[wanted.size()] + depth));
      EXPECT_EQ(ids_ahead(ids, part, depth), wanted);
    }
}

TEST(SequencesTest, AQuerySeesEachKeyUpToItselfOnceOnOneRank) {
  constexpr int kRanks = 4;
  const Sequences whole = uneven().shortened(1);
  for (int rank = 0; rank < kRanks; ++rank) {
    const Sequences own = uneven().part(rank, kRanks).shortened(1);
    const std::vector<std::int64_t> positions = own.positions();
    std::vector<std::multiset<std::int64_t>> seen(positions.size());  // positions of keys, by row
    for (const kernels::AttentionSpan& span : own_spans(own))
      for (std::int64_t i = 0; i < span.queries; ++i)
        for (std::int64_t k = 0; k < span.keys - span.queries + i + 1; ++k)
          seen[static_cast<std::size_t>(span.query_begin + i)].insert(
              positions[static_cast<std::size_t>(span.key_begin + k)]);
    for (int other = 0; other < kRanks; ++other) {
      if (other == rank) continue;
      const Sequences theirs = own.part_of_rank(other);
      const SeenKeys keys = seen_keys(own, theirs);
      EXPECT_TRUE(std::ranges::is_sorted(keys.rows));
      for (const kernels::AttentionSpan& span : keys.spans) {
        EXPECT_FALSE(span.is_causal);
        for (std::int64_t i = 0; i < span.queries; ++i)
          for (std::int64_t k = 0; k < span.keys; ++k)
            seen[static_cast<std::size_t>(span.query_begin + i)].insert(
                theirs.positions()[static_cast<std::size_t>(
                    keys.rows[static_cast<std::size_t>(span.key_begin + k)])]);
      }
    }
    for (std::size_t row = 0; row < seen.size(); ++row) {
      EXPECT_EQ(static_cast<std::int64_t>(seen[row].size()), positions[row] + 1);
      EXPECT_EQ(std::set(seen[row].begin(), seen[row].end()).size(), seen[row].size());
    }
  }
}

TEST(SequencesTest, CausalWorkIsEvenOverTheRanks) {
  constexpr int kRanks = 4;
  const Sequences whole = Sequences::uniform(1, 4096);
  std::set<std::int64_t> pairs;
  for (int rank = 0; rank < kRanks; ++rank) {
    std::int64_t sum = 0;
    for (const std::int64_t position : whole.part(rank, kRanks).positions()) sum += position + 1;
    pairs.insert(sum);
  }
  EXPECT_EQ(pairs.size(), 1U);
}

TEST(SequencesTest, RefusesOffsetsThatDoNotFitTheRows) {
  EXPECT_THROW((Sequences{{0, 4}}.check(5)), Error);
  EXPECT_THROW((Sequences{{0, 4, 2}}.check(2)), Error);
  EXPECT_NO_THROW((Sequences{{0, 4, 4}}.check(4)));
}

}  // namespace
}  // namespace fathom
