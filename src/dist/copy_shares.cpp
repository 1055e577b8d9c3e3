#include "dist/copy_shares.h"

#include <cstddef>
#include <numeric>

namespace fathom {
namespace {

/// What ranks have left to send, and copies to receive, in parts of all tokens for the expert.
struct Left {
  std::vector<double> sent;      // [ranks]
  std::vector<double> received;  // [copies]
};

}  // namespace

std::vector<double> copy_shares(int rank, std::span<const std::int64_t> tokens,
                                std::span<const std::int32_t> node_of_rank,
                                std::span<const std::int32_t> rank_of_copy) {
  const std::size_t ranks = node_of_rank.size();
  const std::size_t copies = rank_of_copy.size();
  const auto own = static_cast<std::size_t>(rank);
  const auto total = static_cast<double>(std::accumulate(tokens.begin(), tokens.end(), std::int64_t{0}));
  // Whoever has none yet asks gets the shares of a rank that is like the others.
  const bool as_many = !(total > 0) || tokens[own] == 0;
  Left left{std::vector<double>(ranks), std::vector<double>(copies, 1.0 / static_cast<double>(copies))};
  for (std::size_t r = 0; r < ranks; ++r)
    left.sent[r] = as_many ? 1.0 / static_cast<double>(ranks) : static_cast<double>(tokens[r]) / total;
  const double all = left.sent[own];

  std::vector<double> shares(copies);
  // Matches what ranks and copies of one group have left, in proportion.
  const auto match = [&](const auto& group_of_rank) {
    std::vector<double> to_send(ranks);
    std::vector<double> to_receive(ranks);  // by group; there are no more groups than ranks
    for (std::size_t r = 0; r < ranks; ++r) to_send[group_of_rank(r)] += left.sent[r];
    const auto group_of_copy = [&](std::size_t j) {
      return group_of_rank(static_cast<std::size_t>(rank_of_copy[j]));
    };
    for (std::size_t j = 0; j < copies; ++j) to_receive[group_of_copy(j)] += left.received[j];
    const auto part = [](double of, double other) { return of > other ? other / of : 1.0; };
    const std::size_t group = group_of_rank(own);
    if (to_receive[group] > 0) {
      const double moved = left.sent[own] * part(to_send[group], to_receive[group]);
      for (std::size_t j = 0; j < copies; ++j)
        if (group_of_copy(j) == group) shares[j] += moved * left.received[j] / to_receive[group];
    }
    for (std::size_t j = 0; j < copies; ++j) {
      const std::size_t g = group_of_copy(j);
      left.received[j] *= 1.0 - part(to_receive[g], to_send[g]);
    }
    for (std::size_t r = 0; r < ranks; ++r) {
      const std::size_t g = group_of_rank(r);
      left.sent[r] *= 1.0 - part(to_send[g], to_receive[g]);
    }
  };
  match([](std::size_t r) { return r; });
  match([&](std::size_t r) { return static_cast<std::size_t>(node_of_rank[r]); });
  match([](std::size_t) { return std::size_t{0}; });
  for (double& share : shares) share /= all;
  return shares;
}

std::size_t CopyTurns::next(std::span<const double> shares) {
  std::size_t chosen = first_;
  for (std::size_t i = 0; i < owed_.size(); ++i) {
    const std::size_t copy = (first_ + i) % owed_.size();
    owed_[copy] += shares[copy];
    if (owed_[copy] > owed_[chosen]) chosen = copy;
  }
  owed_[chosen] -= 1.0;
  return chosen;
}

}  // namespace fathom
