#include "dist/stage_split.h"

#include <algorithm>
#include <limits>

namespace fathom {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

using Table = std::vector<std::vector<double>>;  // [stages][first unit]

Table table_of(std::size_t units) {
  return Table(units + 1, std::vector<double>(units + 1, kNever));
}

/// [stages][i]: the costliest stage of the best split of units i.. into so many.
Table least_costliest(std::span<const double> sum) {
  const std::size_t units = sum.size() - 1;
  Table least = table_of(units);
  for (std::size_t i = 0; i < units; ++i) least[1][i] = sum[units] - sum[i];
  for (std::size_t s = 2; s <= units; ++s)
    for (std::size_t i = 0; i + s <= units; ++i)
      for (std::size_t j = i + 1; j + s - 1 <= units; ++j) {
        const double first = sum[j] - sum[i];
        if (first >= least[s][i]) break;  // later ones are costlier still
        least[s][i] = std::min(least[s][i], std::max(first, least[s - 1][j]));
      }
  return least;
}

/// The most even split whose stages cost at most `most` each.
std::vector<std::size_t> most_even(std::span<const double> sum, std::size_t stages, double most) {
  const std::size_t units = sum.size() - 1;
  Table squares = table_of(units);
  std::vector<std::vector<std::size_t>> next(stages + 1, std::vector<std::size_t>(units + 1, units));
  const auto cost = [&](std::size_t from, std::size_t to) { return sum[to] - sum[from]; };
  for (std::size_t i = 0; i < units; ++i)
    if (cost(i, units) <= most) squares[1][i] = cost(i, units) * cost(i, units);
  for (std::size_t s = 2; s <= stages; ++s)
    for (std::size_t i = 0; i + s <= units; ++i)
      for (std::size_t j = i + 1; j + s - 1 <= units && cost(i, j) <= most; ++j) {
        const double even = cost(i, j) * cost(i, j) + squares[s - 1][j];
        if (even >= squares[s][i]) continue;
        squares[s][i] = even;
        next[s][i] = j;
      }
  std::vector<std::size_t> first = {0};
  for (std::size_t s = stages; s >= 1; --s) first.push_back(next[s][first.back()]);
  return first;
}

}  // namespace

std::vector<std::vector<std::size_t>> split_stages(std::span<const double> costs) {
  std::vector<double> sum = {0.0};
  for (const double cost : costs) sum.push_back(sum.back() + cost);
  const Table least = least_costliest(sum);
  constexpr double kRounding = 1e-9;  // differences of sums are equal to that
  std::vector<std::vector<std::size_t>> splits(1);
  for (std::size_t stages = 1; stages <= costs.size(); ++stages)
    splits.push_back(most_even(sum, stages, least[stages][0] * (1 + kRounding)));
  return splits;
}

}  // namespace fathom
