#include "kernels/encode_blocks.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/encode_blocks.cpp"
#include "kernels/simd.h"
// After simd.h.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "kernels/encode_affine-inl.h"
#include "kernels/encode_groups-inl.h"
#include "kernels/encode_scales-inl.h"
#include "numerics/quant_blocks.h"
#include "numerics/quant_pack.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {
namespace {

// Encoders of eight blocks of 32 values, and of one block of 256.

using Blocks32 = Group<32>;
constexpr Lane8 kNoOffset{};

template <DType type>
void PackCodes32(const std::uint8_t* codes, QuantBlock<type>& block) {
  if constexpr (requires { block.fifth_bits; }) block.fifth_bits = pack_bits(codes, 4);
  pack_nibbles(codes, 16, block.nibbles.data());
}

template <DType type, class Grid>
void EncodeScaled32(const Blocks32& group, QuantBlock<type>* blocks) {
  Lane8 scales;
  std::array<std::uint8_t, 256> codes;
  FitScales<Grid>(group, scales);
  for (std::size_t lane = 0; lane < kGroup; ++lane) {
    blocks[lane].d = F16::from_float(scales[lane]);
    scales[lane] = blocks[lane].d.to_float();
  }
  StoreCodes<Grid>(group, scales, kNoOffset, codes.data());
  for (std::size_t lane = 0; lane < kGroup; ++lane) PackCodes32(codes.data() + 32 * lane, blocks[lane]);
}

template <DType type, int Top>
void EncodeAffine32(const Blocks32& group, QuantBlock<type>* blocks) {
  Lane8 scales;
  Lane8 offsets;
  std::array<std::uint8_t, 256> codes;
  FitAffine<Top, false>(group, scales, offsets);
  for (std::size_t lane = 0; lane < kGroup; ++lane) {
    blocks[lane].d = F16::from_float(scales[lane]);
    blocks[lane].m = F16::from_float(offsets[lane]);
    scales[lane] = blocks[lane].d.to_float();
    offsets[lane] = blocks[lane].m.to_float();
  }
  StoreCodes<IntegerGrid<Top + 1, 0>>(group, scales, offsets, codes.data());
  for (std::size_t lane = 0; lane < kGroup; ++lane) PackCodes32(codes.data() + 32 * lane, blocks[lane]);
}

template <std::size_t N>
using Groups = std::array<Group<N>, 256 / N / kGroup>;

/// Scales of each sub-block, those of `block` times its F16, and codes under them.
template <class Grid, std::size_t N, int Limit>
void StoreScaledCodes(const Groups<N>& groups, const ScaledBlock<Grid, N, Limit>& block,
                      std::uint8_t* codes) {
  for (std::size_t g = 0; g < groups.size(); ++g) {
    Lane8 scales = block.integers[g];
    for (float& scale : scales) scale *= block.d;
    StoreCodes<Grid>(groups[g], scales, kNoOffset, codes + g * kGroup * N);
  }
}

template <int Top, std::size_t N, int Limit>
void StoreAffineCodes(const Groups<N>& groups, const AffineBlock<Top, N, Limit>& block, std::uint8_t* codes) {
  for (std::size_t g = 0; g < groups.size(); ++g) {
    Lane8 scales = block.scales[g];
    Lane8 offsets = block.mins[g];
    for (float& scale : scales) scale *= block.d;
    for (float& offset : offsets) offset *= -block.dmin;
    StoreCodes<IntegerGrid<Top + 1, 0>>(groups[g], scales, offsets, codes + g * kGroup * N);
  }
}

void Encode256(const Groups<16>& groups, QuantBlock<DType::q2_k>& out) {
  AffineBlock<3, 16, 15> block;
  std::array<std::uint8_t, 256> codes;
  block.Encode(groups);
  StoreAffineCodes(groups, block, codes.data());
  for (std::size_t i = 0; i < 16; ++i) {
    const auto scale = static_cast<unsigned>(block.scales[i / kGroup][i % kGroup]);
    const auto min = static_cast<unsigned>(block.mins[i / kGroup][i % kGroup]);
    out.scales[i] = static_cast<std::uint8_t>(scale | min << 4U);
  }
  out.crumbs = pack_crumbs(codes.data(), 0);
  out.d = F16::from_float(block.d);
  out.dmin = F16::from_float(block.dmin);
}

void Encode256(const Groups<16>& groups, QuantBlock<DType::q3_k>& out) {
  ScaledBlock<IntegerGrid<8, 4>, 16, 32> block;
  std::array<std::uint8_t, 256> codes;
  block.Encode(groups);
  StoreScaledCodes(groups, block, codes.data());
  std::array<std::uint8_t, 16> scales;
  for (std::size_t i = 0; i < 16; ++i)
    scales[i] = static_cast<std::uint8_t>(block.integers[i / kGroup][i % kGroup] + 32.0F);
  out.scales = pack_q3_scales(scales);
  out.crumbs = pack_crumbs(codes.data(), 0);
  out.third_bits = pack_bit_planes(codes.data(), 2);
  out.d = F16::from_float(block.d);
}

void Encode256(const Groups<16>& groups, QuantBlock<DType::q6_k>& out) {
  ScaledBlock<IntegerGrid<64, 32>, 16, 128> block;
  std::array<std::uint8_t, 256> codes;
  block.Encode(groups);
  StoreScaledCodes(groups, block, codes.data());
  for (std::size_t i = 0; i < 16; ++i)
    out.scales[i] = static_cast<std::int8_t>(block.integers[i / kGroup][i % kGroup]);
  for (std::size_t half = 0; half < 2; ++half)
    pack_nibbles(codes.data() + 128 * half, 64, out.nibbles.data() + 64 * half);
  out.crumbs = pack_crumbs(codes.data(), 4);
  out.d = F16::from_float(block.d);
}

/// Q4_K and Q5_K: alike but for the fifth bit.
template <DType type, int Top>
void EncodeAffine256(const Groups<32>& groups, QuantBlock<type>& out) {
  AffineBlock<Top, 32, 63> block;
  std::array<std::uint8_t, 256> codes;
  block.Encode(groups);
  StoreAffineCodes(groups, block, codes.data());
  KScales scales{};
  for (std::size_t i = 0; i < 8; ++i) {
    scales.scales[i] = static_cast<std::uint8_t>(block.scales[0][i]);
    scales.mins[i] = static_cast<std::uint8_t>(block.mins[0][i]);
  }
  out.scales = pack_k_scales(scales);
  for (std::size_t i = 0; i < 4; ++i) pack_nibbles(codes.data() + 64 * i, 32, out.nibbles.data() + 32 * i);
  if constexpr (requires { out.fifth_bits; }) out.fifth_bits = pack_bit_planes(codes.data(), 4);
  out.d = F16::from_float(block.d);
  out.dmin = F16::from_float(block.dmin);
}

void Encode256(const Groups<32>& groups, QuantBlock<DType::q4_k>& out) {
  EncodeAffine256<DType::q4_k, 15>(groups, out);
}

void Encode256(const Groups<32>& groups, QuantBlock<DType::q5_k>& out) {
  EncodeAffine256<DType::q5_k, 31>(groups, out);
}

void Encode256(const Groups<32>& groups, QuantBlock<DType::iq4_xs>& out) {
  ScaledBlock<Iq4Grid, 32, 32> block;
  std::array<std::uint8_t, 256> codes;
  block.Encode(groups);
  StoreScaledCodes(groups, block, codes.data());
  out.scales_high = 0;
  out.scales_low = {};
  for (std::size_t i = 0; i < 8; ++i) {
    const auto scale = static_cast<unsigned>(block.integers[0][i] + 32.0F);
    out.scales_low[i / 2] |= static_cast<std::uint8_t>((scale & 15U) << (i % 2 * 4));
    out.scales_high |= static_cast<std::uint16_t>((scale >> 4U) << (2 * i));
  }
  for (std::size_t i = 0; i < 8; ++i) pack_nibbles(codes.data() + 32 * i, 16, out.nibbles.data() + 16 * i);
  out.d = F16::from_float(block.d);
}

template <DType type, std::size_t N>
void EncodeOne256(const float* values, const float* weights, void* target) {
  Groups<N> groups;
  for (std::size_t g = 0; g < groups.size(); ++g)
    LoadGroup(values + g * kGroup * N, weights + g * kGroup * N, groups[g]);
  Encode256(groups, *static_cast<QuantBlock<type>*>(target));
}

}  // namespace

