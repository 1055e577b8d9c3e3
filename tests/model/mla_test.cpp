#include "model/mla.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"
#include "numerics/block_scale.h"
#include "numerics/convert.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

/// The generator of goldens/make_mla.py: values in [-scale / 2, scale / 2) + offset.
Tensor hashed(std::uint32_t stream, Shape shape, float scale, float offset = 0.0F) {
  Tensor out = Tensor::empty(std::move(shape));
  for (std::uint32_t i = 0; float& value : out.values()) {
    std::uint32_t x = i++ * 747796405U + stream * 2891336453U;
    for (int round = 0; round < 2; ++round) x = (x ^ x >> 16U) * 0x45D9F3BU;
    x ^= x >> 16U;
    value = (static_cast<float>(x >> 8U) / 16777216.0F - 0.5F) * scale + offset;
  }
  return out;
}

/// Largest difference over the largest magnitude of `expected`: errors of sums scale with the whole.
double relative_error(std::span<const float> actual, std::span<const float> expected) {
  EXPECT_EQ(actual.size(), expected.size());
  double difference = 0.0;
  double magnitude = 1e-30;
  for (std::size_t i = 0; i < std::min(actual.size(), expected.size()); ++i) {
    if (!std::isfinite(actual[i])) return HUGE_VAL;
    difference =
        std::max(difference, std::abs(static_cast<double>(actual[i]) - static_cast<double>(expected[i])));
    magnitude = std::max(magnitude, std::abs(static_cast<double>(expected[i])));
  }
  return difference / magnitude;
}

bool same_bytes(const Tensor& a, const Tensor& b) {
  return a.byte_size() == b.byte_size() && std::memcmp(a.data(), b.data(), a.byte_size()) == 0;
}

ModelConfig small_config() {
  ModelConfig config;
  config.hidden_size = 24;
  config.num_attention_heads = 3;
  config.num_hidden_layers = 1;
  config.q_lora_rank = 10;
  config.kv_lora_rank = 12;
  config.qk_nope_head_dim = 6;
  config.qk_rope_head_dim = 8;
  config.v_head_dim = 10;
  config.rms_norm_eps = 1e-6;
  return config;
}

/// The place of every parameter of the layer by its name in a checkpoint, and its shape.
struct Parameter {
  Tensor* place;
  Shape shape;
};
std::map<std::string, Parameter> parameter_list(const ModelConfig& config, MlaWeights& w) {
  const std::int64_t heads = config.num_attention_heads;
  const std::int64_t queries = heads * config.qk_head_dim();
  const std::int64_t rank = config.q_lora_rank;
  const std::int64_t latent = config.kv_lora_rank;
  std::map<std::string, Parameter> all;
  const auto linear = [&](const std::string& name, LinearWeight& place, std::int64_t out, std::int64_t in,
                          bool bias) {
    all[name + ".weight"] = {&place.weight, {out, in}};
    if (bias) all[name + ".bias"] = {&place.bias, {out}};
  };
  const auto norm = [&](const std::string& name, Tensor& place, std::int64_t size) {
    all[name + ".weight"] = {&place, {size}};
  };
  if (rank == 0) {
    linear("q_proj", w.q_proj, queries, config.hidden_size, false);
  } else {
    linear("q_a_proj", w.q_a_proj, rank, config.hidden_size, config.attention_bias);
    norm("q_a_layernorm", w.q_a_layernorm, rank);
    linear("q_b_proj", w.q_b_proj, queries, rank, false);
  }
  linear("kv_a_proj_with_mqa", w.kv_a_proj_with_mqa, config.latent_dim(), config.hidden_size,
         config.attention_bias);
  norm("kv_a_layernorm", w.kv_a_layernorm, latent);
  linear("kv_b_proj", w.kv_b_proj, heads * (config.qk_nope_head_dim + config.v_head_dim), latent, false);
  linear("o_proj", w.o_proj, config.hidden_size, heads * config.v_head_dim, config.attention_bias);
  return all;
}

std::map<std::string, Tensor*> places(const ModelConfig& config, MlaWeights& w) {
  std::map<std::string, Tensor*> all;
  for (const auto& [name, parameter] : parameter_list(config, w)) all[name] = parameter.place;
  return all;
}

/// Makes every parameter, zero.
std::map<std::string, Tensor*> zero_parameters(const ModelConfig& config, MlaWeights& w) {
  for (const auto& [name, parameter] : parameter_list(config, w))
    *parameter.place = Tensor::zeros(parameter.shape);
  return places(config, w);
}

