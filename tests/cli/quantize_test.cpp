#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "io/gguf_writer.h"
#include "support/program.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using testing::HasSubstr;

std::string small_gguf(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "small.gguf";
  GgufWriter writer(path, {},
                    {{"output.weight", {8, 256}, DType::f32}, {"blk.0.attn_norm.weight", {256}, DType::f32}});
  Tensor matrix = Tensor::empty({8, 256});
  for (std::int64_t i = 0; i < matrix.size(); ++i) matrix.f32()[i] = std::sin(static_cast<float>(i));
  writer.write("output.weight", matrix);
  writer.write("blk.0.attn_norm.weight", matrix.rows(0, 1).reshape({256}));
  writer.commit();
  return path.string();
}

TEST(QuantizeCommandTest, SaysWhatBecameOfTheBytes) {
  const test::TemporaryFolder folder;
  const std::string model = small_gguf(folder.path());
  const std::string output = (folder.path() / "out.gguf").string();
  const auto table = test::run_fathom({"quantize", model, output, "--type", "q4_k_m", "--threads", "1"});
  EXPECT_EQ(table.status, 0) << table.err;
  EXPECT_THAT(table.out, HasSubstr("Q6_K"));
  EXPECT_TRUE(std::filesystem::exists(output));

  const auto json =
      test::run_fathom({"quantize", model, output, "--recipe", "^output=Q8_0", "--json", "--threads", "1"});
  ASSERT_EQ(json.status, 0) << json.err;
  const auto summary = nlohmann::json::parse(json.out);
  EXPECT_EQ(summary["tensors"][0]["to"], "Q8_0");
  EXPECT_LT(summary["tensors"][0]["relative_error"], 0.01);
  EXPECT_EQ(summary["tensors"][1]["to"], "F32");
  EXPECT_EQ(summary["bytes_after"], 8 * 256 / 32 * 34 + 256 * 4);
}

TEST(QuantizeCommandTest, ADryRunWritesNothing) {
  const test::TemporaryFolder folder;
  const auto result =
      test::run_fathom({"quantize", small_gguf(folder.path()), "--type", "Q2_K", "--dry-run"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("head"));
}

TEST(QuantizeCommandTest, MistakesAreOneLine) {
  const test::TemporaryFolder folder;
  const std::string model = small_gguf(folder.path());
  EXPECT_CLEAN_FAILURE(test::run_fathom({"quantize", model, "out.gguf", "--type", "Q9"}), 1, "choose one of");
  EXPECT_CLEAN_FAILURE(test::run_fathom({"quantize", model, model}), 1, "cannot be written over");
  EXPECT_CLEAN_FAILURE(test::run_fathom({"quantize", model}), 1, "name the file to write");
  EXPECT_CLEAN_FAILURE(test::run_fathom({"quantize", "model", "out.gguf"}), 1, "fathom convert");
  EXPECT_CLEAN_FAILURE(test::run_fathom({"quantize", model, "out.gguf", "--imatrix", model}), 1,
                       "not an importance matrix");
}

}  // namespace
}  // namespace fathom
