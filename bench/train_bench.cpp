// Training speed: whole steps (forward, backward, clipping, AdamW) in tokens a second, the share of the
// machine's GEMM speed that they reach, and the ratio to PyTorch running transformers' DeepseekV3 on the same
// config in the same run.
//
// usage: train_bench [CONFIG.json] [THREADS] [f32|bf16|fp8]
// The config is by default bench/train_bench_config.json: 40 million parameters, 64 fine-grained experts.
// bench/train_bench_100m.json has 106 million. FATHOM_PEER_PYTHON names a Python that has torch and
// transformers; without it only our own figures are printed. FATHOM_PEER_COMPILE adds torch.compile, which
// takes minutes. Peak memory is the process's, libraries included.

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"
#include "infer/machine_limits.h"
#include "kernels/simd_limit.h"
#include "model/fp8_weights.h"
#include "model/random_batch.h"
#include "model/transformer.h"
#include "plan/training_cost.h"
#include "train/optimizer.h"

namespace {

using namespace fathom;

constexpr std::int64_t kSequences = 4;
constexpr std::int64_t kLength = 512;
constexpr int kSteps = 5;

Precision precision_from_name(const std::string& name) {
  for (const auto& [known, precision] :
       {std::pair{"f32", Precision::f32}, {"bf16", Precision::bf16}, {"fp8", Precision::fp8}})
    if (name == known) return precision;
  fail("the precision is f32, bf16 or fp8, not {}", name);
}

/// What the quickest way of running it in PyTorch reaches; zeros where it cannot be asked.
struct Peer {
  double tokens_per_second = 0.0;
  std::uint64_t peak_bytes = 0;
};

Peer measure_peer(const std::string& config, std::size_t threads, Precision precision) {
  const char* python = std::getenv("FATHOM_PEER_PYTHON");
  if (python == nullptr) return {};
  const std::string command = fmt::format(
      "'{}' '{}/bench/train_peer.py' '{}' --batch {} --length {} --threads {} --precision {}{}", python,
      FATHOM_SOURCE_DIR, config, kSequences, kLength, threads, precision == Precision::f32 ? "f32" : "bf16",
      std::getenv("FATHOM_PEER_COMPILE") != nullptr ? " --compile" : "");
  std::FILE* output = popen(command.c_str(), "r");
  if (output == nullptr) return {};
  Peer best;
  char line[4096];
  while (std::fgets(line, sizeof line, output) != nullptr) {
    fmt::print("  {}", line);
    const Json result = parse_json(line, "bench/train_peer.py");
    const double speed = result.value("tokens_per_second", 0.0);
    if (speed > best.tokens_per_second) best = {speed, result.value("peak_bytes", std::uint64_t{0})};
  }
  pclose(output);
  return best;
}

int measure(int argc, char** argv) {
  fathom::kernels::limit_simd_by_environment();
  const std::string file =
      argc > 1 ? argv[1] : std::string(FATHOM_SOURCE_DIR) + "/bench/train_bench_config.json";
  ThreadPool pool(argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 0);
  const Context context{pool, argc > 3 ? precision_from_name(argv[3]) : Precision::f32};
  const ModelConfig config = load_model_config(file);
  TransformerWeights weights = random_weights(config, 1, &pool);
  const Transformer model(config, weights, kLength);
  Optimizer optimizer(config, weights, moments_dtype(context.precision));
  const auto quantize = [&] {
    if (context.precision == Precision::fp8) quantize_weights(context, weights);
  };
  quantize();
  const Batch batch = random_batch(config, kSequences, kLength);
  const LossFactors factors;

  std::int64_t steps = 0;
  const auto step = [&] {
    Transformer::Saved saved;
    model.forward(context, batch, factors, &saved);
    model.backward(context, batch, factors, 1.0, saved, optimizer.gradients());
    optimizer.step(context, {.learning_rate = 1e-4}, steps++, optimizer.gradient_norm(context));
    quantize();
  };
  GemmLimit gemm;
  const kernels::GemmInput input =
      context.precision == Precision::f32 ? kernels::GemmInput::f32 : kernels::GemmInput::bf16;
  const std::vector<std::function<void()>> parts = {step, [&] { gemm.packed(pool, input); },
                                                    [&] { gemm(pool); }};
  const std::vector<double> seconds = least_seconds(parts, kSteps);

  const std::uint64_t memory = peak_memory();

  const double tokens = kSequences * kLength;
  const double ours = tokens / seconds[0];
  const double achieved = ours * training_flops_per_token(config, kLength).total();
  // OpenBLAS has no product of bf16 to compare with.
  const double gemm_seconds =
      input == kernels::GemmInput::f32 ? std::min(seconds[1], seconds[2]) : seconds[1];
  const double peak = GemmLimit::kFlops / gemm_seconds;
  fmt::print("{} parameters, {} of them activated, {} x {} tokens a step, {} threads\n",
             format_count(static_cast<std::uint64_t>(count_parameters(config).total)),
             format_count(static_cast<std::uint64_t>(count_parameters(config).activated)), kSequences,
             kLength, pool.threads());
  fmt::print(
      "fathom   {:8.0f} tokens/s  {:6.1f} GFLOP/s, {:.0f} % of GEMM's {:.1f} (OpenBLAS in f32: {:.1f}), peak "
      "memory {}\n",
      ours, achieved / 1e9, 100.0 * achieved / peak, peak / 1e9, GemmLimit::kFlops / seconds[2] / 1e9,
      format_bytes(memory));
  const Peer peer = measure_peer(file, pool.threads(), context.precision);
  if (peer.tokens_per_second > 0)
    fmt::print("pytorch  {:8.0f} tokens/s  ratio {:.2f}, peak memory {}, ratio {:.2f}\n",
               peer.tokens_per_second, ours / peer.tokens_per_second, format_bytes(peer.peak_bytes),
               static_cast<double>(memory) / static_cast<double>(peer.peak_bytes));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return measure(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "train_bench: {}\n", error.what());
    return 1;
  }
}
