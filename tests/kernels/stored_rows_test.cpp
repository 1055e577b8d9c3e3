#include "kernels/stored_rows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

#include "kernel_test.h"
#include "support/binary_reader.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using kernels::StoredRows;

constexpr std::int64_t kStoredRows = 131;
constexpr std::int64_t kStoredColumns = 150;
constexpr std::size_t kStoredSize = kStoredRows * kStoredColumns;

/// The matrix of goldens/make_stored_rows.py: partial tiles at both edges, tiles below the floor, rows of
/// different sizes.
std::vector<float> golden_matrix() {
  std::vector<float> values(kStoredSize);
  for (std::uint32_t i = 0; i < kStoredSize; ++i) {
    values[i] = static_cast<float>(static_cast<std::int32_t>(i * 2654435761U)) * 0x1p-31F;
    if (i % kStoredColumns >= 128) values[i] *= 0x1p-20F;
    if (i / kStoredColumns % 7 == 0) values[i] *= 100.0F;
  }
  return values;
}

template <typename T>
std::uint64_t checksum_of(std::span<const T> values) {
  std::uint64_t value = 0xCBF29CE484222325;
  for (const std::byte byte : std::as_bytes(values))
    value = (value ^ static_cast<std::uint64_t>(byte)) * 0x100000001B3;
  return value;
}

/// What `store_rows` makes, in memory of its own.
struct Stored {
  std::vector<std::byte> data;
  std::vector<float> scale;
  StoredRows view;

  Stored(ThreadPool& pool, std::span<const float> x, std::int64_t rows, std::int64_t columns,
         RowFormat format, TileScaling scaling)
      : data(static_cast<std::size_t>(rows * row_bytes(format, columns))),
        scale(static_cast<std::size_t>(has_tile_scales(format) ? rows * scale_blocks(columns) : 0)),
        view{data.data(), format, scale.data(), rows, columns} {
    kernels::store_rows(pool, x.data(), rows, columns, format, scaling, data.data(), scale.data());
  }
  [[nodiscard]] std::vector<float> values(ThreadPool& pool) const {
    std::vector<float> out(static_cast<std::size_t>(view.rows * view.columns));
    kernels::load_rows(pool, view, out.data());
    return out;
  }
};

struct Columns {
  std::vector<F8E4M3> codes;
  std::vector<float> scale;

  Columns(ThreadPool& pool, const StoredRows& from, const std::int32_t* gather,
          const std::vector<std::int64_t>& offsets, TileScaling scaling)
      : codes(static_cast<std::size_t>(offsets.back() * from.columns)) {
    std::int64_t tiles = 0;
    for (std::size_t i = 0; i + 1 < offsets.size(); ++i) tiles += scale_blocks(offsets[i + 1] - offsets[i]);
    scale.resize(static_cast<std::size_t>(tiles * from.columns));
    kernels::quantize_columns(pool, from, gather, offsets, scaling, codes.data(), scale.data());
  }
  [[nodiscard]] std::vector<std::uint8_t> bits() const {
    std::vector<std::uint8_t> list;
    for (const F8E4M3 code : codes) list.push_back(code.bits);
    return list;
  }
};

TEST(StoredRowsTest, TilesEqualPyTorchOnEveryInstructionSet) {
  ThreadPool pool(2);
  const std::vector<float> x = golden_matrix();
  test::for_each_target([&] {
    test::BinaryReader golden(test::golden("kernels/goldens/stored_rows.bin"));
    for (const float floor : {1e-4F, 1e-20F}) {
      for (const ScaleFormat format : {ScaleFormat::f32, ScaleFormat::power_of_two}) {
        const TileScaling scaling{format, floor};
        const Stored rows(pool, x, kStoredRows, kStoredColumns, RowFormat::e4m3, scaling);
        EXPECT_EQ(rows.scale, golden.next_array<float>(rows.scale.size()));
        EXPECT_EQ(checksum_of<std::byte>(rows.data), golden.next<std::uint64_t>());
        EXPECT_EQ(checksum_of<float>(rows.values(pool)), golden.next<std::uint64_t>());
        const Stored plain(pool, x, kStoredRows, kStoredColumns, RowFormat::f32, scaling);
        for (const Stored* source : {&plain, &rows}) {
          const Columns columns(pool, source->view, nullptr, {0, kStoredRows}, scaling);
          EXPECT_EQ(columns.scale, golden.next_array<float>(columns.scale.size()));
          EXPECT_EQ(checksum_of<F8E4M3>(columns.codes), golden.next<std::uint64_t>());
        }
      }
    }
    const Stored e5m6(pool, x, kStoredRows, kStoredColumns, RowFormat::e5m6, {ScaleFormat::f32, 1e-4F});
    const Stored power(pool, x, kStoredRows, kStoredColumns, RowFormat::e5m6,
                       {ScaleFormat::power_of_two, 1e-4F});
    EXPECT_NE(e5m6.scale, power.scale);
    EXPECT_EQ(power.scale, golden.next_array<float>(power.scale.size()));
    EXPECT_EQ(checksum_of<float>(power.values(pool)), golden.next<std::uint64_t>());
    EXPECT_TRUE(golden.at_end());
  });
}

