#include "train/run_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "support/error_text.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using test::error_of;
using testing::ElementsAre;
using testing::HasSubstr;

class RunFolderTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
  std::filesystem::path path_ = folder_.path() / "run";

  static void publish(const RunFolder& run, std::int64_t step, std::int64_t keep) {
    write_file_atomically(run.begin_checkpoint(step) / "state.json", std::to_string(step));
    run.publish_checkpoint(step, keep);
  }
};

TEST_F(RunFolderTest, LatestPointsAtTheNewestCheckpoint) {
  const RunFolder run(path_);
  EXPECT_EQ(run.newest_checkpoint(), std::nullopt);
  publish(run, 100, 0);
  publish(run, 200, 0);
  EXPECT_THAT(run.checkpoints(), ElementsAre(100, 200));
  EXPECT_EQ(read_text_file(path_ / "latest" / "state.json", 10), "200");
  EXPECT_EQ(std::filesystem::read_symlink(path_ / "latest"), "checkpoints/step-000200");
}

TEST_F(RunFolderTest, OnlyTheNewestStay) {
  const RunFolder run(path_);
  for (const int step : {1, 2, 3, 4}) publish(run, step, 2);
  EXPECT_THAT(run.checkpoints(), ElementsAre(3, 4));
}

TEST_F(RunFolderTest, AStepWrittenAgainReplacesTheOld) {
  const RunFolder run(path_);
  publish(run, 7, 2);
  write_file_atomically(run.begin_checkpoint(7) / "state.json", "again");
  run.publish_checkpoint(7, 2);
  EXPECT_EQ(read_text_file(run.checkpoint(7) / "state.json", 10), "again");
}

TEST_F(RunFolderTest, WhatAnInterruptedProcessLeftIsClearedAway) {
  {
    const RunFolder run(path_);
    publish(run, 1, 2);
    write_file_atomically(run.begin_checkpoint(2) / "model.safetensors", "half");
    create_folders(path_ / "checkpoints" / "removing-000000");
    write_file_atomically(path_ / "latest.tmp-77", "");
    write_file_atomically(path_ / "notes.tmp-old", "not ours");
  }
  const RunFolder run(path_);
  EXPECT_THAT(run.checkpoints(), ElementsAre(1));
  EXPECT_FALSE(std::filesystem::exists(path_ / "checkpoints" / "writing-000002"));
  EXPECT_FALSE(std::filesystem::exists(path_ / "checkpoints" / "removing-000000"));
  EXPECT_FALSE(std::filesystem::exists(path_ / "latest.tmp-77"));
  EXPECT_TRUE(std::filesystem::exists(path_ / "notes.tmp-old"));
}

TEST_F(RunFolderTest, AFolderMadeForNothingGoesAway) {
  { const RunFolder run(path_); }
  EXPECT_FALSE(std::filesystem::exists(path_));
  create_folders(path_);
  { const RunFolder run(path_); }
  EXPECT_TRUE(std::filesystem::exists(path_)) << "it was there before";
  std::filesystem::remove_all(path_);
  {
    const RunFolder run(path_);
    write_file_atomically(run.config_file(), "{}");
  }
  EXPECT_TRUE(std::filesystem::exists(path_ / "config.json"));
}

TEST_F(RunFolderTest, OneProcessTrainsAtATime) {
  {
    const RunFolder run(path_);
    EXPECT_THAT(error_of([&] { const RunFolder second(path_); }), HasSubstr("another process trains"));
  }
  EXPECT_NO_THROW(RunFolder{path_});
}

TEST_F(RunFolderTest, AFolderThatCannotBeMadeIsNamed) {
  write_file_atomically(path_, "a file stands here");
  EXPECT_THAT(error_of([&] { const RunFolder run(path_); }), HasSubstr(path_.string()));
}

}  // namespace
}  // namespace fathom