MlaWeights hashed_weights(const ModelConfig& config) {
  MlaWeights weights;
  std::uint32_t stream = 10;
  for (const auto& [name, place] : zero_parameters(config, weights))
    *place =
        hashed(stream++, place->shape(), 1.0F, name.find("layernorm") != std::string::npos ? 1.0F : 0.0F);
  return weights;
}

Sequences sequences_of(const std::vector<std::int64_t>& lengths) {
  Sequences sequences;
  sequences.offsets.push_back(0);
  for (const std::int64_t length : lengths) sequences.offsets.push_back(sequences.offsets.back() + length);
  return sequences;
}

/// Forward and backward of one layer.
struct TrainingStep {
  Tensor y;
  Tensor dx;
  MlaWeights grads;
  std::map<std::string, Tensor*> grad;

  TrainingStep(const ModelConfig& config, const MlaWeights& weights, const Tensor& x, const Tensor& dy,
               const Sequences& sequences, std::size_t threads) {
    ThreadPool pool(threads);
    const Context context{pool};
    const RopeTable rope(config, sequences.tokens());
    const Mla mla(config, weights, rope);
    Mla::Saved saved;
    Mla::Deltas deltas;
    grad = zero_parameters(config, grads);
    y = mla.forward(context, x, sequences, &saved);
    dx = mla.backward_input(context, x, dy, sequences, saved, deltas);
    mla.backward_weight(context, saved, deltas, grads);
  }
};

ModelConfig golden_config(const nlohmann::json& golden) {
  ModelConfig config = small_config();
  config.family = golden["family"] == "v2" ? ModelFamily::deepseek_v2 : ModelFamily::deepseek_v3;
  config.q_lora_rank = golden["q_lora_rank"].is_null() ? 0 : golden["q_lora_rank"].get<std::int64_t>();
  config.attention_bias = golden.value("bias", false);
  config.rope_interleave = golden.value("interleave", true);
  const nlohmann::json& rope = golden["rope"];
  config.rope_theta = rope["rope_theta"];
  if (rope["rope_type"] == "yarn") {
    YarnScaling yarn;
    yarn.factor = rope["factor"];
    yarn.original_max_position_embeddings = rope["original_max_position_embeddings"];
    yarn.mscale = rope["mscale"];
    yarn.mscale_all_dim = rope["mscale_all_dim"];
    config.rope_scaling = yarn;
  }
  return config;
}

TEST(MlaTest, MatchesTransformersForwardAndGradients) {
  std::ifstream index(test::golden("model/goldens/mla.json"));
  std::ifstream blob(test::golden("model/goldens/mla.bin"), std::ios::binary);
  const nlohmann::json goldens = nlohmann::json::parse(index);
  ASSERT_EQ(goldens.size(), 6U);
  // f32 against float64: sums of some 40 products, each rounded to 6e-8, through seven layers of them.
  constexpr double kTolerance = 1e-5;
  for (const nlohmann::json& golden : goldens) {
    SCOPED_TRACE(golden["name"].get<std::string>());
    const ModelConfig config = golden_config(golden);
    const MlaWeights weights = hashed_weights(config);
    const Sequences sequences = sequences_of(golden["lengths"]);
    const TrainingStep run(config, weights, hashed(1, {13, 24}, 4.0F), hashed(2, {13, 24}, 2.0F), sequences,
                           2);

    std::vector<float> expected(golden["values"].get<std::size_t>());
    blob.seekg(golden["offset"].get<std::int64_t>() * 4);
    blob.read(reinterpret_cast<char*>(expected.data()), static_cast<std::streamsize>(expected.size() * 4));
    ASSERT_TRUE(blob);
    std::span<const float> rest(expected);
    const auto expect_next = [&](const std::string& name, const Tensor& actual) {
      const auto size = static_cast<std::size_t>(actual.size());
      ASSERT_GE(rest.size(), size);
      EXPECT_LT(relative_error(actual.values(), rest.first(size)), kTolerance) << name;
      rest = rest.subspan(size);
    };
    expect_next("y", run.y);
    expect_next("dx", run.dx);
    ASSERT_EQ(golden["parameters"].size(), run.grad.size());
    for (const std::string name : golden["parameters"]) expect_next(name, *run.grad.at(name));
    EXPECT_TRUE(rest.empty());
  }
}