/// Every bf16 number, through a tile whose scale is 1: the vectorised conversion against numerics/.
TEST(StoredRowsTest, CodesOfAllBf16NumbersAreThoseOfTheScalarConversion) {
  ThreadPool pool(2);
  std::vector<float> x;
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = Bf16{static_cast<std::uint16_t>(bits)}.to_float();
    if (!(std::fabs(value) <= 448.0F)) continue;
    if (x.size() % 128 == 0) x.push_back(448.0F);
    x.push_back(value);
  }
  x.resize((x.size() + 127) / 128 * 128, 448.0F);
  const auto count = static_cast<std::int64_t>(x.size());
  test::for_each_target([&] {
    const Stored e4m3(pool, x, count / 128, 128, RowFormat::e4m3, kActivationScaling);
    for (std::size_t i = 0; i < x.size(); ++i)
      ASSERT_EQ(static_cast<std::uint8_t>(e4m3.data[i]), F8E4M3::from_float(x[i]).bits) << x[i];
    const Stored bf16(pool, x, count / 128, 128, RowFormat::bf16, {});
    EXPECT_EQ(bf16.values(pool), x);
    // The tile's largest is 448 = 65,024 / 2^8 rounded up: the scale is 2^-7.
    const Stored e5m6(pool, x, count / 128, 128, RowFormat::e5m6, {ScaleFormat::power_of_two, 1e-4F});
    const std::vector<float> back = e5m6.values(pool);
    for (std::size_t i = 0; i < x.size(); ++i)
      ASSERT_EQ(back[i], F12E5M6::from_float(x[i] * 128.0F).to_float() / 128.0F) << x[i];
  });
}

TEST(StoredRowsTest, Bf16RoundsAsTheScalarConversionDoes) {
  ThreadPool pool(1);
  std::vector<float> x = test::random_values(1000, 3);
  x.insert(x.end(), {0.0F, -0.0F, HUGE_VALF, -HUGE_VALF, 3.4e38F, 1e-45F, 1.00390625F, 1.01171875F});
  const auto count = static_cast<std::int64_t>(x.size());
  test::for_each_target([&] {
    const std::vector<float> back = Stored(pool, x, 1, count, RowFormat::bf16, {}).values(pool);
    for (std::size_t i = 0; i < x.size(); ++i)
      ASSERT_EQ(std::bit_cast<std::uint32_t>(back[i]),
                std::bit_cast<std::uint32_t>(Bf16::from_float(x[i]).to_float()))
          << x[i];
  });
}

