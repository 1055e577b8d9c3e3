#pragma once

#include <cstdint>

namespace fathom {

/// A pseudo-random permutation of [0, size) in constant memory: the image of an index is computed, not looked
/// up. A balanced Feistel network over the next power of four, with Philox as its round function; values
/// beyond `size` walk on along their cycle until they fall inside (Black and Rogaway, CT-RSA 2002).
class Permutation {
 public:
  /// @param stream  picks one of many permutations of a seed: the epoch
  Permutation(std::uint64_t size, std::uint64_t seed, std::uint64_t stream);

  [[nodiscard]] std::uint64_t size() const { return size_; }
  /// The image of `index` < size. About four network passes at most on average.
  [[nodiscard]] std::uint64_t operator()(std::uint64_t index) const;

 private:
  std::uint64_t size_;
  std::uint64_t seed_;
  std::uint64_t stream_;
  unsigned half_bits_;  // the network permutes numbers of 2 * half_bits_ bits

  [[nodiscard]] std::uint64_t network(std::uint64_t value) const;
};

}  // namespace fathom
