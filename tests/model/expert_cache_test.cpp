#include "model/expert_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "support/error_text.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using test::error_of;
using ::testing::HasSubstr;

constexpr std::int64_t kExperts = 8;
constexpr std::size_t kLayers = 4;
constexpr std::int64_t kValues = 2000;  // of an expert: two blocks of 4096 bytes

float value_of(std::size_t group, std::int64_t expert) {
  return static_cast<float>(100 * static_cast<std::int64_t>(group) + expert);
}

/// Packs of experts that are full of one value each.
class ExpertCacheTest : public testing::Test {
 protected:
  /// @param sizes  [layers], values of an expert
  std::shared_ptr<const RecordPack> pack_of(const std::vector<std::int64_t>& sizes) {
    std::vector<RecordGroup> groups;
    for (std::size_t g = 0; g < sizes.size(); ++g)
      groups.push_back(
          {.key = static_cast<std::int64_t>(g), .records = kExperts, .parts = {{"x", {sizes[g]}}}});
    RecordPackWriter writer(path(), groups);
    for (std::size_t g = 0; g < sizes.size(); ++g) {
      for (std::int64_t e = 0; e < kExperts; ++e) {
        Tensor values = Tensor::empty({sizes[g]});
        std::ranges::fill(values.values(), value_of(g, e));
        writer.write(g, e, std::span(&values, 1));
      }
    }
    writer.commit();
    return std::make_shared<const RecordPack>(path());
  }
  std::shared_ptr<const RecordPack> pack_of_equals() {
    return pack_of(std::vector<std::int64_t>(kLayers, kValues));
  }
  [[nodiscard]] std::filesystem::path path() const { return folder_.path() / "m.experts"; }

  test::TemporaryFolder folder_;
};

constexpr std::uint64_t kSlotBytes = 2 * kRecordAlignment;

bool is_expert(const std::byte* record, std::size_t group, std::int64_t expert) {
  std::vector<float> values(kValues);
  std::memcpy(values.data(), record, kValues * sizeof(float));
  return std::ranges::all_of(values, [&](float value) { return value == value_of(group, expert); });
}

/// Uses experts once; which came, sorted. Expects each to be what it should, and the budget to hold.
std::vector<std::int64_t> use_experts(ExpertCache& cache, std::size_t group,
                                      const std::vector<std::int64_t>& experts) {
  const auto use = cache.use(group, 1, experts, std::vector<std::int64_t>(experts.size(), 1));
  std::vector<std::int64_t> came;
  for (auto wave = use->next(); !wave.empty(); wave = use->next()) {
    EXPECT_LE(cache.stats().resident_bytes, cache.stats().budget_bytes);
    for (const ExpertCache::Use::Expert& expert : wave) {
      EXPECT_TRUE(is_expert(expert.record, group, expert.expert)) << expert.expert;
      came.push_back(expert.expert);
    }
  }
  std::ranges::sort(came);
  return came;
}

std::vector<std::int64_t> all_experts() {
  std::vector<std::int64_t> all(kExperts);
  std::iota(all.begin(), all.end(), 0);
  return all;
}

TEST_F(ExpertCacheTest, GivesAllExpertsWhateverTheBudget) {
  const auto pack = pack_of_equals();
  for (const std::uint64_t slots : {1, 2, 3, 8, 31, 32, 1000}) {
    for (const ReadMethod method : {ReadMethod::best, ReadMethod::threads}) {
      ExpertCache cache(pack, slots * kSlotBytes + 1, method);
      for (int round = 0; round < 3; ++round)
        for (std::size_t g = 0; g < kLayers; ++g)
          EXPECT_EQ(use_experts(cache, g, all_experts()), all_experts());
      EXPECT_EQ(cache.wants_guesses(), slots < 32);
      const ExpertCacheStats stats = cache.stats();
      EXPECT_EQ(stats.asked(), 3 * 32);
      EXPECT_EQ(stats.bytes_read, static_cast<std::uint64_t>(stats.misses) * kSlotBytes);
      EXPECT_EQ(stats.all_bytes, 32 * kSlotBytes);
      EXPECT_EQ(stats.misses == 32, slots >= 32);
    }
  }
}

TEST_F(ExpertCacheTest, TooSmallABudgetIsRefused) {
  const auto pack = pack_of_equals();
  EXPECT_THAT(error_of([&] { ExpertCache cache(pack, kSlotBytes - 1); }),
              HasSubstr("8.0 KiB of memory for experts is too little: " + path().string() +
                        " needs at least 8.0 KiB"));
}

TEST_F(ExpertCacheTest, LayersOfOtherSizesGetTheirShare) {
  const auto pack = pack_of({kValues, 3 * kValues, kValues});
  for (const std::uint64_t blocks : {8, 11, 20, 40, 79, 80, 100}) {
    ExpertCache cache(pack, blocks * kRecordAlignment);
    for (int round = 0; round < 2; ++round)
      for (std::size_t g = 0; g < 3; ++g) EXPECT_EQ(use_experts(cache, g, all_experts()), all_experts());
  }
  EXPECT_THAT(error_of([&] { ExpertCache cache(pack, 7 * kRecordAlignment); }), HasSubstr("too little"));
}

