#include "train/near_duplicates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "base/rng.h"
#include "support/error_text.h"
#include "support/shared_data.h"
#include "train/entry_file.h"
#include "train/external_sorter.h"
#include "train/survey.h"

namespace fathom {
namespace {

using Shingles = std::vector<std::uint32_t>;

Shingles shingles_of(std::string_view text) {
  Shingles shingles;
  append_shingles(text, shingles);
  return shingles;
}

TEST(ShinglesTest, AreTheRunsOfFiveWords) {
  EXPECT_EQ(shingles_of("one two three four five").size(), 1U);
  EXPECT_EQ(shingles_of("one two three four five six seven").size(), 3U);
  EXPECT_EQ(shingles_of("a b c d e a b c d e").size(), 6U);
  EXPECT_EQ(shingles_of("a b c d e a b c d e")[0], shingles_of("a b c d e a b c d e")[5]);
}

TEST(ShinglesTest, CaseAndWhatLiesBetweenWordsDoNotCount) {
  EXPECT_EQ(shingles_of("The cat, sat on\nthe mat!"), shingles_of("the CAT sat  on the - mat"));
  EXPECT_NE(shingles_of("the cat sat on the mat"), shingles_of("the cat sat on the hat"));
  EXPECT_NE(shingles_of("the cat sat on the mat"), shingles_of("thecat sat on the mat a"));
}

TEST(ShinglesTest, ShortTextsAreOneShingleAndEmptyOnesNone) {
  EXPECT_EQ(shingles_of("two words").size(), 1U);
  EXPECT_NE(shingles_of("two words"), shingles_of("words two"));
  EXPECT_TRUE(shingles_of("").empty());
  EXPECT_TRUE(shingles_of(" .,;\n").empty());
}

TEST(ShinglesTest, CharactersBeyondAsciiAreWords) {
  EXPECT_EQ(shingles_of("汉字汉字汉字").size(), 2U);
  EXPECT_EQ(shingles_of("\xFF\xFE broken \xE6").size(), 1U);  // never read beyond the end
}

TEST(BandsTest, FindPairsAtTheThresholdAndFewFarBelow) {
  for (const double threshold : {0.5, 0.7, 0.8, 0.9, 1.0}) {
    const Bands bands = bands_for(threshold);
    EXPECT_LE(bands.bands * bands.rows, kernels::kMinHashes);
    EXPECT_GE(bands.probability(threshold), 0.95);
    EXPECT_LT(bands.probability(threshold / 4), 0.1);
  }
  EXPECT_EQ(bands_for(0.8).rows, 7U);  // as the manual says
  EXPECT_EQ(bands_for(0.8).bands, 18U);
  EXPECT_THAT(test::error_of([] { bands_for(0); }), testing::HasSubstr("above 0"));
}

TEST(ExternalSorterTest, SortsWhatDoesNotFitIntoItsMemory) {
  const test::TemporaryFolder folder;
  for (const std::size_t count : {0U, 1U, 63U, 64U, 65U, 1000U}) {
    ExternalSorter<std::uint64_t> sorter(folder.path() / "sorted", 64 * sizeof(std::uint64_t));
    std::multiset<std::uint64_t> expected;
    Rng random(count);
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint64_t value = random.below(300);
      sorter.add(value);
      expected.insert(value);
    }
    std::vector<std::uint64_t> sorted;
    sorter.for_each_sorted([&](const std::uint64_t& value) { sorted.push_back(value); });
    EXPECT_TRUE(std::equal(sorted.begin(), sorted.end(), expected.begin(), expected.end()));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(EntryFileTest, ReadsInOrderAndAnywhere) {
  const test::TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "entries";
  {
    GrowingFile file(path, 0);
    for (std::uint64_t i = 0; i < 5000; ++i) file.append(std::as_bytes(std::span(&i, 1)));
    file.sync();
  }
  EntryFile<std::uint64_t> entries(path);
  std::uint64_t entry = 0;
  for (std::uint64_t i = 0; i < 5000; ++i) {
    ASSERT_TRUE(entries.next(entry));
    ASSERT_EQ(entry, i);
  }
  EXPECT_FALSE(entries.next(entry));
  EXPECT_EQ(entries.at(4321), 4321U);
  entries.seek(4998);
  EXPECT_TRUE(entries.next(entry) && entries.next(entry) && !entries.next(entry));
  EXPECT_EQ(entry, 4999U);
  EXPECT_THAT(test::error_of([&] { (void)entries.at(5000); }), testing::HasSubstr("has no entry 5000"));
}

/// Groups of texts that are more and less alike, in random order, some of them copies.
std::vector<std::string> alike_texts(std::uint64_t seed) {
  Rng random(seed);
  const auto word = [&] { return "w" + std::to_string(random.below(5000)); };
  std::vector<std::string> texts;
  for (int group = 0; group < 60; ++group) {
    std::vector<std::string> words(150 + random.below(150));
    for (std::string& one : words) one = word();
    for (std::uint64_t copies = 1 + random.below(4); copies > 0; --copies) {
      std::string text;
      for (const std::string& one : words) text += one + (random.below(10) == 0 ? ",\n" : " ");
      texts.push_back(text);
      // The next of the group differs from this one in some places.
      const std::uint64_t edits = random.below(9);
      for (std::uint64_t i = 0; i < edits; ++i) words[random.below(words.size())] = word();
    }
  }
  for (std::size_t i = texts.size(); i > 1; --i) std::swap(texts[i - 1], texts[random.below(i)]);
  for (int i = 0; i < 10; ++i) texts.push_back(texts[random.below(texts.size())]);
  return texts;
}

/// The shingles of a text, each once.
Shingles set_of(std::string_view text) {
  Shingles shingles = shingles_of(text);
  std::sort(shingles.begin(), shingles.end());
  shingles.erase(std::unique(shingles.begin(), shingles.end()), shingles.end());
  return shingles;
}

double jaccard(const Shingles& a, const Shingles& b) {
  Shingles both;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both));
  return static_cast<double>(both.size()) / static_cast<double>(a.size() + b.size() - both.size());
}

class FindDuplicatesTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
  SurveyFiles files_{folder_.path()};
  ThreadPool pool_{2};

