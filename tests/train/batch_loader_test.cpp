#include "train/batch_loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "base/error.h"
#include "support/shared_data.h"
#include "train/data_folder.h"

namespace fathom {
namespace {

using testing::HasSubstr;

/// The tokens 0, 1, 2, ... of a data set: a token says where it lies.
class BatchLoaderTest : public testing::Test {
 protected:
  static constexpr std::int64_t kTokens = 103;
  static constexpr std::int64_t kLength = 8;  // 12 sequences an epoch, 6 tokens to spare

  test::TemporaryFolder folder_;
  ThreadPool pool_{2};
  TokenDataset data_ = make({50, 1, 52});

  TokenDataset make(const std::vector<std::int64_t>& shards) {
    std::vector<std::int32_t> tokens(kTokens);
    std::iota(tokens.begin(), tokens.end(), 0);
    const DataManifest manifest = test::write_data_folder(folder_.path(), 200, tokens, shards);
    return {folder_.path(), load_data_manifest(folder_.path()), "train", pool_};
  }
};

TEST_F(BatchLoaderTest, TargetsAreTheTokensThatFollow) {
  const BatchLoader loader(data_, kLength, 1);
  const Batch batch = loader.batch(0, 12);
  ASSERT_EQ(batch.tokens.size(), 96U);
  EXPECT_EQ(batch.sequences.count(), 12);
  for (std::size_t i = 0; i < batch.tokens.size(); ++i) {
    EXPECT_EQ(batch.targets[i], batch.tokens[i] + 1);
    if (i % kLength != 0) {
      EXPECT_EQ(batch.tokens[i], batch.tokens[i - 1] + 1);
    }
  }
}

TEST_F(BatchLoaderTest, AnEpochHasEverySequenceOnce) {
  const BatchLoader loader(data_, kLength, 1);
  ASSERT_EQ(loader.sequences_per_epoch(), 12);
  for (const std::int64_t epoch : {0, 1, 5}) {
    const Batch batch = loader.batch(epoch * 12, 12);
    const std::set<std::int32_t> seen(batch.tokens.begin(), batch.tokens.end());
    EXPECT_EQ(seen.size(), 96U);
    EXPECT_LE(*seen.begin(), 6);  // the epoch's offset
  }
}

TEST_F(BatchLoaderTest, EpochsDifferInOrderAndOffset) {
  const BatchLoader loader(data_, kLength, 1);
  std::set<std::vector<std::int32_t>> orders;
  std::set<std::int32_t> offsets;
  for (std::int64_t epoch = 0; epoch < 10; ++epoch) {
    const Batch batch = loader.batch(epoch * 12, 12);
    orders.insert(batch.tokens);
    offsets.insert(*std::min_element(batch.tokens.begin(), batch.tokens.end()));
  }
  EXPECT_EQ(orders.size(), 10U);
  EXPECT_GT(offsets.size(), 3U);
}

TEST_F(BatchLoaderTest, ASequenceDependsOnItsPositionAndNotOnTheBatch) {
  const BatchLoader loader(data_, kLength, 9);
  const Batch whole = loader.batch(0, 30);  // crosses epochs
  const BatchLoader another(data_, kLength, 9);
  for (std::int64_t position = 29; position >= 0; --position) {
    const Batch one = another.batch(position, 1);
    EXPECT_TRUE(std::equal(one.tokens.begin(), one.tokens.end(), whole.tokens.begin() + position * kLength));
  }
}

TEST_F(BatchLoaderTest, TheSeedChangesTheOrder) {
  EXPECT_NE(BatchLoader(data_, kLength, 1).batch(0, 12).tokens,
            BatchLoader(data_, kLength, 2).batch(0, 12).tokens);
}

TEST_F(BatchLoaderTest, ShardBordersDoNotShow) {
  const std::vector<std::int32_t> in_three = BatchLoader(data_, kLength, 1).batch(0, 12).tokens;
  const TokenDataset one_shard = make({kTokens});
  EXPECT_EQ(BatchLoader(one_shard, kLength, 1).batch(0, 12).tokens, in_three);
}

TEST_F(BatchLoaderTest, TooFewTokensForASequenceIsAnError) {
  EXPECT_NO_THROW(BatchLoader(data_, kTokens - 1, 1));
  try {
    const BatchLoader refused(data_, kTokens, 1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("103 tokens, fewer than one sequence of 103"));
  }
}

TEST_F(BatchLoaderTest, ConsecutiveBatchesCoverEachTargetOnce) {
  const Batch batch = consecutive_batch(data_, 10, 20, kLength);
  std::vector<std::int32_t> targets(20);
  std::iota(targets.begin(), targets.end(), 11);
  EXPECT_EQ(batch.targets, targets);
  EXPECT_THAT(batch.sequences.offsets, testing::ElementsAre(0, 8, 16, 20));
}

TEST_F(BatchLoaderTest, AShardThatTheManifestDoesNotDescribeIsRefused) {
  DataManifest manifest = load_data_manifest(folder_.path());
  manifest.train.shards[1].tokens = 2;
  try {
    const TokenDataset data(folder_.path(), manifest, "train", pool_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("train-1.tokens: 1 tokens in 1 documents, manifest.json says 2"));
  }
}

TEST_F(BatchLoaderTest, AChangedTokenizerIsRefused) {
  write_file_atomically(folder_.path() / "tokenizer.json", "{ }");
  try {
    load_data_manifest(folder_.path());
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("tokenizer.json: changed since"));
  }
}

TEST_F(BatchLoaderTest, AManifestThatReachesOutOfItsFolderIsRefused) {
  DataManifest manifest = load_data_manifest(folder_.path());
  manifest.train.shards[0].file = "../elsewhere.tokens";
  save_data_manifest(manifest, folder_.path());
  EXPECT_THROW(load_data_manifest(folder_.path()), Error);
}

}  // namespace
}  // namespace fathom
