#pragma once

#include <cstdint>

#include "model/config.h"
#include "model/weights.h"

namespace fathom {

/// Tells models apart: a sum of the config and of samples of every tensor but the routed experts' (of those
/// only the first in each layer), so that little is read of a mapped model. Latents of one fingerprint are
/// one model's; it does not resist forgery.
std::uint64_t model_fingerprint(const ModelConfig& config, const TransformerWeights& weights);

}  // namespace fathom
