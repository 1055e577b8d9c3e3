#include "model/importance.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "io/gguf.h"
#include "io/gguf_writer.h"
#include "support/error_text.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using testing::HasSubstr;

ImportanceMatrix two_experts() {
  ImportanceMatrix importance;
  importance.datasets = {"text.txt"};
  importance.chunks = 3;
  importance.chunk_tokens = 512;
  importance.add("blk.1.ffn_up_exps.weight", 2, 0, {1000.0, 4000.0}, 968);
  importance.add("blk.1.attn_kv_b.weight", 1, 0, {10.0, 20.0}, 10);
  return importance;
}

TEST(ImportanceTest, ExpertsOfFewTokensLeanOnTheMeanOfAll) {
  ImportanceMatrix importance = two_experts();
  importance.add("blk.1.ffn_up_exps.weight", 2, 1, {968.0, 0.0}, 32);
  const Tensor squares = importance.mean_squares("blk.1.ffn_up_exps.weight", {2, 8, 2});
  ASSERT_EQ(squares.shape(), (Shape{2, 2}));
  // Mean of all 1,000 tokens: 1.968 and 4; 32 of that kind come on top.
  EXPECT_FLOAT_EQ(squares.f32()[0], (1000.0F + 32 * 1.968F) / 1000);
  EXPECT_FLOAT_EQ(squares.f32()[2], (968.0F + 32 * 1.968F) / 64);
  EXPECT_FLOAT_EQ(squares.f32()[3], 32 * 4.0F / 64);
}

TEST(ImportanceTest, AnExpertThatNoTokenChoseGetsTheMeanOfAll) {
  const Tensor squares = two_experts().mean_squares("blk.1.ffn_up_exps.weight", {2, 8, 2});
  EXPECT_FLOAT_EQ(squares.f32()[2], 1000.0F / 968);
  EXPECT_FLOAT_EQ(squares.f32()[3], 4000.0F / 968);
}

TEST(ImportanceTest, BothHalvesOfKvBReadLatentsWhereColumnsAreLatents) {
  const ImportanceMatrix importance = two_experts();
  const Tensor values = importance.mean_squares("blk.1.attn_v_b.weight", {4, 16, 2});
  ASSERT_EQ(values.shape(), (Shape{4, 2}));
  EXPECT_FLOAT_EQ(values.f32()[7], 2.0F);
  EXPECT_FALSE(importance.mean_squares("blk.1.attn_k_b.weight", {4, 2, 16}).defined());
  EXPECT_FALSE(importance.mean_squares("blk.7.attn_q.weight", {4, 2}).defined());
}

TEST(ImportanceTest, AMatrixOfAnotherModelIsRefused) {
  EXPECT_THAT(test::error_of([] {
                static_cast<void>(two_experts().mean_squares("blk.1.ffn_up_exps.weight", {2, 8, 3}));
              }),
              HasSubstr("it is of another model"));
  EXPECT_THAT(test::error_of([] {
                static_cast<void>(two_experts().mean_squares("blk.1.ffn_up_exps.weight", {4, 8, 2}));
              }),
              HasSubstr("2 × 2 columns for tensor blk.1.ffn_up_exps.weight, which is [4, 8, 2]"));
}

TEST(ImportanceTest, FilesHoldWhatWasCollected) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "imatrix.gguf";
  const ImportanceMatrix written = two_experts();
  write_importance(path, written);
  const ImportanceMatrix read = read_importance(path);
  EXPECT_EQ(read.datasets, written.datasets);
  EXPECT_EQ(read.chunks, 3);
  EXPECT_EQ(read.chunk_tokens, 512);
  ASSERT_EQ(read.entries().size(), 2U);
  const auto& entry = read.entries().at("blk.1.ffn_up_exps.weight");
  EXPECT_EQ(entry.tokens, (std::vector<std::int64_t>{968, 0}));
  EXPECT_EQ(entry.square_sums, (std::vector<double>{1000.0, 4000.0, 0.0, 0.0}));
  // The names and shapes by which llama.cpp finds them.
  const GgufFile file(path);
  EXPECT_EQ(file.get("blk.1.ffn_up_exps.weight.in_sum2").shape(), (Shape{2, 2}));
  EXPECT_EQ(file.get("blk.1.ffn_up_exps.weight.counts").shape(), (Shape{2, 1}));
}

TEST(ImportanceTest, FilesOfAnotherKindOrWithoutSenseAreRefused) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "imatrix.gguf";
  GgufMetadata metadata;
  const auto message = [&](const std::vector<std::pair<StoredTensor, float>>& tensors) {
    std::vector<StoredTensor> layout;
    for (const auto& [tensor, value] : tensors) layout.push_back(tensor);
    GgufWriter writer(path, metadata, layout);
    for (const auto& [tensor, value] : tensors) {
      Tensor filled = Tensor::empty(tensor.shape);
      for (float& element : filled.values()) element = value;
      writer.write(tensor.name, filled);
    }
    writer.commit();
    return test::error_of([&] { (void)read_importance(path); });
  };
  const std::pair<StoredTensor, float> other = {{"token_embd.weight", {1, 4}, DType::f32}, 1.0F};
  EXPECT_THAT(message({other}), HasSubstr("not an importance matrix"));
  metadata.set("general.type", std::string("imatrix"));
  EXPECT_THAT(message({other}), HasSubstr("is empty"));
  const StoredTensor sums{"a.in_sum2", {1, 4}, DType::f32};
  EXPECT_THAT(message({{sums, 1.0F}}), HasSubstr("a.counts"));
  EXPECT_THAT(message({{sums, -1.0F}, {{"a.counts", {1, 1}, DType::f32}, 1.0F}}),
              HasSubstr("a sum of squares of -1"));
  EXPECT_THAT(message({{sums, 1.0F}, {{"a.counts", {1, 1}, DType::f32}, -1.0F}}), HasSubstr("a count of -1"));
  EXPECT_THAT(message({{sums, 1.0F}, {{"a.counts", {2, 1}, DType::f32}, 1.0F}}), HasSubstr("2 counts"));
}

}  // namespace
}  // namespace fathom
