#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <utility>
#include <vector>

#include "kernels/packed_gemm.h"
#include "model/context.h"
#include "model/kept.h"
#include "model/weights.h"
#include "tensor/tensor.h"

namespace fathom {

// A linear map's three products, in the precision of the context:
//
//             Fprop y = x · Wᵀ     Dgrad dx = dy · W     Wgrad dW += dyᵀ · x
//     bf16    both sides rounded to BF16 while they are packed
//     fp8     E4M3: x in 1×128 tiles, dy in 1×128 tiles, W in 128×128 blocks (`LinearWeight::fp8`); in Wgrad
//             dy in 128×1 tiles, and x, as it was stored, quantised again in 128×1 tiles
//
// Sums, biases and everything outside the products are f32.

/// x as Fprop multiplies it: made once for all maps of x.
/// @param format  of the scales, in FP8
Kept linear_input(const Context& context, const Tensor& x, ScaleFormat format = ScaleFormat::f32);

/// y[tokens, out] = x[tokens, in] · Wᵀ (+ bias, and what an adapter adds). In f32 the weight may be of any
/// type.
Tensor linear_forward(const Context& context, const LinearWeight& w, const Tensor& x);
Tensor linear_forward(const Context& context, const LinearWeight& w, const Kept& x);

/// Two maps of one input, in one parallel region where products are f32: a token alone gives threads too
/// little to do in each.
std::pair<Tensor, Tensor> linear_forward_together(const Context& context, const LinearWeight& a,
                                                  const LinearWeight& b, const Kept& x);

/// dx[tokens, in] = dy[tokens, out] · W, added to `dx` where `accumulate`. The weight is f32.
void linear_backward_input(const Context& context, const LinearWeight& w, const Tensor& dy, Tensor& dx,
                           bool accumulate);
Tensor linear_backward_input(const Context& context, const LinearWeight& w, const Tensor& dy);

/// grad.weight += dyᵀ · x, grad.bias += column sums of dy.
/// @param x  the input of `linear_forward`, or what was kept of it in a format of its own
void linear_backward_weight(const Context& context, const Tensor& dy, const Tensor& x, LinearWeight& grad);
void linear_backward_weight(const Context& context, const Tensor& dy, const Kept& x, LinearWeight& grad);

/// The same for several maps of one input, which is quantised once.
struct WeightGradient {
  const Tensor& dy;
  LinearWeight& grad;
};
void linear_backward_weights(const Context& context, std::initializer_list<WeightGradient> maps,
                             const Kept& x);

// The parts of which layers with many products at once are made.

/// What operands are rounded to on their way into a product; FP8 codes are BF16 numbers.
kernels::GemmInput gemm_input(const Context& context);

/// W as the side of Fprop's product; `flipped()` for Dgrad.
kernels::GemmOperand weight_operand(const Context& context, const LinearWeight& w);

/// dy as Dgrad multiplies it.
Kept gradient_operand(const Context& context, const Tensor& dy, ScaleFormat format = ScaleFormat::f32);

/// A [tokens, ...] tensor as it lies.
kernels::StoredRows rows_of(const Tensor& x);

/// One side of the products of weight gradients, dyᵀ or xᵀ: rows of several groups, each summed over for a
/// product of its own. Quantises them in FP8, else only looks at them.
class SummedRows {
 public:
  /// @param rows     must stay as they are, as must `gather` and `offsets`
  /// @param gather   which stored row comes where; empty: all of them in order
  /// @param offsets  where each group begins, and the number of rows last
  SummedRows(const Context& context, const kernels::StoredRows& rows, std::span<const std::int32_t> gather,
             std::span<const std::int64_t> offsets, TileScaling scaling);

  /// [columns, rows of the group], as kernels/packed_gemm.h takes it.
  [[nodiscard]] kernels::GemmOperand operand(std::size_t group) const;

 private:
  kernels::StoredRows rows_;
  const std::int32_t* gather_;
  std::span<const std::int64_t> offsets_;
  Tensor codes_;                     // [rows, columns], in FP8
  Tensor scale_;                     // [tiles, columns]
  std::vector<std::int64_t> tiles_;  // first tile of each group
};

}  // namespace fathom
