#include "model/moe.h"

#include <algorithm>
#include <cstddef>

#include "base/error.h"
#include "kernels/expert_rows.h"
#include "kernels/gemm.h"
#include "kernels/swiglu.h"
#include "kernels/vector_ops.h"
#include "numerics/block_scale.h"

namespace fathom {
namespace {

using kernels::Transpose;
using kernels::WeightMatrix;

constexpr std::size_t kTokensPerItem = 16;

/// Rows [begin, end) of a weight; `begin` is a multiple of kScaleBlock.
WeightMatrix output_rows(const WeightMatrix& w, std::int64_t begin, std::int64_t end) {
  WeightMatrix part = w;
  part.data =
      static_cast<const std::byte*>(w.data) + static_cast<std::size_t>(begin * w.in) * dtype_size(w.dtype);
  part.out = end - begin;
  if (w.block_scale != nullptr) part.block_scale = w.block_scale + begin / kScaleBlock * scale_blocks(w.in);
  return part;
}

/// Columns [tile.column_begin, tile.column_end) of y = x · Wᵀ for the tile's rows, on the calling thread.
/// @param x  [tile.rows(), W.in]
/// @param y  where the tile's first value goes; rows are `y_stride` apart
void tile_linear(ThreadPool& pool, const ExpertTile& tile, const float* x, const WeightMatrix& w, float* y,
                 std::int64_t y_stride) {
  const WeightMatrix part = output_rows(w, tile.column_begin, tile.column_end);
  if (w.dtype == DType::f32 && tile.rows() > kFewRows) {
    kernels::gemm_serial(tile.rows(), part.out, w.in, 1.0F, {x, w.in},
                         {static_cast<const float*>(part.data), w.in, Transpose::yes}, 0.0F, y, y_stride);
  } else if (tile.rows() == 1 || y_stride == part.out) {
    kernels::linear_forward(pool, x, tile.rows(), part, y);
  } else {
    Tensor packed = Tensor::empty({tile.rows(), part.out});
    kernels::linear_forward(pool, x, tile.rows(), part, packed.f32());
    for (std::int64_t r = 0; r < tile.rows(); ++r)
      std::copy_n(packed.f32() + r * part.out, part.out, y + r * y_stride);
  }
}

/// The rows of `x` [tokens, dim] that belong to rows [begin, end) of the grouped order.
Tensor gather(const Tensor& x, const ExpertGroups& groups, std::int64_t begin, std::int64_t end) {
  if (end - begin == 1) return x.rows(groups.token(begin), groups.token(begin) + 1);
  const std::int64_t dim = x.dim(1);
  Tensor gathered = Tensor::empty({end - begin, dim});
  const float* from = x.f32();
  float* to = gathered.f32();
  for (std::int64_t row = begin; row < end; ++row, to += dim)
    std::copy_n(from + groups.token(row) * dim, dim, to);
  return gathered;
}

/// y[t] += sum over j of weights[t, j] · rows[row of slot (t, j)], j ascending; weights null: all 1.
void add_rows_back(const Context& context, const ExpertGroups& groups, const Tensor& rows,
                   const float* weights, Tensor& y) {
  const std::int64_t dim = y.dim(1);
  float* out = y.f32();
  const float* in = rows.f32();
  context.pool.parallel_ranges(
      static_cast<std::size_t>(y.dim(0)), kTokensPerItem, [&](std::size_t begin, std::size_t end) {
        for (auto t = static_cast<std::int64_t>(begin); t < static_cast<std::int64_t>(end); ++t) {
          const std::int64_t slot = t * groups.top_k;
          kernels::add_weighted_rows(in, groups.row_of_slot.data() + slot,
                                     weights == nullptr ? nullptr : weights + slot, groups.top_k, dim,
                                     out + t * dim);
        }
      });
}

}  // namespace

Moe::Moe(const ModelConfig& config, const MoeWeights& weights)
    : config_(config), weights_(weights), router_(config, weights), shared_(weights.shared_experts) {}

void Moe::check_experts(std::int64_t hidden) const {
  require(static_cast<std::int64_t>(weights_.experts.size()) == config_.n_routed_experts,
          "weights of {} experts for n_routed_experts = {}", weights_.experts.size(),
          config_.n_routed_experts);
  const Shape inward{config_.moe_intermediate_size, hidden};
  const Shape outward{hidden, config_.moe_intermediate_size};
  for (const MlpWeights& expert : weights_.experts) {
    const Shape& gate = expert.gate_proj.weight.shape();
    const Shape& up = expert.up_proj.weight.shape();
    const Shape& down = expert.down_proj.weight.shape();
    if (gate != inward || up != inward || down != outward)
      fail("an expert's matrices are {}, {}, {}, expected {} twice and {}", shape_text(gate), shape_text(up),
           shape_text(down), shape_text(inward), shape_text(outward));
  }
}

/// silu(gate) · up of every grouped row, [tokens * top_k, moe_intermediate].
Tensor Moe::experts_up(const Context& context, const Tensor& x, const ExpertGroups& groups,
                       Saved* saved) const {
  const std::int64_t width = config_.moe_intermediate_size;
  Tensor product = Tensor::empty({groups.rows(), width});
  Tensor gate = saved != nullptr ? Tensor::empty(product.shape()) : product;
  Tensor up = Tensor::empty(product.shape());
  const std::vector<ExpertTile> tiles = cut_for_outputs(groups, width);
  context.pool.parallel_for(tiles.size(), [&](std::size_t index) {
    const ExpertTile& tile = tiles[index];
    const MlpWeights& expert = weights_.experts[static_cast<std::size_t>(tile.expert)];
    const Tensor inputs = gather(x, groups, tile.begin, tile.end);
    const std::int64_t first = tile.begin * width + tile.column_begin;
    tile_linear(context.pool, tile, inputs.f32(), expert.gate_proj.matrix(), gate.f32() + first, width);
    tile_linear(context.pool, tile, inputs.f32(), expert.up_proj.matrix(), up.f32() + first, width);
    const bool whole_rows = tile.columns() == width;
    for (std::int64_t r = 0; r < (whole_rows ? 1 : tile.rows()); ++r) {
      const std::int64_t place = first + r * width;
      kernels::swiglu_forward(context.pool, gate.f32() + place, up.f32() + place,
                              whole_rows ? tile.rows() * width : tile.columns(), product.f32() + place);
    }
  });
  if (saved != nullptr) {
    saved->gate = gate;
    saved->up = up;
  }
  return product;
}

/// The experts' outputs before the routing gates, [tokens * top_k, hidden] in grouped order.
Tensor Moe::experts_down(const Context& context, const Tensor& product, const ExpertGroups& groups) const {
  const std::int64_t hidden = weights_.router.dim(1);
  Tensor out = Tensor::empty({groups.rows(), hidden});
  const std::vector<ExpertTile> tiles = cut_for_outputs(groups, hidden);
  context.pool.parallel_for(tiles.size(), [&](std::size_t index) {
    const ExpertTile& tile = tiles[index];
    const MlpWeights& expert = weights_.experts[static_cast<std::size_t>(tile.expert)];
    tile_linear(context.pool, tile, product.f32() + tile.begin * product.dim(1), expert.down_proj.matrix(),
                out.f32() + tile.begin * hidden + tile.column_begin, hidden);
  });
  return out;
}

Tensor Moe::forward(const Context& context, const Tensor& x, const Sequences& sequences, Saved* saved,
                    std::vector<std::int64_t>* load) const {
  check_experts(x.dim(1));
  const Routing routing = router_.forward(context, x, sequences, saved != nullptr ? &saved->router : nullptr);
  if (load != nullptr) {
    load->resize(routing.load.size(), 0);
    for (std::size_t e = 0; e < routing.load.size(); ++e) (*load)[e] += routing.load[e];
  }
  const ExpertGroups groups = group_by_expert(routing);
  const Tensor out = experts_down(context, experts_up(context, x, groups, saved), groups);
  Tensor y = has_shared_experts() ? shared_.forward(context, x, saved != nullptr ? &saved->shared : nullptr)
                                  : Tensor::zeros(x.shape());
  add_rows_back(context, groups, out, routing.gates.data(), y);
  if (saved != nullptr) saved->groups = groups;
  return y;
}

Tensor Moe::backward_input(const Context& context, const Tensor& dy, const Sequences& sequences,
                           double balance_alpha, const Saved& saved, Deltas& deltas) const {
  const ExpertGroups& groups = saved.groups;
  const Routing& routing = saved.router.routing;
  const std::int64_t hidden = dy.dim(1);
  const std::int64_t width = config_.moe_intermediate_size;
  deltas.dy = dy;
  deltas.gate = Tensor::empty(saved.gate.shape());
  deltas.up = Tensor::empty(saved.gate.shape());
  deltas.product = Tensor::empty(saved.gate.shape());
  Tensor dgates = Tensor::empty({routing.tokens, routing.top_k});
  float* dgate_values = dgates.f32();
  Tensor dinputs = Tensor::empty({groups.rows(), hidden});

  const std::vector<ExpertTile> tiles = cut_for_rows(groups, width);
  context.pool.parallel_for(tiles.size(), [&](std::size_t index) {
    const ExpertTile& tile = tiles[index];
    const MlpWeights& expert = weights_.experts[static_cast<std::size_t>(tile.expert)];
    const std::int64_t first = tile.begin * width;
    float* dgate = deltas.gate.f32() + first;
    float* dup = deltas.up.f32() + first;
    float* product = deltas.product.f32() + first;
    const float* saved_gate = saved.gate.f32() + first;
    const float* saved_up = saved.up.f32() + first;

    const Tensor dout = gather(dy, groups, tile.begin, tile.end);
    // `product` holds the gradient at silu(gate) · up first, but for the routing gate's factor.
    kernels::gemm_serial(tile.rows(), width, hidden, 1.0F, {dout.f32(), hidden},
                         {expert.down_proj.weight.f32(), width}, 0.0F, product, width);
    for (std::int64_t r = 0; r < tile.rows(); ++r) {
      const std::int64_t slot = groups.slot(tile.begin + r);
      const std::int64_t row = r * width;
      dgate_values[slot] = kernels::gated_swiglu_backward(product + row, saved_gate + row, saved_up + row,
                                                          routing.gates[static_cast<std::size_t>(slot)],
                                                          width, dgate + row, dup + row, product + row);
    }
    float* dinput = dinputs.f32() + tile.begin * hidden;
    kernels::gemm_serial(tile.rows(), hidden, width, 1.0F, {dgate, width},
                         {expert.gate_proj.weight.f32(), hidden}, 0.0F, dinput, hidden);
    kernels::gemm_serial(tile.rows(), hidden, width, 1.0F, {dup, width},
                         {expert.up_proj.weight.f32(), hidden}, 1.0F, dinput, hidden);
  });

  Tensor dx = router_.backward_input(context, dgates, sequences, balance_alpha, saved.router, deltas.router);
  if (has_shared_experts()) {
    const Tensor shared = shared_.backward_input(context, dy, saved.shared, deltas.shared);
    kernels::add(context.pool, dx.f32(), shared.f32(), dx.size(), dx.f32());
  }
  add_rows_back(context, groups, dinputs, nullptr, dx);
  return dx;
}

void Moe::backward_weight(const Context& context, const Tensor& x, const Saved& saved, const Deltas& deltas,
                          MoeWeights& grads) const {
  const ExpertGroups& groups = saved.groups;
  const std::int64_t hidden = x.dim(1);
  const std::int64_t width = config_.moe_intermediate_size;
  const std::vector<ExpertTile> tiles = cut_for_sums(groups, width);
  context.pool.parallel_for(tiles.size(), [&](std::size_t index) {
    const ExpertTile& tile = tiles[index];
    MlpWeights& grad = grads.experts[static_cast<std::size_t>(tile.expert)];
    const std::int64_t first = tile.begin * width + tile.column_begin;
    const std::int64_t columns = tile.columns();
    {
      const Tensor inputs = gather(x, groups, tile.begin, tile.end);
      const auto add_product = [&](const Tensor& delta, LinearWeight& weight) {
        kernels::gemm_serial(columns, hidden, tile.rows(), 1.0F, {delta.f32() + first, width, Transpose::yes},
                             {inputs.f32(), hidden}, 1.0F, weight.weight.f32() + tile.column_begin * hidden,
                             hidden);
      };
      add_product(deltas.gate, grad.gate_proj);
      add_product(deltas.up, grad.up_proj);
    }
    const Tensor dout = gather(deltas.dy, groups, tile.begin, tile.end);
    kernels::gemm_serial(hidden, columns, tile.rows(), 1.0F, {dout.f32(), hidden, Transpose::yes},
                         {deltas.product.f32() + first, width}, 1.0F,
                         grad.down_proj.weight.f32() + tile.column_begin, width);
  });
  if (has_shared_experts()) shared_.backward_weight(context, x, deltas.shared, grads.shared_experts);
  router_.backward_weight(context, x, deltas.router, grads);
}

}  // namespace fathom
