#include "infer/machine_limits.h"

#include <algorithm>
#include <atomic>
#include <fstream>
#include <string>

#include "base/progress.h"
#include "kernels/gemm.h"
#include "kernels/integer_limit.h"

namespace fathom {

std::vector<double> least_seconds(std::span<const std::function<void()>> parts, int rounds) {
  std::vector<double> least(parts.size(), 1e9);
  for (int round = 0; round < rounds; ++round)
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const double start = monotonic_seconds();
      parts[i]();
      least[i] = std::min(least[i], monotonic_seconds() - start);
    }
  return least;
}

std::uint64_t peak_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (std::uint64_t kib = 0; word == "VmHWM:" && status >> kib) return kib * 1024;
  return 0;
}

std::vector<float> bench_values(std::int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  std::uint32_t state = 1;
  for (float& value : values) {
    state = state * 1664525U + 1013904223U;
    value = static_cast<float>(state >> 8U) / 8388608.0F - 1.0F;
  }
  return values;
}

MemoryReadLimit::MemoryReadLimit()
    : words_(Tensor::zeros({static_cast<std::int64_t>(kParts) * static_cast<std::int64_t>(kBytes) /
                            std::int64_t{sizeof(std::uint64_t)}},
                           DType::i64)) {}

void MemoryReadLimit::operator()(ThreadPool& pool) {
  // Each thread reads one long part of it, in several runs at once: of one run alone hardware reads too
  // little ahead, and short ones end before it has begun to.
  constexpr std::size_t kRuns = 4;
  constexpr std::size_t kLine = 8;
  const std::size_t count = static_cast<std::size_t>(words_.size()) / kParts;
  const std::size_t run = count / pool.threads() / kRuns / kLine * kLine;
  const auto* words = static_cast<const std::uint64_t*>(words_.data()) + part_ * count;
  part_ = (part_ + 1) % kParts;
  std::atomic<std::uint64_t> total{0};
  pool.parallel_for(pool.threads(), [&](std::size_t thread) {
    const std::uint64_t* own = words + thread * kRuns * run;
    std::uint64_t sums[kRuns][2] = {};
    for (std::size_t i = 0; i < run; i += kLine)
      for (std::size_t r = 0; r < kRuns; ++r)
        for (std::size_t j = 0; j < kLine; ++j) sums[r][j % 2] += own[r * run + i + j];
    std::uint64_t sum = 0;
    for (const auto& parts : sums) sum += parts[0] + parts[1];
    total.fetch_add(sum, std::memory_order_relaxed);
  });
  sum_ += total.load();  // kept, or the compiler might not read at all
}

void IntegerLimit::operator()(ThreadPool& pool) {
  std::atomic<std::int64_t> sum{0};
  pool.parallel_for(pool.threads(), [&](std::size_t thread) {
    constexpr std::uint32_t kAnyCodes = 0x03050709U;
    sum.fetch_add(kernels::multiply_integers(kAnyCodes + static_cast<std::uint32_t>(thread)),
                  std::memory_order_relaxed);
  });
  sum_ += sum.load();
}

double IntegerLimit::operations(const ThreadPool& pool) {
  return kernels::integer_operations() * static_cast<double>(pool.threads());
}

GemmLimit::GemmLimit() : a_(bench_values(1024 * 1024)), b_(a_), c_(a_.size()) {}

void GemmLimit::operator()(ThreadPool& pool) {
  kernels::gemm(pool, 1024, 1024, 1024, 1.0F, {a_.data(), 1024}, {b_.data(), 1024}, 0.0F, c_.data(), 1024);
}

void GemmLimit::packed(ThreadPool& pool, kernels::GemmInput input) {
  kernels::packed_gemm(pool, input, kernels::gemm_rows(a_.data(), 1024, 1024),
                       kernels::gemm_rows(b_.data(), 1024, 1024), c_.data(), 1024, false);
}

}  // namespace fathom
