#include "plan/kv_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "plan/named_file.h"
#include "support/error_text.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

CacheShape cache_of(const char* model) {
  return cache_shape(parse_json(read_named_text("models", model).text, model), model);
}

// arXiv 2505.09343, table 1: bytes of a token in BF16.
TEST(KvCacheTest, BytesOfATokenAreThePublishedOnes) {
  EXPECT_EQ(2 * cache_of("deepseek-v3").values_per_token(), 70'272);
  EXPECT_EQ(2 * cache_of("qwen2.5-72b").values_per_token(), 327'680);
  EXPECT_EQ(2 * cache_of("llama-3.1-405b").values_per_token(), 516'096);
}

TEST(KvCacheTest, TheReleasedConfigGivesTheSame) {
  FATHOM_SHARED_DATA_OR_SKIP(shared);
  const CacheShape shape =
      cache_shape(read_json_file(shared / "configs" / "DeepSeek-V3.json"), "DeepSeek-V3");
  EXPECT_TRUE(shape.is_latent);
  EXPECT_EQ(2 * shape.values_per_token(), 70'272);
}

TEST(KvCacheTest, HeadsMayHaveTheirOwnSizeAndShareNothing) {
  const Json config = {{"num_hidden_layers", 2}, {"num_attention_heads", 4}, {"hidden_size", 64}};
  EXPECT_EQ(cache_shape(config, "x").values_per_token(), 2 * 2 * 64);
  Json wide = config;
  wide["head_dim"] = 32;
  wide["num_key_value_heads"] = 1;
  EXPECT_EQ(cache_shape(wide, "x").values_per_token(), 2 * 2 * 32);
}

TEST(KvCacheTest, SizesThatCannotBeAreRefused) {
  const auto refusal = [](const Json& config) {
    return test::error_of([&] { (void)cache_shape(config, "x"); });
  };
  EXPECT_THAT(refusal(Json::array()), testing::HasSubstr("object"));
  EXPECT_THAT(refusal(Json::object()), testing::HasSubstr("num_hidden_layers"));
  const Json config = {{"num_hidden_layers", 2}, {"num_attention_heads", 3}, {"hidden_size", 64}};
  EXPECT_THAT(refusal(config), testing::HasSubstr("no multiple"));
  Json huge = config;
  huge["num_hidden_layers"] = 1LL << 40;
  EXPECT_THAT(refusal(huge), testing::HasSubstr("num_hidden_layers"));
}

}  // namespace
}  // namespace fathom