/// Encodes 256 values: one block, or eight of 32.
void Encode(DType dtype, const float* values, const float* weights, void* target) {
  Blocks32 group;
  if (block_values(dtype) == 32) LoadGroup(values, weights, group);
  switch (dtype) {
    case DType::q4_0:
      return EncodeScaled32<DType::q4_0, IntegerGrid<16, 8>>(group,
                                                             static_cast<QuantBlock<DType::q4_0>*>(target));
    case DType::q5_0:
      return EncodeScaled32<DType::q5_0, IntegerGrid<32, 16>>(group,
                                                              static_cast<QuantBlock<DType::q5_0>*>(target));
    case DType::iq4_nl:
      return EncodeScaled32<DType::iq4_nl, Iq4Grid>(group, static_cast<QuantBlock<DType::iq4_nl>*>(target));
    case DType::q4_1:
      return EncodeAffine32<DType::q4_1, 15>(group, static_cast<QuantBlock<DType::q4_1>*>(target));
    case DType::q5_1:
      return EncodeAffine32<DType::q5_1, 31>(group, static_cast<QuantBlock<DType::q5_1>*>(target));
    case DType::q2_k:
      return EncodeOne256<DType::q2_k, 16>(values, weights, target);
    case DType::q3_k:
      return EncodeOne256<DType::q3_k, 16>(values, weights, target);
    case DType::q4_k:
      return EncodeOne256<DType::q4_k, 32>(values, weights, target);
    case DType::q5_k:
      return EncodeOne256<DType::q5_k, 32>(values, weights, target);
    case DType::q6_k:
      return EncodeOne256<DType::q6_k, 16>(values, weights, target);
    case DType::iq4_xs:
      return EncodeOne256<DType::iq4_xs, 32>(values, weights, target);
    default:
      fail("{} has no encoder", dtype_name(dtype));
  }
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::kernels {
namespace {

HWY_EXPORT(Encode);

constexpr std::int64_t kChunk = 256;

/// To nearest, halves away from zero, under 1 / scale in f32: what the `gguf` library does.
void encode_q8_0(const float* values, std::int64_t count, void* target) {
  auto* blocks = static_cast<QuantBlock<DType::q8_0>*>(target);
  for (std::int64_t i = 0; i < count / 32; ++i) {
    const float* x = values + 32 * i;
    float largest = 0.0F;
    for (std::size_t j = 0; j < 32; ++j) largest = std::max(largest, std::abs(x[j]));
    const float scale = largest / 127.0F;
    const float inverse = scale != 0.0F ? 1.0F / scale : 0.0F;
    blocks[i].d = F16::from_float(scale);
    for (std::size_t j = 0; j < 32; ++j)
      blocks[i].codes[j] = static_cast<std::int8_t>(std::round(x[j] * inverse));
  }
}

/// Weights of errors: `by` over its mean, and nowhere below a millionth. @return whether that makes sense
template <typename By>
bool load_weights(std::size_t count, const By& by, std::array<float, kChunk>& weights) {
  double sum = 0.0;
  for (std::size_t i = 0; i < count; ++i) sum += by(i);
  const double mean = sum / static_cast<double>(count);
  if (!std::isfinite(mean) || mean <= 0.0) return false;
  for (std::size_t i = 0; i < count; ++i) weights[i] = std::max(static_cast<float>(by(i) / mean), 1e-6F);
  return true;
}

/// Weights of errors by importance. Where none is known or it makes no sense: of Q2_K and Q3_K, whose few
/// codes cannot fit all values, magnitudes, as large weights matter more to a model (docs/quantization.md has
/// perplexities); of others all alike.
void load_weights(DType dtype, const float* values, const float* importance, std::size_t count,
                  std::array<float, kChunk>& weights) {
  weights.fill(1.0F);
  if (importance != nullptr && load_weights(
                                   count, [&](std::size_t i) { return importance[i]; }, weights))
    return;
  if (dtype == DType::q2_k || dtype == DType::q3_k)
    load_weights(
        count, [&](std::size_t i) { return std::abs(values[i]); }, weights);
}

/// The largest value whose scale an F16 holds in each type, on the safe side.
constexpr float kLargestValue = 65504.0F;

}  // namespace

void encode_blocks(DType dtype, const float* values, std::int64_t count, const float* importance,
                   void* target) {
  require(is_block_quantized(dtype), "{} is no type of blocks", dtype_name(dtype));
  require(has_encoder(dtype), "{} is read, not written: choose Q2_K, Q4_K, Q8_0 or the like",
          dtype_name(dtype));
  require(count % block_values(dtype) == 0, "{} values are no whole number of blocks of {}, which hold {}",
          count, dtype_name(dtype), block_values(dtype));
  for (std::int64_t i = 0; i < count; ++i)
    require(std::abs(values[i]) <= kLargestValue, "value {} is {}: {} holds finite values up to {}", i,
            values[i], dtype_name(dtype), kLargestValue);
  if (dtype == DType::q8_0) return encode_q8_0(values, count, target);

  auto* bytes = static_cast<std::uint8_t*>(target);
  const std::size_t chunk_bytes = stored_bytes(dtype, kChunk);
  std::array<float, kChunk> weights;
  for (std::int64_t at = 0; at < count; at += kChunk) {
    const auto size = static_cast<std::size_t>(std::min(kChunk, count - at));
    load_weights(dtype, values + at, importance != nullptr ? importance + at : nullptr, size, weights);
    if (size == kChunk) {
      HWY_DYNAMIC_DISPATCH(Encode)(dtype, values + at, weights.data(), bytes);
      bytes += chunk_bytes;
      continue;
    }
    // The last few blocks of 32, filled up to eight.
    std::array<float, kChunk> padded{};
    std::copy_n(values + at, size, padded.begin());
    alignas(16) std::array<std::uint8_t, sizeof(QuantBlock<DType::q8_0>) * 8> blocks;
    HWY_DYNAMIC_DISPATCH(Encode)(dtype, padded.data(), weights.data(), blocks.data());
    std::memcpy(bytes, blocks.data(), stored_bytes(dtype, static_cast<std::int64_t>(size)));
  }
}

}  // namespace fathom::kernels
#endif  // HWY_ONCE
