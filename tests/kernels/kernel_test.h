#pragma once

#include "kernels/simd_targets.h"
// The targets come first.
#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/rng.h"
#include "base/thread_pool.h"
#include "kernels/byte_products.h"

namespace fathom::test {

/// Runs `body` once for each instruction set that kernels are built for and this machine has.
template <typename Body>
void for_each_target(const Body& body) {
  const auto use = [](std::int64_t targets) {
    hwy::SetSupportedTargetsForTest(targets);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  };
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    use(target);
    body();
  }
  use(0);
  if (!kernels::has_byte_products()) return;
  SCOPED_TRACE("without products of bytes");
  kernels::allow_byte_products(false);
  body();
  kernels::allow_byte_products(true);
}

/// Standard normal values.
inline std::vector<float> random_values(std::size_t count, std::uint64_t seed, double scale = 1.0) {
  Rng rng(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(scale * rng.normal());
  return values;
}

/// Largest |actual - expected|, relative to the largest |expected| or `floor`.
template <typename Actual, typename Expected>
double relative_error(const Actual& actual, const Expected& expected, double floor = 1e-30) {
  EXPECT_EQ(actual.size(), expected.size());
  double error = 0.0;
  double size = floor;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double difference = std::abs(static_cast<double>(actual[i]) - static_cast<double>(expected[i]));
    error = std::isnan(difference) ? difference : std::max(error, difference);
    if (std::isnan(error)) return error;
    size = std::max(size, std::abs(static_cast<double>(expected[i])));
  }
  return error / size;
}

/// Expects `run(pool)`, which returns values, to give the same bytes with 1, 2 and 3 threads.
template <typename Run>
void expect_same_for_any_thread_count(const Run& run) {
  ThreadPool one(1);
  ThreadPool two(2);
  ThreadPool three(3);
  const auto expected = run(one);
  EXPECT_EQ(run(two), expected);
  EXPECT_EQ(run(three), expected);
}

}  // namespace fathom::test
