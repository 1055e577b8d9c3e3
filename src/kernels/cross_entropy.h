#pragma once

#include <cstdint>

#include "base/thread_pool.h"

namespace fathom::kernels {

/// Cross-entropy of rows of logits against target tokens, and, in place, its gradient.
/// @param logits   [tokens, vocab]; where `scale` is not zero, replaced by scale · (softmax(logits) -
/// onehot(target))
/// @param targets  [tokens]; a row with target -1 has loss 0 and gradient 0
/// @param losses   [tokens], -log softmax(logits)[target], in nats
/// @param weights  [tokens] further factors of the rows' gradients, not of their losses; null: 1
void cross_entropy(ThreadPool& pool, float* logits, const std::int32_t* targets, std::int64_t tokens,
                   std::int64_t vocab, float scale, float* losses, const float* weights = nullptr);

/// log softmax of one row, in place.
void log_softmax(float* row, std::int64_t vocab);

}  // namespace fathom::kernels
