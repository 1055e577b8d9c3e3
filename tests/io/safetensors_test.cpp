#include "io/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "base/rng.h"
#include "io/raw_file.h"
#include "numerics/convert.h"
#include "support/error_text.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using test::error_of;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

/// Elements of a golden count up from `first`.
void expect_counted(const Tensor& tensor, DType dtype, const Shape& shape, float first) {
  EXPECT_EQ(tensor.dtype(), dtype);
  EXPECT_EQ(tensor.shape(), shape);
  std::vector<float> values(static_cast<std::size_t>(tensor.size()));
  widen_to_f32(tensor.data(), dtype, tensor.size(), values.data());
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(values[i], first + static_cast<float>(i));
}

template <typename T>
std::vector<T> elements(const Tensor& tensor) {
  const auto* data = static_cast<const T*>(tensor.data());
  return {data, data + tensor.size()};
}

TEST(SafetensorsFileTest, ReadsEveryTypeThatTheLibraryWrites) {
  const SafetensorsFile file(test::golden("io/goldens/types.safetensors"));
  EXPECT_EQ(file.entries().size(), 13U);
  expect_counted(file.get("f32"), DType::f32, {2, 3}, -3);
  expect_counted(file.get("bf16"), DType::bf16, {5}, -3);
  expect_counted(file.get("f16"), DType::f16, {3, 1, 2}, -3);
  expect_counted(file.get("e4m3"), DType::f8_e4m3, {2, 4}, -3);
  expect_counted(file.get("e5m2"), DType::f8_e5m2, {7}, -3);
  expect_counted(file.get("scalar"), DType::f32, {}, -3);
  expect_counted(file.get("名前.weight"), DType::f32, {1, 2}, -3);
  EXPECT_EQ(file.get("empty").size(), 0);
  EXPECT_TRUE(file.get("empty").defined());
  EXPECT_THAT(elements<std::int64_t>(file.get("i64")), ElementsAre(-3, -2, -1, 0));
  EXPECT_THAT(elements<std::int32_t>(file.get("i32")), ElementsAre(-3, -2, -1, 0));
  EXPECT_THAT(elements<std::uint8_t>(file.get("u8")), ElementsAre(0, 1, 2));
  EXPECT_EQ(file.metadata().at("note"), "a \"quoted\"\nline");
}

TEST(SafetensorsFileTest, TypesOfTheFormatThatWeDoNotComputeWithAreListedAndRefusedWhenAskedFor) {
  const SafetensorsFile file(test::golden("io/goldens/types.safetensors"));
  ASSERT_TRUE(file.contains("bool"));
  EXPECT_EQ(file.find("f64")->bytes, 16U);
  EXPECT_THAT(error_of([&] { return file.get("f64"); }),
              HasSubstr("types.safetensors: tensor f64 is of type F64, which Fathom does not compute with"));
  EXPECT_THAT(error_of([&] { return file.get("bool"); }), HasSubstr("tensor bool is of type BOOL"));
  EXPECT_THAT(error_of([&] { return file.get("none"); }), HasSubstr("types.safetensors: has no tensor none"));
}

TEST(SafetensorsFileTest, TensorsOutliveTheFileObject) {
  Tensor tensor;
  {
    const SafetensorsFile file(test::golden("io/goldens/types.safetensors"));
    tensor = file.get("f32");
  }
  expect_counted(tensor, DType::f32, {2, 3}, -3);
}

TEST(SafetensorsFileTest, TensorsAreViewsUnlessTheFileMisalignsThem) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "m.safetensors";
  std::string header =
      R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}})";
  while (header.size() % 8 != 0) header += ' ';
  test::write_raw_safetensors(path, header, 9);
  const SafetensorsFile file(path);
  EXPECT_EQ(file.find("b")->offset % 4, 1U);
  const Tensor b = file.get("b");
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(b.data()) % 4, 0U);
  EXPECT_TRUE(std::ranges::equal(b.bytes(), std::as_bytes(std::span("\1\2\3\4\5\6\7\b", 8))));
  EXPECT_EQ(file.get("a").data(), file.get("a").data());
  EXPECT_NE(file.get("b").data(), file.get("b").data());
}

struct BadHeader {
  const char* what;
  std::string header;
  std::size_t data_bytes;
  std::vector<const char*> expected;  // parts of the message beyond the file's name
};

std::string one(const std::string& entry) {
  return R"({"layer.w":)" + entry + "}";
}

