#include "infer/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "support/shared_data.h"
#include "text/grammar_compiler.h"

namespace fathom {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

std::map<std::int32_t, double> as_map(const std::vector<Sampler::Candidate>& candidates) {
  std::map<std::int32_t, double> result;
  for (const Sampler::Candidate& candidate : candidates) result[candidate.token] = candidate.probability;
  return result;
}

SamplingOptions options_from(const Json& json) {
  SamplingOptions options;
  options.temperature = json.at("temperature");
  options.top_k = json.at("top_k");
  options.top_p = json.at("top_p");
  options.min_p = json.at("min_p");
  options.repetition_penalty = json.at("repetition_penalty");
  return options;
}

TEST(SamplerTest, DistributionIsThatOfTransformersLogitsProcessors) {
  const Json goldens = read_json_file(test::golden("infer/goldens/sampler_goldens.json"));
  ASSERT_FALSE(goldens.at("cases").empty());
  for (const Json& one : goldens.at("cases")) {
    Sampler sampler(options_from(one.at("options")));
    for (const std::int32_t token : one.at("seen")) sampler.accept(token);
    const auto logits = one.at("logits").get<std::vector<float>>();
    const auto expected = one.at("probabilities").get<std::vector<double>>();
    const std::map<std::int32_t, double> got = as_map(sampler.distribution(logits));
    for (std::size_t token = 0; token < expected.size(); ++token) {
      const auto found = got.find(static_cast<std::int32_t>(token));
      EXPECT_NEAR(found == got.end() ? 0.0 : found->second, expected[token], 1e-6)
          << one.at("options").dump() << ", token " << token;
    }
  }
}

TEST(SamplerTest, DrawsFollowTheDistribution) {
  const std::vector<float> logits = {0.3F, -1.0F, 2.0F, 1.5F, kForbidden, 0.0F, 1.9F, -3.0F};
  SamplingOptions options;
  options.temperature = 0.8;
  options.top_k = 6;
  options.top_p = 0.98;
  options.seed = 7;
  Sampler sampler(options);
  const std::map<std::int32_t, double> expected = as_map(sampler.distribution(logits));
  ASSERT_EQ(expected.size(), 5U);

  constexpr int kDraws = 20000;
  std::map<std::int32_t, int> counts;
  for (int i = 0; i < kDraws; ++i) ++counts[sampler.sample(logits)];
  double chi_square = 0;
  int counted = 0;
  for (const auto& [token, probability] : expected) {
    const double mean = probability * kDraws;
    chi_square += (counts[token] - mean) * (counts[token] - mean) / mean;
    counted += counts[token];
  }
  EXPECT_EQ(counted, kDraws);
  EXPECT_LT(chi_square, 18.47);  // 4 degrees of freedom: exceeded once in 1,000 seeds, and the seed is fixed
}

TEST(SamplerTest, TemperatureZeroTakesTheBestAndTheLowestIdOfEquals) {
  SamplingOptions options;
  options.temperature = 0;
  Sampler sampler(options);
  EXPECT_EQ(sampler.sample(std::vector<float>{1.0F, 3.0F, 2.0F, 3.0F}), 1);
}

TEST(SamplerTest, TinyTemperatureIsGreedyAndDoesNotOverflow) {
  SamplingOptions options;
  options.temperature = 1e-300;
  Sampler sampler(options);
  EXPECT_EQ(sampler.sample(std::vector<float>{-50.0F, 3.0F, 40.0F}), 2);
}

TEST(SamplerTest, RepetitionPenaltyMovesGreedyChoiceOffASeenToken) {
  SamplingOptions options;
  options.temperature = 0;
  options.repetition_penalty = 2.0;
  Sampler sampler(options);
  const std::vector<float> logits = {1.0F, 3.0F, 2.0F};
  EXPECT_EQ(sampler.sample(logits), 1);
  sampler.accept(1);
  EXPECT_EQ(sampler.sample(logits), 2);
}

TEST(SamplerTest, SameSeedDrawsTheSameTokensAndAnotherSeedOthers) {
  const std::vector<float> logits(100, 0.0F);
  const auto draw = [&](std::uint64_t seed) {
    SamplingOptions options;
    options.seed = seed;
    Sampler sampler(options);
    std::vector<std::int32_t> tokens;
    for (int i = 0; i < 20; ++i) tokens.push_back(sampler.sample(logits));
    return tokens;
  };
  EXPECT_EQ(draw(1), draw(1));
  EXPECT_NE(draw(1), draw(2));
}

TEST(SamplerTest, ForbiddenTokensAreNeverDrawn) {
  Sampler sampler(SamplingOptions{});
  const std::vector<float> logits = {kForbidden, 0.0F, kForbidden, 0.0F};
  for (int i = 0; i < 50; ++i) EXPECT_EQ(sampler.sample(logits) % 2, 1);
}

TEST(SamplerTest, LogitsThatAreNotNumbersAreAnError) {
  Sampler sampler(SamplingOptions{});
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float bad : {std::nanf(""), infinity})
    EXPECT_THROW(sampler.sample(std::vector<float>{0.0F, bad}), NonFiniteLogits);
  EXPECT_THROW(sampler.sample(std::vector<float>{kForbidden, kForbidden}), NonFiniteLogits);
}

