// Each kernel against what this machine can do, both measured in this run, in turns: GB/s against reading
// memory where memory is the limit, GFLOP/s against a large GEMM where arithmetic is. usage: kernels_bench
// [threads] [rounds]
#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>

#include "infer/machine_limits.h"
#include "kernels/cross_entropy.h"
#include "kernels/grouped_linear.h"
#include "kernels/norm.h"
#include "kernels/simd_limit.h"
#include "kernels/swiglu.h"
#include "tensor/tensor.h"

namespace fathom {
namespace {

using kernels::WeightMatrix;

struct Contender {
  std::string name;
  double bytes;  // from and to memory, of one call; 0: judged by flops
  double flops;
  std::function<void()> run;
};

/// A weight matrix with its memory. Each byte is 0x3C, which is an everyday number in every type; scales
/// are 1.
struct Weights {
  Weights(DType dtype, std::int64_t out, std::int64_t in)
      : values(Tensor::empty({out, in}, dtype)),
        scales(static_cast<std::size_t>((out + 127) / 128 * ((in + 127) / 128)), 1.0F),
        matrix{values.data(), dtype, out, in, dtype == DType::f8_e4m3 ? scales.data() : nullptr} {
    std::ranges::fill(values.bytes(), std::byte{0x3C});
  }
  Tensor values;
  std::vector<float> scales;
  WeightMatrix matrix;
};

class Bench {
 public:
  explicit Bench(std::size_t threads) : pool_(threads) {
    add_streams();
    add_products();
    add_groups();
    add_elementwise();
  }

  void run(int rounds) {
    std::vector<std::function<void()>> parts = {[&] { memory_(pool_); }, [&] { gemm_(pool_); }};
    for (const Contender& contender : contenders_) parts.push_back(contender.run);
    const std::vector<double> seconds = least_seconds(parts, rounds);
    const double bytes_limit = MemoryReadLimit::kBytes / seconds[0];
    const double flops_limit = GemmLimit::kFlops / seconds[1];
    fmt::print("{} threads: memory read {:.1f} GB/s, f32 GEMM {:.1f} GFLOP/s\n", pool_.threads(),
               bytes_limit / 1e9, flops_limit / 1e9);
    for (std::size_t i = 0; i < contenders_.size(); ++i) {
      const Contender& contender = contenders_[i];
      const bool by_memory = contender.bytes > 0;
      const double rate = (by_memory ? contender.bytes : contender.flops) / seconds[i + 2];
      fmt::print("{:<58} {:8.2f} ms {:8.1f} {:<7} {:4.0f} % of the limit\n", contender.name,
                 seconds[i + 2] * 1e3, rate / 1e9, by_memory ? "GB/s" : "GFLOP/s",
                 100.0 * rate / (by_memory ? bytes_limit : flops_limit));
    }
  }

 private:
  const Weights& weights(DType dtype, std::int64_t out, std::int64_t in) {
    weights_.push_back(std::make_unique<Weights>(dtype, out, in));
    return *weights_.back();
  }

  float* values(std::int64_t count) {
    values_.push_back(Tensor::empty({count}));
    std::ranges::copy(bench_values(count), values_.back().f32());
    return values_.back().f32();
  }

  /// Few tokens times a matrix well over the last-level cache.
  void add_streams() {
    constexpr std::int64_t kOut = 8192;
    constexpr std::int64_t kIn = 2048;
    for (const DType dtype : {DType::f32, DType::bf16, DType::f16, DType::f8_e4m3}) {
      // As many bytes whatever the type: 64 MiB.
      const std::int64_t out = kOut * 4 / static_cast<std::int64_t>(dtype_size(dtype));
      const Weights& w = weights(dtype, out, kIn);
      for (const std::int64_t tokens : {1, 4, 8}) {
        const float* x = values(tokens * kIn);
        float* y = values(tokens * out);
        contenders_.push_back(
            {fmt::format("linear, {}, {} token(s) x [{}, {}]", dtype_name(dtype), tokens, out, kIn),
             static_cast<double>(out * kIn) * static_cast<double>(dtype_size(dtype)), 0,
             [=, this, &w] { kernels::linear_forward(pool_, x, tokens, w.matrix, y); }});
      }
    }
  }

