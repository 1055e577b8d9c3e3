#include "model/routed_experts.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <vector>

#include "base/error.h"
#include "kernels/expert_rows.h"
#include "kernels/gemm.h"
#include "kernels/nearest_weights.h"
#include "kernels/packed_gemm.h"
#include "kernels/quant_mlp.h"
#include "kernels/swiglu.h"
#include "kernels/work_items.h"
#include "model/expert_peers.h"
#include "model/linear.h"
#include "model/mlp.h"
#include "numerics/block_scale.h"

namespace fathom {
namespace {

using kernels::Transpose;
using kernels::WeightMatrix;

constexpr std::size_t kRowsPerItem = 16;

constexpr TileScaling kDispatchedInput = {kDispatchFormat, kActivationScaling.least_amax};
constexpr TileScaling kDispatchedGradient = {kDispatchFormat, kGradientScaling.least_amax};

/// Rows [begin, end) of a weight; `begin` is a multiple of kScaleBlock.
WeightMatrix output_rows(const WeightMatrix& w, std::int64_t begin, std::int64_t end) {
  WeightMatrix part = w;
  part.data = static_cast<const std::byte*>(w.data) + stored_bytes(w.dtype, begin * w.in);
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

/// The tiles of those experts that are meant.
std::vector<ExpertTile> tiles_of(const ExpertGroups& groups, const std::vector<const MlpWeights*>& experts,
                                 std::int64_t columns) {
  std::vector<ExpertTile> tiles = cut_for_outputs(groups, columns);
  std::erase_if(tiles, [&](const ExpertTile& tile) {
    return experts[static_cast<std::size_t>(tile.expert)] == nullptr;
  });
  return tiles;
}

/// Calls `work(tile, expert)` for all tiles, which threads near a tile's rows of `map` take.
template <typename Work>
void for_all_tiles(ThreadPool& pool, const std::vector<ExpertTile>& tiles,
                   const std::vector<const MlpWeights*>& experts, LinearWeight MlpWeights::*map,
                   const Work& work) {
  const auto expert_of = [&](const ExpertTile& tile) -> const MlpWeights& {
    return *experts[static_cast<std::size_t>(tile.expert)];
  };
  kernels::for_all_items(
      pool, tiles.size(), [](std::size_t) { return 1; },
      [&](std::size_t t, std::int64_t) {
        return kernels::row_of((expert_of(tiles[t]).*map).matrix(), tiles[t].column_begin);
      },
      [&](std::size_t t, std::int64_t) { work(tiles[t], expert_of(tiles[t])); });
}

/// The products of all experts, collected to be run together.
class ExpertProducts {
 public:
  ExpertProducts(const Context& context, const ExpertGroups& groups) : context_(context), groups_(groups) {}

  /// Calls add(expert, begin, end) for the rows of every expert that has some, then runs what was added.
  template <typename Add>
  void run(const Add& add) {
    operands_.clear();
    jobs_.clear();
    for (std::size_t e = 0; e + 1 < groups_.offsets.size(); ++e)
      if (groups_.offsets[e] < groups_.offsets[e + 1]) add(e, groups_.offsets[e], groups_.offsets[e + 1]);
    kernels::grouped_gemm(context_.pool, gemm_input(context_), operands_, jobs_);
  }
  std::size_t side(const kernels::GemmOperand& operand) {
    operands_.push_back(operand);
    return operands_.size() - 1;
  }
  /// Rows of `c` from `row` on (+)= A · Bᵀ.
  void product(std::size_t a, std::size_t b, Tensor& c, std::int64_t row, bool accumulate) {
    jobs_.push_back({a, b, c.f32() + row * c.dim(1), c.dim(1), accumulate});
  }
  /// The tokens of rows [begin, end), among the rows of [tokens, ...].
  std::size_t dispatched(const Kept& x, std::int64_t begin, std::int64_t end) {
    return side(
        x.gathered(std::span(groups_.token_of_row)
                       .subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin))));
  }

 private:
  const Context& context_;
  const ExpertGroups& groups_;
  std::vector<kernels::GemmOperand> operands_;
  std::vector<kernels::GemmJob> jobs_;
};

}  // namespace

RoutedExperts::RoutedExperts(const ModelConfig& config, const MoeWeights& weights)
    : config_(config), weights_(weights) {}

