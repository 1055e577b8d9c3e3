#include "kernels/latent_rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/kernel_test.h"
#include "numerics/small_float.h"

namespace fathom::kernels {
namespace {

/// Rows stored and widened again.
std::vector<float> rounded_rows(const LatentLayout& layout, const std::vector<float>& values) {
  const std::int64_t count = static_cast<std::int64_t>(values.size()) / layout.width();
  std::vector<std::uint32_t> memory(static_cast<std::size_t>(count * layout.row_bytes()) / 4);
  std::byte* page = reinterpret_cast<std::byte*>(memory.data());
  const LatentRows rows{layout, &page, 0, count};
  ThreadPool pool(2);
  store_latent_rows(pool, rows, 0, count, values.data());
  std::vector<float> latents(static_cast<std::size_t>(count * layout.latent_dim));
  std::vector<float> keys(static_cast<std::size_t>(count * layout.rope_dim));
  load_latent_rows(pool, rows, 0, count, LatentPart::latent, latents.data());
  load_latent_rows(pool, rows, 0, count, LatentPart::key, keys.data());
  std::vector<float> out;
  for (std::int64_t t = 0; t < count; ++t) {
    out.insert(out.end(), latents.begin() + t * layout.latent_dim,
               latents.begin() + (t + 1) * layout.latent_dim);
    out.insert(out.end(), keys.begin() + t * layout.rope_dim, keys.begin() + (t + 1) * layout.rope_dim);
  }
  return out;
}

float nearest(LatentType type, float x) {
  if (type == LatentType::f16) return F16::from_float(x, Overflow::saturate).to_float();
  return type == LatentType::f32 ? x : Bf16::from_float(x).to_float();
}

TEST(LatentRowsTest, SizesAreThoseOfTheReleasedModels) {
  const auto bytes = [](LatentType type) { return LatentLayout{type, 512, 64}.row_bytes(); };
  EXPECT_EQ(bytes(LatentType::f32), 2304);
  EXPECT_EQ(bytes(LatentType::f16), 1152);
  EXPECT_EQ(bytes(LatentType::bf16), 1152);
  EXPECT_EQ(bytes(LatentType::f8_e4m3), 656);  // FlashMLA's: 512 codes, 4 scales, 64 values of BF16
  EXPECT_EQ(bytes(LatentType::q8), 672);
}

TEST(LatentRowsTest, FloatsAreTheNearestOnEveryInstructionSet) {
  std::vector<float> values = test::random_values(3 * (37 + 10), 1);
  values[3] = 1e6F;
  values[4] = 1e-7F;
  test::for_each_target([&] {
    for (const LatentType type : {LatentType::f32, LatentType::f16, LatentType::bf16}) {
      const std::vector<float> got = rounded_rows({type, 37, 10}, values);
      for (std::size_t i = 0; i < values.size(); ++i) ASSERT_EQ(got[i], nearest(type, values[i])) << i;
    }
  });
}

TEST(LatentRowsTest, CodesWithScalesAreTheNearestOnEveryInstructionSet) {
  const std::vector<float> values = test::random_values(2 * (200 + 10), 2);
  test::for_each_target([&] {
    for (const LatentType type : {LatentType::f8_e4m3, LatentType::q8}) {
      const LatentLayout layout{type, 200, 10};
      const float largest = type == LatentType::q8 ? 127.0F : 448.0F;
      const std::vector<float> got = rounded_rows(layout, values);
      for (std::int64_t i = 0; i < static_cast<std::int64_t>(values.size()); ++i) {
        const std::int64_t column = i % 210;
        const float x = values[static_cast<std::size_t>(i)];
        if (column >= 200) {
          ASSERT_EQ(got[static_cast<std::size_t>(i)], Bf16::from_float(x).to_float());
          continue;
        }
        const std::int64_t first = i - column + column / layout.scale_tile() * layout.scale_tile();
        const std::int64_t last = std::min(first + layout.scale_tile(), i - column + 200);
        float amax = 0;
        for (std::int64_t j = first; j < last; ++j)
          amax = std::max(amax, std::abs(values[static_cast<std::size_t>(j)]));
        const float scale = amax / largest;
        const float code =
            type == LatentType::q8 ? std::nearbyint(x / scale) : F8E4M3::from_float(x / scale).to_float();
        ASSERT_EQ(got[static_cast<std::size_t>(i)], code * scale) << i;
      }
    }
  });
}

TEST(LatentRowsTest, WhatIsNotANumberIsNotHidden) {
  test::for_each_target([] {
    for (const LatentType type : kLatentTypes) {
      std::vector<float> values(70 + 8, 0.5F);
      values[2] = std::nanf("");
      values[75] = std::nanf("");
      const std::vector<float> got = rounded_rows({type, 70, 8}, values);
      EXPECT_TRUE(std::isnan(got[2])) << latent_type_name(type);
      EXPECT_TRUE(std::isnan(got[75])) << latent_type_name(type);
      EXPECT_EQ(got[70], 0.5F);
    }
  });
}

TEST(LatentRowsTest, ZerosStayZeros) {
  for (const LatentType type : kLatentTypes)
    EXPECT_EQ(rounded_rows({type, 64, 8}, std::vector<float>(72)), std::vector<float>(72));
}

TEST(LatentRowsTest, TypesHaveNames) {
  for (const LatentType type : kLatentTypes) EXPECT_EQ(latent_type_from_name(latent_type_name(type)), type);
  EXPECT_EQ(latent_type_from_name("q4"), std::nullopt);
}

}  // namespace
}  // namespace fathom::kernels
