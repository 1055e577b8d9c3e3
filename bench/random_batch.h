#pragma once

#include <cstdint>

#include "base/rng.h"
#include "model/transformer.h"

namespace fathom::bench {

/// Random tokens and targets, the same at every call: what a step costs does not depend on their meaning.
inline Batch random_batch(const ModelConfig& config, std::int64_t sequences, std::int64_t length) {
  Batch batch;
  Rng random(1);
  const auto token = [&] {
    return static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(config.vocab_size)));
  };
  for (std::int64_t i = 0; i < sequences * length; ++i) {
    batch.tokens.push_back(token());
    batch.targets.push_back(token());
  }
  batch.sequences = Sequences::uniform(sequences, length);
  return batch;
}

}  // namespace fathom::bench
