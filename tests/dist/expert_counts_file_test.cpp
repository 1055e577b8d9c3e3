#include "dist/expert_counts_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "support/error_text.h"
#include "support/shared_data.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using testing::HasSubstr;

class ExpertCountsFileTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
  std::filesystem::path file_ = folder_.path() / "counts.json";
  ModelConfig config_ = test::tiny_v3();  // layer 0 is dense, 1 and 2 have 8 experts

  std::string error_of_text(const std::string& text) const {
    std::ofstream(file_) << text;
    return test::error_of([&] { read_expert_counts(file_, config_); });
  }
};

TEST_F(ExpertCountsFileTest, WhatIsWrittenIsRead) {
  const ExpertCounts counts = {{1, 2, 3, 4, 5, 6, 7, 8}, {0, 0, 0, 0, 0, 0, 0, 9}};
  std::ofstream(file_) << expert_counts_text(config_, counts);
  EXPECT_EQ(read_expert_counts(file_, config_), counts);
}

TEST_F(ExpertCountsFileTest, NothingCountedYetIsZeros) {
  std::ofstream(file_) << expert_counts_text(config_, {});
  EXPECT_EQ(read_expert_counts(file_, config_), ExpertCounts(2, std::vector<std::int64_t>(8)));
}

TEST_F(ExpertCountsFileTest, CountsOfAnotherModelAreNamed) {
  EXPECT_THAT(error_of_text("[]"), HasSubstr("counts.json: needs an object \"tokens_of_expert\""));
  EXPECT_THAT(error_of_text(R"({"tokens_of_expert": {"1": [1,1,1,1,1,1,1,1]}})"),
              HasSubstr("has no layer 2"));
  EXPECT_THAT(error_of_text(R"({"tokens_of_expert": {"1": [1,1], "2": []}})"),
              HasSubstr("tokens_of_expert.1: must be a list of 8 counts"));
  EXPECT_THAT(error_of_text(R"({"tokens_of_expert": {"1": [1,1,1,1,1,1,1,-1], "2": []}})"),
              HasSubstr("whole numbers from 0"));
  EXPECT_THAT(error_of_text(R"({"tokens_of_expert": {"1": [1,1,1,1,1,1,1,1e300], "2": []}})"),
              HasSubstr("whole numbers from 0"));
  EXPECT_THAT(error_of_text(R"({"tokens_of_expert": {"1": [1,1,1,1,1,1,1,99999999999999999999], "2": []}})"),
              HasSubstr("whole numbers from 0"));
  EXPECT_THAT(
      error_of_text(R"({"tokens_of_expert": {"1": [1,1,1,1,1,1,1,1], "2": [1,1,1,1,1,1,1,1], "3": []}})"),
      HasSubstr("has 3 layers, and this model 2 MoE layers"));
}

}  // namespace
}  // namespace fathom
