#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "model/importance.h"
#include "support/program.h"
#include "support/shared_data.h"
#include "support/tiny_checkpoint.h"

namespace fathom {
namespace {

TEST(ImatrixCommandTest, MeasuresAModelOnTexts) {
  const test::TemporaryFolder folder;
  const std::string text = (folder.path() / "text.txt").string();
  const std::string output = (folder.path() / "imatrix.gguf").string();
  write_file_atomically(text,
                        "In the beginning was the word, and the word was with care written down again.");
  const auto result = test::run_fathom({"imatrix", test::tiny_checkpoint("tiny_f32").string(), text,
                                        "--output", output, "--chunk-tokens", "16", "--threads", "1"});
  ASSERT_EQ(result.status, 0) << result.err;
  const ImportanceMatrix importance = read_importance(output);
  EXPECT_EQ(importance.datasets, std::vector<std::string>{text});
  EXPECT_EQ(importance.chunk_tokens, 16);
  EXPECT_GE(importance.chunks, 1);
  EXPECT_TRUE(importance.entries().contains("blk.0.attn_output.weight"));
}

TEST(ImatrixCommandTest, NoTextIsAnError) {
  const test::TemporaryFolder folder;
  const std::string model = test::tiny_checkpoint("tiny_f32").string();
  EXPECT_CLEAN_FAILURE(test::run_fathom({"imatrix", model, (folder.path() / "none.txt").string()}), 1,
                       "none.txt");
}

}  // namespace
}  // namespace fathom
