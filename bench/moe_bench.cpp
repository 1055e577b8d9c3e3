// A MoE layer against the machine's limits measured in the same run: training (forward, both backwards)
// against the GEMM peak, decoding one token at a time against the memory's read bandwidth.
//   moe_bench [threads]

#include <fmt/core.h>

#include <array>
#include <cstdlib>
#include <functional>
#include <vector>

#include "base/rng.h"
#include "base/thread_pool.h"
#include "infer/machine_limits.h"
#include "kernels/simd_limit.h"
#include "model/moe.h"

namespace fathom {
namespace {

constexpr int kRounds = 7;

Tensor random_tensor(const Shape& shape, std::uint64_t stream, double scale) {
  Tensor tensor = Tensor::empty(shape);
  Rng rng(1, stream);
  for (float& value : tensor.values()) value = static_cast<float>(scale * (2.0 * rng.uniform() - 1.0));
  return tensor;
}

MlpWeights mlp_weights(std::int64_t width, std::int64_t hidden, std::uint64_t stream) {
  MlpWeights mlp;
  mlp.gate_proj.weight = random_tensor({width, hidden}, stream, 0.05);
  mlp.up_proj.weight = random_tensor({width, hidden}, stream + 1, 0.05);
  mlp.down_proj.weight = random_tensor({hidden, width}, stream + 2, 0.05);
  return mlp;
}

MoeWeights moe_weights(const ModelConfig& config) {
  MoeWeights weights;
  weights.router = random_tensor({config.n_routed_experts, config.hidden_size}, 1, 0.05);
  weights.e_score_correction_bias = Tensor::zeros({config.n_routed_experts});
  for (std::int64_t e = 0; e < config.n_routed_experts; ++e)
    weights.experts.push_back(mlp_weights(config.moe_intermediate_size, config.hidden_size,
                                          static_cast<std::uint64_t>(10 + 3 * e)));
  weights.shared_experts =
      mlp_weights(config.n_shared_experts * config.moe_intermediate_size, config.hidden_size, 2);
  return weights;
}

MlpWeights zeros_like(const MlpWeights& weights) {
  MlpWeights zeros;
  zeros.gate_proj.weight = Tensor::zeros(weights.gate_proj.weight.shape());
  zeros.up_proj.weight = Tensor::zeros(weights.up_proj.weight.shape());
  zeros.down_proj.weight = Tensor::zeros(weights.down_proj.weight.shape());
  return zeros;
}

MoeWeights zeros_like(const MoeWeights& weights) {
  MoeWeights zeros;
  zeros.router = Tensor::zeros(weights.router.shape());
  for (const MlpWeights& expert : weights.experts) zeros.experts.push_back(zeros_like(expert));
  zeros.shared_experts = zeros_like(weights.shared_experts);
  return zeros;
}

ModelConfig layer_config(std::int64_t hidden, std::int64_t experts, std::int64_t top_k, std::int64_t width) {
  ModelConfig config;
  config.hidden_size = hidden;
  config.n_routed_experts = experts;
  config.num_experts_per_tok = top_k;
  config.moe_intermediate_size = width;
  config.n_shared_experts = 1;
  config.norm_topk_prob = true;
  return config;
}

void bench_training(ThreadPool& pool) {
  const std::int64_t tokens = 2048;
  const ModelConfig config = layer_config(384, 32, 4, 256);
  const MoeWeights weights = moe_weights(config);
  MoeWeights grads = zeros_like(weights);
  const Context context{pool};
  const Moe moe(config, weights);
  const Sequences sequences = Sequences::uniform(4, tokens / 4);
  const Tensor x = random_tensor({tokens, config.hidden_size}, 3, 1.0);
  const Tensor dy = random_tensor({tokens, config.hidden_size}, 4, 1.0);
  Moe::Saved saved;
  Moe::Deltas deltas;

  GemmLimit gemm;
  const std::array<std::function<void()>, 4> parts = {
      [&] { gemm(pool); },
      [&] { moe.forward(context, x, sequences, &saved); },
      [&] { moe.backward_input(context, dy, sequences, 1e-4, saved, deltas); },
      [&] { moe.backward_weight(context, x, saved, deltas, grads); },
  };
  const std::vector<double> seconds = least_seconds(parts, kRounds);
  const double peak = GemmLimit::kFlops / seconds[0];
  const double one_pass = 2.0 * static_cast<double>(tokens * config.hidden_size) *
                          static_cast<double>(3 * config.moe_intermediate_size *
                                                  (config.num_experts_per_tok + config.n_shared_experts) +
                                              config.n_routed_experts);
  const auto line = [&](const char* what, double time, double flops) {
    fmt::print("  {:<16} {:7.2f} ms  {:6.1f} GFLOP/s  {:5.1f} % of GEMM\n", what, time * 1e3,
               flops / time / 1e9, 100.0 * flops / time / peak);
  };
  fmt::print("training, {} tokens, hidden {}, {} experts of {}, top {}, 1 shared; GEMM peak {:.1f} GFLOP/s\n",
             tokens, config.hidden_size, config.n_routed_experts, config.moe_intermediate_size,
             config.num_experts_per_tok, peak / 1e9);
  line("forward", seconds[1], one_pass);
  line("backward_input", seconds[2], one_pass);
  line("backward_weight", seconds[3], one_pass);
  line("all", seconds[1] + seconds[2] + seconds[3], 3 * one_pass);
}

void bench_decode(ThreadPool& pool) {
  const ModelConfig config = layer_config(1024, 64, 6, 704);  // 560 MB
  const MoeWeights weights = moe_weights(config);
  const Moe moe(config, weights);
  const std::int64_t steps = 32;
  const Tensor x = random_tensor({steps, config.hidden_size}, 5, 1.0);
  MemoryReadLimit read;
  const std::array<std::function<void()>, 2> parts = {
      [&] { read(pool); },
      [&] {
        for (std::int64_t t = 0; t < steps; ++t)
          moe.forward(Context{pool}, x.rows(t, t + 1), Sequences::uniform(1, 1), nullptr);
      },
  };
  const std::vector<double> least = least_seconds(parts, kRounds);
  const double bandwidth = MemoryReadLimit::kBytes / least[0];
  const double seconds = least[1];
  const double bytes = 4.0 * static_cast<double>(steps * config.hidden_size) *
                       static_cast<double>(3 * config.moe_intermediate_size *
                                               (config.num_experts_per_tok + config.n_shared_experts) +
                                           config.n_routed_experts);
  fmt::print(
      "decode, 1 token, hidden {}, {} experts of {}, top {}, 1 shared, f32; read bandwidth {:.1f} GB/s\n",
      config.hidden_size, config.n_routed_experts, config.moe_intermediate_size, config.num_experts_per_tok,
      bandwidth / 1e9);
  fmt::print("  {:<16} {:7.2f} ms  {:6.1f} GB/s  {:5.1f} % of reading\n", "forward",
             seconds * 1e3 / static_cast<double>(steps), bytes / seconds / 1e9,
             100.0 * bytes / seconds / bandwidth);
}

}  // namespace
}  // namespace fathom

int main(int count, char** arguments) {
  fathom::kernels::limit_simd_by_environment();
  fathom::ThreadPool pool(count > 1 ? static_cast<std::size_t>(std::atoi(arguments[1])) : 2);
  fathom::bench_training(pool);
  fathom::bench_decode(pool);
}
