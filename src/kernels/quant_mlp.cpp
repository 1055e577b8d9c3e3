#include "kernels/quant_mlp.h"

#include <algorithm>
#include <cstddef>
#include <deque>
#include <memory>

#include "kernels/quant_linear.h"
#include "kernels/swiglu.h"
#include "kernels/work_items.h"

namespace fathom::kernels {
namespace {

/// Rows of gate and up that are multiplied together, for `tokens` tokens: whole blocks of activations.
std::int64_t pair_rows(const QuantMlp& mlp) {
  constexpr std::int64_t kBlock = ActivationBlock::kValues;
  return std::max(kBlock, quant_item_rows(mlp.gate, mlp.tokens) / kBlock * kBlock);
}

/// Values [begin, end) of silu(gate) · up for every token, quantised into `product`.
void make_product(ThreadPool& pool, const QuantMlp& mlp, const QuantizedRows& x, std::int64_t begin,
                  std::int64_t end, QuantizedRows& product) {
  const std::int64_t width = end - begin;
  const auto values = static_cast<std::size_t>(mlp.tokens * width);
  const auto both = std::make_unique_for_overwrite<float[]>(2 * values);
  float* gate = both.get();
  float* up = gate + values;
  quant_product({mlp.gate, begin, end, &x, mlp.gather, mlp.tokens, gate, width});
  quant_product({mlp.up, begin, end, &x, mlp.gather, mlp.tokens, up, width});
  swiglu_forward(pool, gate, up, static_cast<std::int64_t>(values), gate);
  for (std::int64_t t = 0; t < mlp.tokens; ++t)
    quantize_activations(gate + t * width, width / ActivationBlock::kValues,
                         product.row(t) + begin / ActivationBlock::kValues);
}

}  // namespace

bool is_quant_mlp(const WeightMatrix& gate, const WeightMatrix& up, const WeightMatrix& down) {
  return is_block_quantized(gate.dtype) && is_block_quantized(up.dtype) && is_block_quantized(down.dtype);
}

void quant_mlps(ThreadPool& pool, std::span<const QuantMlp> mlps, const QuantizedRows& x) {
  std::deque<QuantizedRows> products;
  for (const QuantMlp& mlp : mlps) products.emplace_back(mlp.tokens, mlp.down.in);
  for_all_items(
      pool, mlps.size(),
      [&](std::size_t m) { return mlps[m].tokens == 0 ? 0 : pieces(mlps[m].gate.out, pair_rows(mlps[m])); },
      [&](std::size_t m, std::int64_t item) {
        const std::int64_t begin = item * pair_rows(mlps[m]);
        make_product(pool, mlps[m], x, begin, std::min(mlps[m].gate.out, begin + pair_rows(mlps[m])),
                     products[m]);
      });
  for_all_items(
      pool, mlps.size(),
      [&](std::size_t m) {
        return mlps[m].tokens == 0 ? 0
                                   : pieces(mlps[m].down.out, quant_item_rows(mlps[m].down, mlps[m].tokens));
      },
      [&](std::size_t m, std::int64_t item) {
        const QuantMlp& mlp = mlps[m];
        const std::int64_t rows = quant_item_rows(mlp.down, mlp.tokens);
        const std::int64_t begin = item * rows;
        quant_product({mlp.down, begin, std::min(mlp.down.out, begin + rows), &products[m], nullptr,
                       mlp.tokens, mlp.y + begin, mlp.down.out});
      });
}

}  // namespace fathom::kernels
