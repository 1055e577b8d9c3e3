#include "base/rng.h"

#include <cmath>
#include <numbers>

namespace fathom {
namespace {

__extension__ using Uint128 = unsigned __int128;

}  // namespace

std::array<std::uint32_t, 4> philox_block(std::uint64_t seed, std::uint64_t stream, std::uint64_t index) {
  std::array<std::uint32_t, 4> c = {
      static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32U),
      static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32U)};
  auto key0 = static_cast<std::uint32_t>(seed);
  auto key1 = static_cast<std::uint32_t>(seed >> 32U);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{0xD2511F53} * c[0];
    const std::uint64_t product1 = std::uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<std::uint32_t>(product1 >> 32U) ^ c[1] ^ key0, static_cast<std::uint32_t>(product1),
         static_cast<std::uint32_t>(product0 >> 32U) ^ c[3] ^ key1, static_cast<std::uint32_t>(product0)};
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
  return c;
}

std::uint32_t Rng::next_u32() {
  const std::uint64_t index = state_.position / 4;
  if (index != block_index_) {
    block_ = philox_block(state_.seed, state_.stream, index);
    block_index_ = index;
  }
  return block_[state_.position++ % 4];
}

std::uint64_t Rng::next_u64() {
  const std::uint64_t low = next_u32();
  return low | (std::uint64_t{next_u32()} << 32U);
}

double Rng::uniform() {
  return static_cast<double>(next_u64() >> 11U) * 0x1p-53;
}

std::uint64_t Rng::below(std::uint64_t bound) {
  // Lemire: the high half of a product, rejecting the few low halves that would favour some values.
  const std::uint64_t threshold = -bound % bound;
  while (true) {
    const Uint128 product = static_cast<Uint128>(next_u64()) * bound;
    if (static_cast<std::uint64_t>(product) >= threshold) return static_cast<std::uint64_t>(product >> 64U);
  }
}

double Rng::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

}  // namespace fathom
