#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "infer/sampler.h"
#include "model/context.h"
#include "model/transformer.h"

namespace fathom::test {

/// Every continuation of so many tokens that sampling can answer a prompt with, and how probable it is by the
/// sampler's definition.
std::map<std::vector<std::int32_t>, double> continuations(const Context& context, const Transformer& model,
                                                          std::span<const std::int32_t> prompt,
                                                          const SamplingOptions& sampling,
                                                          std::int64_t tokens);

/// Pearson's statistic; cells of fewer than five expected answers are counted as one.
struct ChiSquare {
  double statistic = 0;
  int freedom = 0;     // degrees
  int impossible = 0;  // answers that have no probability
  /// What the statistic exceeds once in 1,000 tries, by Wilson and Hilferty's approximation.
  [[nodiscard]] double limit() const;
};
ChiSquare chi_square(const std::map<std::vector<std::int32_t>, double>& expected,
                     const std::map<std::vector<std::int32_t>, int>& seen);

}  // namespace fathom::test
