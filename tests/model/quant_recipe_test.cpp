#include "model/quant_recipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/error_text.h"

namespace fathom {
namespace {

using testing::HasSubstr;

DType type_under(std::string_view recipe, std::string_view tensor, const Shape& shape,
                 const std::vector<TypeOverride>& overrides = {}) {
  return recipe_type(find_quant_recipe(recipe), overrides, tensor, shape, DType::f32);
}

TEST(QuantRecipeTest, TensorsHaveTheRolesThatTheirNamesSay) {
  const Shape matrix = {512, 256};
  EXPECT_EQ(tensor_role("token_embd.weight", matrix), TensorRole::embedding);
  EXPECT_EQ(tensor_role("output.weight", matrix), TensorRole::head);
  EXPECT_EQ(tensor_role("blk.3.attn_kv_a_mqa.weight", matrix), TensorRole::attention);
  EXPECT_EQ(tensor_role("blk.3.attn_k_b.weight", {4, 512, 128}), TensorRole::attention);
  EXPECT_EQ(tensor_role("blk.27.nextn.eh_proj.weight", matrix), TensorRole::attention);
  EXPECT_EQ(tensor_role("blk.3.ffn_gate_shexp.weight", matrix), TensorRole::shared_expert);
  EXPECT_EQ(tensor_role("blk.0.ffn_down.weight", matrix), TensorRole::shared_expert_down);
  EXPECT_EQ(tensor_role("blk.3.ffn_up_exps.weight", {8, 512, 256}), TensorRole::routed_expert);
  EXPECT_EQ(tensor_role("blk.3.ffn_down_exps.weight", {8, 512, 256}), TensorRole::routed_expert_down);
  for (const std::string_view plain :
       {"blk.3.ffn_gate_inp.weight", "blk.3.exp_probs_b.bias", "blk.3.attn_norm.weight"})
    EXPECT_EQ(tensor_role(plain, matrix), TensorRole::plain) << plain;
  EXPECT_EQ(tensor_role("blk.3.attn_q.weight", {512}), TensorRole::plain);
}

TEST(QuantRecipeTest, WhatServesAllTokensGetsMoreBitsThanRoutedExperts) {
  for (const QuantRecipe& recipe : quant_recipes()) {
    const auto bits = [](DType dtype) {
      return 8.0 * static_cast<double>(block_bytes(dtype)) / static_cast<double>(block_values(dtype));
    };
    for (const DType better : {recipe.routed_expert_down, recipe.attention, recipe.shared_expert,
                               recipe.shared_expert_down, recipe.embedding, recipe.head})
      EXPECT_GE(bits(better), bits(recipe.base)) << recipe.name;
  }
  EXPECT_EQ(type_under("q4_k_m", "blk.1.ffn_gate_exps.weight", {8, 256, 512}), DType::q4_k);
  EXPECT_EQ(type_under("Q4_K_M", "blk.1.attn_output.weight", {256, 512}), DType::q5_k);
  EXPECT_EQ(type_under("Q4_K_M", "output.weight", {256, 512}), DType::q6_k);
  EXPECT_EQ(type_under("Q2_K", "blk.1.ffn_gate_inp.weight", {64, 512}), DType::f32);
}

TEST(QuantRecipeTest, RowsThatFillNoBlocksOf256TakeTypesOf32) {
  const Shape down = {64, 2048, 1408};  // DeepSeek-V2-Lite's
  EXPECT_EQ(type_under("Q2_K", "blk.1.ffn_down_exps.weight", down), DType::q4_0);
  EXPECT_EQ(type_under("Q4_K_S", "blk.1.ffn_down_exps.weight", down), DType::q5_0);
  EXPECT_EQ(type_under("Q4_K_M", "blk.1.ffn_down_exps.weight", down), DType::q5_1);
  EXPECT_EQ(type_under("Q6_K", "blk.1.ffn_down_exps.weight", down), DType::q8_0);
  EXPECT_EQ(type_under("IQ4_XS", "blk.1.ffn_down_exps.weight", down), DType::iq4_nl);
  EXPECT_EQ(type_under("Q4_0", "blk.1.ffn_down_exps.weight", {4, 64, 40}), DType::bf16);
}

TEST(QuantRecipeTest, TheLastOverrideThatMatchesDecides) {
  std::vector<TypeOverride> overrides;
  overrides.push_back(parse_type_override("ffn_.*_exps=q8_0"));
  overrides.push_back(parse_type_override(R"(blk\.[0-3]\.ffn_down=BF16)"));
  overrides.push_back(parse_type_override(".=Q6_K"));
  overrides.pop_back();
  EXPECT_EQ(type_under("Q4_K_M", "blk.9.ffn_down_exps.weight", {8, 256, 512}, overrides), DType::q8_0);
  EXPECT_EQ(type_under("Q4_K_M", "blk.2.ffn_down_exps.weight", {8, 256, 512}, overrides), DType::bf16);
  EXPECT_EQ(type_under("Q4_K_M", "blk.2.attn_q.weight", {256, 512}, overrides), DType::q5_k);
  overrides.push_back(parse_type_override(".=Q6_K"));
  EXPECT_EQ(type_under("Q4_K_M", "blk.2.attn_norm.weight", {256}, overrides),
            DType::f32);  // plain all the same
}

TEST(QuantRecipeTest, WrongNamesAndOverridesAreExplained) {
  EXPECT_THAT(test::error_of([] { find_quant_recipe("Q4"); }), HasSubstr("choose one of Q2_K, Q3_K_S"));
  EXPECT_THAT(test::error_of([] { parse_type_override("Q6_K"); }), HasSubstr("write EXPRESSION=TYPE"));
  EXPECT_THAT(test::error_of([] { parse_type_override("ffn=Q7_K"); }), HasSubstr("Q7_K is no type"));
  EXPECT_THAT(test::error_of([] { parse_type_override("ffn=I64"); }), HasSubstr("I64 is no type"));
  EXPECT_THAT(test::error_of([] { parse_type_override("ffn(=Q6_K"); }),
              HasSubstr("the expression is not valid"));
}

}  // namespace
}  // namespace fathom