/// Sum of y · dy: the loss whose gradient at y is dy.
double loss(const ModelConfig& config, const MlaWeights& weights, const Tensor& x, const Tensor& dy,
            const Sequences& sequences) {
  ThreadPool pool(2);
  const RopeTable rope(config, sequences.tokens());
  const Tensor y = Mla(config, weights, rope).forward({pool}, x, sequences, nullptr);
  double sum = 0.0;
  for (std::int64_t i = 0; i < y.size(); ++i)
    sum += static_cast<double>(y.f32()[i]) * static_cast<double>(dy.f32()[i]);
  return sum;
}

TEST(MlaTest, GradientsAreTheSlopesOfTheLoss) {
  ModelConfig config = small_config();
  config.rope_scaling = YarnScaling{40, 32, 32, 1, 0.7, 0.7, {}};
  MlaWeights weights = hashed_weights(config);
  const Sequences sequences = sequences_of({1, 64, 130});
  Tensor x = hashed(1, {195, 24}, 2.0F);
  const Tensor dy = hashed(2, {195, 24}, 2.0F);
  const TrainingStep step(config, weights, x, dy, sequences, 2);

  const auto expect_slope = [&](const std::string& name, Tensor& place, const Tensor& gradient) {
    const Tensor start = place.clone();
    const Tensor direction = hashed(77, place.shape(), 2.0F);
    // Far enough that rounding of the loss (1e-7 of its terms) stays below 1e-3 of the difference, near
    // enough that the loss's curvature does.
    constexpr float kStep = 2e-3F;
    const auto move = [&](float by) {
      for (std::int64_t i = 0; i < place.size(); ++i)
        place.f32()[i] = start.f32()[i] + by * direction.f32()[i];
    };
    move(kStep);
    double difference = loss(config, weights, x, dy, sequences);
    move(-kStep);
    difference -= loss(config, weights, x, dy, sequences);
    move(0.0F);
    double slope = 0.0;
    double size = 0.0;
    for (std::int64_t i = 0; i < place.size(); ++i) {
      const double term = static_cast<double>(gradient.f32()[i]) * static_cast<double>(direction.f32()[i]);
      slope += term;
      size += term * term;
    }
    EXPECT_NEAR(difference / (2.0 * static_cast<double>(kStep)), slope, 3e-3 * std::sqrt(size)) << name;
  };
  expect_slope("x", x, step.dx);
  MlaWeights moved = weights;  // shares the storage that `loss` reads
  for (const auto& [name, place] : places(config, moved)) expect_slope(name, *place, *step.grad.at(name));
}

/// Odd lengths around the sizes of tiles, several sequences, YaRN.
TEST(MlaTest, ResultsDoNotDependOnTheThreadCount) {
  const ModelConfig config = small_config();
  const MlaWeights weights = hashed_weights(config);
  const Sequences sequences = sequences_of({1, 63, 0, 64, 65, 130});
  const Tensor x = hashed(1, {323, 24}, 4.0F);
  const Tensor dy = hashed(2, {323, 24}, 2.0F);
  const TrainingStep one(config, weights, x, dy, sequences, 1);
  for (const std::size_t threads : {2U, 3U}) {
    const TrainingStep many(config, weights, x, dy, sequences, threads);
    EXPECT_TRUE(same_bytes(one.y, many.y));
    EXPECT_TRUE(same_bytes(one.dx, many.dx));
    for (const auto& [name, grad] : one.grad) EXPECT_TRUE(same_bytes(*grad, *many.grad.at(name))) << name;
  }
}

TEST(MlaTest, SequencesDoNotSeeEachOther) {
  const ModelConfig config = small_config();
  const MlaWeights weights = hashed_weights(config);
  const Tensor x = hashed(1, {40, 24}, 4.0F);
  const Tensor dy = hashed(2, {40, 24}, 2.0F);
  const TrainingStep both(config, weights, x, dy, sequences_of({15, 25}), 1);
  const TrainingStep second(config, weights, x.rows(15, 40), dy.rows(15, 40), sequences_of({25}), 1);
  EXPECT_LT(relative_error(both.y.rows(15, 40).values(), second.y.values()), 1e-6);
  EXPECT_LT(relative_error(both.dx.rows(15, 40).values(), second.dx.values()), 1e-6);
}

