#include "kernels/latent_rows.h"

#include <algorithm>
#include <array>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/latent_rows.cpp"
#include "kernels/simd.h"
// After simd.h.
#include "kernels/latent_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

void StoreLatentRow(const LatentLayout& layout, const float* x, std::byte* row) {
  NarrowRow(layout, x, row);
}

void LoadLatentPart(const LatentLayout& layout, const std::byte* row, LatentPart part, float* out) {
  if (part == LatentPart::latent) {
    WidenLatent(layout, row, out);
  } else {
    WidenKey(layout, row, out);
  }
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::kernels {
namespace {

HWY_EXPORT(StoreLatentRow);
HWY_EXPORT(LoadLatentPart);

constexpr std::array<std::string_view, std::size(kLatentTypes)> kNames = {"f32", "f16", "bf16", "f8_e4m3",
                                                                          "q8"};

std::size_t rows_of_item(const LatentLayout& layout) {
  constexpr std::int64_t kValuesPerItem = 16384;
  return static_cast<std::size_t>(
      std::max<std::int64_t>(1, kValuesPerItem / std::max<std::int64_t>(1, layout.width())));
}

}  // namespace

std::string_view latent_type_name(LatentType type) {
  return kNames[static_cast<std::size_t>(type)];
}

std::optional<LatentType> latent_type_from_name(std::string_view name) {
  for (const LatentType type : kLatentTypes)
    if (latent_type_name(type) == name) return type;
  return std::nullopt;
}

std::int64_t LatentLayout::scale_tile() const {
  if (type == LatentType::f8_e4m3) return kScaleTile;
  return type == LatentType::q8 ? 64 : 0;
}

std::int64_t LatentLayout::scales() const {
  const std::int64_t tile = scale_tile();
  return tile == 0 ? 0 : (latent_dim + tile - 1) / tile;
}

std::int64_t LatentLayout::row_bytes() const {
  switch (type) {
    case LatentType::f32:
      return width() * 4;
    case LatentType::f16:
    case LatentType::bf16:
      return (width() * 2 + 3) / 4 * 4;
    case LatentType::f8_e4m3:
    case LatentType::q8:
      return (scales() * 4 + rope_dim * 2 + latent_dim + 3) / 4 * 4;
  }
  return 0;
}

void store_latent_rows(ThreadPool& pool, const LatentRows& to, std::int64_t position, std::int64_t count,
                       const float* values) {
  pool.parallel_ranges(
      static_cast<std::size_t>(count), rows_of_item(to.layout), [&](std::size_t begin, std::size_t end) {
        for (auto i = static_cast<std::int64_t>(begin); i < static_cast<std::int64_t>(end); ++i)
          HWY_DYNAMIC_DISPATCH(StoreLatentRow)
        (to.layout, values + i * to.layout.width(), to.row(position + i));
      });
}

void load_latent_rows(ThreadPool& pool, const LatentRows& from, std::int64_t begin, std::int64_t end,
                      LatentPart part, float* out) {
  const std::int64_t width = part == LatentPart::latent ? from.layout.latent_dim : from.layout.rope_dim;
  pool.parallel_ranges(static_cast<std::size_t>(end - begin), rows_of_item(from.layout),
                       [&](std::size_t first, std::size_t last) {
                         for (auto i = static_cast<std::int64_t>(first); i < static_cast<std::int64_t>(last);
                              ++i)
                           HWY_DYNAMIC_DISPATCH(LoadLatentPart)
                         (from.layout, from.row(begin + i), part, out + i * width);
                       });
}

}  // namespace fathom::kernels
#endif  // HWY_ONCE
