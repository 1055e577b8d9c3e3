// Spoilt model folders: every command that loads a model says in one line what is wrong, and exits with 1.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "support/program.h"
#include "support/shared_data.h"
#include "support/tiny_checkpoint.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

class BadModelTest : public testing::Test {
 protected:
  fs::path copy(const std::string& name) { return test::copy_tiny_checkpoint(name, folder_.path()); }

  static void expect_failure(const fs::path& model, const std::vector<std::string>& texts) {
    for (const std::vector<std::string>& arguments :
         {std::vector<std::string>{"run", model, "The", "-n", "2"}, {"score", model, "--text", "The fox"}}) {
      const test::ProgramResult result = test::run_fathom(arguments);
      for (const std::string& text : texts) EXPECT_CLEAN_FAILURE(result, 1, text);
    }
  }

  test::TemporaryFolder folder_;
};

TEST_F(BadModelTest, MissingFolder) {
  expect_failure("/nonexistent/model", {"/nonexistent/model", "no such folder"});
}

TEST_F(BadModelTest, FileInsteadOfAFolder) {
  const fs::path model = copy("tiny_f32");
  expect_failure(model / "config.json", {"not a folder"});
}

TEST_F(BadModelTest, FolderWithoutAModel) {
  expect_failure(folder_.path(), {"config.json"});
}

TEST_F(BadModelTest, MissingTokenizer) {
  const fs::path model = copy("tiny_f32");
  fs::remove(model / "tokenizer.json");
  expect_failure(model, {"tokenizer.json"});
}

TEST_F(BadModelTest, BrokenTokenizer) {
  const fs::path model = copy("tiny_f32");
  fs::resize_file(model / "tokenizer.json", 3000);
  expect_failure(model, {"tokenizer.json"});
}

TEST_F(BadModelTest, TruncatedWeights) {
  const fs::path model = copy("tiny_f32");
  fs::resize_file(model / "model.safetensors", fs::file_size(model / "model.safetensors") - 1000);
  expect_failure(model, {"model.safetensors"});
}

TEST_F(BadModelTest, TruncatedHeader) {
  const fs::path model = copy("tiny_f32");
  fs::resize_file(model / "model.safetensors", 100);
  expect_failure(model, {"model.safetensors"});
}

TEST_F(BadModelTest, EmptyWeights) {
  const fs::path model = copy("tiny_f32");
  fs::resize_file(model / "model.safetensors", 0);
  expect_failure(model, {"model.safetensors"});
}

TEST_F(BadModelTest, MissingWeights) {
  const fs::path model = copy("tiny_f32");
  fs::remove(model / "model.safetensors");
  expect_failure(model, {"safetensors"});
}

TEST_F(BadModelTest, MissingShard) {
  const fs::path model = copy("tiny_bf16");
  fs::remove(model / "model-00002-of-00003.safetensors");
  expect_failure(model, {"model-00002-of-00003.safetensors"});
}

TEST_F(BadModelTest, WrongShape) {
  const fs::path model = copy("tiny_f32");
  test::set_config_key(model, "v_head_dim", "12");
  expect_failure(model, {"kv_b_proj.weight is [32, 16]", "[40, 16]"});
}

TEST_F(BadModelTest, MissingTensor) {
  const fs::path model = copy("tiny_f32");
  test::set_config_key(model, "num_hidden_layers", "3");
  expect_failure(model, {"model.layers.2."});
}

TEST_F(BadModelTest, SurplusTensor) {
  const fs::path model = copy("tiny_f32");
  test::set_config_key(model, "num_hidden_layers", "1");
  expect_failure(model, {"model.layers.1."});
}

TEST_F(BadModelTest, ConfigWithImpossibleSizes) {
  const fs::path model = copy("tiny_f32");
  test::set_config_key(model, "hidden_size", "-32");
  expect_failure(model, {"config.json", "hidden_size"});
}

TEST_F(BadModelTest, WeightThatIsNotANumber) {
  const fs::path model = copy("tiny_f32");
  test::set_first_value(model, "model.layers.0.mlp.down_proj.weight", std::nanf(""));
  expect_failure(model, {"model.layers.0.mlp.down_proj.weight", "nan"});
}

TEST_F(BadModelTest, WeightThatIsInfinite) {
  const fs::path model = copy("tiny_f32");
  test::set_first_value(model, "model.norm.weight", INFINITY);
  expect_failure(model, {"model.norm.weight", "inf"});
}

}  // namespace
}  // namespace fathom
