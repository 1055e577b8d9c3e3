// `fathom needle`, `fathom needle-corpus` and the extension of a model's context, through the real binary.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
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

class NeedleCommandTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
  std::string corpus_ = folder_.path() / "corpus.jsonl";
  std::string data_ = folder_.path() / "data";
  std::string config_ = folder_.path() / "config.json";
  std::string run_ = folder_.path() / "run";

  void SetUp() override {
    ModelConfig model = test::tiny_v3();
    model.vocab_size = 560;
    model.max_position_embeddings = 128;
    OrderedJson json = model_config_to_json(model);
    json["training"] = {{"sequence_length", 32}, {"batch_size", 2}, {"steps", 2}};
    std::ofstream(config_) << json.dump();
    ASSERT_EQ(run_fathom({"needle-corpus", corpus_, "--documents", "60", "--sentences", "40"}).status, 0);
    ASSERT_EQ(run_fathom({"prepare", corpus_, "--output", data_, "--train-tokenizer", "--vocab-size", "560",
                          "--held-out", "0.1"})
                  .status,
              0);
    const ProgramResult trained = run_fathom({"train", config_, "--data", data_, "--output", run_});
    ASSERT_EQ(trained.status, 0) << trained.err;
  }
};

TEST_F(NeedleCommandTest, WritesAPictureAndFiguresIntoTheRunFolder) {
  const ProgramResult result =
      run_fathom({"needle", run_, "--lengths", "100,64", "--depths", "3", "--threads", "1"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out,
            "depth      64     100\n  0 %     0 %     0 %\n 50 %     0 %     0 %\n100 %     0 %     0 %\n");
  EXPECT_THAT(result.err, HasSubstr("needle: 6 texts in"));
  const Json figures = read_json_file(run_ + "/needle.json");
  EXPECT_EQ(figures.at("cells").size(), 6U);
  EXPECT_THAT(read_text_file(run_ + "/needle.svg", 1U << 20U), HasSubstr("64 tokens, depth 50 %: 0 of 1"));

  const ProgramResult json = run_fathom({"needle", run_, "--lengths", "64,100", "--depths", "3", "--json",
                                         "--threads", "2", "--output", run_ + "/elsewhere"});
  ASSERT_EQ(json.status, 0) << json.err;
  EXPECT_EQ(Json::parse(json.out), figures) << "threads and the order of lengths change nothing";
  EXPECT_TRUE(std::filesystem::exists(run_ + "/elsewhere/needle.svg"));
}

TEST_F(NeedleCommandTest, LongerTextsNeedAnExtendedModel) {
  EXPECT_CLEAN_FAILURE(run_fathom({"needle", run_, "--lengths", "129"}), 2,
                       "exceeds the 128 positions that the model is made for");
  const ProgramResult beyond =
      run_fathom({"needle", run_, "--lengths", "129", "--depths", "1", "--beyond", "--output", run_ + "2"});
  EXPECT_EQ(beyond.status, 0) << beyond.err;

  const std::string stage = folder_.path() / "stage";
  EXPECT_CLEAN_FAILURE(run_fathom({"train", config_, "--data", data_, "--init", run_, "--output", stage,
                                   "--set", "training.sequence_length=256"}),
                       1, "--extend-context");
  EXPECT_CLEAN_FAILURE(run_fathom({"train", config_, "--data", data_, "--init", run_, "--output", stage,
                                   "--extend-context", "0.5"}),
                       1, "a factor above 1");
  const ProgramResult extended =
      run_fathom({"train", config_, "--data", data_, "--init", run_, "--output", stage, "--extend-context",
                  "4", "--set", "training.sequence_length=256"});
  ASSERT_EQ(extended.status, 0) << extended.err;
  EXPECT_THAT(extended.err, HasSubstr("rope_scaling was null and is {"));
  EXPECT_EQ(run_fathom({"needle", stage, "--lengths", "512", "--depths", "1"}).status, 0);
  // The second stage takes the first one's config as it is.
  const ProgramResult second = run_fathom({"train", stage + "/config.json", "--data", data_, "--init", stage,
                                           "--output", stage + "2", "--set", "training.sequence_length=512"});
  EXPECT_EQ(second.status, 0) << second.err;
  EXPECT_CLEAN_FAILURE(run_fathom({"train", stage + "/config.json", "--data", data_, "--init", stage,
                                   "--output", stage + "3", "--extend-context", "4"}),
                       1, "rope_scaling with factor 4 already");
}

TEST_F(NeedleCommandTest, WrongUseIsSaid) {
  EXPECT_CLEAN_FAILURE(run_fathom({"needle", run_, "--lengths", "12"}), 1, "more than the length 12");
  EXPECT_CLEAN_FAILURE(run_fathom({"needle", run_, "--haystack", data_ + "/none.txt"}), 1, "none.txt");
  for (const auto& [option, value] :
       std::vector<std::pair<const char*, const char*>>{{"--distractors", "16"},
                                                        {"--distractors", "-1"},
                                                        {"--lengths", "0"},
                                                        {"--lengths", "1e3"},
                                                        {"--lengths", "99999999999999999999"},
                                                        {"--depths", "0"},
                                                        {"--depths", "nan"},
                                                        {"--trials", "0"},
                                                        {"--trials", "1e9"},
                                                        {"--seed", "-1"},
                                                        {"--threads", "0"}})
    EXPECT_CLEAN_FAILURE(run_fathom({"needle", run_, option, value}), 2, option);
  EXPECT_CLEAN_FAILURE(run_fathom({"needle", run_, "--output", "/dev/null/x"}), 1,
                       "/dev/null/x: cannot create the folder");
  EXPECT_CLEAN_FAILURE(run_fathom({"needle", data_}), 1, "config.json");
  EXPECT_CLEAN_FAILURE(run_fathom({"needle-corpus", corpus_, "--documents", "10000000000"}), 2, "too many");
  EXPECT_CLEAN_FAILURE(run_fathom({"needle-corpus", "/dev/null/x"}), 1, "/dev/null/x");
}

TEST_F(NeedleCommandTest, ATextOfOnesOwnIsAHaystack) {
  const std::string file = folder_.path() / "own.txt";
  std::ofstream(file) << "The baker found the map. The sailor moved the boat at noon. ";
  const ProgramResult result =
      run_fathom({"needle", run_, "--haystack", file, "--lengths", "128", "--depths", "2", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(Json::parse(result.out).at("haystack"), file);
}

}  // namespace
}  // namespace fathom