TEST(MlaTest, GradientsAreAddedToWhatIsThere) {
  const ModelConfig config = small_config();
  const MlaWeights weights = hashed_weights(config);
  ThreadPool pool(1);
  const Context context{pool};
  const RopeTable rope(config, 8);
  const Mla mla(config, weights, rope);
  const Sequences sequences = sequences_of({8});
  Mla::Saved saved;
  Mla::Deltas deltas;
  const Tensor x = hashed(1, {8, 24}, 4.0F);
  mla.forward(context, x, sequences, &saved);
  mla.backward_input(context, x, hashed(2, {8, 24}, 2.0F), sequences, saved, deltas);
  MlaWeights once;
  MlaWeights twice;
  const auto once_by_name = zero_parameters(config, once);
  const auto twice_by_name = zero_parameters(config, twice);
  mla.backward_weight(context, saved, deltas, once);
  mla.backward_weight(context, saved, deltas, twice);
  mla.backward_weight(context, saved, deltas, twice);
  for (const auto& [name, grad] : once_by_name) {
    for (float& value : grad->values()) value *= 2.0F;
    EXPECT_LT(relative_error(twice_by_name.at(name)->values(), grad->values()), 1e-6) << name;
  }
}

/// Runs x through the cache `step` tokens at a time.
Tensor run_cached(const ModelConfig& config, const MlaWeights& weights, const Tensor& x, std::int64_t step,
                  std::size_t threads = 2, LatentType cache_type = LatentType::f32) {
  ThreadPool pool(threads);
  const Context context{pool};
  const std::int64_t tokens = x.dim(0);
  const RopeTable rope(config, tokens);
  const Mla mla(config, weights, rope);
  LatentCache cache(config, tokens, cache_type);
  Tensor y = Tensor::empty(x.shape());
  for (std::int64_t t = 0; t < tokens; t += step) {
    const std::int64_t end = std::min(tokens, t + step);
    const Tensor part = mla.forward_cached(context, x.rows(t, end), cache.layers[0]);
    std::copy(part.values().begin(), part.values().end(), y.rows(t, end).values().begin());
    EXPECT_EQ(cache.length(), end);
  }
  return y;
}

Tensor run_whole(const ModelConfig& config, const MlaWeights& weights, const Tensor& x) {
  ThreadPool pool(2);
  const RopeTable rope(config, x.dim(0));
  return Mla(config, weights, rope).forward({pool}, x, sequences_of({x.dim(0)}), nullptr);
}

/// A shape whose long prefills are cheaper expanded, as the released models' are.
ModelConfig wide_latent_config() {
  ModelConfig config = small_config();
  config.kv_lora_rank = 48;
  return config;
}

TEST(MlaTest, CachedTokensMatchTheWholeSequence) {
  // 1, a few (drafts being verified), a chunk that is expanded, and all at once.
  const ModelConfig config = wide_latent_config();
  const MlaWeights weights = hashed_weights(config);
  const Tensor x = hashed(1, {150, 24}, 4.0F);
  const Tensor whole = run_whole(config, weights, x);
  for (const std::int64_t step : {1, 2, 7, 64, 149, 150}) {
    // The same sums in another order, in f32.
    EXPECT_LT(relative_error(run_cached(config, weights, x, step).values(), whole.values()), 1e-5) << step;
  }
}

TEST(MlaTest, NarrowCachesAreAsCloseAsTheirTypesAllow) {
  const ModelConfig config = wide_latent_config();
  const MlaWeights weights = hashed_weights(config);
  const Tensor x = hashed(1, {150, 24}, 4.0F);
  const Tensor whole = run_whole(config, weights, x);
  const auto error = [&](LatentType type, std::int64_t step) {
    return relative_error(run_cached(config, weights, x, step, 2, type).values(), whole.values());
  };
  for (const std::int64_t step : {1, 64, 150}) {
    // Half a unit in the last place of each type, and what the softmax makes of it.
    EXPECT_LT(error(LatentType::f16, step), 1e-3) << step;
    EXPECT_LT(error(LatentType::bf16, step), 8e-3) << step;
    EXPECT_LT(error(LatentType::q8, step), 1e-2) << step;
    EXPECT_LT(error(LatentType::f8_e4m3, step), 6e-2) << step;
    EXPECT_GT(error(LatentType::f8_e4m3, step), 1e-3) << "stored in f8";
  }
}

TEST(MlaTest, CachedTokensDoNotDependOnTheThreadCount) {
  const ModelConfig config = wide_latent_config();
  const MlaWeights weights = hashed_weights(config);
  const Tensor x = hashed(1, {70, 24}, 4.0F);
  for (const std::int64_t step : {1, 65}) {
    const Tensor one = run_cached(config, weights, x, step, 1);
    for (const std::size_t threads : {2U, 3U})
      EXPECT_TRUE(same_bytes(one, run_cached(config, weights, x, step, threads))) << step;
  }
}

