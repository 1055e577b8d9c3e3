#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fathom {

/// What part of its tokens for one expert a rank sends to each of the expert's copies.
///
/// Over all ranks each copy gets as many (what the placement reckons with) if the ranks have tokens in
/// proportion to `tokens`; among all ways to do that a token stays on its rank, or else on its node, as often
/// as can be. First each rank takes of its own copies what it has, as far as their parts go; then each node
/// shares what is left on its ranks over what is left of its copies, in proportion; then all do.
/// @param rank           whose shares are wanted
/// @param tokens         [ranks], not negative; all zero: as many on each
/// @param node_of_rank   [ranks]
/// @param rank_of_copy   [copies], at least one
/// @return  [copies], which sum to 1
std::vector<double> copy_shares(int rank, std::span<const std::int64_t> tokens,
                                std::span<const std::int32_t> node_of_rank,
                                std::span<const std::int32_t> rank_of_copy);

/// Sends tokens one by one so that each copy has its share of them at any time, to within one.
class CopyTurns {
 public:
  /// @param first  which copy comes first where several have the same claim, so that ranks which have one
  ///               token each do not all send it to the same
  CopyTurns(std::size_t copies, std::size_t first) : owed_(copies), first_(first % copies) {}

  /// The copy for the next token.
  std::size_t next(std::span<const double> shares);

 private:
  std::vector<double> owed_;  // [copies], tokens that a copy should have had and has not; they sum to 0
  std::size_t first_;
};

}  // namespace fathom
