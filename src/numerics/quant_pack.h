#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "numerics/quant_blocks.h"

namespace fathom {

// The way back from codes to the bytes of blocks: what an encoder has decided, in the order of the values,
// put where `decode_blocks` looks for it. Codes are unsigned, as stored: 8 stands for zero in Q4_0, 32 in
// Q6_K.

/// [2 half] codes below 16 as nibbles: the first half low, the second high.
void pack_nibbles(const std::uint8_t* codes, std::size_t half, std::uint8_t* nibbles);

/// Two bits of each of 256 codes, bits `shift` and above it.
std::array<std::uint8_t, 64> pack_crumbs(const std::uint8_t* codes, int shift);

/// Bit `shift` of each of 32 codes, in their order.
std::array<std::uint8_t, 4> pack_bits(const std::uint8_t* codes, int shift);

/// Bit `shift` of each of 256 codes: that of code 32 j + i is bit j of byte i.
std::array<std::uint8_t, 32> pack_bit_planes(const std::uint8_t* codes, int shift);

}  // namespace fathom
