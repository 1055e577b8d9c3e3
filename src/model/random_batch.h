#pragma once

#include <cstdint>

#include "model/transformer.h"

namespace fathom {

/// Sequences of random tokens and targets, the same for the same seed: to measure what a step costs, which
/// does not depend on their meaning.
Batch random_batch(const ModelConfig& config, std::int64_t sequences, std::int64_t length,
                   std::uint64_t seed = 1);

}  // namespace fathom
