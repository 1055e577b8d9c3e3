// `fathom prepare` and `fathom train` through the real binary.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "model/config.h"
#include "model/weights.h"
#include "support/program.h"
#include "support/shared_data.h"
#include "support/tiny_model.h"
#include "train/metrics.h"

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

/// The report's recipe in miniature, its vocabulary made to fit the text here.
TEST_F(TrainCommandTest, ThePublishedRecipeRuns) {
  ASSERT_EQ(prepare().status, 0);
  const std::string recipe = test::source_folder() / "configs" / "v3-recipe-small.json";
  const ProgramResult trained =
      run_fathom({"train", recipe, "--data", data_, "--output", run_, "--set", "vocab_size=270", "--set",
                  "training.sequence_length=16", "--stop-at", "3"});
  ASSERT_EQ(trained.status, 0) << trained.err;
  EXPECT_THAT(trained.err, HasSubstr("stopped after step 3 of 1000"));
  std::ifstream metrics(run_ + "/metrics.jsonl");
  for (int step = 1; step <= 3; ++step) {
    std::string line;
    ASSERT_TRUE(std::getline(metrics, line));
    const Json json = Json::parse(line);
    EXPECT_EQ(json.at("batch_size"), 4);
    EXPECT_NEAR(json.at("learning_rate").get<double>(), 0.004 * step / 20, 1e-12);
    EXPECT_EQ(json.at("mtp_loss_factor"), 0.3);
    EXPECT_EQ(json.at("router_bias_update_rate"), 0.001);
  }
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

/// Leaves nothing of a log's lines but what its first version had, and a last line that was being written.
void make_log_old(const std::string& file) {
  std::string old;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    const Json json = Json::parse(line);
    OrderedJson kept;
    for (const char* key : {"step", "loss", "held_out_loss", "bits_per_byte", "tokens"})
      if (json.contains(key)) kept[key] = json.at(key);
    old += kept.dump() + "\n";
  }
  std::ofstream(file) << old << "{\"step\":3,\"loss\":2.";
}

TEST_F(TrainCommandTest, ARunOfAnOlderVersionGoesOn) {
  ASSERT_EQ(prepare().status, 0);
  ASSERT_EQ(train({"--steps", "60", "--stop-at", "40", "--set", "training.eval_interval=20"}).status, 0);
  make_log_old(run_ + "/metrics.jsonl");
  const ProgramResult before = run_fathom({"compare", run_});
  EXPECT_EQ(before.status, 0) << before.err;
  // The norms of the first 40 steps are missing; the others are no spike for that.
  const ProgramResult resumed = run_fathom({"train", "--resume", "--output", run_});
  EXPECT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_THAT(resumed.err, HasSubstr("step 60/60"));
  EXPECT_THAT(run_fathom({"compare", run_}).out, testing::ContainsRegex("run +60 "));
  EXPECT_THAT(read_text_file(run_ + "/report.html", 1U << 24U), HasSubstr(R"("gradient_norm":[[1,null],)"));
}

TEST_F(TrainCommandTest, ASignalEndsWithACheckpoint) {
  ASSERT_EQ(prepare().status, 0);
  for (const int signal : {SIGINT, SIGTERM}) {
    std::filesystem::remove_all(run_);
    const ProgramResult result = test::run_fathom_and_interrupt(
        {"train", config_, "--data", data_, "--output", run_, "--steps", "1000000"}, test::Stream::err,
        {signal});
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_THAT(result.err, HasSubstr("continue with `fathom train --resume"));
    if (result.err.find("stopped after step 0") == std::string::npos) {
      EXPECT_TRUE(std::filesystem::exists(run_ + "/latest/model.safetensors"));
    }
  }
}

TEST_F(TrainCommandTest, ASecondSignalEndsAtOnce) {
  ASSERT_EQ(prepare().status, 0);
  // Steps of minutes: the first signal alone would end the run after one.
  const ProgramResult result =
      test::run_fathom_and_interrupt({"train", config_, "--data", data_, "--output", run_, "--set",
                                      "training.batch_size=100000", "--set", "training.micro_batch_size=2"},
                                     test::Stream::err, {SIGTERM, SIGINT}, std::chrono::milliseconds(20));
  EXPECT_EQ(result.status, 128 + SIGINT) << result.err;
}

