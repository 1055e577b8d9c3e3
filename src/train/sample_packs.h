#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fathom {

/// Samples that are read together in the place of one long sequence: indices of them.
using SamplePack = std::vector<std::int64_t>;

/// Puts samples into as few packs as best-fit decreasing finds, at most 11/9 of the least number and one more
/// (Johnson, 1974). The longest come first, each to the pack where the least room is left over.
/// @param rows      of each sample; those without any are left out
/// @param capacity  rows of a pack; no sample may have more
std::vector<SamplePack> pack_samples(std::span<const std::int64_t> rows, std::int64_t capacity);

}  // namespace fathom
