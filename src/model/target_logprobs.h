#pragma once

#include <vector>

#include "model/batch.h"
#include "model/context.h"
#include "model/transformer.h"

namespace fathom {

/// ln p of each token's target by the training forward, [tokens]; 0 where there is none. Logits exist only
/// for a slice of tokens at a time.
std::vector<float> target_logprobs(const Context& context, const Transformer& model, const Batch& batch);

}  // namespace fathom
