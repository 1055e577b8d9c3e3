#include "model/weights.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <memory>
#include <numbers>
#include <span>
#include <utility>

#include "base/error.h"
#include "base/rng.h"

namespace fathom {
namespace {

/// Parameters begin at multiples of 64 bytes, a cache line and the widest vector.
constexpr std::size_t kAlignment = 64;

/// Elements of `dtype` that so many values take up.
std::int64_t aligned_size(std::int64_t values, DType dtype) {
  const auto step = static_cast<std::int64_t>(kAlignment / dtype_size(dtype));
  return (values + step - 1) / step * step;
}

/// What is kept of a parameter.
Shape kept_shape(const ParameterSpec& spec, const RowsKept& rows) {
  Shape shape = spec.shape;
  if (rows) shape.front() = rows(spec);
  return shape;
}

/// Weights in one zeroed block, which `arena` receives.
TransformerWeights weights_in_arena(const ModelConfig& config, DType dtype, Tensor& arena,
                                    const RowsKept& rows) {
  std::int64_t total = 0;
  for (const ParameterSpec& spec : parameter_specs(config))
    require(
        !__builtin_add_overflow(total, aligned_size(element_count(kept_shape(spec, rows)), dtype), &total),
        "the model has more parameters than 2^63");
  arena = Tensor::zeros({total}, dtype);
  TransformerWeights weights;
  std::int64_t at = 0;
  visit_parameters(config, weights, [&](const ParameterSpec& spec, Tensor& value, Tensor*) {
    const Shape shape = kept_shape(spec, rows);
    const std::int64_t count = element_count(shape);
    if (count == 0) return;
    value = arena.rows(at, at + count).reshape(shape);
    at += aligned_size(count, dtype);
  });
  tie_head(config, weights);
  return weights;
}

/// Normal numbers, element i a pure function of (seed, stream, i): four to a Philox block, by Box-Muller.
/// With 24 bits of a uniform number they reach 5.8 standard deviations.
class NormalStream {
 public:
  NormalStream(std::uint64_t seed, std::uint64_t stream, float deviation)
      : seed_(seed), stream_(stream), deviation_(deviation) {}

  void fill(ThreadPool* pool, std::span<float> values) const {
    constexpr std::size_t kPiece = std::size_t{1} << 16;  // a multiple of a block's four
    const auto piece = [&](std::size_t begin, std::size_t end) {
      for (std::size_t at = begin; at < end; at += 4) {
        const std::array<float, 4> block = normals(at / 4);
        std::copy_n(block.begin(), std::min<std::size_t>(4, end - at),
                    values.begin() + static_cast<std::ptrdiff_t>(at));
      }
    };
    if (pool != nullptr) {
      pool->parallel_ranges(values.size(), kPiece, piece);
    } else {
      piece(0, values.size());
    }
  }

 private:
  [[nodiscard]] std::array<float, 4> normals(std::uint64_t index) const {
    const std::array<std::uint32_t, 4> bits = philox_block(seed_, stream_, index);
    const auto pair = [&](std::size_t i) {
      const float uniform = static_cast<float>((bits[i] >> 8U) + 1) * 0x1p-24F;  // (0, 1]
      const float angle = static_cast<float>(bits[i + 1] >> 8U) * (0x1p-23F * std::numbers::pi_v<float>);
      const float radius = deviation_ * std::sqrt(-2.0F * std::log(uniform));
      return std::pair(radius * std::cos(angle), radius * std::sin(angle));
    };
    const auto [a, b] = pair(0);
    const auto [c, d] = pair(2);
    return {a, b, c, d};
  }

  std::uint64_t seed_;
  std::uint64_t stream_;
  float deviation_;
};

}  // namespace

void tie_head(const ModelConfig& config, TransformerWeights& weights) {
  if (config.tie_word_embeddings) weights.lm_head.weight = weights.embed_tokens;
}

TransformerWeights zero_weights(const ModelConfig& config, Tensor* arena, DType dtype, const RowsKept& rows) {
  Tensor block;
  TransformerWeights weights = weights_in_arena(config, dtype, block, rows);
  if (arena != nullptr) *arena = block;
  return weights;
}

RowsKept rows_defined_in(const ModelConfig& config, const TransformerWeights& weights) {
  std::vector<std::int64_t> rows;
  TransformerWeights shared = weights;  // shares the tensors' storage
  visit_parameters(config, shared, [&](const ParameterSpec& spec, Tensor& value, Tensor*) {
    rows.push_back(value.defined() ? spec.shape.front() : 0);
  });
  return [rows = std::move(rows)](const ParameterSpec& spec) { return rows[spec.index]; };
}

std::vector<std::int64_t> block_offsets(const ModelConfig& config, const RowsKept& rows) {
  std::vector<std::int64_t> offsets = {0};
  for (const ParameterSpec& spec : parameter_specs(config))
    offsets.push_back(offsets.back() + aligned_size(element_count(kept_shape(spec, rows)), DType::f32));
  return offsets;
}

Tensor block_of(const ModelConfig& config, const TransformerWeights& weights) {
  const std::vector<std::int64_t> offsets = block_offsets(config, rows_defined_in(config, weights));
  auto shared = std::make_shared<TransformerWeights>(weights);  // shares the tensors' storage
  float* block = nullptr;
  visit_parameters(config, *shared, [&](const ParameterSpec& spec, Tensor& value, Tensor*) {
    if (!value.defined()) return;
    if (block == nullptr) block = value.f32();
    require(value.f32() == block + offsets[spec.index], "{} does not lie behind the parameter before it",
            spec.name);
  });
  return Tensor::view(block, {offsets.back()}, DType::f32, std::move(shared));
}

TransformerWeights random_weights(const ModelConfig& config, std::uint64_t seed, ThreadPool* pool,
                                  const RowsKept& kept) {
  TransformerWeights weights = zero_weights(config, nullptr, DType::f32, kept);
  const auto deviation = static_cast<float>(config.initializer_range);
  std::uint64_t stream = 0;
  visit_parameters(config, weights, [&](const ParameterSpec& spec, Tensor& value, Tensor*) {
    const NormalStream normal(seed, stream++, deviation);
    if (!value.defined()) return;
    switch (spec.kind) {
      case ParameterKind::norm:
        std::ranges::fill(value.values(), 1.0F);
        break;
      case ParameterKind::bias:
      case ParameterKind::router_bias:
        break;
      case ParameterKind::embedding:
      case ParameterKind::head:
      case ParameterKind::linear:
      case ParameterKind::expert:
      case ParameterKind::router:
        normal.fill(pool, value.values());
        break;
    }
  });
  return weights;
}

}  // namespace fathom
