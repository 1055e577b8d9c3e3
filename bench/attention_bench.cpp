// Attention against what this machine can do, both measured in this run, turn and turn about:
//   training   forward and backward of whole sequences, against a large GEMM (GFLOP/s)
//   decode     one token over the latent cache, absorbed, against the slower of that GEMM and of reading
//   memory
// usage: attention_bench [threads]
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/attention.h"
#include "kernels/gemm.h"
#include "kernels/latent_attention.h"

namespace fathom {
namespace {

using kernels::AttentionShape;
using kernels::AttentionSpan;

/// Least wall time of each of `parts`, seconds. They take turns, so that a busy minute meets all of them.
std::vector<double> least_seconds(std::span<const std::function<void()>> parts) {
  constexpr int kRounds = 7;
  std::vector<double> least(parts.size(), 1e9);
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const auto start = std::chrono::steady_clock::now();
      parts[i]();
      least[i] =
          std::min(least[i], std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
  }
  return least;
}

/// Values in [-1, 1).
std::vector<float> numbers(std::int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  std::uint32_t state = 1;
  for (float& value : values) {
    state = state * 1664525U + 1013904223U;
    value = static_cast<float>(state >> 8U) / 8388608.0F - 1.0F;
  }
  return values;
}

/// A product large enough to run at the machine's speed.
class PeakGemm {
 public:
  void operator()(ThreadPool& pool) {
    kernels::gemm(pool, kSize, kSize, kSize, 1.0F, {a_.data(), kSize}, {b_.data(), kSize}, 0.0F, c_.data(),
                  kSize);
  }
  static constexpr double kFlops = 2.0 * 768 * 768 * 768;