/// All that the result of training decides: the last checkpoint's bytes, and the losses of each step.
std::string outcome_of(const std::string& run) {
  std::string outcome;
  for (const char* name :
       {"model.safetensors", "optimizer.safetensors", "state.json", "average/model.safetensors"})
    outcome += read_text_file(run + "/latest/" + name, std::uint64_t{1} << 30U);
  const auto add = [&](const auto& metrics) {
    outcome += fmt::format("\n{} {}", metrics.step, metrics.loss);
  };
  read_metrics(run + "/metrics.jsonl", add, add);
  return outcome;
}

class KilledTrainCommandTest : public TrainCommandTest, public testing::WithParamInterface<const char*> {};

TEST_P(KilledTrainCommandTest, AtAnyInstantARunEndsWithTheSameBytes) {
  ASSERT_EQ(prepare().status, 0);
  constexpr std::int64_t kInterval = 4;
  constexpr int kKills = 5;
  const auto arguments = [&](const std::string& run, std::size_t threads) {
    return std::vector<std::string>{"train",
                                    config_,
                                    "--data",
                                    data_,
                                    "--output",
                                    run,
                                    "--resume",
                                    "--steps",
                                    "20",
                                    "--threads",
                                    std::to_string(threads),
                                    "--set",
                                    "training.eval_interval=8",
                                    "--set",
                                    std::string("training.precision=") + GetParam(),
                                    "--set",
                                    "training.ema_decay=0.9",
                                    "--set",
                                    fmt::format("training.checkpoint_interval={}", kInterval)};
  };
  const std::string whole = folder_.path() / "whole";
  ASSERT_EQ(run_fathom(arguments(whole, 2)).status, 0);
  Rng random(7);
  for (int i = 1; i <= kKills; ++i) {
    const std::chrono::milliseconds delay(random.below(20 * static_cast<std::uint64_t>(i)));
    const ProgramResult killed = test::run_fathom_and_interrupt(arguments(run_, 1 + random.below(3)),
                                                                test::Stream::err, {SIGKILL}, delay);
    EXPECT_TRUE(killed.status == 128 + SIGKILL || killed.status == 0) << killed.err;
    // One save is under way at most, so what is lost are the steps since the one before, at most.
    std::int64_t reached = 0;
    if (std::filesystem::exists(run_ + "/metrics.jsonl")) {
      std::ifstream log(run_ + "/metrics.jsonl");
      for (std::string line; std::getline(log, line) && !log.eof();)
        reached = Json::parse(line).at("step").get<std::int64_t>();
    }
    std::int64_t newest = 0;
    for (const auto& entry : std::filesystem::directory_iterator(run_ + "/checkpoints"))
      if (const std::string name = entry.path().filename(); name.starts_with("step-"))
        newest = std::max(newest, std::int64_t{std::stoi(name.substr(5))});
    EXPECT_LE(reached - newest, 2 * kInterval);
  }
  const ProgramResult last = run_fathom(arguments(run_, 2));
  ASSERT_EQ(last.status, 0) << last.err;
  EXPECT_EQ(outcome_of(run_), outcome_of(whole));
  for (const auto& entry : std::filesystem::recursive_directory_iterator(run_))
    EXPECT_EQ(entry.path().string().find(".tmp-"), std::string::npos) << entry.path();
}

INSTANTIATE_TEST_SUITE_P(InEachPrecision, KilledTrainCommandTest, testing::Values("f32", "bf16", "fp8"),
                         [](const auto& test) { return std::string(test.param); });

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

TEST_F(TrainCommandTest, ARunThatNoMemoryHoldsIsRefusedBeforeItTakesAny) {
  ASSERT_EQ(prepare().status, 0);
  EXPECT_CLEAN_FAILURE(train({"--set", "training.batch_size=16777216"}), 1,
                       "lower training.micro_batch_size");
  EXPECT_CLEAN_FAILURE(train({"--set", "training.batch_size=16777216", "--set", "vocab_size=16777216"}), 1,
                       "of memory, this machine has");
  EXPECT_FALSE(std::filesystem::exists(run_));
}

