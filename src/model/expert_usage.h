#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace fathom {

/// How often each expert is used of late: its share of a layer's tokens, where a token counts half as much
/// after `half_life` more (LRFU, Lee et al. 2001: between counting uses and looking at the last one alone).
/// Which experts a text uses is skewed and changes slowly: docs/streaming.md compares policies on traces.
class ExpertUsage {
 public:
  /// @param experts  [groups], of each
  ExpertUsage(std::span<const std::int64_t> experts, double half_life);

  /// A pass of `tokens` tokens used `experts`, each of them for so many of `rows`.
  void count(std::size_t group, std::int64_t tokens, std::span<const std::int64_t> experts,
             std::span<const std::int64_t> rows);

  /// In [0, 1]: the chance that a token uses the expert.
  [[nodiscard]] double rate(std::size_t group, std::int64_t expert) const {
    const Group& of = groups_[group];
    return of.weights[static_cast<std::size_t>(expert)] * of.scale;
  }

 private:
  /// Instead of all weights shrinking, what a token adds grows.
  struct Group {
    std::vector<double> weights;
    double unit = 1;   // that the newest token adds
    double scale = 0;  // from a weight to a rate
  };

  double decay_;  // of a token's weight, for each one after it
  std::vector<Group> groups_;
};

}  // namespace fathom
