// Products of quantised weights against what this machine can do, both measured in this run, in turns: bytes
// of weights against reading memory for one token, multiplications against integer dot products from
// registers for many. The limit is the slower of the two. usage: quant_bench [threads] [rounds] [type]
#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>

#include "infer/machine_limits.h"
#include "kernels/linear.h"
#include "numerics/small_float.h"
#include "tensor/tensor.h"

namespace fathom {
namespace {

constexpr std::int64_t kIn = 2048;
constexpr double kStreamed = 96 << 20U;  // bytes of weights that decoding reads: no cache holds them
constexpr DType kTypes[] = {DType::q4_0, DType::q4_k, DType::q5_0, DType::q5_k, DType::q6_k,   DType::q8_0,
                            DType::q2_k, DType::q3_k, DType::q4_1, DType::q5_1, DType::iq4_nl, DType::iq4_xs};

/// Any bytes are codes, but scales are numbers: of 0x2A2A they are small ones.
Tensor weights(DType dtype, std::int64_t out) {
  Tensor w = Tensor::empty({out, kIn}, dtype);
  std::ranges::fill(w.bytes(), std::byte{0x2A});
  return w;
}

struct Case {
  DType dtype;
  std::int64_t tokens;
  std::int64_t out;
  Tensor w;
  std::vector<float> x;
  std::vector<float> y;

  [[nodiscard]] kernels::WeightMatrix matrix() const { return {w.data(), dtype, out, kIn, nullptr}; }
};

void run(std::size_t threads, int rounds, const std::string& only) {
  ThreadPool pool(threads);
  MemoryReadLimit memory;
  IntegerLimit integers;
  std::deque<Case> cases;
  for (const DType dtype : kTypes) {
    if (!only.empty() && dtype_name(dtype) != only) continue;
    const auto row_bytes = static_cast<double>(stored_bytes(dtype, kIn));
    for (const std::int64_t tokens : {1, 2, 4, 8, 32, 192, 512}) {
      const std::int64_t out =
          tokens <= 8 ? static_cast<std::int64_t>(kStreamed / row_bytes) / 16 * 16 : 2816;
      cases.push_back({dtype, tokens, out, weights(dtype, out), bench_values(tokens * kIn),
                       std::vector<float>(static_cast<std::size_t>(tokens * out))});
    }
  }
  std::vector<std::function<void()>> parts = {[&] { memory(pool); }, [&] { integers(pool); }};
  for (Case& c : cases)
    parts.push_back([&] { kernels::linear_forward(pool, c.x.data(), c.tokens, c.matrix(), c.y.data()); });
  const std::vector<double> seconds = least_seconds(parts, rounds);
  const double bytes_limit = MemoryReadLimit::kBytes / seconds[0];
  const double operations_limit = IntegerLimit::operations(pool) / seconds[1];
  fmt::print("{} threads: memory read {:.1f} GB/s, integer dot products {:.0f} GOP/s\n", pool.threads(),
             bytes_limit / 1e9, operations_limit / 1e9);
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const Case& c = cases[i];
    const auto bytes = static_cast<double>(c.w.byte_size());
    const double operations = 2.0 * static_cast<double>(c.tokens * c.out * kIn);
    const double limit = std::max(bytes / bytes_limit, operations / operations_limit);
    fmt::print("{:<7} {:4} tokens {:8.3f} ms {:6.1f} GB/s {:7.1f} GOP/s {:4.0f} % of the limit\n",
               dtype_name(c.dtype), c.tokens, seconds[i + 2] * 1e3, bytes / seconds[i + 2] / 1e9,
               operations / seconds[i + 2] / 1e9, 100 * limit / seconds[i + 2]);
  }
}

}  // namespace
}  // namespace fathom

int main(int argc, char** argv) {
  fathom::run(argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 0, argc > 2 ? std::atoi(argv[2]) : 10,
              argc > 3 ? argv[3] : "");
}
