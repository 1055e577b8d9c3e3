#include "infer/expert_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "infer/text_model.h"
#include "support/error_text.h"
#include "support/tiny_checkpoint.h"

namespace fathom {
namespace {

constexpr std::uint64_t kGib = std::uint64_t{1} << 30U;

TEST(ExpertMemoryTest, TakesWhatOtherWeightsAndCachesLeave) {
  EXPECT_EQ(default_expert_bytes(100 * kGib, 20 * kGib, 300 * kGib, kGib), 70 * kGib);
  EXPECT_EQ(default_expert_bytes(2 * kGib, kGib, 300 * kGib, kGib / 2), kGib - kGib / 4);
  EXPECT_EQ(default_expert_bytes(4 * kGib, kGib, 300 * kGib, kGib), 3 * kGib - 4 * kGib / 10);
}

TEST(ExpertMemoryTest, TakesNoMoreThanThereAre) {
  EXPECT_EQ(default_expert_bytes(100 * kGib, 20 * kGib, 30 * kGib, kGib), 30 * kGib);
}

TEST(ExpertMemoryTest, TakesWhatTwoTokensUseWhereNothingIsFree) {
  EXPECT_EQ(default_expert_bytes(10 * kGib, 20 * kGib, 30 * kGib, 3 * kGib), 3 * kGib);
}

TEST(ExpertMemoryTest, IsForPackedModelsAlone) {
  ExpertMemory memory;
  memory.bytes = kGib;
  EXPECT_THAT(test::error_of([&] { load_text_model(test::tiny_checkpoint("tiny_f32"), memory); }),
              testing::HasSubstr("make one with fathom convert --expert-pack"));
}

}  // namespace
}  // namespace fathom
