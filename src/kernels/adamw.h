#pragma once

#include <cstddef>

#include "numerics/small_float.h"

namespace fathom::kernels {

/// The scalars of one AdamW step (Loshchilov and Hutter, ICLR 2019), the same for every parameter but the
/// decay.
struct AdamWStep {
  float learning_rate = 0;
  float beta1 = 0;
  float beta2 = 0;
  float epsilon = 0;
  float weight_decay = 0;
  float gradient_scale = 1;  // clipping: what gradients are multiplied by first
  float correction1 = 1;     // 1 / (1 - beta1^t)
  float correction2 = 1;     // 1 / (1 - beta2^t)
};

/// One pass over `count` parameters on the calling thread:
///
///     m = beta1 · m + (1 - beta1) · g     v = beta2 · v + (1 - beta2) · g²     g = gradient_scale · gradient
///     w = w - learning_rate · (m · correction1 / (sqrt(v · correction2) + epsilon) + weight_decay · w)
///
/// and gradient = 0, ready for the next step's sums.
void adamw(const AdamWStep& step, std::size_t count, float* weight, float* gradient, float* first_moment,
           float* second_moment);
/// The same with moments stored in BF16: widened, updated in f32, used, and rounded to nearest, ties to even.
void adamw(const AdamWStep& step, std::size_t count, float* weight, float* gradient, Bf16* first_moment,
           Bf16* second_moment);

/// The sum of squares of `count` values, on the calling thread, always in the same order.
double sum_of_squares(const float* values, std::size_t count);

}  // namespace fathom::kernels