/// A tile of NaN is seen; a saturated one would not be.
TEST(StoredRowsTest, ANaNOrInfinityMakesItsTileNaNAndNoOther) {
  ThreadPool pool(1);
  for (const float bad : {std::nanf(""), -std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
    std::vector<float> x = golden_matrix();
    x[5 * kStoredColumns + 20] = bad;
    test::for_each_target([&] {
      for (const RowFormat format : {RowFormat::e4m3, RowFormat::e5m6}) {
        const Stored stored(pool, x, kStoredRows, kStoredColumns, format, kActivationScaling);
        const std::vector<float> back = stored.values(pool);
        for (std::size_t i = 0; i < back.size(); ++i)
          ASSERT_EQ(std::isnan(back[i]), i / kStoredColumns == 5 && i % kStoredColumns < 128)
              << bad << ", " << i;
        const Columns columns(pool, stored.view, nullptr, {0, kStoredRows}, kGradientScaling);
        for (std::size_t i = 0; i < columns.scale.size(); ++i)
          ASSERT_EQ(std::isnan(columns.scale[i]), i < 128) << i;
      }
      std::vector<F8E4M3> codes(kStoredSize);
      std::vector<float> scale(4);
      const kernels::BlockQuantization weight{x.data(), kStoredRows, kStoredColumns, codes.data(),
                                              scale.data()};
      kernels::quantize_blocks(pool, {&weight, 1}, ScaleFormat::f32);
      EXPECT_TRUE(std::isnan(scale[0]));
      EXPECT_FALSE(std::isnan(scale[1]) || std::isnan(scale[2]) || std::isnan(scale[3]));
    });
  }
}

TEST(StoredRowsTest, GatheredColumnsAreThoseOfTheGatheredRows) {
  ThreadPool pool(3);
  const std::vector<float> x = golden_matrix();
  std::vector<std::int32_t> gather;
  std::vector<float> gathered;
  for (std::int32_t i = 0; i < 200; ++i) {
    gather.push_back(i * 37 % kStoredRows);
    const auto row = x.begin() + gather.back() * kStoredColumns;
    gathered.insert(gathered.end(), row, row + kStoredColumns);
  }
  for (const RowFormat format : {RowFormat::f32, RowFormat::bf16, RowFormat::e4m3, RowFormat::e5m6}) {
    const Stored all(pool, x, kStoredRows, kStoredColumns, format, kActivationScaling);
    const Stored some(pool, gathered, 200, kStoredColumns, format, kActivationScaling);
    const Columns from_all(pool, all.view, gather.data(), {0, 200}, kActivationScaling);
    const Columns from_some(pool, some.view, nullptr, {0, 200}, kActivationScaling);
    EXPECT_EQ(from_all.bits(), from_some.bits());
    EXPECT_EQ(from_all.scale, from_some.scale);
  }
}

TEST(StoredRowsTest, TilesOfColumnsBeginWithEachGroup) {
  ThreadPool pool(2);
  const std::vector<float> x = golden_matrix();
  const Stored all(pool, x, kStoredRows, kStoredColumns, RowFormat::f32, {});
  const Columns grouped(pool, all.view, nullptr, {0, 3, 3, 131}, kActivationScaling);
  std::vector<std::uint8_t> bits;
  std::vector<float> scale;
  for (const auto& [begin, end] : {std::pair<std::int64_t, std::int64_t>{0, 3}, {3, 131}}) {
    const StoredRows part{x.data() + begin * kStoredColumns, RowFormat::f32, nullptr, end - begin,
                          kStoredColumns};
    const Columns alone(pool, part, nullptr, {0, end - begin}, kActivationScaling);
    for (const std::uint8_t code : alone.bits()) bits.push_back(code);
    scale.insert(scale.end(), alone.scale.begin(), alone.scale.end());
  }
  EXPECT_EQ(grouped.bits(), bits);
  EXPECT_EQ(grouped.scale, scale);
}

TEST(StoredRowsTest, BlocksOfWeightsAreThoseOfCheckpoints) {
  const std::vector<float> x = golden_matrix();
  std::vector<F8E4M3> expected(kStoredSize);
  std::vector<float> expected_scale(4);
  for (const ScaleFormat format : {ScaleFormat::f32, ScaleFormat::power_of_two}) {
    quantize_blocks(x.data(), kStoredRows, kStoredColumns, format, expected.data(), expected_scale.data());
    std::vector<F8E4M3> expected_row(kStoredColumns);
    std::vector<float> expected_row_scale(2);
    quantize_blocks(x.data(), 1, kStoredColumns, format, expected_row.data(), expected_row_scale.data());
    test::for_each_target([&] {
      test::expect_same_for_any_thread_count([&](ThreadPool& pool) {
        std::vector<F8E4M3> codes(kStoredSize);
        std::vector<float> scale(4);
        std::vector<F8E4M3> row(kStoredColumns);  // a second weight: the first row alone
        std::vector<float> row_scale(2);
        const std::array<kernels::BlockQuantization, 2> weights = {
            {{x.data(), kStoredRows, kStoredColumns, codes.data(), scale.data()},
             {x.data(), 1, kStoredColumns, row.data(), row_scale.data()}}};
        kernels::quantize_blocks(pool, weights, format);
        EXPECT_EQ(scale, expected_scale);
        for (std::size_t i = 0; i < row.size(); ++i) EXPECT_EQ(row[i].bits, expected_row[i].bits) << i;
        std::vector<std::uint8_t> bits;
        for (std::size_t i = 0; i < codes.size(); ++i) {
          EXPECT_EQ(codes[i].bits, expected[i].bits) << i;
          bits.push_back(codes[i].bits);
        }
        return bits;
      });
    });
  }
}

TEST(StoredRowsTest, GradientsFarBelowOneKeepTheirBits) {
  ThreadPool pool(1);
  std::vector<float> x = test::random_values(128, 1, 1e-12);
  const Stored stored(pool, x, 1, 128, RowFormat::e4m3, kGradientScaling);
  // Three bits of mantissa: off by a sixteenth at most, and a subnormal step of the scale for the smallest.
  const std::vector<float> back = stored.values(pool);
  for (std::size_t i = 0; i < x.size(); ++i)
    EXPECT_NEAR(back[i], x[i], std::fabs(x[i]) / 16 + stored.scale[0] * 0x1p-10F);
}

TEST(TileScaleTest, HasAFloorRoundsPowersOfTwoUpAndMarksWhatHasNoScale) {
  EXPECT_EQ(tile_scale(448.0F, kActivationScaling, 448.0F), 1.0F);
  EXPECT_EQ(tile_scale(0.0F, kActivationScaling, 448.0F), 1e-4F / 448.0F);
  for (const float amax : {0.0F, 1e-3F, 0.5F, 447.9F, 448.0F, 448.1F, 3e38F})
    EXPECT_EQ(tile_scale(amax, {ScaleFormat::power_of_two, 1e-4F}, 448.0F),
              block_scale(amax, ScaleFormat::power_of_two));
  EXPECT_TRUE(std::isnan(tile_scale(HUGE_VALF, {ScaleFormat::power_of_two, 1e-4F}, 448.0F)));
  EXPECT_TRUE(std::isnan(tile_scale(std::nanf(""), kActivationScaling, 448.0F)));
}

}  // namespace
}  // namespace fathom
