#include "posttrain/eval_statistics.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <numeric>

#include "base/error.h"
#include "base/rng.h"

namespace fathom {

double pass_at_k(std::int64_t n, std::int64_t c, std::int64_t k) {
  require(k >= 1 && k <= n && c >= 0 && c <= n, "pass@{} of {} samples with {} right ones", k, n, c);
  if (n - c < k) return 1;
  double none = 1;  // C(n−c, k)/C(n, k), as a product
  for (std::int64_t i = n - c + 1; i <= n; ++i) none *= 1 - static_cast<double>(k) / static_cast<double>(i);
  return 1 - none;
}

double majority_accuracy(std::span<const Vote> votes) {
  std::map<std::string_view, std::int64_t> counts;
  for (const Vote& vote : votes)
    if (!vote.answer.empty()) ++counts[vote.answer];
  std::int64_t most = 0;
  double accuracy = 0;
  for (const Vote& vote : votes) {
    if (vote.answer.empty() || counts[vote.answer] <= most) continue;
    most = counts[vote.answer];
    accuracy = vote.accuracy;
  }
  return accuracy;
}

double majority_at_k(std::span<const Vote> votes, std::int64_t k) {
  const auto size = static_cast<std::size_t>(k);
  require(k >= 1 && size <= votes.size(), "maj@{} of {} samples", k, votes.size());
  const std::size_t groups = votes.size() / size;
  double sum = 0;
  for (std::size_t i = 0; i < groups; ++i) sum += majority_accuracy(votes.subspan(i * size, size));
  return sum / static_cast<double>(groups);
}

Estimate wilson_interval(std::int64_t successes, std::int64_t trials) {
  if (trials == 0) return {};
  constexpr double kZ = 1.959963984540054;  // 97.5th percentile of the normal distribution
  const auto n = static_cast<double>(trials);
  const double p = static_cast<double>(successes) / n;
  const double middle = (p + kZ * kZ / (2 * n)) / (1 + kZ * kZ / n);
  const double half = kZ * std::sqrt(p * (1 - p) / n + kZ * kZ / (4 * n * n)) / (1 + kZ * kZ / n);
  // At 0 and 1 rounding must not put the value outside.
  return {p, std::min(p, middle - half), std::max(p, middle + half)};
}

Estimate bootstrap_mean(std::span<const double> values) {
  if (values.empty()) return {};
  constexpr std::size_t kResamples = 2000;
  constexpr std::uint64_t kSeed = 20240601;  // any, and always the same
  const auto count = static_cast<double>(values.size());
  Rng rng(kSeed);
  std::vector<double> means(kResamples);
  for (double& mean : means) {
    double sum = 0;
    for (std::size_t i = 0; i < values.size(); ++i)
      sum += values[static_cast<std::size_t>(rng.below(values.size()))];
    mean = sum / count;
  }
  std::ranges::sort(means);
  const auto percentile = [&](double part) {
    return means[static_cast<std::size_t>(std::lround(part * static_cast<double>(kResamples - 1)))];
  };
  return {std::accumulate(values.begin(), values.end(), 0.0) / count, percentile(0.025), percentile(0.975)};
}

}  // namespace fathom
