// `fathom sft` through the real binary.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
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

class SftCommandTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
  std::string chats_ = folder_.path() / "chats.jsonl";
  std::string run_ = folder_.path() / "run";

  void SetUp() override {
    std::ofstream file(chats_);
    for (int i = 0; i < 60; ++i)
      file << R"({"prompt": "count )" << i << R"(", "completion": "one two three"})"
           << "\n";
  }

  ProgramResult sft(const std::vector<std::string>& more) const {
    std::vector<std::string> arguments = {"sft", test::tiny_checkpoint("tiny_f32"), "--output", run_};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_fathom(arguments);
  }
};

TEST_F(SftCommandTest, TeachesAnswersThatTheModelThenGives) {
  const ProgramResult result = sft({"--data", chats_, "--chat-template", "plain", "--epochs", "4",
                                    "--held-out", "0.1", "--set", "training.learning_rate=0.01", "--set",
                                    "training.batch_size=4", "--set", "training.sequence_length=64"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("60 chats"));
  EXPECT_THAT(result.err, HasSubstr("4.00 epochs in"));
  EXPECT_THAT(result.err, HasSubstr("loss of held-out answers"));
  EXPECT_TRUE(std::filesystem::exists(run_ + "/report.html"));
  const ProgramResult answer =
      run_fathom({"run", run_, "Question: count 7\nAnswer:", "--temperature", "0", "-n", "12"});
  ASSERT_EQ(answer.status, 0) << answer.err;
  EXPECT_THAT(answer.out, HasSubstr("one two three"));
  // The checkpoint knows the template that it was taught by.
  std::ifstream config(run_ + "/latest/tokenizer_config.json");
  EXPECT_THAT(nlohmann::json::parse(config)["chat_template"].get<std::string>(), HasSubstr("Question: "));
}

TEST_F(SftCommandTest, ARunGoesOnWhereItStoppedAndIsNotTakenOver) {
  const std::vector<std::string> options = {"--data", chats_,  "--chat-template",
                                            "plain",  "--set", "training.steps=2"};
  ASSERT_EQ(sft(options).status, 0);
  EXPECT_CLEAN_FAILURE(sft(options), 1, "add --resume to continue");
  const ProgramResult resumed = sft({"--resume", "--set", "training.steps=4"});
  ASSERT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_THAT(resumed.err, HasSubstr("continuing"));
  EXPECT_THAT(resumed.err, HasSubstr("step-000004"));
}

TEST_F(SftCommandTest, SaysWhatIsMissing) {
  EXPECT_CLEAN_FAILURE(run_fathom({"sft", test::tiny_checkpoint("tiny_f32")}), 2, "--output");
  EXPECT_CLEAN_FAILURE(sft({}), 2, "--data");
  EXPECT_CLEAN_FAILURE(sft({"--data", chats_}), 1, "--chat-template plain");
  std::ofstream(chats_, std::ios::app) << "{\"text\": 1}\n";
  EXPECT_CLEAN_FAILURE(sft({"--data", chats_, "--chat-template", "plain"}), 1, "chats.jsonl:61: no chat");
}

}  // namespace
}  // namespace fathom
