#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fathom {

/// Which source each sequence of training is drawn from, so that sources have their weights' shares.
///
/// The place of sequence `position` is a pure function of the weights and the position: a van der Corput
/// sequence (positions with their bits reversed) walks over [0, 1), which is cut into parts as large as the
/// weights. It is as even as can be: among the first n sequences a source has its share to within
/// log2(n) + 1 sequences, wherever training stops and however it is cut into batches. Shares are multiples
/// of 1 / 65,536, at least one.
class SourceMix {
 public:
  /// @param weights  above 0, in any unit. Throws `Error` when they are not, or none are given
  explicit SourceMix(std::span<const double> weights);

  struct Place {
    std::size_t source = 0;
    std::int64_t index = 0;  // of the sequence among those of its source
  };
  [[nodiscard]] Place at(std::int64_t position) const;

  /// Sequences of a source among the first `positions`.
  [[nodiscard]] std::int64_t count(std::size_t source, std::int64_t positions) const;
  /// The part of all sequences that a source has.
  [[nodiscard]] double share(std::size_t source) const;

 private:
  std::vector<std::int64_t> borders_{0};  // [sources + 1], of the parts, in 1 / 65,536
};

}  // namespace fathom
