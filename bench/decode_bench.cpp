// Decoding, f32 weights far beyond the last-level cache, against the rate at which this machine reads memory:
// every active weight is read once for a token, so bandwidth / active bytes is a limit. Both are measured in
// this run, turn and turn about, so that a busy minute meets both. usage: decode_bench [threads]
#include <fmt/core.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <vector>

#include "base/thread_pool.h"
#include "infer/machine_limits.h"
#include "infer/sampler.h"
#include "kernels/simd_limit.h"
#include "model/latent_cache.h"
#include "model/transformer.h"

namespace fathom {
namespace {

/// A DeepSeek-V3-style model of 118 M parameters, 80 M of them active: 320 MB are read for each token.
ModelConfig bench_config() {
  ModelConfig config;
  config.vocab_size = 16384;
  config.hidden_size = 1024;
  config.intermediate_size = 2816;
  config.moe_intermediate_size = 768;
  config.num_hidden_layers = 4;
  config.num_attention_heads = 8;
  config.max_position_embeddings = 4096;
  config.q_lora_rank = 512;
  config.kv_lora_rank = 256;
  config.qk_nope_head_dim = 128;
  config.qk_rope_head_dim = 64;
  config.v_head_dim = 128;
  config.first_k_dense_replace = 1;
  config.n_routed_experts = 8;
  config.n_shared_experts = 1;
  config.num_experts_per_tok = 4;
  config.norm_topk_prob = true;
  config.routed_scaling_factor = 2.5;
  validate_model_config(config, "decode_bench");
  return config;
}

void measure(std::size_t threads) {
  constexpr int kRounds = 40;
  const ModelConfig config = bench_config();
  const TransformerWeights weights = random_weights(config, 1);
  ThreadPool pool(threads);
  const Context context{pool};
  const Transformer model(config, weights, config.max_position_embeddings);
  const double active_bytes =
      static_cast<double>(count_parameters(config).activated_without_input_embedding) * sizeof(float);

  SamplingOptions options;
  options.temperature = 0;
  Sampler sampler(options);
  LatentCache cache(config, kRounds + 1);
  std::int32_t token = 1;
  const auto decode = [&] {
    token = sampler.sample(model.head(context, model.forward_cached(context, {&token, 1}, cache)).values());
  };
  decode();  // warm: pages, pool, scratch memory
  MemoryReadLimit reader;
  const std::array<std::function<void()>, 2> parts = {[&] { reader(pool); }, decode};
  const std::vector<double> seconds = least_seconds(parts, kRounds);
  const double bandwidth = MemoryReadLimit::kBytes / seconds[0];
  const double rate = 1.0 / seconds[1];
  const double limit = bandwidth / active_bytes;
  fmt::print("memory read        {:8.2f} GB/s ({} threads)\n", bandwidth * 1e-9, pool.threads());
  fmt::print("active weights     {:8.1f} MB a token, f32\n", active_bytes * 1e-6);
  fmt::print("decode             {:8.2f} tokens/s\n", rate);
  fmt::print("bandwidth limit    {:8.2f} tokens/s\n", limit);
  fmt::print("decode / limit     {:8.1f} %  (target: 80 %)\n", 100.0 * rate / limit);
}

}  // namespace
}  // namespace fathom

int main(int argc, char** argv) {
  fathom::kernels::limit_simd_by_environment();
  fathom::measure(argc > 1 ? static_cast<std::size_t>(std::strtoul(argv[1], nullptr, 10)) : 0);
  return 0;
}