TEST_F(TrainCommandTest, FoldersMayHaveAnyName) {
  ASSERT_EQ(prepare().status, 0);
  std::filesystem::rename(data_, data_ + "\xff");
  data_ += "\xff";
  run_ += "\xff";
  const ProgramResult trained = train();
  EXPECT_EQ(trained.status, 0) << trained.err;
  EXPECT_TRUE(std::filesystem::exists(run_ + "/report.html"));
  EXPECT_EQ(train({"--resume"}).status, 0);
}

TEST_F(TrainCommandTest, ADryRunTellsWhatARunTakesAndMakesNothing) {
  ASSERT_EQ(prepare().status, 0);
  const std::vector<std::string> dry = {"train", config_, "--data", data_, "--dry-run"};
  const ProgramResult text = run_fathom(dry);
  ASSERT_EQ(text.status, 0) << text.err;
  EXPECT_THAT(text.out,
              testing::AllOf(HasSubstr("activated per token"), HasSubstr("work_space"), HasSubstr("epochs"),
                             HasSubstr("tokens a second"), HasSubstr("free"), HasSubstr("learning rate")));
  const ProgramResult result = train({"--dry-run", "--json", "--set", "training.keep_checkpoints=3", "--set",
                                      "training.checkpoint_interval=1"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_FALSE(std::filesystem::exists(run_));
  const Json json = Json::parse(result.out);
  const ParameterCounts counts =
      count_parameters(model_config_from_json(Json::parse(std::ifstream(config_)), config_));
  EXPECT_EQ(json.at("parameters").at("main"), counts.total);
  EXPECT_EQ(json.at("data").at("run_tokens"), 4 * 2 * 16);
  EXPECT_GT(json.at("time").at("seconds"), 0);
  EXPECT_EQ(json.at("disk").at("checkpoints"), 4);
  EXPECT_EQ(json.at("schedule").size(), 4U) << "four steps";
  const ProgramResult real = train();
  EXPECT_THAT(real.err, HasSubstr("of memory"));
  const auto size = [](const std::string& file) {
    return static_cast<double>(std::filesystem::file_size(file));
  };
  EXPECT_NEAR(size(run_ + "/latest/model.safetensors") + size(run_ + "/latest/optimizer.safetensors"),
              json.at("disk").at("checkpoint_bytes").get<double>(), 60e3)
      << "the files' headers are not counted";
  EXPECT_CLEAN_FAILURE(train({"--json"}), 2, "--dry-run");
}

// The tolerance: activations are counted from what the layers keep, the allocator rounds sizes up by 12 % on
// average, and the program itself, its threads and the tokenizer take some 20 MiB that are not counted.
TEST_F(TrainCommandTest, PredictedMemoryIsThatOfTheProcessWithinAFifth) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers keep memory of their own";
#endif
  ASSERT_EQ(prepare().status, 0);
  ModelConfig model = test::tiny_v3();
  model.vocab_size = 4096;
  model.hidden_size = 320;
  model.intermediate_size = 900;
  model.moe_intermediate_size = 288;
  model.num_hidden_layers = 3;
  OrderedJson json = model_config_to_json(model);
  json["training"] = {{"sequence_length", 128}, {"batch_size", 8},          {"steps", 3},
                      {"eval_interval", 0},     {"checkpoint_interval", 1}, {"keep_checkpoints", 1}};
  std::ofstream(config_) << json.dump();
  const ProgramResult dry = train({"--dry-run", "--json"});
  ASSERT_EQ(dry.status, 0) << dry.err;
  const ProgramResult real = train();
  ASSERT_EQ(real.status, 0) << real.err;
  const double predicted = Json::parse(dry.out).at("memory").at("peak").get<double>();
  const double measured = static_cast<double>(real.peak_kib) * 1024 - (20 << 20);
  EXPECT_NEAR(predicted / measured, 1.0, 0.2) << predicted / 1e6 << " against " << measured / 1e6 << " MB";
}

TEST_F(TrainCommandTest, HelpNamesEveryKeyOfTheTrainingSection) {
  const ProgramResult help = run_fathom({"train", "--help"});
  EXPECT_EQ(help.status, 0);
  EXPECT_THAT(help.out, HasSubstr("router_bias_update_rate"));
}

}  // namespace
}  // namespace fathom