TEST(SamplerTest, OptionsOutOfRangeAreNamed) {
  const auto expect_named = [](auto change, const char* name) {
    SamplingOptions options;
    change(options);
    EXPECT_THAT([&] { Sampler sampler(options); }, ThrowsMessage<UsageError>(HasSubstr(name)));
  };
  expect_named([](SamplingOptions& o) { o.temperature = -1; }, "temperature");
  expect_named([](SamplingOptions& o) { o.temperature = std::nan(""); }, "temperature");
  expect_named([](SamplingOptions& o) { o.top_k = -1; }, "top-k");
  expect_named([](SamplingOptions& o) { o.top_p = 0; }, "top-p");
  expect_named([](SamplingOptions& o) { o.top_p = 1.5; }, "top-p");
  expect_named([](SamplingOptions& o) { o.min_p = 2; }, "min-p");
  expect_named([](SamplingOptions& o) { o.repetition_penalty = 0; }, "repetition-penalty");
}

TEST(SamplerTest, FiltersWorkOnWhatTheGrammarLeaves) {
  const Tokenizer tokenizer = Tokenizer::load(test::golden("text/goldens/small"));
  GrammarCompiler grammars(tokenizer, {*tokenizer.eos()});
  const auto grammar =
      grammars.compile({.kind = GrammarRequest::Kind::kGbnf, .text = "root ::= \"a\" [bcd]"});
  const auto id = [&](const char* token) { return static_cast<std::size_t>(tokenizer.id_of(token).value()); };
  std::vector<float> logits(static_cast<std::size_t>(tokenizer.vocab_size()), 5.0F);
  logits[id("b")] = 1.0F;
  logits[id("c")] = 0.0F;
  logits[id("d")] = -1.0F;

  Sampler sampler({.temperature = 1, .top_k = 2});
  sampler.accept(static_cast<std::int32_t>(id("z")));  // of the prompt, which is no text of the grammar's
  sampler.constrain(grammar);
  sampler.accept(static_cast<std::int32_t>(id("a")));
  const std::map<std::int32_t, double> got = as_map(sampler.distribution(logits));
  EXPECT_EQ(got.size(), 2U);
  EXPECT_NEAR(got.at(static_cast<std::int32_t>(id("b"))), 1 / (1 + std::exp(-1.0)), 1e-9);
  EXPECT_FALSE(sampler.must_end());

  Sampler copy(sampler);
  copy.accept(static_cast<std::int32_t>(id("c")));
  EXPECT_TRUE(copy.must_end());
  EXPECT_EQ(copy.sample(logits), *tokenizer.eos());
  EXPECT_FALSE(sampler.must_end());
  EXPECT_THAT([&] { sampler.accept(static_cast<std::int32_t>(id("x"))); },
              ThrowsMessage<Error>(HasSubstr("does not go on with the grammar's text")));

  Sampler endless({});
  endless.constrain(
      GrammarCompiler(tokenizer, {}).compile({.kind = GrammarRequest::Kind::kGbnf, .text = "root ::= \"\""}));
  EXPECT_THROW(endless.sample(logits), NoTokenFits);
}

}  // namespace
}  // namespace fathom
