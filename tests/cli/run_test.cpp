// `fathom run` through the real binary.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "support/program.h"
#include "support/shared_data.h"
#include "support/tiny_checkpoint.h"

namespace fathom {
namespace {

using test::ProgramResult;
using test::run_fathom;
using testing::HasSubstr;

const std::string kModel = test::tiny_checkpoint("tiny_f32");

TEST(RunCommandTest, GreedyAnswerIsThatOfTransformers) {
  for (const char* name : {"tiny_f32", "tiny_bf16", "tiny_fp8"}) {
    const test::TinyExpectation expected = test::tiny_expectations(name).back();
    const ProgramResult result =
        run_fathom({"run", test::tiny_checkpoint(name), expected.prompt, "--temperature", "0", "-n", "24"});
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(result.out, expected.answer + "\n");
    EXPECT_THAT(result.err, HasSubstr("tokens/s"));
  }
}

TEST(RunCommandTest, ThreadsAndWeightsMayBePlacedOnNodes) {
  const test::TinyExpectation expected = test::tiny_expectations("tiny_f32").back();
  const ProgramResult result =
      run_fathom({"run", kModel, expected.prompt, "--temperature", "0", "-n", "24", "--numa", "distribute"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out, expected.answer + "\n");
  EXPECT_THAT(result.err, HasSubstr("numa distribute: "));
  EXPECT_CLEAN_FAILURE(run_fathom({"run", kModel, "A", "--numa", "node:4095"}), 2, "there is no such node");
  EXPECT_CLEAN_FAILURE(run_fathom({"score", kModel, "--text", "A", "--numa", "both"}), 2, "--numa");
}

TEST(RunCommandTest, PromptMayComeFromAFileOrTheStandardInput) {
  const test::TinyExpectation expected = test::tiny_expectations("tiny_f32").front();
  const test::TemporaryFolder folder;
  const std::string file = folder.path() / "prompt.txt";
  std::ofstream(file) << expected.prompt << "\n";
  const ProgramResult from_file =
      run_fathom({"run", kModel, "--file", file, "--temperature", "0", "-n", "24"});
  EXPECT_EQ(from_file.out, expected.answer + "\n") << from_file.err;
  const ProgramResult from_input =
      run_fathom({"run", kModel, "--temperature", "0", "-n", "24", "--echo"}, expected.prompt);
  EXPECT_EQ(from_input.out, expected.prompt + expected.answer + "\n") << from_input.err;
}

TEST(RunCommandTest, JsonTellsTokensAndWhyItStopped) {
  const test::TinyExpectation expected = test::tiny_expectations("tiny_f32").front();
  const ProgramResult result =
      run_fathom({"run", kModel, expected.prompt, "--temperature", "0", "-n", "24", "--seed", "9", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json.at("text"), expected.answer);
  EXPECT_EQ(json.at("tokens"), nlohmann::json(expected.answer_ids));
  EXPECT_EQ(json.at("prompt_tokens"), nlohmann::json(expected.ids));
  EXPECT_EQ(json.at("stop_reason"), "max_tokens");
  EXPECT_EQ(json.at("seed"), 9);
  EXPECT_EQ(result.err, "");
}

TEST(RunCommandTest, AnswersHaveTheFormThatIsAskedFor) {
  const test::TemporaryFolder folder;
  const std::string grammar = folder.path() / "answer.gbnf";
  const std::string schema = folder.path() / "schema.json";
  std::ofstream(grammar) << "root ::= \"it is \" (\"so\" | \"not\")";
  std::ofstream(schema) << R"({"properties": {"ok": {"type": "boolean"}}, "required": ["ok"]})";
  EXPECT_THAT(run_fathom({"run", kModel, "Hi", "--seed", "1", "--grammar", grammar}).out,
              testing::MatchesRegex("it is (so|not)\n"));
  const ProgramResult json =
      run_fathom({"run", kModel, "Hi", "--seed", "1", "--json-schema", schema, "-n", "200"});
  ASSERT_EQ(json.status, 0) << json.err;
  EXPECT_TRUE(nlohmann::json::parse(json.out).at("ok").is_boolean());
  EXPECT_THAT(json.err, HasSubstr("end of text"));
  const ProgramResult from_input =
      run_fathom({"run", kModel, "Hi", "--seed", "1", "--json-schema", "-"}, R"({"const": [1, "x"]})");
  EXPECT_EQ(from_input.out, "[1,\"x\"]\n") << from_input.err;

  const ProgramResult refused = run_fathom({"run", kModel, "Hi", "--json-schema", "-"}, R"({"not": {}})");
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.err, HasSubstr("schema#: the keyword not cannot be enforced"));
  EXPECT_EQ(run_fathom({"run", kModel, "Hi", "--json-schema", "-", "--json-object"}, "{}").status, 2);
  EXPECT_EQ(run_fathom({"run", kModel, "--json-schema", "-"}, "{}").status, 2);
  EXPECT_EQ(run_fathom({"run", kModel, "Hi", "--json-object", "--ignore-eos"}).status, 2);
}

TEST(RunCommandTest, StopStringsEndTheAnswer) {
  const test::TinyExpectation expected = test::tiny_expectations("tiny_f32").front();
  const std::string stop = expected.answer.substr(3, 3);
  const ProgramResult result =
      run_fathom({"run", kModel, expected.prompt, "--temperature", "0", "--stop", "never", "--stop", stop});
  EXPECT_EQ(result.out, expected.answer.substr(0, expected.answer.find(stop)) + "\n") << result.err;
}

TEST(RunCommandTest, ASessionGoesOnWhereItWasLeft) {
  const test::TinyExpectation expected = test::tiny_expectations("tiny_f32").front();
  const test::TemporaryFolder folder;
  const std::string file = folder.path() / "session";
  const auto run = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"run", kModel, "--temperature", "0", "-n", "12", "--json"});
    const ProgramResult result = run_fathom(arguments);
    EXPECT_EQ(result.status, 0) << result.err;
    return nlohmann::json::parse(result.out);
  };
  const auto first = run({expected.prompt, "--save-session", file});
  const auto second = run({" and", "--load-session", file, "--save-session", file, "--no-special"});
  const std::size_t before = expected.ids.size() + 12;
  nlohmann::json tokens = second.at("prompt_tokens");
  ASSERT_GT(tokens.size(), before);
  tokens.erase(tokens.begin() + static_cast<std::ptrdiff_t>(before), tokens.end());
  nlohmann::json said = first.at("prompt_tokens");
  said.insert(said.end(), first.at("tokens").begin(), first.at("tokens").end());
  EXPECT_EQ(tokens, said);
  const ProgramResult other = run_fathom({"run", kModel, "x", "--load-session", file, "--cache-type", "f32"});
  EXPECT_EQ(other.status, 1);
  EXPECT_THAT(other.err, HasSubstr("stored as f16, and --cache-type is f32"));
}

