#include "io/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/rng.h"
#include "numerics/convert.h"
#include "support/error_text.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using test::error_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::span<const std::byte> bytes_of(const std::string& file) {
  return std::as_bytes(std::span(file));
}

std::string error_of_file(const std::string& file) {
  return error_of([&] { parse_gguf_header(bytes_of(file), "FILE"); });
}

/// A GGUF header put together by hand.
class RawGguf {
 public:
  RawGguf(std::uint64_t tensors, std::uint64_t keys) {
    text_ = "GGUF";
    number<std::uint32_t>(3).number(tensors).number(keys);
  }
  template <typename T>
  RawGguf& number(T value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof(T));
    return *this;
  }
  RawGguf& string(std::string_view text) {
    number<std::uint64_t>(text.size());
    text_ += text;
    return *this;
  }
  RawGguf& tensor(std::string_view name, const std::vector<std::uint64_t>& sizes, std::uint32_t type,
                  std::uint64_t offset) {
    string(name).number(static_cast<std::uint32_t>(sizes.size()));
    for (const std::uint64_t size : sizes) number(size);
    return number(type).number(offset);
  }
  /// Pads to the alignment and appends data.
  RawGguf& data(std::size_t bytes) {
    text_.resize((text_.size() + 31) / 32 * 32 + bytes, '\1');
    return *this;
  }
  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] std::string error() const { return error_of_file(text_); }

 private:
  std::string text_;
};

constexpr std::uint32_t kU32 = 4;
constexpr std::uint32_t kBool = 7;
constexpr std::uint32_t kString = 8;
constexpr std::uint32_t kArray = 9;

