#include "infer/score.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"
#include "infer/text_model.h"
#include "support/golden_models.h"
#include "support/tiny_checkpoint.h"

namespace fathom {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

class ScoreTest : public testing::Test {
 protected:
  ThreadPool pool_{2};
  Context context_{pool_};
};

TEST_F(ScoreTest, LogProbabilitiesAreThoseOfTransformers) {
  for (const char* name : {"tiny_f32", "tiny_bf16", "tiny_fp8"}) {
    const TextModel model = load_text_model(test::tiny_checkpoint(name));
    const Transformer transformer(model.config, model.weights, 128);
    for (const test::TinyExpectation& expected : test::tiny_expectations(name)) {
      const Score score = score_tokens(context_, transformer, expected.ids);
      ASSERT_EQ(score.log_probabilities.size() + 1, expected.logprobs.size());
      for (std::size_t i = 1; i < expected.logprobs.size(); ++i)
        EXPECT_NEAR(score.log_probabilities[i - 1], *expected.logprobs[i],
                    1e-5 * std::max(1.0, std::abs(*expected.logprobs[i])))
            << name << ", token " << i;
      EXPECT_NEAR(score.perplexity(), expected.perplexity, 1e-5 * expected.perplexity);
    }
  }
}

TEST_F(ScoreTest, LongTextInBlocksEqualsTheWholeSequence) {
  const test::GoldenModel& golden = test::golden_models().front();
  const TransformerWeights weights = golden.weights();
  const Transformer transformer(golden.config, weights, 700);
  const auto vocabulary = static_cast<std::size_t>(golden.config.vocab_size);
  std::vector<std::int32_t> tokens(600);  // more than two blocks
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<std::int32_t>(i * i % vocabulary);
  std::vector<std::int64_t> progress;
  const Score score =
      score_tokens(context_, transformer, tokens, [&](std::int64_t done) { progress.push_back(done); });

  const Tensor hidden = transformer.hidden_states(context_, tokens, Sequences::uniform(1, 600));
  const Tensor logits = transformer.head(context_, hidden);
  for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
    double sum = 0;
    for (std::size_t v = 0; v < vocabulary; ++v) sum += std::exp(logits.values()[i * vocabulary + v]);
    const double expected =
        logits.values()[i * vocabulary + static_cast<std::size_t>(tokens[i + 1])] - std::log(sum);
    ASSERT_NEAR(score.log_probabilities[i], expected, 1e-4) << "token " << i;
  }
  EXPECT_EQ(progress, (std::vector<std::int64_t>{256, 512, 599}));
}

TEST_F(ScoreTest, OneTokenHasNoPerplexity) {
  const TextModel model = load_text_model(test::tiny_checkpoint("tiny_f32"));
  const Transformer transformer(model.config, model.weights, 128);
  const Score score = score_tokens(context_, transformer, std::vector<std::int32_t>{7});
  EXPECT_TRUE(score.log_probabilities.empty());
  EXPECT_TRUE(std::isnan(score.perplexity()));
}

TEST_F(ScoreTest, ImpossibleTextsAreRefused) {
  const TextModel model = load_text_model(test::tiny_checkpoint("tiny_f32"));
  const Transformer transformer(model.config, model.weights, 16);
  const auto score = [&](const std::vector<std::int32_t>& tokens) {
    return [&, tokens] { score_tokens(context_, transformer, tokens); };
  };
  EXPECT_THAT(score({}), ThrowsMessage<Error>(HasSubstr("no tokens")));
  EXPECT_THAT(score(std::vector<std::int32_t>(17, 5)), ThrowsMessage<Error>(HasSubstr("context holds 16")));
  EXPECT_THAT(score({5, 340}), ThrowsMessage<Error>(HasSubstr("token id 340")));
  // The last token is never fed to the model, but it is looked up in the logits.
  EXPECT_THAT(score({5, 6, -3}), ThrowsMessage<Error>(HasSubstr("token id -3")));
}

}  // namespace
}  // namespace fathom
