#include "train/context_extension.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "support/error_text.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using test::error_of;
using testing::HasSubstr;

TEST(ContextExtensionTest, GivesTheReleasedModelsSettings) {
  ModelConfig config = test::tiny_v3();
  config.qk_nope_head_dim = 128;
  config.qk_rope_head_dim = 64;
  config.max_position_embeddings = 4096;
  const ModelConfig extended = extend_context(config, 40);
  EXPECT_EQ(extended.max_position_embeddings, 163840);
  ASSERT_TRUE(extended.rope_scaling);
  EXPECT_EQ(extended.rope_scaling->factor, 40);
  EXPECT_EQ(extended.rope_scaling->original_max_position_embeddings, 4096);
  EXPECT_EQ(extended.rope_scaling->beta_fast, 32);
  EXPECT_EQ(extended.rope_scaling->beta_slow, 1);
  EXPECT_EQ(extended.rope_scaling->cos_sin_factor(), 1);
  EXPECT_NEAR(extended.softmax_scale(), 0.135234, 1e-6) << "the released model's";
}

TEST(ContextExtensionTest, WhatCannotBeExtendedIsSaid) {
  ModelConfig config = test::tiny_v3();
  for (const double factor :
       {1.0, 0.5, -3.0, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()})
    EXPECT_THAT(error_of([&] { extend_context(config, factor); }), HasSubstr("a factor above 1"));
  EXPECT_THAT(error_of([&] { extend_context(config, 1e9); }), HasSubstr("too many"));
  config = extend_context(config, 4);
  EXPECT_THAT(error_of([&] { extend_context(config, 4); }), HasSubstr("rope_scaling with factor 4 already"));
}

}  // namespace
}  // namespace fathom
