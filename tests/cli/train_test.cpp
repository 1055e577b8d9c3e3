// `fathom prepare` and `fathom train` through the real binary.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "base/json.h"
#include "model/config.h"
#include "support/program.h"
#include "support/shared_data.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using test::ProgramResult;
using test::run_fathom;
using testing::HasSubstr;

class TrainCommandTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
  std::string text_ = folder_.path() / "text.txt";
  std::string data_ = folder_.path() / "data";
  std::string config_ = folder_.path() / "config.json";
  std::string run_ = folder_.path() / "run";

  void SetUp() override {
    std::ofstream text(text_);
    for (int i = 0; i < 200; ++i) text << "the cat " << (i % 3 == 0 ? "sat" : "ran") << " on the mat\n";
    ModelConfig model = test::tiny_v3();
    model.vocab_size = 270;
    OrderedJson json = model_config_to_json(model);
    json["training"] = {{"sequence_length", 16}, {"batch_size", 2}, {"steps", 4}};
    std::ofstream(config_) << json.dump();
  }

  ProgramResult prepare() const {
    return run_fathom({"prepare", text_, "--output", data_, "--train-tokenizer", "--vocab-size", "270",
                       "--held-out", "0.1"});
  }
  ProgramResult train(std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments = {"train", config_, "--data", data_, "--output", run_};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_fathom(arguments);
  }
};

TEST_F(TrainCommandTest, FromTextToAModelThatRuns) {
  ASSERT_EQ(prepare().status, 0);
  const ProgramResult trained = train({"--set", "training.learning_rate=0.01"});
  ASSERT_EQ(trained.status, 0) << trained.err;
  const std::string last_line = trained.err.substr(trained.err.rfind("step 4/4  loss "));
  EXPECT_THAT(last_line.substr(0, last_line.find('\n')), HasSubstr("held-out")) << "the last measurement";
  EXPECT_THAT(trained.err, HasSubstr("bits per byte"));
  const ProgramResult answer = run_fathom({"run", run_ + "/latest", "the cat", "-n", "3"});
  EXPECT_EQ(answer.status, 0) << answer.err;
  // The run's own folder means its newest checkpoint, though it has a config.json of its own.
  EXPECT_EQ(run_fathom({"run", run_, "the cat", "-n", "3", "--seed", "1"}).out,
            run_fathom({"run", run_ + "/latest", "the cat", "-n", "3", "--seed", "1"}).out);
  EXPECT_EQ(run_fathom({"score", run_, "--text", "the cat"}).status, 0);
  EXPECT_EQ(run_fathom({"tokenize", run_, "--text", "the cat"}).status, 0);
  EXPECT_EQ(run_fathom({"prepare", text_, "--output", data_ + "2", "--tokenizer", run_}).status, 0);
  EXPECT_THAT(run_fathom({"inspect", run_}).out, HasSubstr("lm_head.weight"));
  const std::string next = folder_.path() / "next";
  EXPECT_EQ(run_fathom({"train", config_, "--data", data_, "--output", next, "--init", run_}).status, 0);
  const Json used = Json::parse(std::ifstream(run_ + "/config.json"));
  EXPECT_EQ(used.at("training").at("learning_rate"), 0.01);
}

TEST_F(TrainCommandTest, ResumingNeedsNothingButTheRun) {
  ASSERT_EQ(prepare().status, 0);
  const ProgramResult first = train({"--stop-at", "2"});
  EXPECT_EQ(first.status, 0);
  EXPECT_THAT(first.err,
              HasSubstr("stopped after step 2 of 4: continue with `fathom train --resume --output"));
  EXPECT_CLEAN_FAILURE(train(), 1, "already holds a run at step 2: add --resume");
  const ProgramResult second = run_fathom({"train", "--resume", "--output", run_});
  EXPECT_EQ(second.status, 0) << second.err;
  EXPECT_THAT(second.err, HasSubstr("step 4/4"));
}

