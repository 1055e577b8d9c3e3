#include "kernels/quant_mlp.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "kernels/kernel_test.h"
#include "kernels/quant_weights.h"
#include "kernels/swiglu.h"

namespace fathom {
namespace {

using test::QuantWeights;
using test::random_values;

constexpr std::int64_t kHidden = 512;
constexpr std::int64_t kInner = 288;

/// down(silu(gate(x)) · up(x)) of one token, by a product at a time.
std::vector<float> one_by_one(ThreadPool& pool, const QuantWeights& gate, const QuantWeights& up,
                              const QuantWeights& down, const float* x) {
  std::vector<float> g(kInner);
  std::vector<float> u(kInner);
  std::vector<float> y(kHidden);
  kernels::linear_forward(pool, x, 1, gate.matrix, g.data());
  kernels::linear_forward(pool, x, 1, up.matrix, u.data());
  kernels::swiglu_forward(pool, g.data(), u.data(), kInner, g.data());
  kernels::linear_forward(pool, g.data(), 1, down.matrix, y.data());
  return y;
}

TEST(QuantMlpTest, EachTokenGetsWhatItsNetworksProductsGiveOneByOne) {
  ThreadPool pool(3);
  const QuantWeights gate(DType::q4_k, kInner, kHidden, 1);
  const QuantWeights up(DType::q6_k, kInner, kHidden, 2);
  const QuantWeights down(DType::q5_0, kHidden, kInner, 3);
  const QuantWeights other_gate(DType::q4_0, kInner, kHidden, 4);
  constexpr std::int64_t kTokens = 40;
  const std::vector<float> x = random_values(kTokens * kHidden, 5);
  const kernels::QuantizedRows quantized = kernels::quantize_rows(pool, x.data(), kTokens, kHidden, kHidden);
  std::vector<std::int32_t> chosen;
  for (std::int32_t t = kTokens - 1; t >= 0; t -= 2) chosen.push_back(t);
  std::vector<float> first(chosen.size() * kHidden);
  std::vector<float> second(3 * kHidden);
  const kernels::QuantMlp mlps[] = {{gate.matrix, up.matrix, down.matrix, chosen.data(),
                                     static_cast<std::int64_t>(chosen.size()), first.data()},
                                    {gate.matrix, up.matrix, down.matrix, nullptr, 0, nullptr},
                                    {other_gate.matrix, up.matrix, down.matrix, nullptr, 3, second.data()}};
  kernels::quant_mlps(pool, mlps, quantized);
  for (std::size_t i = 0; i < chosen.size(); ++i)
    EXPECT_EQ(std::vector<float>(first.begin() + static_cast<std::ptrdiff_t>(i * kHidden),
                                 first.begin() + static_cast<std::ptrdiff_t>((i + 1) * kHidden)),
              one_by_one(pool, gate, up, down, x.data() + chosen[i] * kHidden))
        << i;
  for (std::size_t t = 0; t < 3; ++t)
    EXPECT_EQ(std::vector<float>(second.begin() + static_cast<std::ptrdiff_t>(t * kHidden),
                                 second.begin() + static_cast<std::ptrdiff_t>((t + 1) * kHidden)),
              one_by_one(pool, other_gate, up, down, x.data() + t * kHidden))
        << t;
}

TEST(QuantMlpTest, OnlyWhollyQuantisedNetworksAreTaken) {
  const kernels::WeightMatrix q{nullptr, DType::q4_0, 32, 32, nullptr};
  const kernels::WeightMatrix f{nullptr, DType::bf16, 32, 32, nullptr};
  EXPECT_TRUE(kernels::is_quant_mlp(q, q, q));
  EXPECT_FALSE(kernels::is_quant_mlp(q, f, q));
  EXPECT_FALSE(kernels::is_quant_mlp(q, q, f));
}

}  // namespace
}  // namespace fathom
