// `mpirun -n N fathom train` through the real binary.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "model/config.h"
#include "support/program.h"
#include "support/shared_data.h"
#include "support/tiny_model.h"
#include "train/metrics.h"

namespace fathom {
namespace {

using test::mpirun_fathom;
using test::ProgramResult;
using testing::HasSubstr;
using testing::Not;

class TrainJobTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
  std::string data_ = folder_.path() / "data";
  std::string config_ = folder_.path() / "config.json";

  void SetUp() override {
    const std::string text = folder_.path() / "text.txt";
    {
      std::ofstream lines(text);
      for (int i = 0; i < 300; ++i) lines << "the cat " << (i % 3 == 0 ? "sat" : "ran") << " on the mat\n";
    }
    ASSERT_EQ(test::run_fathom({"prepare", text, "--output", data_, "--train-tokenizer", "--vocab-size",
                                "270", "--held-out", "0.1"})
                  .status,
              0);
    ModelConfig model = test::tiny_v3();
    model.vocab_size = 270;
    OrderedJson json = model_config_to_json(model);
    json["training"] = {{"sequence_length", 16},    {"batch_size", 6},
                        {"micro_batch_size", 1},    {"steps", 8},
                        {"checkpoint_interval", 2}, {"eval_interval", 4}};
    std::ofstream(config_) << json.dump();
  }

  [[nodiscard]] std::string run_of(const std::string& name) const { return folder_.path() / name; }
  [[nodiscard]] std::vector<std::string> arguments(const std::string& name,
                                                   std::vector<std::string> more = {}) const {
    std::vector<std::string> list = {"train",      config_,    "--data",    data_, "--output",
                                     run_of(name), "--resume", "--threads", "1"};
    list.insert(list.end(), more.begin(), more.end());
    return list;
  }

