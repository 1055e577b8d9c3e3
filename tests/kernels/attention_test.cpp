#include "kernels/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "kernels/attention_merge.h"

namespace fathom::kernels {
namespace {

std::vector<float> numbers(std::size_t count, std::uint32_t stream) {
  std::vector<float> values(count);
  for (std::uint32_t i = 0; float& value : values) {
    std::uint32_t x = (i++ + stream * 7919U) * 2654435761U;
    x = (x ^ x >> 15U) * 0x2C1B3C6DU;
    value = static_cast<float>((x ^ x >> 13U) >> 8U) / 8388608.0F - 1.0F;
  }
  return values;
}

/// Largest difference over the largest magnitude, which is taken as 0.1 at least: the gradient of a softmax
/// over one key is zero, and ours the rounding of terms near 1.
double relative_error(const std::vector<float>& actual, const std::vector<double>& expected) {
  double difference = 0.0;
  double magnitude = 0.1;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (!std::isfinite(actual[i])) return HUGE_VAL;
    difference = std::max(difference, std::abs(static_cast<double>(actual[i]) - expected[i]));
    magnitude = std::max(magnitude, std::abs(expected[i]));
  }
  return difference / magnitude;
}

/// Arrays of one attention, keys and values interleaved as kv_b_proj makes them.
struct Problem {
  AttentionShape shape;
  std::vector<AttentionSpan> spans;
  std::int64_t query_tokens = 0;
  std::int64_t key_tokens = 0;
  std::vector<float> q, kv, rope, dout;
  std::vector<float> out, lse, dq, dkv, drope;

  Problem(AttentionShape s, const std::vector<std::pair<std::int64_t, std::int64_t>>& lengths) : shape(s) {
    for (const auto& [queries, keys] : lengths) {
      spans.push_back({query_tokens, queries, key_tokens, keys});
      query_tokens += queries;
      key_tokens += keys;
    }
    const auto size = [](std::int64_t n) { return static_cast<std::size_t>(n); };
    q = numbers(size(query_tokens * shape.heads * qk()), 1);
    kv = numbers(size(key_tokens * shape.heads * width()), 2);
    rope = numbers(size(key_tokens * shape.rope_dim), 3);
    dout = numbers(size(query_tokens * shape.heads * shape.v_dim), 4);
    const float nan = std::nanf("");
    out.assign(dout.size(), nan);
    lse.assign(size(query_tokens * shape.heads), nan);
    dq.assign(q.size(), nan);
    dkv.assign(kv.size(), nan);
    drope.assign(rope.size(), nan);
  }
  [[nodiscard]] std::int64_t qk() const { return shape.nope_dim + shape.rope_dim; }
  [[nodiscard]] std::int64_t width() const { return shape.nope_dim + shape.v_dim; }
  template <typename T>
  [[nodiscard]] HeadRows<T> rows(T* data, std::int64_t dim) const {
    return {data, shape.heads * dim, dim};
  }
  [[nodiscard]] AttentionInputs inputs() const {
    return {rows(q.data(), qk()),
            rows(kv.data(), width()),
            {rope.data(), shape.rope_dim, 0},
            rows(kv.data() + shape.nope_dim, width())};
  }
  void forward(std::size_t threads) {
    ThreadPool pool(threads);
    attention_forward(pool, shape, inputs(), spans, rows(out.data(), shape.v_dim), lse.data());
  }
  void backward(std::size_t threads) {
    ThreadPool pool(threads);
    attention_backward(pool, shape, inputs(), spans, rows<const float>(out.data(), shape.v_dim), lse.data(),
                       rows<const float>(dout.data(), shape.v_dim),
                       {rows(dq.data(), qk()),
                        rows(dkv.data(), width()),
                        {drope.data(), shape.rope_dim, 0},
                        rows(dkv.data() + shape.nope_dim, width())});
  }
};

/// The definition, in double, one query at a time.
struct Reference {
  std::vector<double> out, lse, dq, dkv, drope;

