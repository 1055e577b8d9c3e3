// `fathom compare` through the real binary.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "base/file.h"
#include "support/program.h"
#include "support/shared_data.h"
#include "train/metrics.h"

namespace fathom {
namespace {

using test::run_fathom;
using testing::HasSubstr;

void make_run(const std::filesystem::path& path, double loss) {
  std::filesystem::create_directories(path);
  MetricsLog log(path / "metrics.jsonl", 0);
  for (std::int64_t i = 1; i <= 4; ++i) {
    StepMetrics step;
    step.step = i;
    step.loss = loss;
    log.append(step);
  }
}

TEST(CompareCommandTest, PrintsATableAndDrawsThePicture) {
  const test::TemporaryFolder folder;
  make_run(folder.path() / "a", 2.0);
  make_run(folder.path() / "b", 3.0);
  const std::string svg = folder.path() / "c.svg";
  const auto result =
      run_fathom({"compare", folder.path() / "a", "other=" + (folder.path() / "b").string(), "--svg", svg});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("+50.000"));
  EXPECT_THAT(read_text_file(svg, 1U << 20U), HasSubstr(">other</text>"));
}

TEST(CompareCommandTest, PrintsJson) {
  const test::TemporaryFolder folder;
  make_run(folder.path() / "a", 2.0);
  const auto result = run_fathom({"compare", folder.path() / "a/", "--json"});
  EXPECT_EQ(nlohmann::json::parse(result.out).at(0).at("name"), "a") << result.err;
}

TEST(CompareCommandTest, NamesMayBeAnyBytes) {
  const test::TemporaryFolder folder;
  make_run(folder.path() / "a\xff", 2.0);
  const auto json = run_fathom(
      {"compare", "new\nline=" + (folder.path() / "a\xff").string(), folder.path() / "a\xff", "--json"});
  ASSERT_EQ(json.status, 0) << json.err;
  EXPECT_EQ(nlohmann::json::parse(json.out).at(0).at("name"), "new\\x0aline");
  EXPECT_EQ(nlohmann::json::parse(json.out).at(1).at("name"), "a\ufffd");
}

TEST(CompareCommandTest, WrongUseIsSaid) {
  const test::TemporaryFolder folder;
  make_run(folder.path() / "a", 2.0);
  const std::string run = folder.path() / "a";
  EXPECT_CLEAN_FAILURE(run_fathom({"compare", run, "other="}), 2, "name the run's folder");
  EXPECT_CLEAN_FAILURE(run_fathom({"compare", run, "--svg", folder.path()}), 1, "Is a directory");
  EXPECT_EQ(run_fathom({"compare"}).status, 2);
}

TEST(CompareCommandTest, FolderThatIsNoRunIsAnErrorOfOneLine) {
  const test::TemporaryFolder folder;
  const auto result = run_fathom({"compare", folder.path()});
  EXPECT_EQ(result.status, 1);
  EXPECT_THAT(result.err, HasSubstr("fathom train"));
}

}  // namespace
}  // namespace fathom
