#include "train/sample_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/error_text.h"
#include "support/shared_data.h"
#include "train/sample_folder.h"

namespace fathom {
namespace {

using test::error_of;
using testing::ElementsAre;
using testing::HasSubstr;

class SampleSetTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
  ThreadPool pool_{2};
  DataManifest manifest_ = test::write_sample_folder(
      folder_.path(), 100, {{{1, 2, 3}, {0, 1, 1}}, {{4, 5}, {0, 1}}}, {{{6, 7, 8, 9}, {0, 0, 0, 1}}});
};

TEST_F(SampleSetTest, ReadsWhatWasWritten) {
  EXPECT_TRUE(manifest_.has_samples());
  const SampleSet train(folder_.path(), manifest_, "train", pool_);
  ASSERT_EQ(train.count(), 2);
  EXPECT_EQ(train.length(1), 2);
  EXPECT_THAT(train.read(0).tokens, ElementsAre(1, 2, 3));
  EXPECT_THAT(train.read(0).learned, ElementsAre(0, 1, 1));
  EXPECT_THAT(train.read(1).tokens, ElementsAre(4, 5));
  const SampleSet held_out(folder_.path(), manifest_, "held_out", pool_);
  EXPECT_THAT(held_out.read(0).learned, ElementsAre(0, 0, 0, 1));
}

TEST_F(SampleSetTest, TextIsNoSamples) {
  manifest_.train.shards[0].learned.clear();
  EXPECT_FALSE(manifest_.has_samples());
  EXPECT_THAT(error_of([&] { const SampleSet set(folder_.path(), manifest_, "train", pool_); }),
              HasSubstr("no shard of samples"));
}

TEST_F(SampleSetTest, HalvesOfOtherDocumentsAreNamed) {
  manifest_.train.shards[0].learned = manifest_.held_out.shards[0].learned;
  EXPECT_THAT(error_of([&] { const SampleSet set(folder_.path(), manifest_, "train", pool_); }),
              HasSubstr("held_out-00000.learned: does not say which tokens of train-00000.tokens"));
}

TEST_F(SampleSetTest, ADamagedHalfIsNamed) {
  const std::filesystem::path file = folder_.path() / manifest_.train.shards[0].learned;
  std::string bytes = read_text_file(file, 1U << 20U);
  bytes[32] = 1;
  write_file_atomically(file, bytes);
  EXPECT_THAT(error_of([&] { const SampleSet set(folder_.path(), manifest_, "train", pool_); }),
              HasSubstr("train-00000.learned: checksum mismatch"));
}

}  // namespace
}  // namespace fathom