TEST_F(ExpertCacheTest, WhatIsUsedMostStays) {
  ExpertCache cache(pack_of_equals(), 4 * kSlotBytes);
  for (int i = 0; i < 20; ++i) {
    use_experts(cache, 0, {1, 2});
    use_experts(cache, 0, {i % 2 == 0 ? 5 : 6});
  }
  for (std::size_t g = 1; g < kLayers; ++g) use_experts(cache, g, {0});  // each once
  const std::int64_t misses = cache.stats().misses;
  use_experts(cache, 0, {1, 2});
  EXPECT_EQ(cache.stats().misses, misses);
}

TEST_F(ExpertCacheTest, GuessedExpertsAreReadAhead) {
  ExpertCache cache(pack_of_equals(), 6 * kSlotBytes);
  use_experts(cache, 0, {0, 1});
  cache.expect(1, std::vector<std::int64_t>{3, 4, 5});
  use_experts(cache, 1, {3, 4, 7});
  const ExpertCacheStats stats = cache.stats();
  EXPECT_EQ(stats.hits + stats.arriving, 2);
  EXPECT_EQ(stats.misses, 3);
  EXPECT_EQ(stats.guesses, 3);
  EXPECT_EQ(stats.right_guesses, 2);
  EXPECT_EQ(stats.fetched, 3);
  EXPECT_EQ(stats.fetched_used, 2);
  EXPECT_DOUBLE_EQ(stats.guess_accuracy(), 2.0 / 3);
}

TEST_F(ExpertCacheTest, GuessesTakeNothingThatIsInUse) {
  ExpertCache cache(pack_of_equals(), 2 * kSlotBytes);
  const std::vector<std::int64_t> experts = {2, 6};
  const std::vector<std::int64_t> rows = {1, 1};
  const auto use = cache.use(0, 1, experts, rows);
  std::size_t given = 0;
  for (auto wave = use->next(); !wave.empty(); wave = use->next()) {
    cache.expect(1, std::vector<std::int64_t>{0, 1, 2, 3, 4});
    for (const ExpertCache::Use::Expert& expert : wave)
      EXPECT_TRUE(is_expert(expert.record, 0, expert.expert));
    given += wave.size();
    EXPECT_LE(cache.stats().resident_bytes, 2 * kSlotBytes);
  }
  EXPECT_EQ(given, 2U);
}

TEST_F(ExpertCacheTest, WrongGuessesOverAndOverDoNoHarm) {
  ExpertCache cache(pack_of_equals(), 5 * kSlotBytes);
  for (std::int64_t round = 0; round < 200; ++round) {
    for (std::size_t g = 0; g < kLayers; ++g) {
      const std::int64_t e = (round * 3 + static_cast<std::int64_t>(g)) % kExperts;
      cache.expect(g, std::vector<std::int64_t>{(e + 1) % kExperts, (e + 4) % kExperts, e});
      const std::vector<std::int64_t> wanted = {std::min(e, (e + 5) % kExperts),
                                                std::max(e, (e + 5) % kExperts)};
      EXPECT_EQ(use_experts(cache, g, wanted), wanted);
    }
  }
  EXPECT_LE(cache.stats().right_guesses, cache.stats().guesses);
}

TEST_F(ExpertCacheTest, AFileThatIsCutWhileInUseIsAnError) {
  ExpertCache cache(pack_of_equals(), 3 * kSlotBytes);
  use_experts(cache, 0, {0});
  std::filesystem::resize_file(path(), cache.pack().groups()[2].first);
  EXPECT_EQ(use_experts(cache, 0, {0}), (std::vector<std::int64_t>{0}));
  for (int i = 0; i < 3; ++i)
    EXPECT_THAT(error_of([&] {
                  use_experts(cache, 3, {1, 2, 3, 4});
                }),
                HasSubstr("before what was to be read"));
  EXPECT_EQ(use_experts(cache, 1, all_experts()), all_experts());
}

TEST_F(ExpertCacheTest, ADamagedExpertIsNamed) {
  const std::uint64_t place = pack_of_equals()->groups()[1].offset(5) + 77;
  std::string content = read_text_file(path(), 1 << 24);
  content[place] = static_cast<char>(content[place] ^ 4);
  write_file_atomically(path(), content);
  ExpertCache cache(std::make_shared<const RecordPack>(path()), 3 * kSlotBytes);
  EXPECT_EQ(use_experts(cache, 1, {4}), (std::vector<std::int64_t>{4}));
  EXPECT_THAT(error_of([&] { use_experts(cache, 1, {5}); }), HasSubstr("record 5 of group 1 is damaged"));
}

TEST_F(ExpertCacheTest, ManyThreadsMayUseItWithFewSlots) {
  ExpertCache cache(pack_of_equals(), 3 * kSlotBytes);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&cache, t] {
      for (std::int64_t round = 0; round < 40; ++round) {
        const std::size_t group = (t + static_cast<std::size_t>(round)) % kLayers;
        cache.expect((group + 1) % kLayers, std::vector<std::int64_t>{round % kExperts});
        EXPECT_EQ(use_experts(cache, group, all_experts()), all_experts());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace fathom
