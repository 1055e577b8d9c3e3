#include "infer/prefix_tiers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

namespace fathom {
namespace {

namespace fs = std::filesystem;

using PrefixTokens = std::vector<std::int32_t>;
using PageBytes = std::vector<std::byte>;

/// Pages of three tokens, in two layers of 4 + 2 values.
class PrefixTiersTest : public testing::Test {
 protected:
  static constexpr CacheFileKey kKey{7, {LatentType::f16, 4, 2}, 2};

  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) /
              ("prefix_tiers_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  [[nodiscard]] std::unique_ptr<PrefixStore> folder() const {
    return std::make_unique<PrefixStore>(folder_, 1 << 20U, kKey, 3);
  }
  /// The first page of a text that begins with this token, and what it takes in memory.
  static PrefixTokens text(std::int32_t first) { return {first, 2, 3}; }
  static PageBytes page(std::int32_t first) {
    return PageBytes(static_cast<std::size_t>(3 * kKey.position_bytes()), static_cast<std::byte>(first));
  }
  static constexpr std::uint64_t kRoom = 3 * 2 * 6 * 2 + 3 * 4;

  fs::path folder_;
};

TEST_F(PrefixTiersTest, MemoryIsBoundedAndThoseUsedLeastRecentlyGo) {
  PrefixTiers tiers(2 * kRoom, nullptr);
  tiers.save(text(1), page(1));
  tiers.save(text(2), page(2));
  EXPECT_EQ(tiers.stats().memory_bytes, 2 * kRoom);
  EXPECT_EQ(tiers.load(text(1)), page(1));
  tiers.save(text(3), page(3));
  EXPECT_TRUE(tiers.has(text(1)));
  EXPECT_FALSE(tiers.has(text(2))) << "used longest ago";
  EXPECT_EQ(tiers.load(text(2)), std::nullopt);
  EXPECT_EQ(tiers.load(text(3)), page(3));
  const PrefixTiers::Stats stats = tiers.stats();
  EXPECT_EQ(stats.memory_pages, 2);
  EXPECT_EQ(stats.memory_bytes, 2 * kRoom);
  EXPECT_EQ(stats.loaded_from_memory, 2);
  EXPECT_EQ(stats.loaded_from_folder, 0);
}

TEST_F(PrefixTiersTest, APageIsOfAllTokensUpToItsEnd) {
  PrefixTiers tiers(10 * kRoom, nullptr);
  tiers.save(text(1), page(1));
  EXPECT_FALSE(tiers.has(PrefixTokens{2, 3}));
  EXPECT_FALSE(tiers.has(PrefixTokens{1, 2, 3, 4}));
  tiers.save(text(1), page(9));
  EXPECT_EQ(tiers.load(text(1)), page(9));
  EXPECT_EQ(tiers.stats().memory_pages, 1);
}

TEST_F(PrefixTiersTest, WhatMemoryHasNoRoomForFallsThroughToTheFolder) {
  PrefixTiers tiers(kRoom, folder());
  tiers.save(text(1), page(1));
  EXPECT_EQ(tiers.stats().folder_bytes, 0U);
  tiers.save(text(2), page(2));
  EXPECT_TRUE(folder()->has(text(1)));
  EXPECT_FALSE(folder()->has(text(2)));
  EXPECT_EQ(tiers.load(text(1)), page(1));
  EXPECT_EQ(tiers.stats().loaded_from_folder, 1);
  EXPECT_EQ(tiers.load(text(1)), page(1));
  EXPECT_EQ(tiers.stats().loaded_from_memory, 1) << "it came back to memory, too";
  EXPECT_TRUE(folder()->has(text(2))) << "and took the other's place there";
}

TEST_F(PrefixTiersTest, WithoutMemoryTheFolderTakesAll) {
  PrefixTiers tiers(0, folder());
  tiers.save(text(1), page(1));
  EXPECT_TRUE(folder()->has(text(1)));
  EXPECT_EQ(tiers.load(text(1)), page(1));
  EXPECT_EQ(tiers.stats().memory_pages, 0);
  EXPECT_EQ(tiers.stats().loaded_from_folder, 1);
}

TEST_F(PrefixTiersTest, WhatIsInMemoryOutlivesTheProcessWhenItIsTold) {
  {
    PrefixTiers tiers(10 * kRoom, folder());
    tiers.save(text(1), page(1));
    tiers.save(text(2), page(2));
    tiers.move_to_folder();
    EXPECT_EQ(tiers.stats().memory_pages, 0);
  }
  PrefixTiers again(10 * kRoom, folder());
  EXPECT_EQ(again.load(text(1)), page(1));
  EXPECT_EQ(again.load(text(2)), page(2));
}

TEST_F(PrefixTiersTest, WithoutAFolderMemoryKeepsWhatItHas) {
  PrefixTiers tiers(10 * kRoom, nullptr);
  tiers.save(text(1), page(1));
  EXPECT_FALSE(tiers.has_folder());
  tiers.move_to_folder();
  EXPECT_EQ(tiers.load(text(1)), page(1));
}

}  // namespace
}  // namespace fathom
