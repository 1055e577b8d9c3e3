#pragma once

#include "model/config.h"
#include "model/weights.h"

namespace fathom {

/// How often a parameter works on one token, in training: the head also for each MTP module, an expert as
/// often as tokens that choose evenly choose it, the embedding, a look-up, never.
double uses_per_token(const ModelConfig& config, const ParameterSpec& spec);

}  // namespace fathom
