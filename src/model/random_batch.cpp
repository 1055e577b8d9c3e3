#include "model/random_batch.h"

#include "base/rng.h"

namespace fathom {

Batch random_batch(const ModelConfig& config, std::int64_t sequences, std::int64_t length,
                   std::uint64_t seed) {
  Rng random(seed);
  const auto token = [&] {
    return static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(config.vocab_size)));
  };
  Batch batch;
  for (std::int64_t i = 0; i < sequences * length; ++i) {
    batch.tokens.push_back(token());
    batch.targets.push_back(token());
  }
  batch.sequences = Sequences::uniform(sequences, length);
  return batch;
}

}  // namespace fathom
