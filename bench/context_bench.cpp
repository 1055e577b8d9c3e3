// What sharing a sequence out over ranks costs: a step (forward and backward) of one long sequence on 1, 2, 4
// ... ranks, each a thread of this process, with the training's own code. Ideally R ranks take 1 / R of the
// time; what is missing is the making of keys and values from other ranks' latents, and waiting. Needs as
// many idle cores as ranks to say anything.
//
// usage: context_bench [TOKENS] [RANKS]

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"
#include "dist/collectives.h"
#include "dist/local_communicator.h"
#include "dist/sequence_ring.h"
#include "model/random_batch.h"
#include "model/transformer.h"

namespace {

using namespace fathom;

/// Attention of DeepSeek-V2-Lite, one dense layer and one of experts.
ModelConfig make_model(std::int64_t tokens) {
  ModelConfig config;
  config.vocab_size = 1024;
  config.hidden_size = 1024;
  config.intermediate_size = 2048;
  config.moe_intermediate_size = 704;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 16;
  config.max_position_embeddings = tokens;
  config.q_lora_rank = 0;
  config.kv_lora_rank = 512;
  config.qk_nope_head_dim = 128;
  config.qk_rope_head_dim = 64;
  config.v_head_dim = 128;
  config.first_k_dense_replace = 1;
  config.n_routed_experts = 16;
  config.n_shared_experts = 1;
  config.num_experts_per_tok = 4;
  config.n_group = 1;
  config.topk_group = 1;
  config.norm_topk_prob = true;
  config.scoring_func = ScoringFunc::sigmoid;
  config.topk_method = TopkMethod::noaux_tc;
  config.initializer_range = 0.02;
  return config;
}

/// Seconds of a step, the least of three.
double measure(const ModelConfig& config, const Batch& whole, int count) {
  const std::vector<std::unique_ptr<Communicator>> world = local_communicators(count);
  double least = 0;
  std::vector<std::thread> threads;
  threads.reserve(world.size());
  for (int rank = 0; rank < count; ++rank)
    threads.emplace_back([&, rank] {
      Communicator& ranks = *world[static_cast<std::size_t>(rank)];
      ThreadPool pool(1);
      SequenceRing ring(ranks);
      const Context context{pool, Precision::f32, nullptr, &ring};
      const TransformerWeights weights = random_weights(config, 1);
      TransformerWeights grads = zero_weights(config);
      const Transformer model(config, weights, config.max_position_embeddings);
      Batch batch = whole;
      batch.sequences = whole.sequences.part(rank, count);
      for (int step = 0; step < 3; ++step) {
        barrier(ranks);
        const auto begin = std::chrono::steady_clock::now();
        Transformer::Saved saved;
        (void)model.forward(context, batch, LossFactors{}, &saved);
        model.backward(context, batch, LossFactors{}, 1.0, saved, grads);
        barrier(ranks);
        const double time = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
        if (rank == 0) least = step == 0 ? time : std::min(least, time);
      }
    });
  for (std::thread& thread : threads) thread.join();
  return least;
}

void run(std::int64_t tokens, int most) {
  const ModelConfig config = make_model(tokens);
  const Batch batch = random_batch(config, 1, tokens, 1);
  fmt::print("a sequence of {} tokens, one thread a rank\n\n  {:>5} {:>10} {:>9} {:>8}\n", tokens, "ranks",
             "step", "faster", "of ideal");
  double one = 0;
  for (int ranks = 1; ranks <= most; ranks *= 2) {
    const double time = measure(config, batch, ranks);
    if (ranks == 1) one = time;
    fmt::print("  {:>5} {:>8.2f} s {:>8.2f}x {:>6.1f} %\n", ranks, time, one / time,
               100 * one / time / ranks);
    (void)std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const long tokens = argc > 1 ? std::strtol(argv[1], nullptr, 10) : 4096;
    const long ranks = argc > 2 ? std::strtol(argv[2], nullptr, 10) : 2;
    fathom::require(tokens > 0 && ranks > 0, "usage: context_bench [TOKENS] [RANKS]");
    run(tokens, static_cast<int>(ranks));
  } catch (const fathom::Error& error) {
    fmt::print(stderr, "context_bench: {}\n", error.what());
    return 1;
  }
}
