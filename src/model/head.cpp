#include "model/head.h"

#include <algorithm>
#include <vector>

#include "kernels/cross_entropy.h"
#include "model/linear.h"

namespace fathom {

std::int64_t head_slice_rows(std::int64_t vocab) {
  constexpr std::int64_t kLogits = std::int64_t{8} << 20;  // f32 values
  return std::clamp<std::int64_t>(kLogits / vocab, 16, 2048);
}

double head_loss(const Context& context, const LinearWeight& head, const Tensor& normed,
                 std::span<const std::int32_t> targets, double factor, HeadGradients& grads,
                 std::int64_t* counted, std::span<const float> weights) {
  const kernels::WeightMatrix matrix = head.matrix();
  const std::int64_t tokens = normed.dim(0);
  *counted = std::ranges::count_if(targets, [](std::int32_t target) { return target >= 0; });
  grads.dnormed = Tensor::empty(normed.shape());
  if (!grads.dweight.defined()) grads.dweight = Tensor::zeros({matrix.out, matrix.in});
  LinearWeight gradient;
  gradient.weight = grads.dweight;
  const double each = *counted == 0 ? 0.0 : weights.empty() ? 1.0 / static_cast<double>(*counted) : 1.0;
  const auto scale = static_cast<float>(factor * each);
  std::vector<float> losses(static_cast<std::size_t>(tokens));
  const std::int64_t step = head_slice_rows(matrix.out);
  for (std::int64_t begin = 0; begin < tokens; begin += step) {
    const std::int64_t end = std::min(tokens, begin + step);
    const Tensor x = normed.rows(begin, end);
    Tensor logits = linear_forward(context, head, x);
    kernels::cross_entropy(context.pool, logits.f32(), targets.data() + begin, end - begin, matrix.out, scale,
                           losses.data() + begin, weights.empty() ? nullptr : weights.data() + begin);
    Tensor dx = grads.dnormed.rows(begin, end);
    if (scale == 0.0F) {
      dx.fill_zero();
      continue;
    }
    linear_backward_input(context, head, logits, dx, /*accumulate=*/false);
    linear_backward_weight(context, logits, x, gradient);
  }
  double sum = 0;
  for (std::size_t t = 0; t < losses.size(); ++t)
    sum += static_cast<double>(losses[t]) * (weights.empty() ? 1.0 : static_cast<double>(weights[t]));
  return sum * each;
}

}  // namespace fathom
