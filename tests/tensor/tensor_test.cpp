#include "tensor/tensor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "support/error_text.h"
#include "tensor/block_scaled.h"
#include "tensor/storage.h"

namespace fathom {
namespace {

using test::error_of;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Tensor counted(const Shape& shape) {
  Tensor tensor = Tensor::empty(shape);
  std::iota(tensor.values().begin(), tensor.values().end(), 0.0F);
  return tensor;
}

TEST(ShapeTest, ElementCountIsTheProduct) {
  EXPECT_EQ(element_count({}), 1);
  EXPECT_EQ(element_count({3, 0, 5}), 0);
  EXPECT_EQ(element_count({64, 2048}), 131072);
  EXPECT_EQ(shape_text({64, 2048}), "[64, 2048]");
  EXPECT_EQ(shape_text({}), "[]");
}

TEST(ShapeTest, NegativeAndOverflowingSizesAreRefused) {
  EXPECT_THAT(error_of([] { element_count({2, -1}); }), HasSubstr("[2, -1] has no valid element count"));
  EXPECT_THAT(error_of([] { element_count({INT64_MAX, 2}); }), HasSubstr("no valid element count"));
  // 2^61 elements are countable; 2^64 bytes are not, and must not wrap round to few.
  EXPECT_THAT(error_of([] { Tensor::empty({std::int64_t{1} << 61}, DType::i64); }),
              HasSubstr("cannot allocate a tensor of shape [2305843009213693952]"));
  EXPECT_THAT(error_of([] { Tensor::empty({std::int64_t{1} << 60}, DType::i64); }),
              HasSubstr("cannot allocate"));
}

TEST(TensorTest, EmptyIsAlignedAndZerosAreZero) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f8_e4m3, DType::i64}) {
    const Tensor tensor = Tensor::zeros({3, 7}, dtype);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensor.data()) % 64, 0U);
    EXPECT_EQ(tensor.byte_size(), 21 * dtype_size(dtype));
    EXPECT_THAT(tensor.bytes(), Each(std::byte{0}));
  }
  EXPECT_TRUE(Tensor::empty({0, 5}).defined());
  EXPECT_FALSE(Tensor().defined());
}

TEST(TensorTest, RowsOfBlockTypesAreWholeBlocks) {
  const Tensor tensor = Tensor::zeros({3, 512}, DType::q4_k);
  EXPECT_EQ(tensor.size(), 3 * 512);
  EXPECT_EQ(tensor.byte_size(), 3U * 2U * 144U);
  EXPECT_EQ(
      static_cast<const std::byte*>(tensor.rows(2, 3).data()) - static_cast<const std::byte*>(tensor.data()),
      2 * 2 * 144);
  EXPECT_THAT(error_of([] {
                Tensor::empty({3, 384}, DType::q4_k);
              }),
              HasSubstr("rows of Q4_K are blocks of 256 values, which a tensor of shape [3, 384] has not"));
  EXPECT_THAT(error_of([] { static_cast<void>(Tensor::zeros({64}, DType::q8_0).rows(1, 33)); }),
              HasSubstr("one row of Q8_0 is not cut"));
}

TEST(TensorTest, CopiesShareAndClonesDoNot) {
  Tensor tensor = counted({2, 2});
  const Tensor copy = tensor;
  const Tensor clone = tensor.clone();
  tensor.f32()[0] = 9.0F;
  EXPECT_THAT(copy.values(), ElementsAre(9, 1, 2, 3));
  EXPECT_THAT(clone.values(), ElementsAre(0, 1, 2, 3));
}

TEST(TensorTest, RowsAndReshapeAreViewsThatKeepTheStorage) {
  Tensor rows;
  {
    const Tensor tensor = counted({4, 3});
    rows = tensor.rows(1, 3);
  }
  EXPECT_THAT(rows.shape(), ElementsAre(2, 3));
  EXPECT_THAT(rows.values(), ElementsAre(3, 4, 5, 6, 7, 8));
  EXPECT_THAT(rows.reshape({3, 2}).rows(2, 3).values(), ElementsAre(7, 8));
  EXPECT_EQ(rows.rows(2, 2).size(), 0);
  EXPECT_EQ(Tensor::empty({0, 3}).rows(0, 0).size(), 0);
}

TEST(TensorTest, ViewKeepsItsOwner) {
  auto owner = std::make_shared<std::vector<float>>(6, 2.0F);
  const std::weak_ptr<std::vector<float>> watch = owner;
  float* data = owner->data();
  Tensor view = Tensor::view(data, {2, 3}, DType::f32, std::move(owner));
  EXPECT_THAT(view.values(), Each(2.0F));
  EXPECT_FALSE(watch.expired());
  view = Tensor();
  EXPECT_TRUE(watch.expired());
}