  /// Losses of the steps and, negative, of the measurements.
  [[nodiscard]] std::vector<double> losses(const std::string& name) const {
    std::vector<double> list;
    read_metrics(
        run_of(name) + "/metrics.jsonl", [&](const StepMetrics& m) { list.push_back(m.loss); },
        [&](const EvalMetrics& m) { list.push_back(-m.loss); });
    return list;
  }
  [[nodiscard]] std::string bytes(const std::string& name) const {
    std::string all;
    for (const char* file : {"model.safetensors", "optimizer.safetensors", "state.json"})
      all += read_text_file(run_of(name) + "/latest/" + file, std::uint64_t{1} << 30U);
    return all;
  }
  void expect_same_curve(const std::string& a, const std::string& b) const {
    const std::vector<double> first = losses(a);
    const std::vector<double> second = losses(b);
    ASSERT_EQ(first.size(), second.size());
    for (std::size_t i = 0; i < first.size(); ++i)
      EXPECT_NEAR(first[i], second[i], 1e-4 * std::abs(second[i])) << i;
  }
};

TEST_F(TrainJobTest, TheLossCurveIsThatOfOneProcessAndTwoRunsHaveTheSameBytes) {
  const ProgramResult alone = test::run_fathom(arguments("alone"));
  ASSERT_EQ(alone.status, 0) << alone.err;
  for (const int processes : {2, 3}) {
    const std::string name = "on" + std::to_string(processes);
    const ProgramResult result = mpirun_fathom(processes, arguments(name));
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(result.err.find("step 8/8"), result.err.rfind("step 8/8"))
        << "one process speaks: " << result.err;
    expect_same_curve(name, "alone");
  }
  ASSERT_EQ(mpirun_fathom(3, arguments("again")).status, 0);
  EXPECT_EQ(bytes("again"), bytes("on3"));
}

TEST_F(TrainJobTest, ARunGoesOnWithAnotherNumberOfProcesses) {
  ASSERT_EQ(test::run_fathom(arguments("whole")).status, 0);
  ASSERT_EQ(mpirun_fathom(2, arguments("parts", {"--stop-at", "3"})).status, 0);
  const ProgramResult second =
      mpirun_fathom(3, {"train", "--resume", "--output", run_of("parts"), "--stop-at", "5"});
  ASSERT_EQ(second.status, 0) << "it needs nothing but the run: " << second.err;
  ASSERT_EQ(test::run_fathom(arguments("parts")).status, 0);
  expect_same_curve("parts", "whole");
}

TEST_F(TrainJobTest, ExpertsSharedOutGiveTheSameCurveAndTheSameKindOfCheckpoint) {
  ASSERT_EQ(test::run_fathom(arguments("whole")).status, 0);
  for (const int processes : {2, 4}) {
    const std::string name = "on" + std::to_string(processes);
    const ProgramResult result = mpirun_fathom(processes, arguments(name, {"--expert-parallel", "2"}));
    ASSERT_EQ(result.status, 0) << result.err;
    expect_same_curve(name, "whole");
  }
  ASSERT_EQ(mpirun_fathom(4, arguments("again", {"--expert-parallel", "2"})).status, 0);
  EXPECT_EQ(bytes("again"), bytes("on4"));

  ASSERT_EQ(mpirun_fathom(4, arguments("parts", {"--stop-at", "3", "--expert-parallel", "4"})).status, 0);
  ASSERT_EQ(mpirun_fathom(2, arguments("parts", {"--stop-at", "5", "--expert-parallel", "2"})).status, 0);
  ASSERT_EQ(test::run_fathom(arguments("parts")).status, 0);
  expect_same_curve("parts", "whole");
}

TEST_F(TrainJobTest, SequencesSharedOutGiveTheSameCurve) {
  const std::vector<std::string> mtp = {"--set", "num_nextn_predict_layers=1"};
  ASSERT_EQ(test::run_fathom(arguments("whole", mtp)).status, 0);
  const std::vector<std::pair<int, std::vector<std::string>>> layouts = {
      {4, {"--context-parallel", "4"}},
      {4, {"--context-parallel", "2", "--expert-parallel", "4"}},
      {4, {"--context-parallel", "2", "--pipeline-parallel", "2", "--schedule", "dualpipe"}}};
  for (std::size_t i = 0; auto [processes, more] : layouts) {
    const std::string name = "shared" + std::to_string(i++);
    more.insert(more.end(), mtp.begin(), mtp.end());
    const ProgramResult result = mpirun_fathom(processes, arguments(name, more));
    ASSERT_EQ(result.status, 0) << result.err;
    expect_same_curve(name, "whole");
  }
  const ProgramResult uneven = mpirun_fathom(3, arguments("run", {"--context-parallel", "2"}));
  EXPECT_NE(uneven.status, 0);
  EXPECT_THAT(uneven.err, HasSubstr("sequences over 2 processes do not fit 3 processes"));
}

TEST_F(TrainJobTest, EveryScheduleGivesTheSameCurve) {
  const std::vector<std::string> model = {"--set", "num_hidden_layers=4",
                                          "--set", "num_nextn_predict_layers=1",
                                          "--set", "training.ema_decay=0.5"};
  ASSERT_EQ(test::run_fathom(arguments("whole", model)).status, 0);
  for (const std::string schedule : {"1f1b", "interleaved", "zb1p", "dualpipe", "dualpipev"}) {
    std::vector<std::string> more = {"--pipeline-parallel", "2", "--schedule", schedule};
    more.insert(more.end(), model.begin(), model.end());
    const ProgramResult result = mpirun_fathom(2, arguments(schedule, more));
    ASSERT_EQ(result.status, 0) << result.err;
    expect_same_curve(schedule, "whole");
  }
}

TEST_F(TrainJobTest, ARunGoesOnInAnyLayout) {
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.end(), {"--set", "num_hidden_layers=4", "--set", "num_nextn_predict_layers=1"});
    return more;
  };
  const auto expect_done = [](const ProgramResult& result) { ASSERT_EQ(result.status, 0) << result.err; };
  expect_done(test::run_fathom(arguments("whole", with({}))));
  expect_done(
      mpirun_fathom(8, arguments("parts", with({"--stop-at", "2", "--pipeline-parallel", "2", "--schedule",
                                                "dualpipe", "--expert-parallel", "2"}))));
  expect_done(mpirun_fathom(4, arguments("parts", with({"--stop-at", "4", "--pipeline-parallel", "4"}))));
  expect_done(mpirun_fathom(2, arguments("parts", with({"--stop-at", "6", "--expert-parallel", "2"}))));
  expect_done(test::run_fathom(arguments("parts", with({}))));
  expect_same_curve("parts", "whole");
}