/// `w` rounded to a stored type, and that again in f32.
struct Stored {
  LinearWeight narrow;
  LinearWeight wide;
};
Stored stored_as(const LinearWeight& w, DType dtype) {
  const Shape& shape = w.weight.shape();
  Stored out;
  out.narrow.weight = Tensor::empty(shape, dtype);
  out.wide.weight = Tensor::empty(shape);
  if (dtype == DType::f8_e4m3) {
    out.narrow.weight_scale_inv = Tensor::empty({(shape[0] + 127) / 128, (shape[1] + 127) / 128});
    auto* codes = static_cast<F8E4M3*>(out.narrow.weight.data());
    quantize_blocks(w.weight.f32(), shape[0], shape[1], ScaleFormat::f32, codes,
                    out.narrow.weight_scale_inv.f32());
    dequantize_blocks(codes, out.narrow.weight_scale_inv.f32(), shape[0], shape[1], out.wide.weight.f32());
  } else {
    narrow_from_f32(w.weight.f32(), w.weight.size(), dtype, out.narrow.weight.data());
    widen_to_f32(out.narrow.weight.data(), dtype, w.weight.size(), out.wide.weight.f32());
  }
  return out;
}

TEST(MlaTest, CachedTokensReadKvBInAnyStoredType) {
  // 5 heads of 16 + 40 rows: heads begin and end inside the 128×128 blocks of FP8 scales, across two of them
  // along the latent too.
  ModelConfig config = small_config();
  config.num_attention_heads = 5;
  config.qk_nope_head_dim = 16;
  config.v_head_dim = 40;
  config.kv_lora_rank = 150;
  const MlaWeights full = hashed_weights(config);
  MlaWeights weights = full;
  const Tensor x = hashed(1, {40, 24}, 4.0F);
  for (const DType dtype : {DType::bf16, DType::f16, DType::f8_e4m3}) {
    SCOPED_TRACE(dtype_name(dtype));
    const Stored kv_b = stored_as(full.kv_b_proj, dtype);
    weights.kv_b_proj = kv_b.wide;
    const Tensor expected = run_whole(config, weights, x);
    weights.kv_b_proj = kv_b.narrow;
    for (const std::int64_t step : {1, 3, 40})
      EXPECT_LT(relative_error(run_cached(config, weights, x, step).values(), expected.values()), 1e-5)
          << step;
  }
}

TEST(MlaTest, CacheHoldsTheNormalisedLatentAndTheRotatedKeyOnly) {
  const ModelConfig config = small_config();
  LatentCache cache(config, 9);
  EXPECT_EQ(cache.table().layout().row.row_bytes(), 4 * (config.kv_lora_rank + config.qk_rope_head_dim));
  const MlaWeights weights = hashed_weights(config);
  const Tensor x = hashed(1, {9, 24}, 4.0F);
  ThreadPool pool(1);
  const RopeTable rope(config, 9);
  const Mla mla(config, weights, rope);
  Mla::Saved saved;
  mla.forward({pool}, x, sequences_of({9}), &saved);
  Mla::Deltas deltas;  // with the latents after their norm
  mla.backward_input({pool}, x, hashed(2, {9, 24}, 2.0F), sequences_of({9}), saved, deltas);
  mla.forward_cached({pool}, x, cache.layers[0]);
  for (std::int64_t t = 0; t < 9; ++t) {
    const std::span row(reinterpret_cast<const float*>(cache.layers[0].rows().row(t)),
                        static_cast<std::size_t>(config.latent_dim()));
    EXPECT_LT(relative_error(row.first(12), deltas.kv_latent_norm.f32({pool}).rows(t, t + 1).values()), 1e-6);
    EXPECT_LT(relative_error(row.subspan(12), saved.kv_a.f32({pool}).rows(t, t + 1).values().subspan(12)),
              1e-6);
  }
}

TEST(MlaTest, RefusesWhatDoesNotFit) {
  const ModelConfig config = small_config();
  const MlaWeights weights = hashed_weights(config);
  ThreadPool pool(1);
  const RopeTable rope(config, 4);
  const Mla mla(config, weights, rope);
  const Tensor x = hashed(1, {5, 24}, 1.0F);
  LatentCache small(config, 4);
  EXPECT_THROW(mla.forward_cached({pool}, x, small.layers[0]), Error);
  LatentCache large(config, 8);
  EXPECT_THROW(mla.forward_cached({pool}, x, large.layers[0]), Error);  // more than the rope table has
  EXPECT_EQ(large.length(), 0);
  EXPECT_THROW(mla.forward({pool}, x, sequences_of({4}), nullptr), Error);
  EXPECT_THROW(mla.forward({pool}, x, sequences_of({5}), nullptr), Error);
}

}  // namespace
}  // namespace fathom