void RoutedExperts::check(const Context& context, std::int64_t layer) const {
  require(static_cast<std::int64_t>(weights_.experts.size()) == config_.n_routed_experts,
          "weights of {} experts for n_routed_experts = {}", weights_.experts.size(),
          config_.n_routed_experts);
  const Shape inward{config_.moe_intermediate_size, config_.hidden_size};
  const Shape outward{config_.hidden_size, config_.moe_intermediate_size};
  for (std::size_t e = 0; e < weights_.experts.size(); ++e) {
    if (context.expert_peers != nullptr && !context.expert_peers->holds(layer, static_cast<std::int64_t>(e)))
      continue;
    const MlpWeights& expert = weights_.experts[e];
    const Shape& gate = expert.gate_proj.weight.shape();
    const Shape& up = expert.up_proj.weight.shape();
    const Shape& down = expert.down_proj.weight.shape();
    if (gate != inward || up != inward || down != outward)
      fail("an expert's matrices are {}, {}, {}, expected {} twice and {}", shape_text(gate), shape_text(up),
           shape_text(down), shape_text(inward), shape_text(outward));
  }
}

Tensor RoutedExperts::forward(const Context& context, const Kept& input, const ExpertGroups& groups,
                              Saved* saved) const {
  Tensor gate = Tensor::empty({groups.rows(), config_.moe_intermediate_size});
  Tensor up = Tensor::empty(gate.shape());
  ExpertProducts products(context, groups);
  products.run([&](std::size_t e, std::int64_t begin, std::int64_t end) {
    const MlpWeights& expert = weights_.experts[e];
    const std::size_t rows = products.dispatched(input, begin, end);
    products.product(rows, products.side(weight_operand(context, expert.gate_proj)), gate, begin, false);
    products.product(rows, products.side(weight_operand(context, expert.up_proj)), up, begin, false);
  });
  const RowFormat format = swiglu_format(context.precision);
  if (saved != nullptr) {
    saved->gate = Kept(context, gate, format);
    saved->up = Kept(context, up, format);
  }
  Tensor product = Tensor::empty(gate.shape());
  kernels::swiglu_forward(context.pool, gate.f32(), up.f32(), gate.size(), product.f32());
  Tensor out = Tensor::empty({groups.rows(), config_.hidden_size});
  const Kept inner = linear_input(context, product);
  products.run([&](std::size_t e, std::int64_t begin, std::int64_t end) {
    products.product(products.side(inner.operand(begin, end)),
                     products.side(weight_operand(context, weights_.experts[e].down_proj)), out, begin,
                     false);
  });
  return out;
}

/// silu(gate) · up of the experts' grouped rows, [tokens * top_k, moe_intermediate].
Tensor RoutedExperts::up(const Inference& inference) const {
  const ExpertGroups& groups = inference.groups;
  ThreadPool& pool = inference.context.pool;
  const std::int64_t width = config_.moe_intermediate_size;
  Tensor product = Tensor::empty({groups.rows(), width});  // holds the gates first
  Tensor ups = Tensor::empty(product.shape());
  const std::vector<ExpertTile> tiles = tiles_of(groups, inference.experts, width);
  const auto up_of_tile = [&](const ExpertTile& tile, const MlpWeights& expert) {
    const Tensor inputs = gather(inference.x, groups, tile.begin, tile.end);
    const std::int64_t first = tile.begin * width + tile.column_begin;
    tile_linear(pool, tile, inputs.f32(), expert.gate_proj.matrix(), product.f32() + first, width);
    tile_linear(pool, tile, inputs.f32(), expert.up_proj.matrix(), ups.f32() + first, width);
    const bool whole_rows = tile.columns() == width;
    for (std::int64_t r = 0; r < (whole_rows ? 1 : tile.rows()); ++r) {
      float* place = product.f32() + first + r * width;
      kernels::swiglu_forward(pool, place, ups.f32() + first + r * width,
                              whole_rows ? tile.rows() * width : tile.columns(), place);
    }
  };
  for_all_tiles(pool, tiles, inference.experts, &MlpWeights::gate_proj, up_of_tile);
  return product;
}

bool RoutedExperts::has_adapters(const Inference& inference) {
  const std::vector<std::int64_t>& offsets = inference.groups.offsets;
  for (std::size_t e = 0; e + 1 < offsets.size(); ++e)
    if (offsets[e] < offsets[e + 1] && inference.experts[e]->has_adapter()) return true;
  return false;
}

bool RoutedExperts::infer_adapted(Inference& inference) {
  if (!has_adapters(inference)) return false;
  const ExpertGroups& groups = inference.groups;
  for (std::size_t e = 0; e + 1 < groups.offsets.size(); ++e) {
    const std::int64_t begin = groups.offsets[e];
    const std::int64_t end = groups.offsets[e + 1];
    if (begin == end) continue;
    const Tensor own = Mlp(*inference.experts[e])
                           .forward(inference.context, gather(inference.x, groups, begin, end), nullptr);
    std::ranges::copy(own.values(), inference.out.rows(begin, end).f32());
  }
  return true;
}