TEST_F(TrainJobTest, ProcessesMayBeOnSeveralHosts) {
  ASSERT_EQ(test::run_fathom(arguments("whole")).status, 0);
  struct Layout {
    std::string name;
    int processes_per_host;
    std::vector<std::string> arguments;
  };
  const std::vector<Layout> layouts = {
      {"data", 1, {}},
      {"pipeline", 1, {"--pipeline-parallel", "2", "--schedule", "dualpipe"}},
      {"sequences", 2, {"--context-parallel", "4"}},
      // Tokens cross between the hosts once and are handed on there.
      {"experts", 2, {"--expert-parallel", "4"}},
      {"all", 2, {"--pipeline-parallel", "2", "--expert-parallel", "2", "--no-overlap"}}};
  for (const auto& [name, each, more] : layouts) {
    const ProgramResult result = test::hosts_fathom(2, each, arguments(name, more));
    if (result.status == test::kNoHosts)
      GTEST_SKIP() << "no network namespaces here: run as root with iproute2";
    ASSERT_EQ(result.status, 0) << result.err;
    expect_same_curve(name, "whole");
  }
}

TEST_F(TrainJobTest, APipelineMustFit) {
  const auto expect_error = [&](int processes, const std::vector<std::string>& more, const char* text) {
    const ProgramResult result = mpirun_fathom(processes, arguments("run", more));
    EXPECT_NE(result.status, 0);
    EXPECT_THAT(result.err, HasSubstr(text));
  };
  expect_error(3, {"--pipeline-parallel", "2"}, "a pipeline of 2 processes does not fit 3 processes");
  expect_error(4, {"--pipeline-parallel", "4"}, "a model of 3 layers cannot be cut into 4 pipeline stages");
  expect_error(2, {"--pipeline-parallel", "2", "--schedule", "gpipe"}, "--schedule gpipe: take 1f1b");
  expect_error(2, {"--pipeline-parallel", "2", "--set", "training.micro_batch_size=0"},
               "set training.micro_batch_size");
}

TEST_F(TrainJobTest, ExpertsMustDivideOverProcesses) {
  const ProgramResult three = mpirun_fathom(2, arguments("run", {"--expert-parallel", "3"}));
  EXPECT_NE(three.status, 0);
  EXPECT_THAT(three.err, HasSubstr("experts over 3 processes do not fit 2 processes"));
  const ProgramResult uneven = mpirun_fathom(3, arguments("run", {"--expert-parallel", "3"}));
  EXPECT_NE(uneven.status, 0);
  EXPECT_THAT(uneven.err, HasSubstr("8 experts do not divide over 3 processes"));
  const ProgramResult needles =
      mpirun_fathom(2, arguments("run", {"--expert-parallel", "2", "--set", "training.needle_length=16"}));
  EXPECT_NE(needles.status, 0);
  EXPECT_FALSE(std::filesystem::exists(run_of("run") + "/checkpoints"));
}

TEST_F(TrainJobTest, WhateverProcessIsKilledTheJobEndsAndGoesOnToTheSameBytes) {
  // Experts on two processes, times data, on a pipeline's two places.
  constexpr int kProcesses = 4;
  const std::vector<std::string> longer = {"--steps",           "300", "--pipeline-parallel", "2",
                                           "--expert-parallel", "2"};
  ASSERT_EQ(mpirun_fathom(kProcesses, arguments("whole", longer)).status, 0);
  Rng random(5);
  int killed = 0;
  for (int i = 0; i < 40 && killed < 20; ++i) {
    const auto victim = static_cast<int>(random.below(kProcesses));
    const std::chrono::milliseconds delay(random.below(40));
    bool hit = false;
    std::chrono::steady_clock::time_point death;
    const ProgramResult result =
        test::mpirun_fathom_and(kProcesses, arguments("parts", longer), delay, [&](pid_t mpirun) {
          const pid_t pid = test::pid_of_rank(mpirun, victim);
          hit = pid > 0 && kill(pid, SIGKILL) == 0;
          death = std::chrono::steady_clock::now();
        });
    if (!hit || result.status == 0) continue;
    ++killed;
    EXPECT_LT(std::chrono::steady_clock::now() - death, std::chrono::seconds(10));
    EXPECT_THAT(result.err, HasSubstr("process rank " + std::to_string(victim)));
    EXPECT_THAT(result.err, testing::AnyOf(HasSubstr("the last checkpoint is " + run_of("parts")),
                                           HasSubstr("there is no checkpoint yet")));
  }
  EXPECT_EQ(killed, 20);
  ASSERT_EQ(mpirun_fathom(kProcesses, arguments("parts", longer)).status, 0);
  EXPECT_EQ(bytes("parts"), bytes("whole"));
}

