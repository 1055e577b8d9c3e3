#include "model/synthetic_weights.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "kernels/encode_blocks.h"
#include "numerics/convert.h"

namespace fathom {
namespace {

/// Values that all matrices are made of: a prime number of blocks, so that rows begin anywhere in it.
constexpr std::int64_t kPoolBlocks = 4099;
constexpr std::int64_t kLargestBlock = 256;

std::vector<std::byte> stored_values(DType type, std::span<const float> values) {
  std::vector<std::byte> bytes(stored_bytes(type, static_cast<std::int64_t>(values.size())));
  if (is_block_quantized(type)) {
    kernels::encode_blocks(type, values.data(), static_cast<std::int64_t>(values.size()), nullptr,
                           bytes.data());
  } else {
    narrow_from_f32(values.data(), static_cast<std::int64_t>(values.size()), type, bytes.data());
  }
  return bytes;
}

/// Copies of `from`, one after another, from a place that `seed` chooses.
void fill(ThreadPool& pool, const std::vector<std::byte>& from, std::size_t unit, std::uint64_t seed,
          Tensor& to) {
  constexpr std::size_t kPiece = std::size_t{1} << 20U;
  const std::span<std::byte> bytes = to.bytes();
  const std::size_t first = static_cast<std::size_t>(Rng(seed).below(from.size() / unit)) * unit;
  pool.parallel_ranges(bytes.size(), kPiece, [&](std::size_t begin, std::size_t end) {
    for (std::size_t at = begin; at < end;) {
      const std::size_t place = (first + at) % from.size();
      const std::size_t count = std::min(end - at, from.size() - place);
      std::memcpy(bytes.data() + at, from.data() + place, count);
      at += count;
    }
  });
}

bool is_matrix(ParameterKind kind) {
  return kind == ParameterKind::embedding || kind == ParameterKind::head || kind == ParameterKind::linear ||
         kind == ParameterKind::expert;
}

void require_made_up(DType type) {
  require(type == DType::f32 || type == DType::bf16 || type == DType::f16 || has_encoder(type),
          "no weights of {} are made up: F32, BF16, F16 and the types of blocks are", dtype_name(type));
}

}  // namespace

DType synthetic_type(const ParameterSpec& spec, DType type) {
  require_made_up(type);
  if (!is_matrix(spec.kind)) return DType::f32;
  return spec.shape.back() % block_values(type) == 0 ? type : DType::q8_0;
}

TransformerWeights synthetic_weights(ThreadPool& pool, const ModelConfig& config, DType type,
                                     std::uint64_t seed) {
  require_made_up(type);
  Rng rng(seed);
  std::vector<float> values(static_cast<std::size_t>(kPoolBlocks * kLargestBlock));
  for (float& value : values) value = static_cast<float>(config.initializer_range * rng.normal());
  const std::vector<std::byte> pieces = stored_values(type, values);
  const std::vector<std::byte> other_pieces = stored_values(DType::q8_0, values);
  TransformerWeights weights;
  visit_parameters(config, weights, [&](const ParameterSpec& spec, Tensor& tensor, Tensor*) {
    if (is_matrix(spec.kind)) {
      const DType own = synthetic_type(spec, type);
      tensor = Tensor::empty(spec.shape, own);
      fill(pool, own == type ? pieces : other_pieces, block_bytes(own), seed + spec.index + 1, tensor);
    } else {
      tensor = Tensor::zeros(spec.shape);
      if (spec.kind == ParameterKind::norm) std::ranges::fill(tensor.values(), 1.0F);
      if (spec.kind == ParameterKind::router)
        for (float& value : tensor.values())
          value = static_cast<float>(config.initializer_range * rng.normal());
    }
  });
  tie_head(config, weights);
  return weights;
}

}  // namespace fathom
