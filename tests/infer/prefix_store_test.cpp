#include "infer/prefix_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <random>
#include <vector>

#include "infer/cache_file.h"
#include "support/error_text.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

/// Two layers of 4 + 2 values; pages of three tokens.
class PrefixStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) /
              ("prefix_store_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  static CacheFileKey key(LatentType type = LatentType::f16, std::uint64_t fingerprint = 7) {
    return {fingerprint, {type, 4, 2}, 2};
  }
  static std::vector<std::byte> page(std::uint8_t first) {
    std::vector<std::byte> bytes(static_cast<std::size_t>(3 * key().position_bytes()));
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(first + i);
    return bytes;
  }
  [[nodiscard]] PrefixStore open(std::uint64_t most_bytes = 1 << 20U, const CacheFileKey& of = key()) const {
    return {folder_, most_bytes, of, 3};
  }
  [[nodiscard]] std::vector<fs::path> files() const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(folder_)) found.push_back(entry.path());
    return found;
  }
  fs::path folder_;
  const std::vector<std::int32_t> first_ = {5, 6, 7};
  const std::vector<std::int32_t> second_ = {5, 6, 7, 8, 9, 10};
};

TEST_F(PrefixStoreTest, OutlivesTheProcess) {
  {
    PrefixStore store = open();
    store.save(first_, page(1));
    store.save(second_, page(2));
  }
  PrefixStore again = open();
  EXPECT_TRUE(again.has(first_));
  EXPECT_EQ(again.load(first_), page(1));
  EXPECT_EQ(again.load(second_), page(2));
  EXPECT_FALSE(again.has(std::vector<std::int32_t>{8, 9, 10})) << "latents depend on all that came before";
}

TEST_F(PrefixStoreTest, IsForOneModelAndCacheType) {
  open().save(first_, page(1));
  EXPECT_FALSE(open(1 << 20U, key(LatentType::bf16)).has(first_));
  EXPECT_FALSE(open(1 << 20U, key(LatentType::f16, 8)).has(first_));
}

TEST_F(PrefixStoreTest, TheBudgetIsKeptAndTheLeastRecentlyUsedGo) {
  open().save(first_, page(1));
  const std::uint64_t one = open().bytes();
  PrefixStore store = open(2 * one + 40);
  store.save(second_, page(2));
  EXPECT_TRUE(store.load(first_).has_value());
  store.save(std::vector<std::int32_t>{1, 2, 3}, page(3));
  EXPECT_TRUE(store.has(first_));
  EXPECT_FALSE(store.has(second_));
  EXPECT_LE(store.bytes(), 2 * one + 40);
  EXPECT_THAT(files(), testing::SizeIs(2));
  EXPECT_EQ(open(one).bytes(), one) << "also of what an earlier process left";
}

TEST_F(PrefixStoreTest, ADamagedFileCountsAsAbsentAndGoes) {
  open().save(first_, page(1));
  std::fstream(files().front(), std::ios::in | std::ios::out | std::ios::binary).seekp(100).put('x');
  PrefixStore store = open();
  EXPECT_EQ(store.load(first_), std::nullopt);
  EXPECT_THAT(files(), testing::IsEmpty());
  EXPECT_EQ(store.bytes(), 0U);
}

TEST_F(PrefixStoreTest, AFileThatIsOfOtherTokensIsNotTaken) {
  PrefixStore store = open();
  store.save(first_, page(1));
  const fs::path path = files().front();
  write_cache_file(path, key(), std::vector<std::int32_t>{5, 6, 8}, {0, 3}, page(1));
  EXPECT_EQ(store.load(first_), std::nullopt);
}

using CacheFileTest = PrefixStoreTest;

TEST_F(CacheFileTest, SaysWhatDoesNotFit) {
  fs::create_directories(folder_);
  const fs::path path = folder_ / "text";
  write_cache_file(path, key(), second_, {2, 5}, page(4));
  const CachedText text = read_cache_file(path, key());
  EXPECT_EQ(text.tokens, second_);
  EXPECT_EQ(text.range.begin, 2);
  EXPECT_EQ(text.range.end, 5);
  EXPECT_EQ(text.rows, page(4));
  const auto error = [&](const CacheFileKey& as) {
    return test::error_of([&] { read_cache_file(path, as); });
  };
  EXPECT_THAT(error(key(LatentType::f16, 8)), HasSubstr("made by another model"));
  EXPECT_THAT(error(key(LatentType::bf16)), HasSubstr("stored as f16, and --cache-type is bf16"));
}

TEST_F(CacheFileTest, DamageOfAnyKindIsAnErrorAndNothingElse) {
  fs::create_directories(folder_);
  const fs::path path = folder_ / "text";
  write_cache_file(path, key(), second_, {2, 5}, page(4));
  std::string whole;
  {
    std::ifstream file(path, std::ios::binary);
    whole.assign(std::istreambuf_iterator<char>(file), {});
  }
  const auto error_of_bytes = [&](const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
    return test::error_of([&] { read_cache_file(path, key()); });
  };
  for (std::size_t length = 0; length < whole.size(); length += 7)
    EXPECT_NE(error_of_bytes(whole.substr(0, length)), "no error") << length;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
    EXPECT_NE(error_of_bytes(damaged), "no error") << i;
  }
}

}  // namespace
}  // namespace fathom
