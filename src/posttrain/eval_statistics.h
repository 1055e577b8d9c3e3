#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace fathom {

/// A figure and where it lies with 95 % confidence.
struct Estimate {
  double value = 0;
  double low = 0;
  double high = 0;
};

/// The unbiased estimate of the chance that one of k samples is right, of n of which c are: 1 − C(n−c,
/// k)/C(n, k) (Chen et al. 2021, eq. 1). k from 1 to n.
double pass_at_k(std::int64_t n, std::int64_t c, std::int64_t k);

/// A sample as votes see it.
struct Vote {
  std::string answer;  // as extracted; empty: none, which is no vote
  double accuracy = 0;
};

/// The accuracy of the answer that most of the samples give; of several, the one given first. 0 without
/// votes.
double majority_accuracy(std::span<const Vote> votes);
/// The mean of `majority_accuracy` over the first, second, ... k samples, as far as there are whole ones.
double majority_at_k(std::span<const Vote> votes, std::int64_t k);

/// `successes` of `trials`, with Wilson's score interval.
Estimate wilson_interval(std::int64_t successes, std::int64_t trials);

/// The mean of some values, one for each problem, with the interval of 2,000 bootstrap resamples of the
/// problems (the 2.5th and 97.5th percentile). The same for the same values.
Estimate bootstrap_mean(std::span<const double> values);

}  // namespace fathom