bool RoutedExperts::infer_quantized(Inference& inference, std::span<const kernels::QuantMlp> beside) {
  const ExpertGroups& groups = inference.groups;
  const std::int64_t hidden = inference.x.dim(1);
  std::vector<kernels::QuantMlp> experts(beside.begin(), beside.end());
  for (std::size_t e = 0; e + 1 < groups.offsets.size(); ++e) {
    const std::int64_t begin = groups.offsets[e];
    const std::int64_t end = groups.offsets[e + 1];
    if (begin == end || inference.experts[e] == nullptr) continue;
    const MlpWeights& expert = *inference.experts[e];
    const kernels::QuantMlp mlp{expert.gate_proj.matrix(),
                                expert.up_proj.matrix(),
                                expert.down_proj.matrix(),
                                groups.token_of_row.data() + begin,
                                end - begin,
                                inference.out.f32() + begin * hidden};
    if (!kernels::is_quant_mlp(mlp.gate, mlp.up, mlp.down)) return false;
    experts.push_back(mlp);
  }
  ThreadPool& pool = inference.context.pool;
  if (!inference.quantized)
    inference.quantized = kernels::quantize_rows(pool, inference.x.f32(), inference.x.dim(0), hidden, hidden);
  kernels::quant_mlps(pool, experts, *inference.quantized);
  return true;
}

void RoutedExperts::infer_some(Inference& inference) const {
  const std::int64_t hidden = inference.x.dim(1);
  if (hidden % kernels::ActivationBlock::kValues == 0 && infer_quantized(inference)) return;
  const Tensor product = up(inference);
  ThreadPool& pool = inference.context.pool;
  const std::vector<ExpertTile> tiles = tiles_of(inference.groups, inference.experts, hidden);
  const auto down_of_tile = [&](const ExpertTile& tile, const MlpWeights& expert) {
    tile_linear(pool, tile, product.f32() + tile.begin * product.dim(1), expert.down_proj.matrix(),
                inference.out.f32() + tile.begin * hidden + tile.column_begin, hidden);
  };
  for_all_tiles(pool, tiles, inference.experts, &MlpWeights::down_proj, down_of_tile);
}

std::optional<StreamedExperts::Reading> RoutedExperts::read(const ExpertGroups& groups) const {
  if (weights_.streamed == nullptr) return std::nullopt;
  return weights_.streamed->read(groups);
}

std::vector<const MlpWeights*> RoutedExperts::experts_in_memory() const {
  std::vector<const MlpWeights*> experts;
  experts.reserve(weights_.experts.size());
  for (const MlpWeights& expert : weights_.experts) experts.push_back(&expert);
  return experts;
}

std::optional<Tensor> RoutedExperts::infer_with_shared(const Context& context, const Tensor& x,
                                                       const ExpertGroups& groups, const MlpWeights& shared,
                                                       Tensor& y) const {
  const kernels::QuantMlp beside{shared.gate_proj.matrix(),
                                 shared.up_proj.matrix(),
                                 shared.down_proj.matrix(),
                                 nullptr,
                                 x.dim(0),
                                 y.f32()};
  if (shared.has_adapter() || !kernels::is_quant_mlp(beside.gate, beside.up, beside.down))
    return std::nullopt;
  Inference inference{context, x, groups, experts_in_memory(), {}, Tensor::empty({groups.rows(), x.dim(1)})};
  if (has_adapters(inference) || !infer_quantized(inference, {&beside, 1})) return std::nullopt;
  return inference.out;
}

Tensor RoutedExperts::infer(const Context& context, const Tensor& x, const ExpertGroups& groups,
                            StreamedExperts::Reading* reading) const {
  Inference inference{context, x, groups, {}, {}, Tensor::empty({groups.rows(), x.dim(1)})};
  if (reading == nullptr) {
    inference.experts = experts_in_memory();
    if (!infer_adapted(inference)) infer_some(inference);
    return inference.out;
  }
  while (true) {
    const std::vector<StreamedExperts::Reading::Expert> wave = reading->next_wave();
    if (wave.empty()) return inference.out;
    inference.experts.assign(weights_.experts.size(), nullptr);
    for (const auto& [expert, weights] : wave) inference.experts[expert] = &weights;
    infer_some(inference);
  }
}

