#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "base/json.h"
#include "support/program.h"
#include "support/shared_data.h"
#include "support/tiny_checkpoint.h"

namespace fathom {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(InspectTest, ShowsAModelThatTransformersSaved) {
  const test::TemporaryFolder folder;
  const auto model = test::copy_tiny_checkpoint("tiny_f32", folder.path());
  const test::ProgramResult text = test::run_fathom({"inspect", model});
  EXPECT_EQ(text.status, 0) << text.err;
  EXPECT_THAT(text.out, AllOf(HasSubstr("model.embed_tokens.weight"), HasSubstr("latent cache"),
                              HasSubstr("the weights are those that config.json describes")));
  const test::ProgramResult json = test::run_fathom({"inspect", model, "--json"});
  EXPECT_EQ(json.status, 0) << json.err;
  const Json report = parse_json(json.out, "inspect --json");
  EXPECT_EQ(report["match"]["complete"], true);
  EXPECT_EQ(report["parameters"]["total"], report["totals"]["elements"]);
}

TEST(InspectTest, FailuresAreOneLine) {
  const test::TemporaryFolder folder;
  const auto model = test::copy_tiny_checkpoint("tiny_f32", folder.path());
  const auto file = model / "model.safetensors";
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 1);
  EXPECT_CLEAN_FAILURE(test::run_fathom({"inspect", model}), 1, "(truncated?)");
  EXPECT_CLEAN_FAILURE(test::run_fathom({"inspect", folder.path() / "none"}), 1, "no such file or folder");
  EXPECT_CLEAN_FAILURE(test::run_fathom({"inspect"}), 2, "path is required");
}

}  // namespace
}  // namespace fathom
