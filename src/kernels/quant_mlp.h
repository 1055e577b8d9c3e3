#pragma once

#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "kernels/linear.h"
#include "kernels/quant_rows.h"

namespace fathom::kernels {

/// A SwiGLU network with weights in block types, and the tokens it works on: down(silu(gate(x)) · up(x)).
struct QuantMlp {
  WeightMatrix gate;           // [intermediate, hidden]
  WeightMatrix up;             // [intermediate, hidden]
  WeightMatrix down;           // [hidden, intermediate]
  const std::int32_t* gather;  // [tokens], which rows of x; null: the first ones
  std::int64_t tokens;
  float* y;  // [tokens, hidden]
};

/// Whether all three matrices are in block types.
bool is_quant_mlp(const WeightMatrix& gate, const WeightMatrix& up, const WeightMatrix& down);

/// All of them in two parallel regions, one before and one after SwiGLU: rows of gate and up are multiplied
/// together, and their product is quantised where it is made. Networks without tokens cost nothing.
/// @param x  [any, hidden]
void quant_mlps(ThreadPool& pool, std::span<const QuantMlp> mlps, const QuantizedRows& x);

}  // namespace fathom::kernels
