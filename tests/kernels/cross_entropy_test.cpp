#include "kernels/cross_entropy.h"

#include "base/error.h"
#include "kernels/kernel_test.h"

namespace fathom {
namespace {

using test::for_each_target;
using test::random_values;
using test::relative_error;

std::vector<double> reference_log_softmax(const std::vector<float>& row) {
  const double largest = *std::max_element(row.begin(), row.end());
  double sum = 0.0;
  for (const float value : row) sum += std::exp(value - largest);
  std::vector<double> out;
  for (const float value : row) out.push_back(value - largest - std::log(sum));
  return out;
}

// Sums of up to 2,048 values in f32, on the baseline target in a single lane.
constexpr double kTolerance = 4e-6;

const std::vector<std::size_t> kVocabularies = {1, 2, 5, 33, 1000, 5001};

TEST(CrossEntropyTest, LossAndGradientMatchTheFormula) {
  ThreadPool pool(2);
  for_each_target([&] {
    for (const std::size_t vocab : kVocabularies) {
      constexpr float kScale = 0.25F;
      std::vector<float> logits = random_values(3 * vocab, vocab, 5.0);
      const std::vector<std::int32_t> targets = {0, static_cast<std::int32_t>(vocab) - 1,
                                                 static_cast<std::int32_t>(vocab / 2)};
      std::vector<double> losses;
      std::vector<double> gradient;
      for (std::size_t t = 0; t < 3; ++t) {
        const auto row =
            reference_log_softmax({logits.begin() + static_cast<std::ptrdiff_t>(t * vocab),
                                   logits.begin() + static_cast<std::ptrdiff_t>((t + 1) * vocab)});
        const auto target = static_cast<std::size_t>(targets[t]);
        losses.push_back(-row[target]);
        for (std::size_t i = 0; i < vocab; ++i)
          gradient.push_back(kScale * (std::exp(row[i]) - (i == target ? 1.0 : 0.0)));
      }
      std::vector<float> only_losses(3);
      const std::vector<float> before = logits;
      kernels::cross_entropy(pool, logits.data(), targets.data(), 3, static_cast<std::int64_t>(vocab), 0.0F,
                             only_losses.data());
      EXPECT_EQ(logits, before) << "scale 0 leaves the logits alone";
      std::vector<float> actual(3);
      kernels::cross_entropy(pool, logits.data(), targets.data(), 3, static_cast<std::int64_t>(vocab), kScale,
                             actual.data());
      EXPECT_EQ(actual, only_losses);
      EXPECT_LT(relative_error(actual, losses), kTolerance) << vocab;
      EXPECT_LT(relative_error(logits, gradient), kTolerance) << vocab;
    }
  });
}

TEST(CrossEntropyTest, ManyEqualLogitsLoseNothing) {
  // A single f32 accumulator would be off in the third digit at this length.
  ThreadPool pool(1);
  constexpr std::int64_t kVocab = 1 << 18;
  std::vector<float> logits(kVocab, 1.0F);
  const std::int32_t target = 17;
  float loss = 0.0F;
  kernels::cross_entropy(pool, logits.data(), &target, 1, kVocab, 1.0F, &loss);
  EXPECT_FLOAT_EQ(loss, static_cast<float>(std::log(double{kVocab})));
  EXPECT_FLOAT_EQ(logits[0], 1.0F / kVocab);
}

TEST(CrossEntropyTest, ExtremeLogitsStayFinite) {
  ThreadPool pool(1);
  std::vector<float> logits = {1e30F, -1e30F, 0.0F, 1e30F};
  const std::vector<std::int32_t> targets = {0};
  float loss = 0.0F;
  kernels::cross_entropy(pool, logits.data(), targets.data(), 1, 4, 1.0F, &loss);
  EXPECT_FLOAT_EQ(loss, std::log(2.0F));
  EXPECT_EQ(logits, (std::vector<float>{-0.5F, 0.0F, 0.0F, 0.5F}));
}

TEST(CrossEntropyTest, IgnoredRowsHaveNoLossAndNoGradient) {
  ThreadPool pool(1);
  std::vector<float> logits = random_values(14, 1);
  const std::vector<std::int32_t> targets = {-1, 3};
  std::vector<float> losses(2, 9.0F);
  kernels::cross_entropy(pool, logits.data(), targets.data(), 2, 7, 1.0F, losses.data());
  EXPECT_EQ(losses[0], 0.0F);
  EXPECT_GT(losses[1], 0.0F);
  EXPECT_EQ(std::vector<float>(logits.begin(), logits.begin() + 7), std::vector<float>(7, 0.0F));
}

TEST(CrossEntropyTest, TargetsOutsideTheVocabularyAreAnError) {
  ThreadPool pool(1);
  std::vector<float> logits(4);
  float loss = 0.0F;
  for (const std::int32_t target : {-2, 4}) {
    EXPECT_THROW(kernels::cross_entropy(pool, logits.data(), &target, 1, 4, 1.0F, &loss), Error);
  }
}

TEST(CrossEntropyTest, GradientMatchesFiniteDifferences) {
  ThreadPool pool(1);
  constexpr std::int64_t kVocab = 11;
  std::vector<float> logits = random_values(kVocab, 1);
  const std::int32_t target = 4;
  std::vector<float> gradient = logits;
  float loss = 0.0F;
  kernels::cross_entropy(pool, gradient.data(), &target, 1, kVocab, 1.0F, &loss);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    constexpr float kStep = 1.0F / 64;
    std::vector<float> moved = logits;
    float above = 0.0F;
    float below = 0.0F;
    moved[i] = logits[i] + kStep;
    kernels::cross_entropy(pool, moved.data(), &target, 1, kVocab, 0.0F, &above);
    moved[i] = logits[i] - kStep;
    kernels::cross_entropy(pool, moved.data(), &target, 1, kVocab, 0.0F, &below);
    EXPECT_NEAR(gradient[i], (above - below) / (2 * kStep), 1e-4) << i;
  }
}

TEST(CrossEntropyTest, DoesNotDependOnTheThreadCount) {
  const std::vector<float> logits = random_values(64 * 777, 1, 3.0);
  std::vector<std::int32_t> targets(64);
  for (std::size_t t = 0; t < targets.size(); ++t) targets[t] = static_cast<std::int32_t>(t * 11 % 777);
  test::expect_same_for_any_thread_count([&](ThreadPool& pool) {
    std::vector<float> out = logits;
    out.resize(out.size() + 64);
    kernels::cross_entropy(pool, out.data(), targets.data(), 64, 777, 1.0F, out.data() + 64 * 777);
    return out;
  });
}

TEST(LogSoftmaxTest, MatchesItsFormula) {
  for_each_target([&] {
    for (const std::size_t vocab : kVocabularies) {
      std::vector<float> row = random_values(vocab, vocab, 8.0);
      const std::vector<double> expected = reference_log_softmax(row);
      kernels::log_softmax(row.data(), static_cast<std::int64_t>(vocab));
      EXPECT_LT(relative_error(row, expected), kTolerance) << vocab;
    }
  });
}

}  // namespace
}  // namespace fathom