TEST_F(TrainJobTest, AnErrorThatAllMeetIsSaidOnce) {
  const ProgramResult result =
      mpirun_fathom(3, arguments("run", {"--set", "training.sequence_length=100000"}));
  EXPECT_NE(result.status, 0);
  EXPECT_THAT(result.err, HasSubstr("fathom: training.sequence_length is 100000"));
  EXPECT_THAT(result.err, Not(HasSubstr("fathom: process")));
  EXPECT_FALSE(std::filesystem::exists(run_of("run")));
}

TEST_F(TrainJobTest, ASignalThatMpirunHandsOnEndsWithACheckpoint) {
  const ProgramResult result =
      test::mpirun_fathom_and(2, arguments("run", {"--steps", "1000000"}), std::chrono::milliseconds(50),
                              [](pid_t mpirun) { kill(mpirun, SIGUSR1); });
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("continue with `fathom train --resume"));
}

TEST_F(TrainJobTest, ALossOverAPassNeedsPassesThatDoNotDependOnTheNumberOfProcesses) {
  const std::vector<std::string> set = {"--set", "training.balance=aux_loss", "--set",
                                        "training.micro_batch_size=0"};
  const ProgramResult result = mpirun_fathom(2, arguments("run", set));
  EXPECT_NE(result.status, 0);
  EXPECT_THAT(result.err, HasSubstr("set training.micro_batch_size"));
}

TEST_F(TrainJobTest, ADryRunSaysWhatEachProcessTakes) {
  const ProgramResult result = mpirun_fathom(4, {"train", config_, "--data", data_, "--pipeline-parallel",
                                                 "2", "--expert-parallel", "2", "--dry-run", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  const Json json = parse_json(result.out, "dry run");
  ASSERT_EQ(json["processes"].size(), 4U);
  ASSERT_EQ(json["machines"].size(), 1U);
  std::uint64_t peak = 0;
  for (const Json& process : json["processes"]) {
    peak += process["peak"].get<std::uint64_t>();
    EXPECT_LT(process["weights"].get<std::uint64_t>(), 4 * json["parameters"]["total"].get<std::uint64_t>());
  }
  EXPECT_EQ(json["machines"][0]["peak"], peak);
  EXPECT_EQ(json["machines"][0]["processes"], 4);
  EXPECT_GT(json["processes"][0]["checkpoint_gathered"], json["processes"][1]["checkpoint_gathered"]);
}

TEST_F(TrainJobTest, ADryRunCountsAPartOfSharedSequences) {
  const auto activations = [&](const std::string& sharers) {
    const ProgramResult result = mpirun_fathom(
        4, {"train", config_, "--data", data_, "--context-parallel", sharers, "--dry-run", "--json", "--set",
            "training.sequence_length=1024", "--set", "max_position_embeddings=1024"});
    EXPECT_EQ(result.status, 0) << result.err;
    return parse_json(result.out, "dry run")["processes"][1]["activations"].get<std::uint64_t>();
  };
  EXPECT_LT(activations("4"), activations("1") / 3);
}

TEST_F(TrainJobTest, ProcessesThatTheirMachineCannotHoldTogetherAreRefused) {
  const ProgramResult result = mpirun_fathom(
      2, arguments("large", {"--set", "vocab_size=16777216", "--set", "training.batch_size=16777216"}));
  EXPECT_NE(result.status, 0);
  EXPECT_THAT(result.err, HasSubstr("2 processes from 0 on need about"));
  EXPECT_THAT(result.err, HasSubstr("--pipeline-parallel"));
  EXPECT_FALSE(std::filesystem::exists(run_of("large")));
}

}  // namespace
}  // namespace fathom
