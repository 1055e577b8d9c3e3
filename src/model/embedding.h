#pragma once

#include <cstdint>
#include <span>

#include "model/context.h"
#include "tensor/tensor.h"

namespace fathom {

/// Rows of the embedding, widened to f32: [tokens, hidden]. Throws `Error` for an id outside the vocabulary.
/// @param table  [vocab, hidden], of any plain type
Tensor embed(const Tensor& table, std::span<const std::int32_t> tokens);

/// grads[token of row t] += rows[t]. Columns are shared out, so every sum runs over the tokens in order.
/// @param rows   [tokens, hidden]
/// @param grads  [vocab, hidden]
void add_embedding_gradient(const Context& context, std::span<const std::int32_t> tokens, const Tensor& rows,
                            Tensor& grads);

}  // namespace fathom
