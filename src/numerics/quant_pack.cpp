#include "numerics/quant_pack.h"

namespace fathom {

void pack_nibbles(const std::uint8_t* codes, std::size_t half, std::uint8_t* nibbles) {
  for (std::size_t i = 0; i < half; ++i)
    nibbles[i] = static_cast<std::uint8_t>((codes[i] & 15) | (codes[half + i] & 15) << 4);
}

std::array<std::uint8_t, 64> pack_crumbs(const std::uint8_t* codes, int shift) {
  std::array<std::uint8_t, 64> crumbs{};
  for (std::size_t i = 0; i < 64; ++i)
    for (std::size_t j = 0; j < 4; ++j)
      crumbs[i] |= static_cast<std::uint8_t>((codes[i / 32 * 128 + 32 * j + i % 32] >> shift & 3) << (2 * j));
  return crumbs;
}

std::array<std::uint8_t, 4> pack_bits(const std::uint8_t* codes, int shift) {
  std::array<std::uint8_t, 4> bytes{};
  for (std::size_t i = 0; i < 32; ++i)
    bytes[i / 8] |= static_cast<std::uint8_t>((codes[i] >> shift & 1) << (i % 8));
  return bytes;
}

std::array<std::uint8_t, 32> pack_bit_planes(const std::uint8_t* codes, int shift) {
  std::array<std::uint8_t, 32> planes{};
  for (std::size_t j = 0; j < 8; ++j)
    for (std::size_t i = 0; i < 32; ++i)
      planes[i] |= static_cast<std::uint8_t>((codes[32 * j + i] >> shift & 1) << j);
  return planes;
}

}  // namespace fathom