std::vector<BadHeader> bad_headers() {
  const std::string huge_sizes = "[4294967296,4294967296,4294967296]";
  return {
      {"no JSON", "garbage!", 0, {"header: not valid JSON"}},
      {"JSON cut off", R"({"layer.w":{"dtype":"F32",)", 0, {"header: not valid JSON"}},
      {"not an object", "[1,2]", 0, {"the header is not a JSON object"}},
      {"deep nesting", std::string(100000, '['), 0, {"nested deeper than 64"}},
      {"entry of another kind",
       one("7"),
       0,
       {"tensor layer.w: needs an object with dtype, shape and data_offsets"}},
      {"no dtype", one(R"({"shape":[1],"data_offsets":[0,4]})"), 4, {"tensor layer.w: has no dtype"}},
      {"no shape", one(R"({"dtype":"F32","data_offsets":[0,4]})"), 4, {"tensor layer.w: has no shape"}},
      {"no offsets", one(R"({"dtype":"F32","shape":[1]})"), 4, {"tensor layer.w: has no data_offsets"}},
      {"unknown key",
       one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4],"strides":[1]})"),
       4,
       {"tensor layer.w: has the unknown key \"strides\""}},
      {"unknown dtype",
       one(R"({"dtype":"F33","shape":[1],"data_offsets":[0,4]})"),
       4,
       {"tensor layer.w: dtype \"F33\" is not one of the safetensors format"}},
      {"dtype no string",
       one(R"({"dtype":32,"shape":[1],"data_offsets":[0,4]})"),
       4,
       {"dtype is not a string"}},
      {"shape no array",
       one(R"({"dtype":"F32","shape":1,"data_offsets":[0,4]})"),
       4,
       {"shape is not an array"}},
      {"negative size",
       one(R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})"),
       4,
       {"tensor layer.w: shape holds -1, which is no size"}},
      {"fractional size",
       one(R"({"dtype":"F32","shape":[1.5],"data_offsets":[0,4]})"),
       4,
       {"shape holds 1.5"}},
      {"size beyond 63 bits",
       one(R"({"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,4]})"),
       4,
       {"shape holds 9223372036854775808"}},
      {"product overflows",
       one(R"({"dtype":"F32","shape":)" + huge_sizes + R"(,"data_offsets":[0,0]})"),
       0,
       {"tensor layer.w: shape [4294967296, 4294967296, 4294967296] of F32 is not a valid number of bytes"}},
      {"too many dimensions",
       one(R"({"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],)"
           R"("data_offsets":[0,4]})"),
       4,
       {"shape has 33 dimensions, at most 32"}},
      {"half a byte",
       one(R"({"dtype":"F4","shape":[3],"data_offsets":[0,1]})"),
       1,
       {"shape [3] of F4 is not a valid number of bytes"}},
      {"one offset",
       one(R"({"dtype":"F32","shape":[1],"data_offsets":[0]})"),
       4,
       {"tensor layer.w: data_offsets is not a pair of offsets"}},
      {"offsets of text",
       one(R"({"dtype":"F32","shape":[1],"data_offsets":["0","4"]})"),
       4,
       {"data_offsets is not a pair of offsets"}},
      {"negative offset",
       one(R"({"dtype":"F32","shape":[1],"data_offsets":[-4,0]})"),
       4,
       {"is not a pair of offsets"}},
      {"offsets backwards",
       one(R"({"dtype":"F32","shape":[1],"data_offsets":[4,0]})"),
       4,
       {"tensor layer.w: data_offsets [4, 0] end before they begin"}},
      {"offsets beyond the file",
       one(R"({"dtype":"F32","shape":[4],"data_offsets":[0,16]})"),
       15,
       {"tensor layer.w: data_offsets [0, 16] reach beyond the file, which holds 15 bytes of data "
        "(truncated?)"}},
      {"offsets near the limit",
       one(R"({"dtype":"U8","shape":[1],"data_offsets":[18446744073709551614,18446744073709551615]})"),
       1,
       {"tensor layer.w", "reach beyond the file, which holds 1 bytes of data"}},
      {"bytes other than the shape's",
       one(R"({"dtype":"F32","shape":[2,3],"data_offsets":[0,20]})"),
       20,
       {"tensor layer.w: shape [2, 3] of F32 needs 24 bytes, data_offsets [0, 20] give 20"}},
      {"overlap",
       R"({"a":{"dtype":"U8","shape":[6],"data_offsets":[0,6]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
       8,
       {"tensor b begins at byte 4 of the data, inside tensor a, which ends at 6"}},
      {"two tensors of the same bytes",
       R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})",
       4,
       {"begins at byte 0 of the data, inside tensor"}},
      {"hole at the start",
       one(R"({"dtype":"U8","shape":[4],"data_offsets":[2,6]})"),
       6,
       {"tensor layer.w begins at byte 2 of the data, expected 0: a hole of 2 bytes"}},
      {"hole in the middle",
       R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[1],"data_offsets":[3,4]}})",
       4,
       {"tensor b begins at byte 3 of the data, expected 2: a hole of 1 bytes"}},
      {"surplus bytes",
       one(R"({"dtype":"U8","shape":[4],"data_offsets":[0,4]})"),
       7,
       {"3 bytes after the last tensor belong to none"}},
      {"name given twice",
       R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
       2,
       {"header: the key \"a\" stands twice"}},
      {"metadata of another kind", R"({"__metadata__":[]})", 0, {"__metadata__ is not an object"}},
      {"metadata value of another kind",
       R"({"__metadata__":{"format":7}})",
       0,
       {"__metadata__ holds \"format\", which is not a string"}},
      {"invalid UTF-8", "{\"\xFF\":1}", 0, {"header: not valid JSON"}},
      {"name with control characters",
       R"({"a\n\u001b[2J":7})",
       0,
       {"tensor a\\x0a\\x1b[2J: needs an object"}},
  };
}

