#include "numerics/dtype.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/error_text.h"

namespace fathom {
namespace {

using test::error_of;
using testing::HasSubstr;

constexpr auto kFirst = static_cast<int>(DType::f32);
constexpr auto kLast = static_cast<int>(DType::mxfp4);

TEST(DTypeTest, NamesLeadBackToTypes) {
  for (int i = kFirst; i <= kLast; ++i) {
    const auto dtype = static_cast<DType>(i);
    const bool in_blocks = is_block_quantized(dtype);
    EXPECT_EQ(in_blocks, dtype > DType::u8) << dtype_name(dtype);
    // A header of safetensors cannot ask for blocks, nor a GGUF recipe for plain types.
    EXPECT_EQ(dtype_from_name(dtype_name(dtype)).has_value(), !in_blocks);
    EXPECT_EQ(block_dtype_from_name(dtype_name(dtype)).has_value(), in_blocks);
    EXPECT_EQ(in_blocks ? block_dtype_from_name(dtype_name(dtype)) : dtype_from_name(dtype_name(dtype)),
              dtype);
  }
}

TEST(DTypeTest, TextNamesAnyTypeInAnyCase) {
  EXPECT_EQ(dtype_from_text("q4_k"), DType::q4_k);
  EXPECT_EQ(dtype_from_text("Bf16"), DType::bf16);
  EXPECT_EQ(dtype_from_text("q4"), std::nullopt);
}

TEST(DTypeTest, BlocksHaveBytesAndElementsOfThemHaveNot) {
  EXPECT_EQ(stored_bytes(DType::bf16, 3), 6U);
  EXPECT_EQ(stored_bytes(DType::q4_0, 64), 36U);
  EXPECT_EQ(stored_bytes(DType::q6_k, 512), 420U);
  EXPECT_THAT(error_of([] { dtype_size(DType::q6_k); }),
              HasSubstr("elements of Q6_K have no size of their own"));
}

}  // namespace
}  // namespace fathom
