#pragma once

#include <bit>
#include <cstdint>

namespace fathom {

/// What a number beyond the largest finite value becomes.
enum class Overflow : std::uint8_t {
  special,   ///< infinity where the format has one, else NaN
  saturate,  ///< the largest finite value: what FP8 training does (technical report, section 3.3)
};

/// A float of 16 bits or fewer, stored as its bits. All conversions from f32 round to nearest, ties to even,
/// and by default treat overflow as PyTorch's casts do (2.12 and later: e4m3fn saturates, the others go to
/// infinity).
/// @tparam HasInfinity  false for e4m3fn, whose top exponent holds finite values and one NaN
template <typename Bits, int ExponentBits, int MantissaBits, bool HasInfinity>
struct SmallFloat {
  static constexpr int kBias = (1 << (ExponentBits - 1)) - 1;
  static constexpr Bits kSignBit = Bits{1} << (ExponentBits + MantissaBits);
  static constexpr Bits kInfinity = static_cast<Bits>(((1U << ExponentBits) - 1U) << MantissaBits);
  static constexpr Bits kMaxFinite =
      HasInfinity ? static_cast<Bits>(kInfinity - 1U) : static_cast<Bits>(kSignBit - 2U);
  static constexpr Bits kNaN = HasInfinity ? static_cast<Bits>(kInfinity | (1U << (MantissaBits - 1)))
                                           : static_cast<Bits>(kSignBit - 1U);

  static constexpr Overflow kDefaultOverflow = HasInfinity ? Overflow::special : Overflow::saturate;

  Bits bits = 0;

  static constexpr SmallFloat from_float(float value, Overflow overflow = kDefaultOverflow) {
    const auto word = std::bit_cast<std::uint32_t>(value);
    const Bits sign = (word >> 31U) != 0 ? kSignBit : Bits{0};
    const std::uint32_t magnitude = word & 0x7FFFFFFFU;
    if (magnitude > 0x7F800000U) return {static_cast<Bits>(sign | kNaN)};

    constexpr std::uint32_t kMinNormal = static_cast<std::uint32_t>(127 - kBias + 1) << 23U;
    constexpr int kDropped = 23 - MantissaBits;
    std::uint32_t code = 0;
    if (magnitude < kMinNormal) {
      // Adding 2^(23 + log2 of the subnormal step) leaves the rounded count of steps in the low bits.
      constexpr float kAligned =
          std::bit_cast<float>(static_cast<std::uint32_t>(127 - kBias + 1 + kDropped) << 23U);
      code = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + kAligned) -
             std::bit_cast<std::uint32_t>(kAligned);
    } else {
      const std::uint32_t even = magnitude >> kDropped & 1U;
      const std::uint32_t rounded = magnitude + ((1U << (kDropped - 1)) - 1U) + even;
      code = (rounded - (static_cast<std::uint32_t>(127 - kBias) << 23U)) >> kDropped;
    }
    if (code > kMaxFinite)
      code = overflow == Overflow::saturate ? kMaxFinite : (HasInfinity ? kInfinity : kNaN);
    return {static_cast<Bits>(sign | code)};
  }

  [[nodiscard]] constexpr float to_float() const {
    const std::uint32_t sign = (bits & kSignBit) != 0 ? 0x80000000U : 0U;
    const std::uint32_t magnitude = bits & static_cast<Bits>(kSignBit - 1U);
    const std::uint32_t exponent = magnitude >> MantissaBits;
    const std::uint32_t mantissa = magnitude & ((1U << MantissaBits) - 1U);
    constexpr int kDropped = 23 - MantissaBits;
    if (HasInfinity ? exponent == (1U << ExponentBits) - 1U : magnitude == kNaN)
      return std::bit_cast<float>(sign | 0x7F800000U | (HasInfinity ? mantissa << kDropped : 0x400000U));
    if (exponent == 0) {
      constexpr float kStep =
          std::bit_cast<float>(static_cast<std::uint32_t>(127 - kBias + 1 - MantissaBits) << 23U);
      const float value = static_cast<float>(mantissa) * kStep;
      return sign != 0 ? -value : value;
    }
    return std::bit_cast<float>(sign | ((exponent + 127 - kBias) << 23U) | (mantissa << kDropped));
  }
};

using F16 = SmallFloat<std::uint16_t, 5, 10, true>;
using F8E4M3 = SmallFloat<std::uint8_t, 4, 3, false>;  ///< torch.float8_e4m3fn; largest finite value 448
using F8E5M2 = SmallFloat<std::uint8_t, 5, 2, true>;   ///< torch.float8_e5m2; largest finite value 57,344

/// The upper half of an f32.
struct Bf16 {
  std::uint16_t bits = 0;

  static constexpr Bf16 from_float(float value) {
    const auto word = std::bit_cast<std::uint32_t>(value);
    if ((word & 0x7FFFFFFFU) > 0x7F800000U) return {static_cast<std::uint16_t>((word >> 16U) | 0x40U)};
    return {static_cast<std::uint16_t>((word + 0x7FFFU + (word >> 16U & 1U)) >> 16U)};
  }
  [[nodiscard]] constexpr float to_float() const {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U);
  }
};

}  // namespace fathom
