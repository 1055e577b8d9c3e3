// `fathom rl` through the real binary.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "support/program.h"
#include "support/shared_data.h"
#include "support/tiny_checkpoint.h"

namespace fathom {
namespace {

using test::ProgramResult;
using test::run_fathom;
using testing::HasSubstr;

class RlCommandTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;

  std::string file(const std::string& name) const { return folder_.path() / name; }

  /// A judge for whom an answer is the better the more letters "e" it has: even a model that has learned
  /// nothing can please it a little.
  std::string task() const {
    std::ofstream(file("train.jsonl")) << R"({"question": "Say something.", "answer": "e"})"
                                       << "\n";
    std::ofstream(file("test.jsonl")) << R"({"question": "Say more.", "answer": "e"})"
                                      << "\n";
    std::ofstream(file("judge.py"))
        << "import json, sys\n"
           "for line in sys.stdin:\n"
           "    answer = json.loads(line)['answer']\n"
           "    print(json.dumps({'score': min(1.0, answer.count('e') / 8)}), flush=True)\n";
    return "external:train=" + file("train.jsonl") + ",test=" + file("test.jsonl") + ",command=python3 " +
           file("judge.py") + ",think=optional";
  }
  ProgramResult rl(const std::string& output, const std::map<std::string, std::string>& more,
                   bool resumes = false) const {
    std::map<std::string, std::string> options = {{"--task", "arithmetic"}, {"--questions", "2"},
                                                  {"--answers", "4"},       {"--max-tokens", "12"},
                                                  {"--eval-count", "2"},    {"--output", file(output)},
                                                  {"--eval-interval", "0"}, {"--chat-template", "plain"}};
    for (const auto& [name, value] : more) options[name] = value;
    std::vector<std::string> arguments = {"rl", test::tiny_checkpoint("tiny_f32")};
    for (const auto& [name, value] : options) arguments.insert(arguments.end(), {name, value});
    if (resumes) arguments.emplace_back("--resume");
    return run_fathom(arguments);
  }
  std::vector<nlohmann::json> metrics(const std::string& run) const {
    std::vector<nlohmann::json> lines;
    std::ifstream stream(file(run) + "/metrics.jsonl");
    for (std::string line; std::getline(stream, line);) {
      lines.push_back(nlohmann::json::parse(line));
      for (const char* time : {"sampling_seconds", "learning_seconds", "other_seconds", "tokens_per_second"})
        lines.back().erase(time);
    }
    return lines;
  }
};

TEST_F(RlCommandTest, ARunThatStoppedGoesOnAsItWouldHave) {
  const ProgramResult whole = rl("whole", {{"--steps", "3"}});
  ASSERT_EQ(whole.status, 0) << whole.err;
  EXPECT_THAT(whole.err, HasSubstr("step 3/3  reward"));
  EXPECT_THAT(whole.err, HasSubstr("checkpoints/step-000003"));
  ASSERT_EQ(rl("parts", {{"--steps", "1"}}).status, 0);
  EXPECT_CLEAN_FAILURE(rl("parts", {{"--steps", "3"}}), 1, "add --resume to continue");
  const ProgramResult resumed = rl("parts", {{"--steps", "3"}}, /*resumes=*/true);
  ASSERT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_EQ(metrics("parts"), metrics("whole"));
  const std::vector<nlohmann::json> lines = metrics("whole");
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_LT(lines[0]["mismatch"].get<double>(), 1e-4)
      << "log-probabilities in training are those while answering";
  const ProgramResult answer = run_fathom({"run", file("whole"), "Question: 1\nAnswer:", "-n", "2"});
  EXPECT_EQ(answer.status, 0) << answer.err;
}

TEST_F(RlCommandTest, RewardsRise) {
  const ProgramResult result = rl("judged", {{"--task", task()},
                                             {"--steps", "12"},
                                             {"--answers", "16"},
                                             {"--learning-rate", "0.01"},
                                             {"--format-reward", "0"},
                                             {"--max-tokens", "16"}});
  ASSERT_EQ(result.status, 0) << result.err;
  const std::vector<nlohmann::json> lines = metrics("judged");
  const auto mean = [&](std::size_t begin) {
    double sum = 0;
    for (std::size_t i = begin; i < begin + 4; ++i) sum += lines[i]["reward"].get<double>() / 4;
    return sum;
  };
  EXPECT_GT(mean(8), mean(0) + 0.05);
}

TEST_F(RlCommandTest, SaysWhatIsMissingOrWrong) {
  const std::string model = test::tiny_checkpoint("tiny_f32");
  EXPECT_CLEAN_FAILURE(run_fathom({"rl", model, "--task", "words"}), 2, "--output");
  EXPECT_CLEAN_FAILURE(run_fathom({"rl", model, "--output", file("r")}), 2, "--task");
  EXPECT_CLEAN_FAILURE(rl("r", {{"--task", "word"}}), 2, "words");
  EXPECT_CLEAN_FAILURE(rl("r", {{"--answers", "1"}}), 2, "answers is 1; it must be at least 2");
  EXPECT_CLEAN_FAILURE(rl("r", {{"--weights", "constant-length"}}), 2, "constant-length is 0");
}

}  // namespace
}  // namespace fathom
