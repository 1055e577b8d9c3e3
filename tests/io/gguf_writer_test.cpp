#include "io/gguf_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/file.h"
#include "io/gguf.h"
#include "support/error_text.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using test::error_of;
using ::testing::HasSubstr;

std::string content(const std::filesystem::path& path) {
  return read_text_file(path, 1 << 20);
}

std::vector<StoredTensor> layout_of(const GgufFile& file) {
  std::vector<StoredTensor> layout;
  for (const GgufFile::Part& part : file.parts())
    for (const GgufTensor& tensor : part.tensors)
      layout.push_back({tensor.name, tensor.shape, *tensor.type->dtype});
  return layout;
}

bool holds_nothing(const std::filesystem::path& folder) {
  return std::filesystem::is_empty(folder);
}

TEST(GgufWriterTest, WritesTheBytesOfTheLibrary) {
  const test::TemporaryFolder folder;
  const std::filesystem::path golden = test::golden("io/goldens/gguf/types.gguf");
  const GgufFile file(golden);
  GgufWriter writer(folder.path() / "new" / "types.gguf", file.metadata(), layout_of(file));
  for (const std::string& name : file.names()) writer.write(name, file.get(name));  // in any order
  writer.commit();
  EXPECT_EQ(content(folder.path() / "new" / "types.gguf"), content(golden));
}

TEST(GgufWriterTest, WritesPartsAsTheLibraryDoes) {
  const test::TemporaryFolder folder;
  const std::filesystem::path golden = test::golden("io/goldens/gguf");
  const GgufFile file(golden / "parts-00001-of-00003.gguf");
  GgufWriter writer(folder.path() / "parts.gguf", file.metadata(), layout_of(file), 64);
  for (const std::string& name : file.names()) writer.write(name, file.get(name));
  writer.commit();
  ASSERT_EQ(writer.paths().size(), 3U);
  for (const std::filesystem::path& path : writer.paths())
    EXPECT_EQ(content(path), content(golden / path.filename())) << path;
}

TEST(GgufWriterTest, ATensorMayComeInPiecesOfRows) {
  const test::TemporaryFolder folder;
  Tensor experts = Tensor::empty({4, 2, 3});
  for (std::int64_t i = 0; i < experts.size(); ++i) experts.f32()[i] = static_cast<float>(i);
  GgufWriter writer(folder.path() / "m.gguf", {}, {{"experts", {4, 2, 3}, DType::f32}});
  writer.write("experts", experts.rows(0, 1));
  writer.write("experts", experts.rows(1, 3));
  EXPECT_THAT(error_of([&] { writer.commit(); }), HasSubstr("tensor experts was not written whole"));
  EXPECT_THAT(error_of([&] { writer.write("experts", experts.rows(0, 2)); }), HasSubstr("do not fit"));
  writer.write("experts", experts.rows(3, 4));
  writer.commit();
  const Tensor read = GgufFile(folder.path() / "m.gguf").get("experts");
  for (std::int64_t i = 0; i < read.size(); ++i) EXPECT_EQ(read.f32()[i], static_cast<float>(i));
}

TEST(GgufWriterTest, WhatDoesNotFitIsNamed) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "m.gguf";
  GgufWriter writer(path, {}, {{"t", {2, 3}, DType::f32}});
  EXPECT_THAT(error_of([&] {
                writer.write("none", Tensor::zeros({2, 3}));
              }),
              HasSubstr("tensor none is not part"));
  EXPECT_THAT(error_of([&] {
                writer.write("t", Tensor::zeros({2, 2}));
              }),
              HasSubstr("tensor t: rows [2, 2] of F32 do not fit into what is left of [2, 3] of F32"));
  EXPECT_THAT(error_of([&] { writer.write("t", Tensor::zeros({2, 3}, DType::bf16)); }), HasSubstr("of BF16"));
  const auto error_of_layout = [&](const std::vector<StoredTensor>& layout) {
    return error_of([&] { GgufWriter{path, {}, layout}; });
  };
  EXPECT_THAT(error_of_layout({{"t", {2, 48}, DType::q4_0}}),
              HasSubstr("tensor t: rows of 48 values of Q4_0"));
  EXPECT_THAT(error_of_layout({{"t", {2, 48}, DType::f8_e4m3}}), HasSubstr("no type for tensors of F8_E4M3"));
  EXPECT_THAT(error_of_layout({{"t", {1}, DType::f32}, {"t", {1}, DType::f32}}),
              HasSubstr("the name is taken"));
  EXPECT_THAT(error_of_layout({{std::string(64, 'n'), {1}, DType::f32}}), HasSubstr("not of 1 to 63 bytes"));
}

TEST(GgufWriterTest, NothingAppearsBeforeCommitOrIsLeftWithoutIt) {
  const test::TemporaryFolder folder;
  {
    GgufWriter writer(folder.path() / "m.gguf", {}, {{"a", {2}, DType::f32}, {"b", {2}, DType::f32}}, 8);
    writer.write("a", Tensor::zeros({2}));
    writer.write("b", Tensor::zeros({2}));
    EXPECT_FALSE(std::filesystem::exists(folder.path() / "m-00001-of-00002.gguf"));
  }
  EXPECT_TRUE(holds_nothing(folder.path()));
}

}  // namespace
}  // namespace fathom
