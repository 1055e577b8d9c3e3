#include "infer/page_warmer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/huge_pages.h"
#include "base/thread_pool.h"
#include "model/load.h"
#include "model/save.h"
#include "model/synthetic_weights.h"
#include "support/shared_data.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

constexpr std::uint64_t kGib = std::uint64_t{1} << 30U;

TEST(BytesToCopyTest, AllWeightsWhereMemoryIsAmple) {
  EXPECT_EQ(bytes_to_copy(24 * kGib, 0, 2 * kGib, 8 * kGib), 10 * kGib);
}

TEST(BytesToCopyTest, ExpertsOnlyTogether) {
  EXPECT_EQ(bytes_to_copy(12 * kGib, 0, 2 * kGib, 8 * kGib), 2 * kGib);
  EXPECT_EQ(bytes_to_copy(16 * kGib, 4 * kGib, 2 * kGib, 8 * kGib), 2 * kGib);
}

TEST(BytesToCopyTest, NoMoreThanThreeQuartersOfWhatIsFreeBesideWhatIsReserved) {
  EXPECT_EQ(bytes_to_copy(4 * kGib, kGib, 4 * kGib, 0), 2 * kGib);
  EXPECT_EQ(bytes_to_copy(4 * kGib, 4 * kGib, 4 * kGib, 0), 0U);
}

TEST(PageWarmerTest, MappedWeightsMoveIntoHugePagesAndStayTheSame) {
  if (!has_huge_pages()) GTEST_SKIP() << "this system has no huge pages";
  const test::TemporaryFolder folder;
  ThreadPool pool(1);
  ModelConfig config = test::tiny_v3();
  config.vocab_size = 131072;  // an embedding of several huge pages
  save_model(folder.path(), config, synthetic_weights(pool, config, DType::bf16, 1));
  LoadedModel model = load_model(folder.path());
  const std::span<const std::byte> embedding = model.weights.embed_tokens.bytes();
  ASSERT_GT(embedding.size(), 2 * kHugePage);
  const std::vector<std::byte> before(embedding.begin(), embedding.end());

  PageWarmer idle(model.config, model.weights, {});
  idle.finish();
  EXPECT_EQ(idle.copied(), 0U);
  PageWarmer warmer(model.config, model.weights, {.copies = true});
  warmer.finish();
  EXPECT_GE(warmer.copied(), kHugePage);
  EXPECT_TRUE(std::ranges::equal(embedding, before));
}

}  // namespace
}  // namespace fathom