TEST_F(TrainCommandTest, ASignalEndsWithACheckpoint) {
  ASSERT_EQ(prepare().status, 0);
  for (const int signal : {SIGINT, SIGTERM}) {
    std::filesystem::remove_all(run_);
    const ProgramResult result = test::run_fathom_and_interrupt(
        {"train", config_, "--data", data_, "--output", run_, "--steps", "1000000"}, test::Stream::err,
        signal);
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_THAT(result.err, HasSubstr("continue with `fathom train --resume"));
    if (result.err.find("stopped after step 0") == std::string::npos) {
      EXPECT_TRUE(std::filesystem::exists(run_ + "/latest/model.safetensors"));
    }
  }
}

TEST_F(TrainCommandTest, WrongUsageExitsWithTwo) {
  EXPECT_EQ(run_fathom({"prepare"}).status, 2);
  EXPECT_CLEAN_FAILURE(run_fathom({"prepare", text_, "--output", data_}), 2, "--train-tokenizer");
  EXPECT_CLEAN_FAILURE(run_fathom({"train", "--output", run_}), 2, "give the config");
  EXPECT_CLEAN_FAILURE(run_fathom({"train", config_, "--output", run_}), 2, "--data");
  EXPECT_CLEAN_FAILURE(train({"--set", "training.steps"}), 2, "KEY=VALUE");
  EXPECT_EQ(run_fathom({"prepare", text_, "--output", data_, "--held-out-by", "size"}).status, 2);
  for (const char* part : {"1", "-0.1", "nan", "much"})
    EXPECT_CLEAN_FAILURE(
        run_fathom({"prepare", text_, "--output", data_, "--train-tokenizer", "--held-out", part}), 2,
        "--held-out");
  EXPECT_CLEAN_FAILURE(
      run_fathom({"prepare", text_, "--output", data_, "--train-tokenizer", "--vocab-size", "100"}), 2,
      "a vocabulary of 100 tokens");
  EXPECT_CLEAN_FAILURE(train({"--steps", "0"}), 2, "--steps");
  EXPECT_CLEAN_FAILURE(train({"--seed", "-1"}), 2, "--seed");
  EXPECT_CLEAN_FAILURE(train({"--stop-at", "-1"}), 2, "--stop-at");
  EXPECT_CLEAN_FAILURE(train({"--threads", "0"}), 2, "--threads");
  EXPECT_THAT(run_fathom({"trainn"}).err, HasSubstr("did you mean train?"));
}

TEST_F(TrainCommandTest, BadInputExitsWithOne) {
  EXPECT_CLEAN_FAILURE(run_fathom({"train", "--resume", "--output", run_}), 1, "no training run to resume");
  EXPECT_CLEAN_FAILURE(train(), 1, "no manifest.json there");
  ASSERT_EQ(prepare().status, 0);
  EXPECT_CLEAN_FAILURE(prepare(), 1, "already holds prepared data");
  EXPECT_CLEAN_FAILURE(train({"--set", "training.lerning_rate=1"}), 1,
                       "did you mean training.learning_rate?");
  EXPECT_CLEAN_FAILURE(train({"--set", "hidden_size=-1"}), 1, "hidden_size");
  EXPECT_CLEAN_FAILURE(run_fathom({"train", config_, "--data", data_, "--output", "/dev/null/run"}), 1,
                       "/dev/null/run");
  EXPECT_CLEAN_FAILURE(run_fathom({"prepare", text_ + "x", "--output", run_, "--tokenizer", data_}), 1,
                       "no such file");
}

TEST_F(TrainCommandTest, HelpNamesEveryKeyOfTheTrainingSection) {
  const ProgramResult help = run_fathom({"train", "--help"});
  EXPECT_EQ(help.status, 0);
  EXPECT_THAT(help.out, HasSubstr("router_bias_update_rate"));
}

}  // namespace
}  // namespace fathom
