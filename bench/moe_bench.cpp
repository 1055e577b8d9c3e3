// A MoE layer against the machine's limits measured in the same run: training (forward, both backwards)
// against the GEMM peak, decoding one token at a time against the memory's read bandwidth.
//   moe_bench [threads]

#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <vector>

#include "base/progress.h"
#include "base/rng.h"
#include "base/thread_pool.h"
#include "kernels/gemm.h"
#include "model/moe.h"

namespace fathom {
namespace {

/// Seconds of the fastest of some runs.
double best_of(int runs, const std::function<void()>& work) {
  double best = 1e9;
  for (int run = 0; run <= runs; ++run) {  // the first warms up
    const double start = monotonic_seconds();
    work();
    if (run > 0) best = std::min(best, monotonic_seconds() - start);
  }
  return best;
}

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

double gemm_peak(ThreadPool& pool) {
  constexpr std::int64_t kSize = 1536;
  const Tensor a = random_tensor({kSize, kSize}, 1, 1.0);
  const Tensor b = random_tensor({kSize, kSize}, 2, 1.0);
  Tensor c = Tensor::empty({kSize, kSize});
  const double seconds = best_of(3, [&] {
    kernels::gemm(pool, kSize, kSize, kSize, 1.0F, {a.f32(), kSize}, {b.f32(), kSize}, 0.0F, c.f32(), kSize);
  });
  return 2.0 * kSize * kSize * kSize / seconds;
}

/// Bytes read per second by all threads from memory well beyond the caches.
double read_bandwidth(ThreadPool& pool) {
  constexpr std::size_t kBlock = std::size_t{1} << 20U;
  constexpr std::size_t kBlocks = 256;
  std::vector<std::uint64_t> words(kBlock * kBlocks / sizeof(std::uint64_t), 1);
  std::atomic<std::uint64_t> total{0};
  const double seconds = best_of(3, [&] {
    pool.parallel_for(kBlocks, [&](std::size_t block) {
      const std::uint64_t* word = words.data() + block * (kBlock / sizeof(std::uint64_t));
      std::uint64_t sums[8] = {};
      for (std::size_t i = 0; i < kBlock / sizeof(std::uint64_t); i += 8)
        for (std::size_t j = 0; j < 8; ++j) sums[j] += word[i + j];
      for (const std::uint64_t sum : sums) total += sum;
    });
  });
  return static_cast<double>(kBlock * kBlocks) / seconds;
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

  const double forward = best_of(5, [&] { moe.forward(context, x, sequences, &saved); });
  const double dgrad = best_of(5, [&] { moe.backward_input(context, dy, sequences, 1e-4, saved, deltas); });
  const double wgrad = best_of(5, [&] { moe.backward_weight(context, saved, deltas, grads); });
  const double peak = gemm_peak(pool);
  const double one_pass = 2.0 * static_cast<double>(tokens * config.hidden_size) *
                          static_cast<double>(3 * config.moe_intermediate_size *
                                                  (config.num_experts_per_tok + config.n_shared_experts) +
                                              config.n_routed_experts);
  const auto line = [&](const char* what, double seconds, double flops) {
    fmt::print("  {:<16} {:7.2f} ms  {:6.1f} GFLOP/s  {:5.1f} % of GEMM\n", what, seconds * 1e3,
               flops / seconds / 1e9, 100.0 * flops / seconds / peak);
  };
  fmt::print("training, {} tokens, hidden {}, {} experts of {}, top {}, 1 shared; GEMM peak {:.1f} GFLOP/s\n",
             tokens, config.hidden_size, config.n_routed_experts, config.moe_intermediate_size,
             config.num_experts_per_tok, peak / 1e9);
  line("forward", forward, one_pass);
  line("backward_input", dgrad, one_pass);
  line("backward_weight", wgrad, one_pass);
  line("all", forward + dgrad + wgrad, 3 * one_pass);
}

void bench_decode(ThreadPool& pool) {
  const ModelConfig config = layer_config(1024, 64, 6, 704);  // 560 MB
  const MoeWeights weights = moe_weights(config);
  const Moe moe(config, weights);
  const std::int64_t steps = 32;
  const Tensor x = random_tensor({steps, config.hidden_size}, 5, 1.0);
  const double seconds = best_of(3, [&] {
    for (std::int64_t t = 0; t < steps; ++t)
      moe.forward(Context{pool}, x.rows(t, t + 1), Sequences::uniform(1, 1), nullptr);
  });
  const double bandwidth = read_bandwidth(pool);
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
  fathom::ThreadPool pool(count > 1 ? static_cast<std::size_t>(std::atoi(arguments[1])) : 2);
  fathom::bench_training(pool);
  fathom::bench_decode(pool);
}
