// Attention against what this machine can do, both measured in this run, turn and turn about:
//   training   forward and backward of whole sequences, against a large GEMM (GFLOP/s)
//   decode     one token over the latent cache, absorbed, against the slower of that GEMM and of reading
//   memory
// usage: attention_bench [threads [training|decode]]
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "infer/machine_limits.h"
#include "kernels/attention.h"
#include "kernels/latent_attention.h"
#include "kernels/simd_limit.h"

namespace fathom {
namespace {

using kernels::AttentionShape;
using kernels::AttentionSpan;

constexpr int kRounds = 7;

void training(ThreadPool& pool, GemmLimit& gemm_limit, std::int64_t heads, std::int64_t nope,
              std::int64_t rope, std::int64_t v_dim, std::int64_t tokens) {
  const AttentionShape shape{heads, nope, rope, v_dim, 0.1F};
  const std::int64_t qk = nope + rope;
  const std::int64_t width = nope + v_dim;
  const std::vector<float> q = bench_values(tokens * heads * qk);
  const std::vector<float> kv = bench_values(tokens * heads * width);
  const std::vector<float> k_rope = bench_values(tokens * rope);
  const std::vector<float> dout = bench_values(tokens * heads * v_dim);
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
      [&] { gemm_limit(pool); },
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
  const std::vector<double> seconds = least_seconds(parts, kRounds);
  const double limit = GemmLimit::kFlops / seconds[0];
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

void decode(ThreadPool& pool, GemmLimit& gemm_limit, std::int64_t length, kernels::LatentType type) {
  constexpr std::int64_t kHeads = 16;  // DeepSeek-V2-Lite
  constexpr std::int64_t kLatent = 512;
  constexpr std::int64_t kRope = 64;
  constexpr std::int64_t kWidth = kLatent + kRope;
  const std::vector<float> q = bench_values(kHeads * kWidth);
  const kernels::LatentLayout layout{type, kLatent, kRope};
  Tensor memory = Tensor::empty({length * layout.row_bytes()}, DType::u8);
  auto* page = static_cast<std::byte*>(memory.data());
  const kernels::LatentRows cache{layout, &page, 0, length};
  kernels::store_latent_rows(pool, cache, 0, length, bench_values(length * kWidth).data());
  std::vector<float> out(static_cast<std::size_t>(kHeads * kLatent));
  MemoryReadLimit read;
  const std::array<std::function<void()>, 3> parts = {[&] { gemm_limit(pool); }, [&] { read(pool); },
                                                      [&] {
                                                        kernels::latent_attention(
                                                            pool, {kHeads, kLatent, kRope, 0.1F}, q.data(), 1,
                                                            cache, length, out.data());
                                                      }};
  const std::vector<double> seconds = least_seconds(parts, kRounds);
  const double flops = 2.0 * kHeads * static_cast<double>(length) * (kWidth + kLatent);
  const double bytes = static_cast<double>(layout.row_bytes()) * static_cast<double>(length);
  const double gemm = GemmLimit::kFlops / seconds[0];
  const double bandwidth = MemoryReadLimit::kBytes / seconds[1];
  const double limit = std::max(flops / gemm, bytes / bandwidth);
  fmt::print(
      "decode    {} heads {} + {} behind {:5} tokens, {:7}: {:.3f} ms, {:6.1f} GFLOP/s, {:5.1f} GB/s = "
      "{:3.0f} % "
      "of "
      "the limit (GEMM {:.1f} GFLOP/s, memory {:.1f} GB/s)\n",
      kHeads, kLatent, kRope, length, kernels::latent_type_name(type), seconds[2] * 1e3,
      flops / seconds[2] * 1e-9, bytes / seconds[2] * 1e-9, 100 * limit / seconds[2], gemm * 1e-9,
      bandwidth * 1e-9);
}

}  // namespace
}  // namespace fathom

int main(int argc, char** argv) {
  fathom::kernels::limit_simd_by_environment();
  fathom::ThreadPool pool(argc > 1 ? static_cast<std::size_t>(std::strtoul(argv[1], nullptr, 10)) : 0);
  const std::string_view part = argc > 2 ? argv[2] : "";
  fmt::print("{} threads\n", pool.threads());
  fathom::GemmLimit gemm_limit;
  if (part != "decode") {
    fathom::training(pool, gemm_limit, 8, 32, 16, 32, 1024);
    fathom::training(pool, gemm_limit, 8, 64, 32, 64, 256);
    fathom::training(pool, gemm_limit, 8, 64, 32, 64, 1024);
    fathom::training(pool, gemm_limit, 4, 128, 64, 128, 1024);
    fathom::training(pool, gemm_limit, 4, 64, 32, 64, 4096);
  }
  if (part != "training")
    for (const std::int64_t length : {2048, 16384})
      for (const fathom::kernels::LatentType type : fathom::kernels::kLatentTypes)
        fathom::decode(pool, gemm_limit, length, type);
}