TEST(SafetensorsFileTest, BadHeadersAreRefusedNamingFileTensorAndExpectation) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "bad.safetensors";
  for (const BadHeader& bad : bad_headers()) {
    test::write_raw_safetensors(path, bad.header, bad.data_bytes);
    const std::string message = error_of([&] { SafetensorsFile{path}; });
    EXPECT_THAT(message, AllOf(StartsWith(path.string() + ": "), Not(HasSubstr("\n")))) << bad.what;
    for (const char* part : bad.expected) EXPECT_THAT(message, HasSubstr(part)) << bad.what;
  }
}

TEST(SafetensorsFileTest, HeaderLengthIsCheckedBeforeItIsBelieved) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "bad.safetensors";
  const auto with_length = [&](std::uint64_t length, std::string_view rest) {
    std::string file(8, '\0');
    std::memcpy(file.data(), &length, 8);
    write_file_atomically(path, file + std::string(rest));
    return error_of([&] { SafetensorsFile{path}; });
  };
  EXPECT_THAT(with_length(3, "{}"),
              HasSubstr("a header of 3 bytes, but only 2 follow in the file (truncated?)"));
  EXPECT_THAT(with_length(100'000'001, "{}"),
              HasSubstr("a header of 100000001 bytes, more than the 100000000"));
  EXPECT_THAT(with_length(UINT64_MAX, "{}"), HasSubstr("more than the 100000000 allowed"));
  EXPECT_THAT(with_length(0, ""), HasSubstr("header: not valid JSON"));
  EXPECT_EQ(with_length(2, "{}"), "no error");
  write_file_atomically(path, "1234567");
  EXPECT_THAT(error_of([&] { SafetensorsFile{path}; }),
              HasSubstr("7 bytes, too short for a safetensors file"));
  write_file_atomically(path, "");
  EXPECT_THAT(error_of([&] { SafetensorsFile{path}; }), HasSubstr("the file is empty"));
}

TEST(SafetensorsFileTest, AFileCutAnywhereIsRefused) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "cut.safetensors";
  const std::string whole = read_text_file(test::golden("io/goldens/types.safetensors"), 1 << 20);
  for (std::size_t size = 0; size < whole.size(); size += 1 + size % 13) {
    const auto bytes = std::as_bytes(std::span(whole).first(size));
    EXPECT_THAT(error_of([&] { return parse_safetensors_header(bytes, "cut"); }), StartsWith("cut: "))
        << size;
  }
  write_file_atomically(path, whole.substr(0, whole.size() - 1));
  EXPECT_THAT(error_of([&] { SafetensorsFile{path}; }), HasSubstr("(truncated?)"));
}

TEST(SafetensorsFileTest, RandomDamageIsRefusedOrHarmless) {
  const std::string whole = read_text_file(test::golden("io/goldens/types.safetensors"), 1 << 20);
  Rng rng(1);
  int refused = 0;
  for (int trial = 0; trial < 500; ++trial) {
    std::string damaged = whole;
    for (std::uint64_t changes = 1 + rng.below(3); changes > 0; --changes)
      damaged[rng.below(damaged.size())] = static_cast<char>(rng.next_u32());
    try {
      const auto header = parse_safetensors_header(std::as_bytes(std::span(damaged)), "damaged");
      for (const TensorEntry& entry : header.entries) ASSERT_LE(entry.offset + entry.bytes, damaged.size());
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 100);
}

TEST(SafetensorsHeaderTest, WhatIsSerializedIsReadBack) {
  SafetensorsHeader header =
      lay_out_safetensors({{"b", {3}, DType::bf16}, {"a \"q\"\n", {2, 2}}, {"none", {0}}}, {{"k", "v"}}, "f");
  const std::string text = serialize_safetensors_header(header);
  EXPECT_EQ(text.size() % 64, 0U);
  const std::string file = text + std::string(22, '\0');
  const SafetensorsHeader read = parse_safetensors_header(std::as_bytes(std::span(file)), "f");
  EXPECT_EQ(read.metadata, header.metadata);
  ASSERT_EQ(read.entries.size(), 3U);
  for (const TensorEntry& entry : read.entries) {
    const auto same = std::ranges::find(header.entries, entry.name, &TensorEntry::name);
    ASSERT_NE(same, header.entries.end());
    EXPECT_EQ(entry.offset, same->offset);
    EXPECT_EQ(entry.shape, same->shape);
    EXPECT_EQ(entry.dtype, same->dtype);
  }
}

TEST(SafetensorsHeaderTest, TheNameOfTheMetadataIsTaken) {
  EXPECT_THAT(error_of([] {
                lay_out_safetensors({{"__metadata__", {1}}}, {}, "f");
              }),
              HasSubstr("f: tensor __metadata__: the name is taken"));
}

}  // namespace
}  // namespace fathom