TEST(TensorTest, MisuseIsAnError) {
  const Tensor tensor = counted({4, 3});
  EXPECT_THAT(error_of([&] { return tensor.rows(3, 5); }),
              HasSubstr("rows [3, 5) of a tensor of shape [4, 3]"));
  EXPECT_THAT(error_of([&] { return tensor.rows(-1, 2); }), HasSubstr("rows [-1, 2)"));
  EXPECT_THAT(error_of([&] { return tensor.rows(2, 1); }), HasSubstr("rows [2, 1)"));
  EXPECT_THAT(error_of([] { return counted({}).rows(0, 0); }), HasSubstr("of shape []"));
  EXPECT_THAT(error_of([&] { return tensor.reshape({5, 2}); }), HasSubstr("cannot reshape [4, 3] to [5, 2]"));
  EXPECT_THAT(error_of([] { return Tensor::zeros({2}, DType::bf16).f32(); }),
              HasSubstr("a tensor of BF16 was used as F32"));
}

TEST(StorageTest, FreedBlocksServeRequestsOfALikeSize) {
  release_idle_storage();
  const void* first = nullptr;
  {
    const auto block = allocate_storage(10'000);
    first = block.get();
    EXPECT_EQ(idle_storage_bytes(), 0U);
  }
  EXPECT_GE(idle_storage_bytes(), 10'000U);
  EXPECT_LE(idle_storage_bytes(), 12'500U);  // at most a quarter is wasted
  const auto again = allocate_storage(9'900);
  EXPECT_EQ(again.get(), first);
  EXPECT_EQ(idle_storage_bytes(), 0U);
  { const auto other = allocate_storage(500'000); }
  release_idle_storage();
  EXPECT_EQ(idle_storage_bytes(), 0U);
}

TEST(StorageTest, ImpossibleSizesAreErrors) {
  EXPECT_THAT(error_of([] { allocate_storage(SIZE_MAX); }), HasSubstr("cannot allocate"));
  EXPECT_THAT(error_of([] { allocate_storage(SIZE_MAX / 2); }), HasSubstr("cannot allocate"));
}

TEST(StorageTest, ThreadsShareIdleBlocksSafely) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([t] {
      for (std::size_t i = 1; i <= 200; ++i) {
        Tensor tensor = Tensor::empty({static_cast<std::int64_t>(i % 7 + 1), 64});
        for (float& value : tensor.values()) value = static_cast<float>(t);
        EXPECT_THAT(tensor.values(), Each(static_cast<float>(t)));
      }
    });
  for (std::thread& thread : threads) thread.join();
}

TEST(BlockScaledTest, NarrowSourcesAreQuantisedAsTheirF32Values) {
  Tensor wide = Tensor::empty({140, 3});
  Tensor narrow = Tensor::empty({140, 3}, DType::bf16);
  for (std::int64_t i = 0; i < wide.size(); ++i) {
    const Bf16 value = Bf16::from_float(static_cast<float>(i) - 200.5F);
    static_cast<Bf16*>(narrow.data())[i] = value;
    wide.f32()[i] = value.to_float();
  }
  const BlockScaled a = quantize_blocks(wide, ScaleFormat::f32);
  const BlockScaled b = quantize_blocks(narrow, ScaleFormat::f32);
  EXPECT_THAT(a.weight_scale_inv.shape(), ElementsAre(2, 1));
  EXPECT_TRUE(std::ranges::equal(a.weight.bytes(), b.weight.bytes()));
  EXPECT_TRUE(std::ranges::equal(a.weight_scale_inv.bytes(), b.weight_scale_inv.bytes()));
  EXPECT_TRUE(std::ranges::equal(to_f32(narrow).values(), wide.values()));
}

TEST(BlockScaledTest, OnlyMatricesHaveBlocksAndCodesNeedTheirScales) {
  EXPECT_THAT(error_of([] { quantize_blocks(Tensor::zeros({4}), ScaleFormat::f32); }),
              HasSubstr("block scales need a matrix, not a tensor of shape [4]"));
  const Tensor codes = Tensor::zeros({130, 2}, DType::f8_e4m3);
  EXPECT_THAT(error_of([&] { to_f32(codes); }), HasSubstr("[130, 2] without its block scales"));
  EXPECT_THAT(error_of([&] { to_f32(codes, Tensor::zeros({1, 1})); }), HasSubstr("without its block scales"));
}

}  // namespace
}  // namespace fathom