RoutedExperts::InputGradients RoutedExperts::backward_input(const Context& context, const Kept& dy,
                                                            const ExpertGroups& groups,
                                                            std::span<const float> gates, const Saved& saved,
                                                            Deltas& deltas) const {
  const std::int64_t width = config_.moe_intermediate_size;
  InputGradients gradients{Tensor::empty({groups.rows(), config_.hidden_size}),
                           Tensor::empty({groups.rows()})};
  deltas.product = Tensor::empty(saved.gate.shape());
  ExpertProducts products(context, groups);
  // `product` holds the gradient at silu(gate) · up first, but for the routing gate's factor.
  products.run([&](std::size_t e, std::int64_t begin, std::int64_t end) {
    products.product(products.dispatched(dy, begin, end),
                     products.side(weight_operand(context, weights_.experts[e].down_proj).flipped()),
                     deltas.product, begin, false);
  });
  deltas.gate = Tensor::empty(saved.gate.shape());
  deltas.up = Tensor::empty(saved.gate.shape());
  {
    const Tensor gate = saved.gate.f32(context);
    const Tensor up = saved.up.f32(context);
    context.pool.parallel_ranges(
        static_cast<std::size_t>(groups.rows()), kRowsPerItem, [&](std::size_t begin, std::size_t end) {
          for (auto row = static_cast<std::int64_t>(begin); row < static_cast<std::int64_t>(end); ++row) {
            const std::int64_t slot = groups.slot(row);
            const std::int64_t at = row * width;
            float* product = deltas.product.f32() + at;
            gradients.gates.f32()[slot] = kernels::gated_swiglu_backward(
                product, gate.f32() + at, up.f32() + at, gates[static_cast<std::size_t>(slot)], width,
                deltas.gate.f32() + at, deltas.up.f32() + at, product);
          }
        });
  }
  const auto add_input_gradients = [&](const Tensor& delta, LinearWeight MlpWeights::*map, bool accumulate) {
    const Kept rows = gradient_operand(context, delta);
    products.run([&](std::size_t e, std::int64_t begin, std::int64_t end) {
      products.product(products.side(rows.operand(begin, end)),
                       products.side(weight_operand(context, weights_.experts[e].*map).flipped()),
                       gradients.rows, begin, accumulate);
    });
  };
  add_input_gradients(deltas.gate, &MlpWeights::gate_proj, false);
  add_input_gradients(deltas.up, &MlpWeights::up_proj, true);
  return gradients;
}

void RoutedExperts::backward_weight(const Context& context, const Kept& input, const Kept& dy,
                                    const ExpertGroups& groups, const Deltas& deltas,
                                    MoeWeights& grads) const {
  const SummedRows inputs(context, input.stored(), groups.token_of_row, groups.offsets, kDispatchedInput);
  const SummedRows dgate(context, rows_of(deltas.gate), {}, groups.offsets, kGradientScaling);
  const SummedRows dup(context, rows_of(deltas.up), {}, groups.offsets, kGradientScaling);
  const SummedRows dout(context, dy.stored(), groups.token_of_row, groups.offsets, kDispatchedGradient);
  const SummedRows inner(context, rows_of(deltas.product), {}, groups.offsets, kActivationScaling);
  ExpertProducts products(context, groups);
  products.run([&](std::size_t e, std::int64_t, std::int64_t) {
    MlpWeights& grad = grads.experts[e];
    const std::size_t right = products.side(inputs.operand(e));
    products.product(products.side(dgate.operand(e)), right, grad.gate_proj.weight, 0, true);
    products.product(products.side(dup.operand(e)), right, grad.up_proj.weight, 0, true);
    products.product(products.side(dout.operand(e)), products.side(inner.operand(e)), grad.down_proj.weight,
                     0, true);
  });
}

void add_rows_back(const Context& context, const ExpertGroups& groups, const Tensor& rows,
                   std::span<const float> weights, Tensor& y) {
  const std::int64_t dim = y.dim(1);
  float* out = y.f32();
  const float* in = rows.f32();
  context.pool.parallel_ranges(
      static_cast<std::size_t>(y.dim(0)), kRowsPerItem, [&](std::size_t begin, std::size_t end) {
        for (auto t = static_cast<std::int64_t>(begin); t < static_cast<std::int64_t>(end); ++t) {
          const std::int64_t slot = groups.slot_begin(t);
          kernels::add_weighted_rows(in, groups.row_of_slot.data() + slot,
                                     weights.empty() ? nullptr : weights.data() + slot, groups.slot_count(t),
                                     dim, out + t * dim);
        }
      });
}

}  // namespace fathom
