#include "train/step_probe.h"

#include "base/progress.h"
#include "base/rng.h"
#include "model/context.h"
#include "model/fp8_weights.h"
#include "model/transformer.h"
#include "train/optimizer.h"

namespace fathom {
namespace {

Batch random_sequence(const ModelConfig& config, std::int64_t length) {
  Rng random(1);
  const auto token = [&] {
    return static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(config.vocab_size)));
  };
  Batch batch;
  for (std::int64_t i = 0; i < length; ++i) {
    batch.tokens.push_back(token());
    batch.targets.push_back(token());
  }
  batch.sequences = Sequences::uniform(1, length);
  return batch;
}

}  // namespace

StepTiming time_training_step(const ModelConfig& config, OptimizerKind kind, Precision precision,
                              std::int64_t sequence_length, ThreadPool& pool) {
  constexpr int kRuns = 2;  // the first one touches fresh memory
  const Context context{pool, precision};
  TransformerWeights weights = random_weights(config, 1, &pool);
  const Transformer model(config, weights, sequence_length);
  Optimizer optimizer(config, weights, moments_dtype(precision), kind);
  const auto quantize = [&] {
    if (precision == Precision::fp8) quantize_weights(context, weights);
  };
  quantize();
  const Batch batch = random_sequence(config, sequence_length);
  const LossFactors factors;
  StepTiming timing;
  for (int i = 0; i < kRuns; ++i) {
    const double begin = monotonic_seconds();
    Transformer::Saved saved;
    model.forward(context, batch, factors, &saved);
    model.backward(context, batch, factors, 1.0, saved, optimizer.gradients());
    const double middle = monotonic_seconds();
    optimizer.step(context, {.learning_rate = 0}, i, optimizer.gradient_norm(context));
    quantize();
    timing = {middle - begin, monotonic_seconds() - middle};
  }
  return timing;
}

}  // namespace fathom
