#include "train/step_probe.h"

#include "base/progress.h"
#include "model/context.h"
#include "model/fp8_weights.h"
#include "model/random_batch.h"
#include "model/transformer.h"
#include "train/optimizer.h"

namespace fathom {
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
  const Batch batch = random_batch(config, 1, sequence_length);
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