  explicit Reference(const Problem& p)
      : out(p.out.size()), lse(p.lse.size()), dq(p.dq.size()), dkv(p.dkv.size()), drope(p.drope.size()) {
    for (const AttentionSpan& span : p.spans)
      for (std::int64_t i = 0; i < span.queries; ++i)
        for (std::int64_t h = 0; h < p.shape.heads; ++h) query(p, span, i, h);
  }
  void query(const Problem& p, const AttentionSpan& span, std::int64_t i, std::int64_t h) {
    const AttentionShape& s = p.shape;
    const std::int64_t seen = span.is_causal ? span.keys - span.queries + i + 1 : span.keys;
    const std::int64_t t = (span.query_begin + i) * s.heads + h;
    const float* q = p.q.data() + t * p.qk();
    const float* dout = p.dout.data() + t * s.v_dim;
    std::vector<double> weight(static_cast<std::size_t>(seen));
    const auto kv = [&](std::int64_t key) { return ((span.key_begin + key) * s.heads + h) * p.width(); };
    const auto rope = [&](std::int64_t key) { return (span.key_begin + key) * s.rope_dim; };
    double sum = 0.0;
    for (std::int64_t k = 0; k < seen; ++k) {
      double score = 0.0;
      for (std::int64_t d = 0; d < s.nope_dim; ++d) score += static_cast<double>(q[d]) * p.kv[kv(k) + d];
      for (std::int64_t d = 0; d < s.rope_dim; ++d)
        score += static_cast<double>(q[s.nope_dim + d]) * p.rope[rope(k) + d];
      weight[k] = score * static_cast<double>(s.scale);
    }
    const double top = *std::max_element(weight.begin(), weight.end());
    for (double& w : weight) sum += w = std::exp(w - top);
    lse[t] = top + std::log(sum);
    double mean = 0.0;
    for (std::int64_t k = 0; k < seen; ++k) {
      weight[k] /= sum;
      for (std::int64_t d = 0; d < s.v_dim; ++d) {
        const double value = p.kv[kv(k) + s.nope_dim + d];
        out[t * s.v_dim + d] += weight[k] * value;
        mean += weight[k] * value * dout[d];
      }
    }
    for (std::int64_t k = 0; k < seen; ++k) {
      double dweight = 0.0;
      for (std::int64_t d = 0; d < s.v_dim; ++d) {
        dweight += static_cast<double>(dout[d]) * p.kv[kv(k) + s.nope_dim + d];
        dkv[kv(k) + s.nope_dim + d] += weight[k] * dout[d];
      }
      const double dscore = weight[k] * (dweight - mean) * static_cast<double>(s.scale);
      for (std::int64_t d = 0; d < s.nope_dim; ++d) {
        dq[t * p.qk() + d] += dscore * p.kv[kv(k) + d];
        dkv[kv(k) + d] += dscore * q[d];
      }
      for (std::int64_t d = 0; d < s.rope_dim; ++d) {
        dq[t * p.qk() + s.nope_dim + d] += dscore * p.rope[rope(k) + d];
        drope[rope(k) + d] += dscore * q[s.nope_dim + d];
      }
    }
  }
};

/// Runs both passes, and compares all that they make with the definition.
void expect_definition(Problem& p) {
  p.forward(2);
  p.backward(2);
  const Reference r(p);
  // f32 sums of up to 600 terms in tiles, and an exponential of 1 ulp.
  EXPECT_LT(relative_error(p.out, r.out), 3e-6);
  EXPECT_LT(relative_error(p.lse, r.lse), 3e-6);
  EXPECT_LT(relative_error(p.dq, r.dq), 1e-5);
  EXPECT_LT(relative_error(p.dkv, r.dkv), 1e-5);
  EXPECT_LT(relative_error(p.drope, r.drope), 1e-5);
}

class AttentionTest : public testing::TestWithParam<std::tuple<AttentionShape, std::pair<int, int>>> {};

TEST_P(AttentionTest, MatchesTheDefinitionInDouble) {
  const auto& [shape, length] = GetParam();
  Problem p(shape, {{length.first, length.second}});
  expect_definition(p);
}

// Around the edges of tiles in queries and keys; queries behind a cache; head sizes that fill no vector.
INSTANTIATE_TEST_SUITE_P(
    Sizes, AttentionTest,
    testing::Combine(testing::Values(AttentionShape{2, 16, 8, 16, 0.2F}, AttentionShape{1, 5, 6, 3, 0.5F},
                                     AttentionShape{3, 32, 16, 40, 1.0F}),
                     testing::Values(std::pair(1, 1), std::pair(2, 2), std::pair(63, 63), std::pair(64, 64),
                                     std::pair(65, 65), std::pair(130, 130), std::pair(257, 257),
                                     std::pair(1, 300), std::pair(70, 600))));

TEST(AttentionKernelTest, SpansAreIndependentAndThreadsDoNotMatter) {
  const AttentionShape shape{3, 16, 8, 24, 0.3F};
  const std::vector<std::pair<std::int64_t, std::int64_t>> lengths{{70, 70}, {0, 0}, {1, 1}, {131, 131}};
  Problem one(shape, lengths);
  one.forward(1);
  one.backward(1);
  EXPECT_LT(relative_error(one.dkv, Reference(one).dkv), 1e-5);
  for (const std::size_t threads : {2U, 3U}) {
    Problem many(shape, lengths);
    many.forward(threads);
    many.backward(threads);
    EXPECT_EQ(one.out, many.out);
    EXPECT_EQ(one.lse, many.lse);
    EXPECT_EQ(one.dq, many.dq);
    EXPECT_EQ(one.dkv, many.dkv);
    EXPECT_EQ(one.drope, many.drope);
  }
}

TEST(AttentionKernelTest, QueriesSeeAllKeysOfAnEarlierPart) {
  for (const auto& length : {std::pair<std::int64_t, std::int64_t>(70, 33), {1, 200}, {300, 3}, {40, 140}}) {
    Problem p({2, 16, 8, 24, 0.3F}, {length});
    p.spans.front().is_causal = false;
    expect_definition(p);
  }
}

TEST(AttentionKernelTest, TwoPartsOfTheKeysMergeToAllOfThem) {
  for (const std::int64_t early : {1, 50, 128}) {
    Problem whole({3, 16, 8, 24, 2.0F}, {{70, 70 + early}});
    whole.forward(1);
    Problem merged = whole;
    merged.spans = {{0, 70, early, 70}};
    merged.forward(2);
    Problem part = whole;
    part.spans = {{0, 70, 0, early, false}};
    part.forward(2);
    ThreadPool pool(2);
    merge_attention(pool, whole.shape, part.spans, part.rows<const float>(part.out.data(), 24),
                    part.lse.data(), merged.rows(merged.out.data(), 24), merged.lse.data());
    const Reference r(whole);
    EXPECT_LT(relative_error(merged.out, r.out), 3e-6);
    EXPECT_LT(relative_error(merged.lse, r.lse), 3e-6);
    // With what both found, each part's backward pass gives its share of the queries' gradient.
    part.out = merged.out;
    part.lse = merged.lse;
    part.backward(1);
    merged.backward(1);
    std::vector<float> sum = merged.dq;
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += part.dq[i];
    EXPECT_LT(relative_error(sum, r.dq), 1e-5);
  }
}

TEST(AttentionKernelTest, LargeScoresNeitherOverflowNorVanish) {
  Problem p({1, 8, 8, 4, 300.0F}, {{80, 80}});
  p.forward(1);
  p.backward(1);
  // Scores of some ±2,000 are rounded to 1e-4, which is then the relative error of their exponentials.
  EXPECT_LT(relative_error(p.out, Reference(p).out), 1e-3);
  EXPECT_LT(relative_error(p.lse, Reference(p).lse), 1e-6);
}

TEST(AttentionKernelTest, RefusesMoreQueriesThanKeys) {
  Problem p({1, 8, 8, 4, 1.0F}, {{3, 2}});
  EXPECT_THROW(p.forward(1), Error);
  Problem none({1, 8, 8, 4, 1.0F}, {{3, 0}});
  none.spans.front().is_causal = false;
  EXPECT_THROW(none.forward(1), Error);
}

}  // namespace
}  // namespace fathom::kernels