  /// A training step's three products, and a prompt's through narrow weights.
  void add_products() {
    constexpr std::int64_t kTokens = 2048;
    constexpr std::int64_t kIn = 512;
    constexpr std::int64_t kOut = 1408;
    constexpr double kFlops = 2.0 * kTokens * kIn * kOut;
    const float* x = values(kTokens * kIn);
    float* y = values(kTokens * kOut);
    float* dx = values(kTokens * kIn);
    float* dw = values(kIn * kOut);
    const Weights& w = weights(DType::f32, kOut, kIn);
    const auto name = [=](const std::string& what) {
      return fmt::format("linear, {}, {} tokens x [{}, {}]", what, kTokens, kOut, kIn);
    };
    for (const DType dtype : {DType::f32, DType::bf16, DType::f8_e4m3}) {
      const Weights& stored = weights(dtype, kOut, kIn);
      contenders_.push_back(
          {name(fmt::format("{} forward", dtype_name(dtype))), 0, kFlops,
           [=, this, &stored] { kernels::linear_forward(pool_, x, kTokens, stored.matrix, y); }});
    }
    contenders_.push_back({name("input gradient"), 0, kFlops, [=, this, &w] {
                             kernels::linear_backward_input(pool_, y, kTokens, w.matrix, dx, false);
                           }});
    contenders_.push_back({name("weight gradient"), 0, kFlops, [=, this] {
                             kernels::linear_backward_weight(pool_, y, x, kTokens, kOut, kIn, dw);
                           }});
    for (const std::int64_t tokens : {16, 64}) {
      const Weights& wide = weights(DType::f32, 2048, 2048);
      const float* some = values(tokens * 2048);
      float* out = values(tokens * 2048);
      contenders_.push_back({fmt::format("linear, F32 forward, {} tokens x [2048, 2048]", tokens), 0,
                             2.0 * static_cast<double>(tokens) * 2048 * 2048, [=, this, &wide] {
                               kernels::linear_forward(pool_, some, tokens, wide.matrix, out);
                             }});
    }
  }

  /// Experts: 8 of one token each (decode) and 32 of 128 tokens each (training).
  void add_groups() {
    add_group(8, 1, 1408, 2048);
    add_group(32, 128, 256, 512);
  }

  void add_group(std::int64_t experts, std::int64_t tokens, std::int64_t out, std::int64_t in) {
    std::vector<kernels::LinearForward> jobs;
    const double work = static_cast<double>(experts * out * in);
    // A decode step's experts differ from the last step's: enough sets to leave the cache.
    const std::int64_t sets = tokens == 1 ? 4 : 1;
    for (std::int64_t e = 0; e < experts * sets; ++e)
      jobs.push_back(
          {weights(DType::f32, out, in).matrix, values(tokens * in), tokens, values(tokens * out)});
    contenders_.push_back(
        {fmt::format("grouped linear, F32, {} experts of {} token(s) x [{}, {}]", experts, tokens, out, in),
         tokens == 1 ? 4.0 * work : 0, 2.0 * work * static_cast<double>(tokens),
         [jobs, experts, set = std::size_t{0}, this]() mutable {
           const auto size = static_cast<std::size_t>(experts);
           kernels::grouped_linear_forward(pool_, std::span(jobs).subspan(set, size));
           set = (set + size) % jobs.size();
         }});
  }

  void add_elementwise() {
    constexpr std::int64_t kTokens = 16384;
    constexpr std::int64_t kDim = 1024;
    constexpr std::int64_t kCount = kTokens * kDim;  // 64 MiB an array
    constexpr double kBytes = 4.0 * kCount;
    float* a = values(kCount);
    float* b = values(kCount);
    float* c = values(kCount);
    const float* weight = values(kDim);
    contenders_.push_back({"rmsnorm_forward, 16384 x 1024", 2 * kBytes, 0, [=, this] {
                             kernels::rmsnorm_forward(pool_, a, kDim, weight, 1e-6, kTokens, kDim, b, kDim);
                           }});
    contenders_.push_back({"rmsnorm_backward_input, 16384 x 1024", 3 * kBytes, 0, [=, this] {
                             kernels::rmsnorm_backward_input(pool_, a, kDim, b, kDim, weight, 1e-6, kTokens,
                                                             kDim, c, kDim, false);
                           }});
    contenders_.push_back({"swiglu_forward, 16 Mi values", 3 * kBytes, 0,
                           [=, this] { kernels::swiglu_forward(pool_, a, b, kCount, c); }});
    contenders_.push_back({"swiglu_backward in place, 16 Mi values", 6 * kBytes, 0,
                           [=, this] { kernels::swiglu_backward(pool_, c, a, b, kCount, a, b, c); }});
    constexpr std::int64_t kVocab = 65536;
    float* losses = values(kCount / kVocab);
    targets_.assign(kCount / kVocab, 7);
    contenders_.push_back({"cross_entropy with gradient, 256 x 65536", 2 * kBytes, 0, [=, this] {
                             kernels::cross_entropy(pool_, c, targets_.data(), kCount / kVocab, kVocab, 1.0F,
                                                    losses);
                           }});
  }

  ThreadPool pool_;
  MemoryReadLimit memory_;
  GemmLimit gemm_;
  std::vector<std::unique_ptr<Weights>> weights_;
  std::vector<Tensor> values_;
  std::vector<std::int32_t> targets_;
  std::vector<Contender> contenders_;
};

}  // namespace
}  // namespace fathom

int main(int argc, char** argv) {
  fathom::kernels::limit_simd_by_environment();
  const auto argument = [&](int i, const char* otherwise) {
    return std::atoi(argc > i ? argv[i] : otherwise);
  };
  fathom::Bench(static_cast<std::size_t>(argument(1, "0"))).run(argument(2, "7"));
}