 private:
  static constexpr std::int64_t kSize = 768;
  std::vector<float> a_ = numbers(kSize * kSize);
  std::vector<float> b_ = numbers(kSize * kSize);
  std::vector<float> c_ = std::vector<float>(kSize * kSize);
};

void training(ThreadPool& pool, PeakGemm& peak, std::int64_t heads, std::int64_t nope, std::int64_t rope,
              std::int64_t v_dim, std::int64_t tokens) {
  const AttentionShape shape{heads, nope, rope, v_dim, 0.1F};
  const std::int64_t qk = nope + rope;
  const std::int64_t width = nope + v_dim;
  const std::vector<float> q = numbers(tokens * heads * qk);
  const std::vector<float> kv = numbers(tokens * heads * width);
  const std::vector<float> k_rope = numbers(tokens * rope);
  const std::vector<float> dout = numbers(tokens * heads * v_dim);
  std::vector<float> out(dout.size());
  std::vector<float> log_sum_exp(static_cast<std::size_t>(tokens * heads));
  std::vector<float> dq(q.size());
  std::vector<float> dkv(kv.size());
  std::vector<float> dk_rope(k_rope.size());
  const kernels::AttentionInputs inputs{{q.data(), heads * qk, qk},
                                        {kv.data(), heads * width, width},
                                        {k_rope.data(), rope, 0},
                                        {kv.data() + nope, heads * width, width}};
  const AttentionSpan span{0, tokens, 0, tokens};
  const std::int64_t row = heads * v_dim;
  const std::array<std::function<void()>, 3> parts = {
      [&] { peak(pool); },
      [&] {
        kernels::attention_forward(pool, shape, inputs, {&span, 1}, {out.data(), row, v_dim},
                                   log_sum_exp.data());
      },
      [&] {
        kernels::attention_backward(pool, shape, inputs, {&span, 1}, {out.data(), row, v_dim},
                                    log_sum_exp.data(), {dout.data(), row, v_dim},
                                    {{dq.data(), heads * qk, qk},
                                     {dkv.data(), heads * width, width},
                                     {dk_rope.data(), rope, 0},
                                     {dkv.data() + nope, heads * width, width}});
      }};
  const std::vector<double> seconds = least_seconds(parts);
  const double limit = PeakGemm::kFlops / seconds[0];
  // Pairs of a query and a key that it sees; two products forward, five backward.
  const double pairs =
      static_cast<double>(heads) * static_cast<double>(tokens) * static_cast<double>(tokens + 1) / 2;
  const double forward = 2 * pairs * static_cast<double>(qk + v_dim) / seconds[1];
  const double backward = 2 * pairs * static_cast<double>(3 * qk + 2 * v_dim) / seconds[2];
  fmt::print(
      "training  {:2} heads {:3}/{:3} {:5} tokens: forward {:6.1f} GFLOP/s = {:3.0f} %, backward {:6.1f} = "
      "{:3.0f} % of GEMM's {:.1f}\n",
      heads, qk, v_dim, tokens, forward * 1e-9, 100 * forward / limit, backward * 1e-9,
      100 * backward / limit, limit * 1e-9);
}

void decode(ThreadPool& pool, PeakGemm& peak, std::int64_t length) {
  constexpr std::int64_t kHeads = 16;  // DeepSeek-V2-Lite
  constexpr std::int64_t kLatent = 512;
  constexpr std::int64_t kRope = 64;
  constexpr std::int64_t kWidth = kLatent + kRope;
  const std::vector<float> q = numbers(kHeads * kWidth);
  const std::vector<float> cache = numbers(length * kWidth);
  std::vector<float> out(static_cast<std::size_t>(kHeads * kLatent));
  // More than any cache of the processor holds.
  const std::vector<float> memory(std::size_t{32} << 20U, 1.0F);
  constexpr std::size_t kPiece = 1U << 18U;
  std::vector<float> sums(memory.size() / kPiece);
  const std::array<std::function<void()>, 3> parts = {
      [&] { peak(pool); },
      [&] {
        pool.parallel_for(sums.size(), [&](std::size_t i) {
          std::array<float, 64> lanes{};
          for (std::size_t j = i * kPiece; j < (i + 1) * kPiece; j += lanes.size())
            for (std::size_t k = 0; k < lanes.size(); ++k) lanes[k] += memory[j + k];
          for (const float lane : lanes) sums[i] += lane;
        });
      },
      [&] {
        kernels::latent_attention(pool, {kHeads, kLatent, kRope, 0.1F}, q.data(), 1, cache.data(), length,
                                  out.data());
      }};
  const std::vector<double> seconds = least_seconds(parts);
  const double flops = 2.0 * kHeads * static_cast<double>(length) * (kWidth + kLatent);
  const double bytes = 4.0 * kWidth * static_cast<double>(length);
  const double gemm = PeakGemm::kFlops / seconds[0];
  const double bandwidth = 4.0 * static_cast<double>(memory.size()) / seconds[1];
  const double limit = std::max(flops / gemm, bytes / bandwidth);
  fmt::print(
      "decode    {} heads {} + {} behind {:5} tokens: {:.3f} ms, {:6.1f} GFLOP/s, {:5.1f} GB/s = {:3.0f} % "
      "of "
      "the limit (GEMM {:.1f} GFLOP/s, memory {:.1f} GB/s)\n",
      kHeads, kLatent, kRope, length, seconds[2] * 1e3, flops / seconds[2] * 1e-9, bytes / seconds[2] * 1e-9,
      100 * limit / seconds[2], gemm * 1e-9, bandwidth * 1e-9);
}

}  // namespace
}  // namespace fathom

int main(int argc, char** argv) {
  fathom::ThreadPool pool(argc > 1 ? static_cast<std::size_t>(std::strtoul(argv[1], nullptr, 10)) : 0);
  fmt::print("{} threads\n", pool.threads());
  fathom::PeakGemm peak;
  fathom::training(pool, peak, 8, 32, 16, 32, 1024);
  fathom::training(pool, peak, 8, 64, 32, 64, 256);
  fathom::training(pool, peak, 8, 64, 32, 64, 1024);
  fathom::training(pool, peak, 4, 128, 64, 128, 1024);
  fathom::training(pool, peak, 4, 64, 32, 64, 4096);
  fathom::decode(pool, peak, 2048);
  fathom::decode(pool, peak, 16384);
}
