#include "kernels/quant_mlp.h"

#include <algorithm>
#include <cstddef>
#include <deque>
#include <memory>

#include "kernels/nearest_weights.h"
#include "kernels/quant_linear.h"
#include "kernels/swiglu.h"
#include "kernels/work_items.h"

namespace fathom::kernels {
namespace {

/// Rows of gate and up that are multiplied together, whole blocks of activations.
std::int64_t pair_rows(const QuantMlp& mlp, std::size_t item_bytes) {
  constexpr std::int64_t kBlock = ActivationBlock::kValues;
  return std::max(kBlock, quant_item_rows(mlp.gate, mlp.tokens, item_bytes / 2) / kBlock * kBlock);
}

/// Bytes of those matrices of MLPs with tokens that `of` names.
template <typename Of>
std::size_t shared_bytes(std::span<const QuantMlp> mlps, const Of& of) {
  std::size_t bytes = 0;
  for (const QuantMlp& mlp : mlps)
    if (mlp.tokens > 0) bytes += stored_bytes(of(mlp).dtype, of(mlp).out * of(mlp).in);
  return bytes;
}

/// Values [begin, end) of silu(gate) · up for every token, quantised into `product`.
void make_product(ThreadPool& pool, const QuantMlp& mlp, const QuantizedRows& x, std::int64_t begin,
                  std::int64_t end, QuantizedRows& product) {
  const std::int64_t width = end - begin;
  const auto values = static_cast<std::size_t>(mlp.tokens * width);
  const auto both = std::make_unique_for_overwrite<float[]>(2 * values);
  float* gate = both.get();
  float* up = gate + values;
  quant_product({nearest(pool, mlp.gate), begin, end, &x, mlp.gather, mlp.tokens, gate, width});
  quant_product({nearest(pool, mlp.up), begin, end, &x, mlp.gather, mlp.tokens, up, width});
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
  const std::size_t up_bytes =
      quant_item_bytes(pool, 2 * shared_bytes(mlps, [](auto& mlp) { return mlp.up; }));
  for_all_items(
      pool, mlps.size(),
      [&](std::size_t m) {
        return mlps[m].tokens == 0 ? 0 : pieces(mlps[m].gate.out, pair_rows(mlps[m], up_bytes));
      },
      [&](std::size_t m, std::int64_t item) {
        return row_of(mlps[m].gate, item * pair_rows(mlps[m], up_bytes));
      },
      [&](std::size_t m, std::int64_t item) {
        const std::int64_t rows = pair_rows(mlps[m], up_bytes);
        make_product(pool, mlps[m], x, item * rows, std::min(mlps[m].gate.out, (item + 1) * rows),
                     products[m]);
      });
  const std::size_t down_bytes =
      quant_item_bytes(pool, shared_bytes(mlps, [](auto& mlp) { return mlp.down; }));
  const auto down_rows = [&](const QuantMlp& mlp) {
    return quant_item_rows(mlp.down, mlp.tokens, down_bytes);
  };
  for_all_items(
      pool, mlps.size(),
      [&](std::size_t m) { return mlps[m].tokens == 0 ? 0 : pieces(mlps[m].down.out, down_rows(mlps[m])); },
      [&](std::size_t m, std::int64_t item) { return row_of(mlps[m].down, item * down_rows(mlps[m])); },
      [&](std::size_t m, std::int64_t item) {
        const QuantMlp& mlp = mlps[m];
        const std::int64_t begin = item * down_rows(mlp);
        quant_product({nearest(pool, mlp.down), begin, std::min(mlp.down.out, begin + down_rows(mlp)),
                       &products[m], nullptr, mlp.tokens, mlp.y + begin, mlp.down.out});
      });
}

}  // namespace fathom::kernels
