#include "train/sample_loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "support/error_text.h"
#include "support/shared_data.h"
#include "train/sample_folder.h"
#include "train/sample_packs.h"

namespace fathom {
namespace {

using test::error_of;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(SamplePacksTest, TheLongestComeFirstAndGoWhereTheLeastRoomIsLeft) {
  const std::vector<std::int64_t> rows = {3, 8, 0, 5, 2, 4, 10};
  EXPECT_THAT(pack_samples(rows, 10),
              ElementsAre(SamplePack{6}, SamplePack{1, 4}, SamplePack{3, 5}, SamplePack{0}));
}

TEST(SamplePacksTest, EverySampleIsInOnePackAndNoneIsTooFull) {
  std::vector<std::int64_t> rows;
  for (std::int64_t i = 0; i < 5000; ++i) rows.push_back(1 + i * i % 97);
  const std::vector<SamplePack> packs = pack_samples(rows, 128);
  std::set<std::int64_t> seen;
  std::int64_t all = 0;
  for (const SamplePack& pack : packs) {
    std::int64_t sum = 0;
    for (const std::int64_t sample : pack) {
      EXPECT_TRUE(seen.insert(sample).second);
      sum += rows[static_cast<std::size_t>(sample)];
    }
    EXPECT_LE(sum, 128);
    all += sum;
  }
  EXPECT_EQ(seen.size(), rows.size());
  EXPECT_LT(static_cast<double>(packs.size()), 1.02 * static_cast<double>(all) / 128 + 1);
}

TEST(SamplePacksTest, ASampleThatFitsNowhereIsAnError) {
  EXPECT_THAT(error_of([] { (void)pack_samples(std::vector<std::int64_t>{11}, 10); }), HasSubstr("11 rows"));
}

class SampleLoaderTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
  ThreadPool pool_{2};

  SampleSet set(const std::vector<SampleSet::Sample>& samples) {
    return {folder_.path(), test::write_sample_folder(folder_.path(), 100, samples), "train", pool_};
  }
};

TEST_F(SampleLoaderTest, OnlyWhatIsLearnedHasATarget) {
  const SampleSet samples = set({{{1, 2, 3, 4, 5}, {0, 0, 1, 1, 0}}, {{7, 8}, {1, 1}}});
  ASSERT_EQ(samples.count(), 2);
  const SampleLoader loader(samples, 8, 1);
  ASSERT_EQ(loader.packs_per_epoch(), 1);
  const Batch batch = loader.batch(0, 1);
  EXPECT_THAT(batch.tokens, ElementsAre(1, 2, 3, 4, 7));
  EXPECT_THAT(batch.targets, ElementsAre(-1, 3, 4, -1, 8));
  EXPECT_THAT(batch.sequences.offsets, ElementsAre(0, 4, 5)) << "each sample is a sequence of its own";
  EXPECT_EQ(loader.targets(0, 1), 3);
  EXPECT_DOUBLE_EQ(loader.fill(), 5.0 / 8.0);
}

TEST_F(SampleLoaderTest, OfLongSamplesTheBeginningIsTaken) {
  const SampleSet samples = set({{{1, 2, 3, 4, 5, 6}, {0, 0, 1, 1, 1, 1}},  // cut
                                 {{1, 2, 3, 4, 5, 6}, {0, 0, 0, 0, 1, 1}},  // nothing is left to learn
                                 {{1}, {1}},                                // nor here
                                 {{1, 2, 3}, {1, 0, 0}}});
  const SampleLoader loader(samples, 3, 1);
  EXPECT_EQ(loader.cut_samples(), 1);
  EXPECT_EQ(loader.left_out(), 3);
  EXPECT_THAT(loader.batch(0, 1).targets, ElementsAre(-1, 3, 4));
  EXPECT_THAT(error_of([&] { const SampleLoader none(samples, 1, 1); }),
              HasSubstr("raise training.sequence_length"));
}

TEST_F(SampleLoaderTest, EachEpochHasEveryPackOnceInAnOrderOfItsOwn) {
  std::vector<SampleSet::Sample> list;
  for (std::int32_t i = 0; i < 40; ++i) list.push_back({{i, i, i, i, i}, {1, 1, 1, 1, 1}});
  const SampleSet samples = set(list);
  const SampleLoader loader(samples, 4, 7);
  ASSERT_EQ(loader.packs_per_epoch(), 40);
  std::vector<std::vector<std::int32_t>> epochs;
  for (const std::int64_t epoch : {0, 1, 5}) {
    epochs.push_back(loader.batch(epoch * 40, 40).tokens);
    EXPECT_EQ(std::set<std::int32_t>(epochs.back().begin(), epochs.back().end()).size(), 40U);
  }
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_NE(epochs[1], epochs[2]);
  // A place is a function of its number.
  const std::vector<std::int32_t> more = SampleLoader(samples, 4, 7).batch(40, 8).tokens;
  EXPECT_EQ(loader.batch(43, 1).tokens, std::vector<std::int32_t>(more.begin() + 12, more.begin() + 16));
}

}  // namespace
}  // namespace fathom