  void survey(const std::vector<std::string>& texts) const {
    GrowingFile records(files_.records, 0);
    GrowingFile signatures(files_.signatures, 0);
    for (const std::string& text : texts) {
      const SurveyRecord record{checksum(text), text.size()};
      SignatureBuilder builder;
      builder.add(text);
      const Signature signature = builder.signature();
      records.append(std::as_bytes(std::span(&record, 1)));
      signatures.append(std::as_bytes(std::span(&signature, 1)));
    }
    records.sync();
    signatures.sync();
  }
};

TEST_F(FindDuplicatesTest, OfEqualTextsTheFirstStays) {
  survey({"a", "b", "a", "", "", "b", "a", "c"});
  const DocumentFates fates = find_duplicates(files_, 8, std::nullopt, pool_);
  using enum DocumentFates::Fate;
  const std::vector<DocumentFates::Fate> expected = {
      keep, keep, exact_duplicate, keep, keep, exact_duplicate, exact_duplicate, keep};
  for (std::uint64_t i = 0; i < 8; ++i) EXPECT_EQ(fates.of(i), expected[i]) << i;
}

TEST_F(FindDuplicatesTest, AgreesWithTheSimilarityOfWholeSets) {
  constexpr double kThreshold = 0.8;
  // Four standard deviations of the estimate at the threshold.
  const double slack = 4 * std::sqrt(kThreshold * (1 - kThreshold) / 128);
  int clearly_alike = 0;
  int missed = 0;
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    const std::vector<std::string> texts = alike_texts(seed);
    survey(texts);
    const DocumentFates fates = find_duplicates(files_, texts.size(), kThreshold, pool_);
    std::vector<Shingles> sets;
    for (const std::string& text : texts) sets.push_back(set_of(text));
    std::map<std::string, std::size_t> first_place;
    for (std::size_t j = 0; j < texts.size(); ++j) {
      const bool copy = !first_place.emplace(texts[j], j).second;
      EXPECT_EQ(fates.of(j) == DocumentFates::Fate::exact_duplicate, copy) << j;
      if (copy) continue;
      double nearest_kept = 0;
      for (std::size_t i = 0; i < j; ++i)
        if (fates.of(i) == DocumentFates::Fate::keep)
          nearest_kept = std::max(nearest_kept, jaccard(sets[i], sets[j]));
      const bool left_out = fates.of(j) == DocumentFates::Fate::near_duplicate;
      if (left_out) {
        EXPECT_GT(nearest_kept, kThreshold - slack) << j;
      }
      if (nearest_kept > kThreshold + slack) {
        ++clearly_alike;
        missed += left_out ? 0 : 1;
      }
    }
  }
  EXPECT_GT(clearly_alike, 20);
  EXPECT_LE(missed,
            1);  // a pair at 0.94 shares no band with probability 2e-9, but may be compared with others alone
}

TEST_F(FindDuplicatesTest, ThreadsDoNotChangeTheChoice) {
  const std::vector<std::string> texts = alike_texts(9);
  survey(texts);
  ThreadPool one(1);
  ThreadPool four(4);
  const DocumentFates a = find_duplicates(files_, texts.size(), 0.7, one);
  const DocumentFates b = find_duplicates(files_, texts.size(), 0.7, four);
  for (std::uint64_t i = 0; i < texts.size(); ++i) EXPECT_EQ(a.of(i), b.of(i));
}

TEST_F(FindDuplicatesTest, TextsWithoutWordsAreNotAlike) {
  survey({"...", "!!!", "???", "--"});
  const DocumentFates fates = find_duplicates(files_, 4, 0.5, pool_);
  for (std::uint64_t i = 0; i < 4; ++i) EXPECT_EQ(fates.of(i), DocumentFates::Fate::keep);
}

TEST_F(FindDuplicatesTest, FatesAreReadAsTheyWereSaved) {
  DocumentFates fates(1001);
  for (std::uint64_t i = 0; i < 1001; ++i) fates.set(i, static_cast<DocumentFates::Fate>(i * 7 % 3));
  fates.save(files_.fates);
  const DocumentFates again = DocumentFates::load(files_.fates, 1001);
  for (std::uint64_t i = 0; i < 1001; ++i) EXPECT_EQ(again.of(i), fates.of(i));
  EXPECT_THAT(test::error_of([&] { DocumentFates::load(files_.fates, 1005); }),
              testing::HasSubstr("not of 1005"));
}

}  // namespace
}  // namespace fathom
