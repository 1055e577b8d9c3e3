#pragma once

#include <cstdint>
#include <span>

#include "model/context.h"
#include "model/weights.h"
#include "tensor/tensor.h"

namespace fathom {

/// Gradients that the head's loss leaves behind.
struct HeadGradients {
  Tensor dnormed;  // [tokens, hidden], at the head's input
  Tensor dweight;  // [vocab, hidden], added to
};

/// How many tokens' logits are made at once: about 32 MiB of them, whatever the batch and the vocabulary.
std::int64_t head_slice_rows(std::int64_t vocab);

/// Mean cross-entropy, in nats, of the head's predictions from hidden states after their norm. Logits exist
/// only for a slice of tokens at a time.
/// @param normed   [tokens, hidden]
/// @param targets  [tokens]; -1: no loss
/// @param factor   of this loss in the total
/// @param grads    receives factor · d(loss); `dweight` must be zeros or an earlier sum
/// @param counted  receives the number of targets that are not -1
/// @param weights  [tokens]: then the loss is the sum of the targets' cross-entropies times these, instead of
///                 their mean
/// With no target at all the loss is 0.
double head_loss(const Context& context, const LinearWeight& head, const Tensor& normed,
                 std::span<const std::int32_t> targets, double factor, HeadGradients& grads,
                 std::int64_t* counted, std::span<const float> weights = {});

}  // namespace fathom
