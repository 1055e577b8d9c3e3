#include "train/permutation.h"

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "base/rng.h"

namespace fathom {
namespace {

constexpr std::uint64_t kRounds = 6;

}  // namespace

Permutation::Permutation(std::uint64_t size, std::uint64_t seed, std::uint64_t stream)
    : size_(size), seed_(seed), stream_(stream) {
  require(size > 0 && size <= std::uint64_t{1} << 56U, "cannot shuffle {} items", size);
  half_bits_ = static_cast<unsigned>((std::bit_width(size - 1) + 1) / 2);
  half_bits_ = std::max(half_bits_, 1U);
}

std::uint64_t Permutation::network(std::uint64_t value) const {
  const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
  std::uint64_t left = value >> half_bits_;
  std::uint64_t right = value & mask;
  for (std::uint64_t round = 0; round < kRounds; ++round) {
    // The round number stands above the 28 bits that a half can have.
    const std::uint64_t mixed = left ^ (philox_block(seed_, stream_, round << 32U | right)[0] & mask);
    left = right;
    right = mixed;
  }
  return left << half_bits_ | right;
}

std::uint64_t Permutation::operator()(std::uint64_t index) const {
  std::uint64_t value = network(index);
  while (value >= size_) value = network(value);
  return value;
}

}  // namespace fathom
