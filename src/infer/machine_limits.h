#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/packed_gemm.h"
#include "tensor/tensor.h"

namespace fathom {

/// Least wall time of each of `parts` in seconds, over `rounds` in which they take turns, so that a busy
/// minute meets all of them.
std::vector<double> least_seconds(std::span<const std::function<void()>> parts, int rounds);

/// The most memory that this process has had at once, in bytes; 0 where the system does not say.
std::uint64_t peak_memory();

/// Values in [-1, 1).
std::vector<float> bench_values(std::int64_t count);

/// Reads memory well over the last-level cache as fast as the pool's threads can: the limit of whatever
/// streams weights.
class MemoryReadLimit {
 public:
  MemoryReadLimit();
  void operator()(ThreadPool& pool);
  /// Read by one call: short, so that it fits between other programs' turns.
  static constexpr double kBytes = 64.0 * (1U << 20U);

 private:
  /// Calls go through parts of as much memory in turn, so that none finds its own in a cache.
  static constexpr std::size_t kParts = 4;
  Tensor words_;  // in storage of the kind that weights have, huge pages and all
  std::size_t part_ = 0;
  std::uint64_t sum_ = 0;
};

/// Products of 8-bit codes from registers with the pool's threads (kernels/integer_limit.h): the limit of
/// whatever multiplies quantised weights.
class IntegerLimit {
 public:
  void operator()(ThreadPool& pool);
  /// Of one call, two a multiply-add.
  static double operations(const ThreadPool& pool);

 private:
  std::int64_t sum_ = 0;
};

/// A product large enough to run at the machine's speed, with the pool's threads: the limit of whatever
/// multiplies matrices.
class GemmLimit {
 public:
  GemmLimit();
  /// In f32, by OpenBLAS.
  void operator()(ThreadPool& pool);
  /// In f32 or of bf16 inputs, by our own packed_gemm.
  void packed(ThreadPool& pool, kernels::GemmInput input);
  /// Of one call, two a multiply-add.
  static constexpr double kFlops = 2.0 * 1024 * 1024 * 1024;

 private:
  std::vector<float> a_;
  std::vector<float> b_;
  std::vector<float> c_;
};

}  // namespace fathom
