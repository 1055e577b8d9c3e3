#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace fathom::kernels {

/// Numbers in a MinHash signature.
inline constexpr std::size_t kMinHashes = 128;

/// For each of `kMinHashes` fixed permutations of 32-bit numbers, the least image of `values`, or what
/// `least` held before if that is less (Broder 1997). A permutation is (value ^ a) · b mod 2^32 with odd b:
/// both steps can be undone, so no two values meet.
/// @param values  hashes: they must be well mixed
/// @param least   [kMinHashes]
void min_hashes(std::span<const std::uint32_t> values, std::span<std::uint32_t> least);

}  // namespace fathom::kernels
