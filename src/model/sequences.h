#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace fathom {

/// How the rows of a [tokens, ...] tensor divide into sequences: sequence s is rows [offsets[s], offsets[s +
/// 1]). Attention stays within a sequence and positions start at 0 in each.
struct Sequences {
  std::vector<std::int64_t> offsets;

  /// `count` sequences of `length` tokens each.
  static Sequences uniform(std::int64_t count, std::int64_t length) {
    Sequences sequences;
    for (std::int64_t s = 0; s <= count; ++s) sequences.offsets.push_back(s * length);
    return sequences;
  }
  /// The same sequences without their last `count` tokens (none left: empty).
  [[nodiscard]] Sequences shortened(std::int64_t count) const {
    Sequences shorter{{0}};
    for (std::size_t s = 0; s + 1 < offsets.size(); ++s)
      shorter.offsets.push_back(shorter.offsets.back() +
                                std::max<std::int64_t>(offsets[s + 1] - offsets[s] - count, 0));
    return shorter;
  }
  [[nodiscard]] std::int64_t count() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
  [[nodiscard]] std::int64_t tokens() const { return offsets.back(); }
};

}  // namespace fathom