TEST(GgufFileTest, ReadsMetadataOfEveryTypeThatTheLibraryWrites) {
  const GgufFile file(test::golden("io/goldens/gguf/types.gguf"));
  const GgufMetadata& metadata = file.metadata();
  EXPECT_EQ(*metadata.find("general.architecture"), GgufValue(std::string("deepseek2")));
  EXPECT_EQ(*metadata.find("t.u8"), GgufValue(std::uint8_t{200}));
  EXPECT_EQ(*metadata.find("t.i8"), GgufValue(std::int8_t{-100}));
  EXPECT_EQ(*metadata.find("t.u16"), GgufValue(std::uint16_t{60000}));
  EXPECT_EQ(*metadata.find("t.i16"), GgufValue(std::int16_t{-30000}));
  EXPECT_EQ(*metadata.find("t.u32"), GgufValue(std::uint32_t{4'000'000'000}));
  EXPECT_EQ(*metadata.find("t.i32"), GgufValue(std::int32_t{-2'000'000'000}));
  EXPECT_EQ(*metadata.find("t.u64"), GgufValue((std::uint64_t{1} << 63) + 5));
  EXPECT_EQ(*metadata.find("t.i64"), GgufValue(-(std::int64_t{1} << 62)));
  EXPECT_EQ(*metadata.find("t.f32"), GgufValue(0.1F));
  EXPECT_EQ(*metadata.find("t.f64"), GgufValue(0.1));
  EXPECT_EQ(*metadata.find("t.bool"), GgufValue(true));
  EXPECT_EQ(*metadata.find("t.string"), GgufValue(std::string("a \"quoted\"\nline, 名前")));
  EXPECT_EQ(metadata.find("none"), nullptr);
}

TEST(GgufFileTest, ReadsArraysAndArraysOfArrays) {
  const GgufFile file(test::golden("io/goldens/gguf/types.gguf"));
  const auto array = [&](const char* key) { return std::get<GgufArray>(*file.metadata().find(key)); };
  EXPECT_THAT(std::get<std::vector<std::string>>(array("t.strings").values),
              ElementsAre("", "Ġthe", std::string(300, 'x')));
  EXPECT_THAT(std::get<std::vector<std::int32_t>>(array("t.ints").values), ElementsAre(3, -1, 7));
  EXPECT_THAT(std::get<std::vector<float>>(array("t.floats").values), ElementsAre(0.5F, -2.0F));
  EXPECT_THAT(std::get<std::vector<bool>>(array("t.bools").values), ElementsAre(true, false));
  const auto nested = std::get<std::vector<GgufArray>>(array("t.nested").values);
  ASSERT_EQ(nested.size(), 2U);
  EXPECT_THAT(std::get<std::vector<std::int32_t>>(nested[0].values), ElementsAre(1, 2));
}

TEST(GgufFileTest, ReadsTensorsOfPlainTypesSlowestDimensionFirst) {
  const GgufFile file(test::golden("io/goldens/gguf/types.gguf"));
  for (const auto& [name, dtype] :
       {std::pair{"float32", DType::f32}, {"float16", DType::f16}, {"bfloat16", DType::bf16}}) {
    const Tensor tensor = file.get(name);
    EXPECT_EQ(tensor.dtype(), dtype);
    std::vector<float> values(static_cast<std::size_t>(tensor.size()));
    widen_to_f32(tensor.data(), dtype, tensor.size(), values.data());
    for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(values[i], static_cast<float>(i) - 3.0F);
  }
  EXPECT_EQ(file.get("float32").shape(), Shape({2, 3}));
  const Tensor experts = file.get("experts", {4, 2, 3});
  EXPECT_EQ(experts.rows(1, 2).f32()[0], 6.0F);
}

TEST(GgufFileTest, ReadsTensorsOfBlockTypesAsTheyAreStored) {
  const GgufFile file(test::golden("io/goldens/gguf/types.gguf"));
  int seen = 0;
  for (const GgufTensor& entry : file.parts().front().tensors) {
    if (entry.type->block_values == 1) continue;
    ++seen;
    const Tensor tensor = file.get(entry.name);
    EXPECT_EQ(dtype_name(tensor.dtype()), entry.name);
    EXPECT_EQ(tensor.shape(), Shape({3, 512}));
    const auto bytes = tensor.bytes();
    for (std::size_t i = 0; i < bytes.size(); ++i) ASSERT_EQ(static_cast<std::size_t>(bytes[i]), i % 251);
  }
  EXPECT_EQ(seen, 22);
}

TEST(GgufFileTest, TypesThatWeDoNotComputeWithAreListedAndRefusedByName) {
  const GgufFile file(test::golden("io/goldens/gguf/other_types.gguf"));
  EXPECT_EQ(file.find("Q1_0")->shape, Shape({3, 512}));
  EXPECT_THAT(error_of([&] { return file.get("NVFP4"); }),
              HasSubstr("tensor NVFP4 is of type NVFP4, which Fathom does not compute with"));
}

TEST(GgufFileTest, TensorsOutliveTheFileObject) {
  Tensor tensor;
  {
    const GgufFile file(test::golden("io/goldens/gguf/types.gguf"));
    tensor = file.get("float32");
  }
  EXPECT_EQ(tensor.f32()[5], 2.0F);
}

TEST(GgufFileTest, PartsAreOneModelWhicheverIsNamed) {
  for (const char* name : {"parts-00001-of-00003.gguf", "parts-00003-of-00003.gguf"}) {
    const GgufFile file(test::golden("io/goldens/gguf") / name);
    EXPECT_THAT(file.names(), ElementsAre("t0", "t1", "t2", "t3", "t4"));
    EXPECT_EQ(file.parts().size(), 3U);
    EXPECT_EQ(*file.metadata().find("general.name"), GgufValue(std::string("parts")));
    EXPECT_EQ(file.get("t3", {2, 4}).f32()[7], 3.0F);
  }
}

TEST(GgufFileTest, MissingOrRenamedPartsAreNamed) {
  const test::TemporaryFolder folder;
  const auto golden = test::golden("io/goldens/gguf");
  std::filesystem::copy(golden / "parts-00001-of-00003.gguf", folder.path() / "parts-00001-of-00003.gguf");
  EXPECT_THAT(error_of([&] { GgufFile{folder.path() / "parts-00001-of-00003.gguf"}; }),
              HasSubstr("parts-00002-of-00003.gguf: cannot open"));
  std::filesystem::copy(golden / "parts-00001-of-00003.gguf", folder.path() / "model.gguf");
  EXPECT_THAT(error_of([&] { GgufFile{folder.path() / "model.gguf"}; }),
              HasSubstr("model.gguf: is one of 3 parts"));
  std::filesystem::copy(golden / "parts-00003-of-00003.gguf", folder.path() / "parts-00002-of-00003.gguf");
  EXPECT_THAT(error_of([&] { GgufFile{folder.path() / "parts-00001-of-00003.gguf"}; }),
              HasSubstr("do not say that it is part 1 of 3"));
}

TEST(GgufFileTest, MissingTensorsAndWrongShapesAreNamed) {
  const GgufFile file(test::golden("io/goldens/gguf/types.gguf"));
  EXPECT_THAT(error_of([&] { return file.get("none"); }), HasSubstr("types.gguf: has no tensor none"));
  EXPECT_THAT(error_of([&] {
                return file.get("float32", {3, 3}, "a × b");
              }),
              HasSubstr("tensor float32 is [2, 3], the model needs [3, 3] (a × b)"));
}

TEST(GgufHeaderTest, OtherFilesAreRefusedByWhatTheyAre) {
  EXPECT_THAT(error_of_file("GG"), HasSubstr("FILE: the magic number needs 4 bytes"));
  EXPECT_THAT(error_of_file("{\"a\": 1}"), HasSubstr("not a GGUF file"));
  EXPECT_THAT(error_of_file(std::string("GGUF\0\0\0\3", 8)), HasSubstr("big-endian"));
  EXPECT_THAT(error_of_file(std::string("GGUF\1\0\0\0", 8)), HasSubstr("GGUF version 1, expected 2 or 3"));
}

TEST(GgufHeaderTest, CountsBeyondTheFileAreRefusedBeforeAnythingIsAllocated) {
  constexpr std::uint64_t kHuge = UINT64_MAX;
  EXPECT_THAT(RawGguf(0, kHuge).error(), HasSubstr("a metadata key needs 8 bytes"));
  EXPECT_THAT(RawGguf(kHuge, 0).error(), HasSubstr("a tensor's name needs 8 bytes"));
  EXPECT_THAT(RawGguf(0, 1).number(kHuge).error(),
              HasSubstr("a metadata key needs 18446744073709551615 bytes"));
  EXPECT_THAT(RawGguf(0, 1).string("k").number(kString).number(kHuge).error(), HasSubstr("k needs"));
  EXPECT_THAT(RawGguf(0, 1).string("k").number(kArray).number(kString).number(kHuge).error(),
              HasSubstr("k has 18446744073709551615 elements, more than the file can hold"));
}

TEST(GgufHeaderTest, UnknownTypesAndDeepNestingAreRefused) {
  EXPECT_THAT(RawGguf(0, 1).string("k").number<std::uint32_t>(13).error(),
              HasSubstr("k is of type 13, which GGUF does not have"));
  EXPECT_THAT(RawGguf(0, 1).string("k").number(kBool).number<std::uint8_t>(2).error(),
              HasSubstr("the bool 2"));
  RawGguf deep(0, 1);
  deep.string("k").number(kArray);
  for (int i = 0; i < 100; ++i) deep.number(kArray).number<std::uint64_t>(1);
  EXPECT_THAT(deep.error(), HasSubstr("more than 4 deep"));
  EXPECT_THAT(RawGguf(1, 0).tensor("t", {4}, 99, 0).data(16).error(), HasSubstr("tensor t: is of type 99"));
}

TEST(GgufHeaderTest, NamesGivenTwiceAreRefused) {
  RawGguf keys(0, 2);
  for (int i = 0; i < 2; ++i) keys.string("k").number(kU32).number<std::uint32_t>(1);
  EXPECT_THAT(keys.error(), HasSubstr("the key k is there twice"));
  EXPECT_THAT(RawGguf(2, 0).tensor("t", {8}, 0, 0).tensor("t", {8}, 0, 32).data(64).error(),
              HasSubstr("tensor t is there twice"));
}

TEST(GgufHeaderTest, TensorsMustLieInTheFileAlignedAndApart) {
  EXPECT_EQ(RawGguf(2, 0).tensor("a", {8}, 0, 0).tensor("b", {8}, 0, 32).data(64).error(), "no error");
  EXPECT_THAT(RawGguf(1, 0).tensor("t", {8}, 0, 32).data(63).error(), HasSubstr("reaches beyond the file"));
  EXPECT_THAT(RawGguf(1, 0).tensor("t", {8}, 0, UINT64_MAX - 31).data(64).error(),
              HasSubstr("reaches beyond the file"));
  EXPECT_THAT(RawGguf(1, 0).tensor("t", {8}, 0, 4).data(64).error(), HasSubstr("expected a multiple of 32"));
  EXPECT_THAT(RawGguf(2, 0).tensor("a", {16}, 0, 0).tensor("b", {8}, 0, 32).data(64).error(),
              HasSubstr("tensor b begins inside tensor a"));
}

TEST(GgufHeaderTest, SizesThatOverflowOrCutBlocksAreRefused) {
  constexpr std::uint64_t kLarge = std::uint64_t{1} << 40;
  EXPECT_THAT(RawGguf(1, 0).tensor("t", {kLarge, kLarge}, 0, 0).data(64).error(),
              HasSubstr("FILE: tensor t: "));
  EXPECT_THAT(RawGguf(1, 0).tensor("t", {UINT64_MAX}, 0, 0).data(64).error(), HasSubstr("a dimension of"));
  EXPECT_THAT(RawGguf(1, 0).tensor("t", {48}, 2, 0).data(64).error(),
              HasSubstr("rows of 48 values of Q4_0, expected a multiple of 32"));
  EXPECT_THAT(RawGguf(1, 0).tensor("t", {1, 1, 1, 1, 1}, 0, 0).data(64).error(),
              HasSubstr("5 dimensions, expected at most 4"));
}

TEST(GgufHeaderTest, AlignmentMustBeAPowerOfTwo) {
  for (const std::uint32_t alignment : {0U, 4U, 48U, 1U << 30})
    EXPECT_THAT(RawGguf(0, 1).string("general.alignment").number(kU32).number(alignment).error(),
                HasSubstr("general.alignment is"));
}

TEST(GgufHeaderTest, DamagedFilesGiveErrorsAndNothingElse) {
  const std::string whole = read_text_file(test::golden("io/goldens/gguf/types.gguf"), 1 << 20);
  for (std::size_t length = 0; length < whole.size(); length += length < 3000 ? 1 : 97)
    EXPECT_NE(error_of_file(whole.substr(0, length)), "no error") << length;
  Rng rng(1);
  for (int i = 0; i < 3000; ++i) {
    std::string damaged = whole;
    for (int flips = 0; flips < 3; ++flips) damaged[rng.below(3000)] = static_cast<char>(rng.below(256));
    (void)error_of_file(damaged);
  }
}

}  // namespace
}  // namespace fathom
