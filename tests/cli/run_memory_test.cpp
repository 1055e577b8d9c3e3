// Weights are mapped, not copied: a checkpoint costs little more memory than its file.

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "model/save.h"
#include "model/weights.h"
#include "support/program.h"
#include "support/shared_data.h"
#include "support/tiny_checkpoint.h"
#include "tensor/storage.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

/// Dense, so that each token reads every matrix, with the vocabulary of the tiny tokenizer.
ModelConfig dense_config(std::int64_t layers) {
  ModelConfig config = load_model_config(test::tiny_checkpoint("tiny_f32") / "config.json");
  config.hidden_size = 512;
  config.intermediate_size = 4096;
  config.num_hidden_layers = layers;
  config.first_k_dense_replace = layers;
  return config;
}

std::string type_name(const testing::TestParamInfo<DType>& type) {
  return std::string(dtype_name(type.param));
}

class RunMemoryTest : public testing::TestWithParam<DType> {};

TEST_P(RunMemoryTest, PeakIsAtMostATenthAboveTheFile) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers keep memory of their own";
#endif
  const test::TemporaryFolder folder;
  const fs::path model = folder.path() / "model";
  {
    const ModelConfig config = dense_config(GetParam() == DType::f32 ? 12 : 24);
    save_model(model, config, zero_weights(config), {.dtype = GetParam()});
  }
  // Linux counts what the parent held at the fork as the child's.
  release_idle_storage();
  for (const char* name : {"tokenizer.json", "tokenizer_config.json"})
    fs::copy_file(test::tiny_checkpoint("tiny_f32") / name, model / name);

  const auto file_kib = static_cast<double>(fs::file_size(model / "model.safetensors")) / 1024;
  const test::ProgramResult result = test::run_fathom(
      {"run", model, "The quick brown fox jumps over the lazy dog", "-n", "8", "--threads", "2"});
  ASSERT_EQ(result.status, 0) << result.err;
  const double ratio = static_cast<double>(result.peak_kib) / file_kib;
  RecordProperty("ratio", std::to_string(ratio));
  EXPECT_LT(ratio, 1.1) << result.peak_kib << " KiB for a file of " << file_kib;
  EXPECT_GT(ratio, 0.8) << "weights that were never read prove nothing";
}

INSTANTIATE_TEST_SUITE_P(Types, RunMemoryTest, testing::Values(DType::f32, DType::bf16), type_name);

}  // namespace
}  // namespace fathom
