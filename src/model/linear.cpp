#include "model/linear.h"

#include <array>

#include "base/error.h"
#include "kernels/grouped_linear.h"

namespace fathom {
namespace {

/// Rows of a [tokens, ...] tensor.
std::int64_t token_count(const Tensor& x) {
  return x.dim(0);
}

void add_bias(const LinearWeight& w, Tensor& y) {
  if (!w.bias.defined()) return;
  const float* bias = w.bias.f32();
  for (std::int64_t t = 0; t < y.dim(0); ++t)
    for (std::int64_t i = 0; i < y.dim(1); ++i) y.f32()[t * y.dim(1) + i] += bias[i];
}

void add_adapter(const Context& context, const LinearWeight& w, const float* x, Tensor& y) {
  if (!w.adapter.defined()) return;
  const std::int64_t tokens = y.dim(0);
  const LowRank& low_rank = w.adapter;
  Tensor inner = Tensor::empty({tokens, low_rank.rank()});
  kernels::linear_forward(context.pool, x, tokens,
                          {low_rank.down.data(), DType::f32, low_rank.rank(), low_rank.down.dim(1), nullptr},
                          inner.f32());
  Tensor added = Tensor::empty(y.shape());
  kernels::linear_forward(context.pool, inner.f32(), tokens,
                          {low_rank.up.data(), DType::f32, low_rank.up.dim(0), low_rank.rank(), nullptr},
                          added.f32());
  for (std::int64_t i = 0; i < y.size(); ++i) y.f32()[i] += added.f32()[i];
}

void check_input(const LinearWeight& w, const Shape& shape, std::int64_t columns) {
  if (columns != w.weight.dim(1) && shape.at(0) != 0) [[unlikely]]
    fail("an input of shape {} for a weight of shape {}", shape_text(shape), shape_text(w.weight.shape()));
}

void add_bias_gradient(const Tensor& dy, LinearWeight& grad) {
  if (!grad.bias.defined()) return;
  const std::int64_t out = grad.weight.dim(0);
  float* bias = grad.bias.f32();
  for (std::int64_t t = 0; t < token_count(dy); ++t)
    for (std::int64_t i = 0; i < out; ++i) bias[i] += dy.f32()[t * out + i];
}

}  // namespace

kernels::StoredRows rows_of(const Tensor& x) {
  const std::int64_t tokens = token_count(x);
  return {x.f32(), RowFormat::f32, nullptr, tokens, tokens == 0 ? 0 : x.size() / tokens};
}

kernels::WeightMatrix LinearWeight::matrix() const {
  kernels::WeightMatrix w{weight.data(), weight.dtype(), weight.dim(0), weight.dim(1), nullptr};
  if (weight_scale_inv.defined()) w.block_scale = weight_scale_inv.f32();
  return w;
}

kernels::GemmInput gemm_input(const Context& context) {
  return context.precision == Precision::f32 ? kernels::GemmInput::f32 : kernels::GemmInput::bf16;
}

kernels::GemmOperand weight_operand(const Context& context, const LinearWeight& w) {
  if (context.precision != Precision::fp8) return kernels::gemm_weights(w.matrix());
  require(w.fp8.weight.defined(), "a weight of shape {} is not quantised: call quantize_weights first",
          shape_text(w.weight.shape()));
  return kernels::gemm_weights(
      {w.fp8.weight.data(), DType::f8_e4m3, w.weight.dim(0), w.weight.dim(1), w.fp8.weight_scale_inv.f32()});
}

Kept linear_input(const Context& context, const Tensor& x, ScaleFormat format) {
  const bool fp8 = context.precision == Precision::fp8;
  return {context, x, fp8 ? RowFormat::e4m3 : RowFormat::f32, {format, kActivationScaling.least_amax}};
}

Kept gradient_operand(const Context& context, const Tensor& dy, ScaleFormat format) {
  const bool fp8 = context.precision == Precision::fp8;
  return {context, dy, fp8 ? RowFormat::e4m3 : RowFormat::f32, {format, kGradientScaling.least_amax}};
}

Tensor linear_forward(const Context& context, const LinearWeight& w, const Tensor& x) {
  if (context.precision != Precision::f32) return linear_forward(context, w, linear_input(context, x));
  const kernels::WeightMatrix matrix = w.matrix();
  check_input(w, x.shape(), token_count(x) == 0 ? 0 : x.size() / token_count(x));
  Tensor y = Tensor::empty({token_count(x), matrix.out});
  kernels::linear_forward(context.pool, x.f32(), token_count(x), matrix, y.f32());
  add_bias(w, y);
  add_adapter(context, w, x.f32(), y);
  return y;
}

Tensor linear_forward(const Context& context, const LinearWeight& w, const Kept& x) {
  if (context.precision == Precision::f32) return linear_forward(context, w, x.f32(context));
  check_input(w, x.shape(), x.columns());
  require(!w.adapter.defined(), "adapters are for f32 arithmetic: merge them into the weights to train on");
  Tensor y = Tensor::empty({x.rows(), w.weight.dim(0)});
  kernels::packed_gemm(context.pool, gemm_input(context), x.operand(), weight_operand(context, w), y.f32(),
                       y.dim(1), /*accumulate=*/false);
  add_bias(w, y);
  return y;
}

std::pair<Tensor, Tensor> linear_forward_together(const Context& context, const LinearWeight& a,
                                                  const LinearWeight& b, const Kept& x) {
  if (context.precision != Precision::f32)
    return {linear_forward(context, a, x), linear_forward(context, b, x)};
  const Tensor input = x.f32(context);
  std::array<Tensor, 2> outputs;
  std::array<kernels::LinearForward, 2> jobs;
  for (std::size_t i = 0; i < 2; ++i) {
    const LinearWeight& w = i == 0 ? a : b;
    check_input(w, x.shape(), x.columns());
    outputs[i] = Tensor::empty({x.rows(), w.weight.dim(0)});
    jobs[i] = {w.matrix(), input.f32(), x.rows(), outputs[i].f32()};
  }
  kernels::grouped_linear_forward(context.pool, jobs);
  for (std::size_t i = 0; i < 2; ++i) {
    const LinearWeight& w = i == 0 ? a : b;
    add_bias(w, outputs[i]);
    add_adapter(context, w, input.f32(), outputs[i]);
  }
  return {outputs[0], outputs[1]};
}

void linear_backward_input(const Context& context, const LinearWeight& w, const Tensor& dy, Tensor& dx,
                           bool accumulate) {
  require(dx.size() == token_count(dy) * w.weight.dim(1),
          "a gradient of shape {} for {} tokens and a weight of shape {}", shape_text(dx.shape()),
          token_count(dy), shape_text(w.weight.shape()));
  if (context.precision == Precision::f32) {
    kernels::linear_backward_input(context.pool, dy.f32(), token_count(dy), w.matrix(), dx.f32(), accumulate);
    return;
  }
  const Kept left = gradient_operand(context, dy);
  kernels::packed_gemm(context.pool, gemm_input(context), left.operand(),
                       weight_operand(context, w).flipped(), dx.f32(), w.weight.dim(1), accumulate);
}

Tensor linear_backward_input(const Context& context, const LinearWeight& w, const Tensor& dy) {
  Tensor dx = Tensor::empty({token_count(dy), w.weight.dim(1)});
  linear_backward_input(context, w, dy, dx, /*accumulate=*/false);
  return dx;
}

void linear_backward_weight(const Context& context, const Tensor& dy, const Tensor& x, LinearWeight& grad) {
  linear_backward_weight(context, dy, linear_input(context, x), grad);
}

void linear_backward_weight(const Context& context, const Tensor& dy, const Kept& x, LinearWeight& grad) {
  linear_backward_weights(context, {{dy, grad}}, x);
}

void linear_backward_weights(const Context& context, std::initializer_list<WeightGradient> maps,
                             const Kept& x) {
  for (const auto& [dy, grad] : maps) add_bias_gradient(dy, grad);
  if (context.precision == Precision::f32) {
    const Tensor input = x.f32(context);
    for (const auto& [dy, grad] : maps)
      kernels::linear_backward_weight(context.pool, dy.f32(), input.f32(), x.rows(), grad.weight.dim(0),
                                      grad.weight.dim(1), grad.weight.f32());
    return;
  }
  const std::array<std::int64_t, 2> all = {0, x.rows()};
  const SummedRows right(context, x.stored(), {}, all, {x.scale_format(), kActivationScaling.least_amax});
  for (const auto& [dy, grad] : maps) {
    const SummedRows left(context, rows_of(dy), {}, all, kGradientScaling);
    kernels::packed_gemm(context.pool, gemm_input(context), left.operand(0), right.operand(0),
                         grad.weight.f32(), grad.weight.dim(1), /*accumulate=*/true);
  }
}

SummedRows::SummedRows(const Context& context, const kernels::StoredRows& rows,
                       std::span<const std::int32_t> gather, std::span<const std::int64_t> offsets,
                       TileScaling scaling)
    : rows_(rows), gather_(gather.empty() ? nullptr : gather.data()), offsets_(offsets) {
  if (context.precision != Precision::fp8) return;
  std::int64_t tiles = 0;
  for (std::size_t group = 0; group + 1 < offsets.size(); ++group) {
    tiles_.push_back(tiles);
    tiles += scale_blocks(offsets[group + 1] - offsets[group]);
  }
  codes_ = Tensor::empty({offsets.back(), rows.columns}, DType::f8_e4m3);
  scale_ = Tensor::empty({tiles, rows.columns});
  kernels::quantize_columns(context.pool, rows, gather_, offsets, scaling,
                            static_cast<F8E4M3*>(codes_.data()), scale_.f32());
}

kernels::GemmOperand SummedRows::operand(std::size_t group) const {
  const std::int64_t begin = offsets_[group];
  kernels::GemmOperand side{
      .rows = rows_.columns, .k = offsets_[group + 1] - begin, .stride = rows_.columns, .transposed = true};
  if (codes_.defined()) {
    side.data = static_cast<const F8E4M3*>(codes_.data()) + begin * rows_.columns;
    side.dtype = DType::f8_e4m3;
    side.scale = scale_.f32() + tiles_[group] * rows_.columns;
    side.scale_row_stride = 1;
    side.scale_k_stride = rows_.columns;
    return side;
  }
  require(!has_tile_scales(rows_.format),
          "rows with tile scales are quantised again before they are multiplied");
  side.dtype = rows_.format == RowFormat::bf16 ? DType::bf16 : DType::f32;
  side.data = rows_.data;
  if (gather_ != nullptr) {
    side.gather = gather_ + begin;
  } else {
    side.data = static_cast<const std::byte*>(rows_.data) + begin * row_bytes(rows_.format, rows_.columns);
  }
  return side;
}

}  // namespace fathom
