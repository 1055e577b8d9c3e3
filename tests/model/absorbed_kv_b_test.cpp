#include "model/absorbed_kv_b.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <vector>

#include "base/rng.h"
#include "kernels/absorb.h"
#include "kernels/encode_blocks.h"
#include "model/gguf_halves.h"
#include "support/tiny_model.h"
#include "tensor/block_scaled.h"

namespace fathom {
namespace {

ModelConfig halves_config() {
  ModelConfig config = test::tiny_v3();
  config.num_attention_heads = 3;
  config.qk_nope_head_dim = 64;
  config.v_head_dim = 48;
  config.kv_lora_rank = 96;
  return config;
}

Tensor normal_values(Shape shape, std::uint64_t seed) {
  Tensor tensor = Tensor::empty(std::move(shape));
  Rng rng(seed);
  for (float& value : tensor.values()) value = static_cast<float>(rng.normal());
  return tensor;
}

LinearWeight stored_kv_b(const ModelConfig& config, DType type) {
  const std::int64_t rows = config.num_attention_heads * (config.qk_nope_head_dim + config.v_head_dim);
  const Tensor values = normal_values({rows, config.kv_lora_rank}, 1);
  LinearWeight w;
  w.weight = Tensor::empty(values.shape(), type);
  kernels::encode_blocks(type, values.f32(), values.size(), nullptr, w.weight.data());
  return w;
}

/// Root mean square of a - b over that of b.
double relative_difference(const Tensor& a, const Tensor& b) {
  double difference = 0;
  double size = 0;
  for (std::int64_t i = 0; i < a.size(); ++i) {
    difference += std::pow(double{a.f32()[i]} - double{b.f32()[i]}, 2);
    size += std::pow(double{b.f32()[i]}, 2);
  }
  return std::sqrt(difference / size);
}

TEST(AbsorbedKvBTest, FoldAndUnfoldAsTheWholeMatrixDoes) {
  ThreadPool pool(2);
  const Context context{pool};
  const ModelConfig config = halves_config();
  const LinearWeight kv_b = stored_kv_b(config, DType::q4_0);
  const AbsorbedKvB halves(config, kv_b);
  ASSERT_TRUE(halves.defined());
  const kernels::AbsorbShape shape{config.num_attention_heads, config.qk_nope_head_dim, config.v_head_dim,
                                   config.qk_rope_head_dim};
  for (const std::int64_t tokens : {1, 5}) {
    const Tensor q = normal_values({tokens, config.num_attention_heads, config.qk_head_dim()}, 2);
    Tensor folded = Tensor::empty({tokens, config.num_attention_heads, config.latent_dim()});
    Tensor expected = Tensor::empty(folded.shape());
    halves.fold_queries(context, q.f32(), tokens, folded.f32());
    kernels::absorb_queries(pool, shape, kv_b.matrix(), q.f32(), tokens, expected.f32());
    // Activations and keys in 8 bits: each rounds by at most 1 / 254 of a block's largest value, 0.3 % of
    // sums of normal ones.
    EXPECT_LT(relative_difference(folded, expected), 0.015);

    const Tensor attended = normal_values({tokens, config.num_attention_heads, config.kv_lora_rank}, 3);
    Tensor out = Tensor::empty({tokens, config.num_attention_heads, config.v_head_dim});
    Tensor expected_out = Tensor::empty(out.shape());
    halves.unfold_values(context, attended.f32(), tokens, out.f32());
    kernels::expand_values(pool, shape, kv_b.matrix(), attended.f32(), tokens, expected_out.f32());
    EXPECT_LT(relative_difference(out, expected_out), 0.01);
  }
}

Tensor in_q8_0(const Tensor& values) {
  Tensor stored = Tensor::empty(values.shape(), DType::q8_0);
  kernels::encode_blocks(DType::q8_0, values.f32(), values.size(), nullptr, stored.data());
  return stored;
}

TEST(AbsorbedKvBTest, HalvesOfAFileAreMultipliedAsTheyAre) {
  ThreadPool pool(2);
  const Context context{pool};
  const ModelConfig config = halves_config();
  const LinearWeight whole = stored_kv_b(config, DType::q8_0);
  const KvHalves halves = split_into_halves(config, to_f32(whole.weight));
  LinearWeight split;
  split.weight = Tensor::zeros(whole.weight.shape());  // which is not read
  split.halves = std::make_shared<const KvHalves>(KvHalves{in_q8_0(halves.k_b), in_q8_0(halves.v_b)});
  ASSERT_TRUE(halves_are_multiplied(split));
  const AbsorbedKvB stored(config, split);
  const AbsorbedKvB laid_out(config, whole);
  const Tensor q = normal_values({2, config.num_attention_heads, config.qk_head_dim()}, 2);
  Tensor folded = Tensor::empty({2, config.num_attention_heads, config.latent_dim()});
  Tensor expected = Tensor::empty(folded.shape());
  stored.fold_queries(context, q.f32(), 2, folded.f32());
  laid_out.fold_queries(context, q.f32(), 2, expected.f32());
  EXPECT_EQ(relative_difference(folded, expected), 0.0);

  const Tensor attended = normal_values({2, config.num_attention_heads, config.kv_lora_rank}, 3);
  Tensor out = Tensor::empty({2, config.num_attention_heads, config.v_head_dim});
  Tensor expected_out = Tensor::empty(out.shape());
  stored.unfold_values(context, attended.f32(), 2, out.f32());
  laid_out.unfold_values(context, attended.f32(), 2, expected_out.f32());
  // Values that were in Q8_0 before keep all but a last bit of theirs.
  EXPECT_LT(relative_difference(out, expected_out), 1e-3);
}

TEST(AbsorbedKvBTest, HalvesOfPlainTypesAreNot) {
  const ModelConfig config = halves_config();
  LinearWeight split = stored_kv_b(config, DType::q8_0);
  const KvHalves halves = split_into_halves(config, to_f32(split.weight));
  split.halves = std::make_shared<const KvHalves>(halves);
  EXPECT_FALSE(halves_are_multiplied(split));
}

TEST(AbsorbedKvBTest, PlainWeightsAndHeadsOfPartialBlocksHaveNone) {
  ModelConfig config = halves_config();
  LinearWeight plain;
  plain.weight = normal_values(
      {config.num_attention_heads * (config.qk_nope_head_dim + config.v_head_dim), config.kv_lora_rank}, 1);
  EXPECT_FALSE(AbsorbedKvB(config, plain).defined());
  config.qk_nope_head_dim = 40;
  EXPECT_FALSE(AbsorbedKvB(config, stored_kv_b(config, DType::q4_0)).defined());
}

}  // namespace
}  // namespace fathom
