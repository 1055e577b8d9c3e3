#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/json.h"
#include "support/program.h"
#include "support/shared_data.h"
#include "support/tiny_checkpoint.h"

namespace fathom {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

/// What `fathom score` says of a text.
Json score_of(const std::filesystem::path& model) {
  const test::ProgramResult result =
      test::run_fathom({"score", model, "--text", "It was the best of times", "--json"});
  EXPECT_EQ(result.status, 0) << result.err;
  return parse_json(result.out, "score --json");
}

class ConvertTest : public testing::Test {
 protected:
  std::filesystem::path convert(const std::filesystem::path& from, const std::string& to,
                                std::vector<std::string> options = {}) {
    std::vector<std::string> arguments = {"convert", from, folder_.path() / to};
    arguments.insert(arguments.end(), options.begin(), options.end());
    const test::ProgramResult result = test::run_fathom(arguments);
    EXPECT_EQ(result.status, 0) << result.err;
    return folder_.path() / to;
  }

  test::TemporaryFolder folder_;
};

TEST_F(ConvertTest, MergedAdaptersAreThoseThatAreAdded) {
  const auto original = test::tiny_checkpoint("tiny_f32");
  const std::string adapter = test::tiny_checkpoint("tiny_lora");
  const auto logprobs = [](const std::filesystem::path& model, std::vector<std::string> options) {
    std::vector<std::string> arguments = {"score", model, "--text", "It was the best of times", "--json"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    const test::ProgramResult result = test::run_fathom(arguments);
    EXPECT_EQ(result.status, 0) << result.err;
    return parse_json(result.out, "score --json").at("logprobs");
  };
  const Json added = logprobs(original, {"--lora", adapter});
  const Json merged = logprobs(convert(original, "merged", {"--type", "f32", "--lora", adapter}), {});
  EXPECT_NE(added, logprobs(original, {}));
  ASSERT_EQ(added.size(), merged.size());
  for (std::size_t i = 1; i < added.size(); ++i)
    EXPECT_NEAR(added[i].get<double>(), merged[i].get<double>(), 1e-4);
  EXPECT_CLEAN_FAILURE(test::run_fathom({"score", original, "--text", "x", "--lora", "/nonexistent"}), 1,
                       "/nonexistent: holds no adapter_config.json");
  EXPECT_CLEAN_FAILURE(test::run_fathom({"score", original, "--text", "x", "--lora", adapter + "=many"}), 2,
                       "the scale is no number");
}

TEST_F(ConvertTest, ThereAndBackGivesTheSameScoresAndTokens) {
  const auto original = test::tiny_checkpoint("tiny_f32");
  const auto gguf = convert(original, "m.gguf", {"--type", "f32"});
  const auto folder = convert(gguf, "folder", {"--type", "f32"});
  const auto again = convert(folder, "whole.gguf", {"--type", "f32", "--kv-b", "whole"});
  const Json expected = score_of(original);
  for (const auto& model : {gguf, folder, again}) {
    const Json got = score_of(model);
    EXPECT_EQ(got["tokens"], expected["tokens"]) << model;
    EXPECT_NEAR(got["perplexity"].get<double>(), expected["perplexity"].get<double>(), 1e-4) << model;
  }
}

TEST_F(ConvertTest, PartsAreOneModel) {
  const auto gguf =
      convert(test::tiny_checkpoint("tiny_f32"), "m.gguf", {"--type", "f32", "--max-file-bytes", "50K"});
  EXPECT_FALSE(std::filesystem::exists(gguf));
  std::filesystem::path first;
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path()))
    if (entry.path().filename().string().starts_with("m-00001-of-")) first = entry.path();
  ASSERT_FALSE(first.empty());
  EXPECT_EQ(score_of(first)["tokens"], score_of(test::tiny_checkpoint("tiny_f32"))["tokens"]);
}

TEST_F(ConvertTest, Fp8BecomesF32AndFp8Again) {
  const auto loss = [](const std::filesystem::path& model) {
    return std::log(score_of(model)["perplexity"].get<double>());
  };
  const double expected = loss(test::tiny_checkpoint("tiny_fp8"));
  const auto gguf = convert(test::tiny_checkpoint("tiny_fp8"), "m.gguf", {"--type", "f32"});
  EXPECT_NEAR(loss(gguf), expected, 1e-4);
  // Its scales need not be those that come of the largest value of each block, so codes may differ.
  EXPECT_NEAR(loss(convert(gguf, "folder", {"--type", "fp8"})), expected, 0.05);
}

TEST_F(ConvertTest, OtherCommandsTakeTheFile) {
  const auto gguf = convert(test::tiny_checkpoint("tiny_f32"), "m.gguf", {"--type", "f16", "--name", "Tiny"});
  const test::ProgramResult inspect = test::run_fathom({"inspect", gguf});
  EXPECT_EQ(inspect.status, 0) << inspect.err;
  EXPECT_THAT(inspect.out,
              AllOf(HasSubstr("1 GGUF file,"), HasSubstr("blk.{0,1}.attn_k_b.weight"),
                    HasSubstr("general.name = \"Tiny\""), HasSubstr("F16"), HasSubstr("latent cache")));
  const test::ProgramResult tokens = test::run_fathom({"tokenize", gguf, "--text", "the fox", "--json"});
  EXPECT_EQ(
      tokens.out,
      test::run_fathom({"tokenize", test::tiny_checkpoint("tiny_f32"), "--text", "the fox", "--json"}).out);
  const std::vector<std::string> prompt = {"The quick brown fox", "--max-tokens", "4", "--temperature", "0"};
  std::vector<std::string> run = {"run", gguf};
  run.insert(run.end(), prompt.begin(), prompt.end());
  const test::ProgramResult answer = test::run_fathom(run);
  EXPECT_EQ(answer.status, 0) << answer.err;
}

TEST_F(ConvertTest, QuantisesMatricesWhoseRowsAreWholeBlocks) {
  const auto gguf = convert(test::tiny_checkpoint("tiny_f32"), "m.gguf", {"--type", "q8_0", "--no-mtp"});
  EXPECT_THAT(test::run_fathom({"inspect", gguf}).out,
              AllOf(HasSubstr("Q8_0  [8, 12, 32]"), HasSubstr("F16   [8, 32, 12]")));
}

TEST_F(ConvertTest, FailuresAreOneLine) {
  const auto gguf = convert(test::tiny_checkpoint("tiny_f32"), "m.gguf");
  EXPECT_CLEAN_FAILURE(test::run_fathom({"convert", gguf, gguf}), 1, "is the model itself");
  EXPECT_CLEAN_FAILURE(test::run_fathom({"convert", test::tiny_checkpoint("tiny_f32"), gguf}), 1,
                       "--overwrite");
  EXPECT_CLEAN_FAILURE(test::run_fathom({"convert", gguf, folder_.path() / "x.gguf", "--type", "int3"}), 2,
                       "--type int3 is not one of");
  EXPECT_CLEAN_FAILURE(test::run_fathom({"convert", gguf, folder_.path() / "x.gguf", "--type", "fp8"}), 1,
                       "not with F8_E4M3");
  EXPECT_CLEAN_FAILURE(test::run_fathom({"convert", folder_.path() / "none.gguf", folder_.path() / "x"}), 1,
                       "none.gguf: cannot open");
}

}  // namespace
}  // namespace fathom