TEST(RunCommandTest, SameSeedSameAnswer) {
  const auto answer = [](const std::string& seed, const std::string& threads) {
    return run_fathom({"run", kModel, "The", "--seed", seed, "-n", "20", "--threads", threads}).out;
  };
  EXPECT_EQ(answer("5", "1"), answer("5", "2"));
  EXPECT_NE(answer("5", "2"), answer("6", "2"));
}

TEST(RunCommandTest, DraftsChangeNoAnswer) {
  const test::TinyExpectation expected = test::tiny_expectations("tiny_f32").front();
  const std::vector<std::string> greedy = {"run", kModel, expected.prompt, "--temperature", "0", "-n", "24"};
  const std::vector<std::string> sampled = {"run", kModel, "The", "--seed", "5", "-n", "40"};
  const std::string sampled_answer = run_fathom(sampled).out;
  const std::vector<std::vector<std::string>> ways = {
      {"--speculate", "off"},
      {"--speculate", "ngram"},
      {"--speculate", "ngram", "--draft-tokens", "3"},
      {"--draft-model", test::tiny_checkpoint("tiny_bf16")},
      {"--speculate", "model", "--draft-model", kModel, "--draft-tokens", "2"}};
  for (const std::vector<std::string>& way : ways) {
    std::vector<std::string> with = greedy;
    with.insert(with.end(), way.begin(), way.end());
    const ProgramResult result = run_fathom(with);
    EXPECT_EQ(result.out, expected.answer + "\n") << result.err;
    EXPECT_EQ(result.err.find("tokens a pass]") == std::string::npos, way[1] == "off") << result.err;
    with = sampled;
    with.insert(with.end(), way.begin(), way.end());
    EXPECT_EQ(run_fathom(with).out, sampled_answer);
  }
}

TEST(RunCommandTest, JsonTellsWhatBecameOfDrafts) {
  const ProgramResult result = run_fathom({"run", kModel, "The", "--temperature", "0", "-n", "40", "--json",
                                           "--draft-model", kModel, "--draft-tokens", "3"});
  ASSERT_EQ(result.status, 0) << result.err;
  const auto speculation = nlohmann::json::parse(result.out).at("speculation");
  EXPECT_GT(speculation.at("passes"), 0);
  EXPECT_LE(speculation.at("accepted"), speculation.at("checked"));
  EXPECT_LE(speculation.at("checked"), speculation.at("drafted"));
  EXPECT_GE(speculation.at("tokens_per_pass"), 1.0);
}

