#include "model/quantize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "base/file.h"
#include "io/gguf_writer.h"
#include "kernels/encode_blocks.h"
#include "numerics/convert.h"
#include "support/error_text.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using testing::HasSubstr;

Tensor wavy(const Shape& shape, float frequency) {
  Tensor tensor = Tensor::empty(shape);
  for (std::int64_t i = 0; i < tensor.size(); ++i)
    tensor.f32()[i] = std::sin(frequency * static_cast<float>(i));
  return tensor;
}

/// A file with a tensor of each treatment.
void write_source(const std::filesystem::path& path) {
  GgufMetadata metadata;
  metadata.set("general.architecture", std::string("deepseek2"));
  metadata.set("general.file_type", std::uint32_t{0});
  const std::vector<StoredTensor> layout = {
      {"output_norm.weight", {256}, DType::f32},
      {"output.weight", {6, 256}, DType::f32},
      {"blk.0.ffn_gate_exps.weight", {3, 5, 256}, DType::f32},
      {"blk.0.ffn_down_exps.weight", {3, 256, 96}, DType::f32},
  };
  GgufWriter writer(path, metadata, layout);
  float frequency = 0.1F;
  for (const StoredTensor& tensor : layout) writer.write(tensor.name, wavy(tensor.shape, frequency += 0.7F));
  writer.commit();
}

class QuantizeTest : public testing::Test {
 protected:
  QuantizeTest() { write_source(source_path_); }

  std::vector<QuantizedTensor> quantize(const QuantizeOptions& options, std::size_t threads = 2) {
    ThreadPool pool(threads);
    return quantize_gguf(pool, GgufFile(source_path_), target_path_, options);
  }

  test::TemporaryFolder folder_;
  std::filesystem::path source_path_ = folder_.path() / "source.gguf";
  std::filesystem::path target_path_ = folder_.path() / "target.gguf";
};

TEST_F(QuantizeTest, EachTensorIsEncodedInTheTypeOfTheRecipe) {
  const std::vector<QuantizedTensor> report = quantize({find_quant_recipe("Q4_K_M")});
  const GgufFile source(source_path_);
  const GgufFile target(target_path_);
  ASSERT_EQ(report.size(), 4U);
  const std::vector<DType> expected = {DType::f32, DType::q6_k, DType::q4_k, DType::q5_1};
  for (std::size_t i = 0; i < report.size(); ++i) {
    const Tensor before = source.get(report[i].name);
    const Tensor after = target.get(report[i].name);
    ASSERT_EQ(after.dtype(), expected[i]) << report[i].name;
    EXPECT_EQ(after.shape(), before.shape());
    if (!is_block_quantized(after.dtype())) continue;
    const std::int64_t columns = before.shape().back();
    std::vector<std::byte> row(stored_bytes(after.dtype(), columns));
    for (std::int64_t r = 0; r < before.size() / columns; ++r) {
      kernels::encode_blocks(after.dtype(), before.f32() + r * columns, columns, nullptr, row.data());
      ASSERT_TRUE(std::ranges::equal(
          row, after.bytes().subspan(static_cast<std::size_t>(r) * row.size(), row.size())))
          << report[i].name << " row " << r;
    }
    EXPECT_EQ(report[i].bytes_after, after.byte_size());
    EXPECT_GT(report[i].error_square, 0.0);
    EXPECT_LT(report[i].error_square, 0.01 * report[i].square);
  }
  EXPECT_TRUE(
      std::ranges::equal(target.get("output_norm.weight").bytes(), source.get("output_norm.weight").bytes()));
  EXPECT_EQ(integer_of(*target.metadata().find("general.file_type")), 15);
  EXPECT_EQ(integer_of(*target.metadata().find("general.quantization_version")), 2);
}

TEST_F(QuantizeTest, TheBytesDoNotDependOnTheNumberOfThreads) {
  quantize({find_quant_recipe("Q2_K")}, 1);
  const std::string of_one = read_text_file(target_path_, 1U << 20U);
  quantize({find_quant_recipe("Q2_K")}, 3);
  EXPECT_EQ(read_text_file(target_path_, 1U << 20U), of_one);
}

TEST_F(QuantizeTest, ImportanceOfAnExpertWeighsThatExpertsErrors) {
  ImportanceMatrix importance;
  std::vector<double> first_half(256, 0.0);
  std::fill_n(first_half.begin(), 128, 1e6);
  importance.add("blk.0.ffn_gate_exps.weight", 3, 1, first_half, 1000);
  importance.add("blk.0.ffn_gate_exps.weight", 3, 2, std::vector<double>(256, 1e6), 1000);
  const std::vector<QuantizedTensor> report =
      quantize({.recipe = find_quant_recipe("Q2_K"), .importance = &importance});
  EXPECT_TRUE(report[2].weighted);
  EXPECT_FALSE(report[1].weighted);
  const GgufFile source(source_path_);
  const GgufFile target(target_path_);
  const Tensor before = source.get("blk.0.ffn_gate_exps.weight");
  const Tensor after = target.get("blk.0.ffn_gate_exps.weight");
  const Tensor squares = importance.mean_squares("blk.0.ffn_gate_exps.weight", before.shape());
  const std::size_t row_bytes = stored_bytes(DType::q2_k, 256);
  std::vector<std::byte> row(row_bytes);
  for (std::int64_t r = 0; r < 15; ++r) {
    kernels::encode_blocks(DType::q2_k, before.f32() + r * 256, 256, squares.f32() + r / 5 * 256, row.data());
    ASSERT_TRUE(
        std::ranges::equal(row, after.bytes().subspan(static_cast<std::size_t>(r) * row_bytes, row_bytes)));
  }
}

TEST_F(QuantizeTest, AValueThatCannotBeEncodedIsNamedAndNothingIsLeft) {
  GgufWriter writer(source_path_, {}, {{"output.weight", {600, 256}, DType::f32}});
  Tensor values = wavy({600, 256}, 0.3F);
  values.f32()[500 * 256 + 7] = std::nanf("");
  writer.write("output.weight", values);
  writer.commit();
  EXPECT_THAT(test::error_of([&] { quantize({find_quant_recipe("Q4_K_M")}); }),
              testing::AllOf(HasSubstr("tensor output.weight, rows from 448"), HasSubstr("value 7 is nan")));
  EXPECT_FALSE(std::filesystem::exists(target_path_));
}

}  // namespace
}  // namespace fathom