TEST(RunCommandTest, ImpossibleDraftersAreRefused) {
  EXPECT_CLEAN_FAILURE(run_fathom({"run", kModel, "The", "--speculate", "mtp"}), 1, "has no MTP module");
  EXPECT_CLEAN_FAILURE(run_fathom({"run", kModel, "The", "--speculate", "magic"}), 2, "speculate is magic");
  EXPECT_CLEAN_FAILURE(run_fathom({"run", kModel, "The", "--speculate", "model"}), 2, "needs --draft-model");
  EXPECT_CLEAN_FAILURE(run_fathom({"run", kModel, "The", "--speculate", "ngram", "--draft-model", kModel}), 2,
                       "--speculate model");
  EXPECT_CLEAN_FAILURE(run_fathom({"run", kModel, "The", "--draft-tokens", "0"}), 2, "draft-tokens is 0");
  EXPECT_CLEAN_FAILURE(run_fathom({"run", kModel, "The", "--draft-model", "/nonexistent/model"}), 1,
                       "/nonexistent/model: no such folder");
}

TEST(RunCommandTest, FolderOfATrainingRunMeansItsNewestCheckpoint) {
  const test::TemporaryFolder folder;
  const std::filesystem::path checkpoint = test::copy_tiny_checkpoint("tiny_f32", folder.path());
  std::filesystem::create_directory_symlink(checkpoint.filename(), folder.path() / "latest");
  const test::TinyExpectation expected = test::tiny_expectations("tiny_f32").front();
  const ProgramResult result =
      run_fathom({"run", folder.path(), expected.prompt, "--temperature", "0", "-n", "24"});
  EXPECT_EQ(result.out, expected.answer + "\n") << result.err;
}

TEST(RunCommandTest, InterruptEndsTheAnswerInOrder) {
  const test::TemporaryFolder folder;
  const std::filesystem::path model = test::copy_tiny_checkpoint("tiny_f32", folder.path());
  test::set_config_key(model, "max_position_embeddings", "50000");
  const ProgramResult result =
      test::run_fathom_and_interrupt({"run", model, "The", "-n", "0", "--ignore-eos", "--seed", "1"});
  EXPECT_EQ(result.status, 130);
  EXPECT_TRUE(result.out.ends_with('\n'));
  EXPECT_THAT(result.err, HasSubstr("cancelled"));
}

TEST(RunCommandTest, ContextLimitEndsTheAnswerAndIsNamed) {
  const ProgramResult result =
      run_fathom({"run", kModel, "The", "-n", "0", "--ignore-eos", "--seed", "1", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json.at("stop_reason"), "context_full");
  EXPECT_EQ(json.at("tokens").size() + json.at("prompt_tokens").size(), 129U);  // the last is not fed back
}

TEST(RunCommandTest, ImpossiblePromptsAreRefused) {
  EXPECT_CLEAN_FAILURE(run_fathom({"run", kModel, ""}), 1, "prompt is empty");
  EXPECT_CLEAN_FAILURE(run_fathom({"run", kModel}, "\n"), 1, "prompt is empty");
  EXPECT_CLEAN_FAILURE(run_fathom({"run", kModel, std::string(4000, 'x')}), 1, "context holds 128");
  EXPECT_CLEAN_FAILURE(run_fathom({"run", kModel, "--file", "/nonexistent/prompt"}), 1,
                       "/nonexistent/prompt");
}

TEST(RunCommandTest, AFullDiskIsAnError) {
  EXPECT_CLEAN_FAILURE(run_fathom({"run", kModel, "The", "-n", "4"}, {}, "/dev/full"), 1,
                       "cannot write the answer");
}

TEST(RunCommandTest, WrongUseEndsWithStatusTwo) {
  EXPECT_CLEAN_FAILURE(run_fathom({"run"}), 2, "model");
  EXPECT_CLEAN_FAILURE(run_fathom({"run", kModel, "a", "--file", "b"}), 2, "not both");
  EXPECT_CLEAN_FAILURE(run_fathom({"run", kModel, "a", "--temperature", "-1"}), 2, "temperature");
  EXPECT_CLEAN_FAILURE(run_fathom({"run", kModel, "a", "--temperature", "nan"}), 2, "temperature");
  EXPECT_CLEAN_FAILURE(run_fathom({"run", kModel, "a", "--top-p", "1.5"}), 2, "top-p");
  EXPECT_CLEAN_FAILURE(run_fathom({"run", kModel, "a", "--threads", "0"}), 2, "threads");
  EXPECT_CLEAN_FAILURE(run_fathom({"run", kModel, "a", "-n", "-3"}), 2, "max-tokens");
  EXPECT_CLEAN_FAILURE(run_fathom({"run", kModel, "a", "--no-such-option"}), 2, "no-such-option");
}

}  // namespace
}  // namespace fathom
