// Rows of a latent cache to f32 and back, in Highway's per-target form (see kernels/simd_math-inl.h).

#if defined(FATHOM_KERNELS_LATENT_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_KERNELS_LATENT_ROWS_INL_H_
#undef FATHOM_KERNELS_LATENT_ROWS_INL_H_
#else
#define FATHOM_KERNELS_LATENT_ROWS_INL_H_
#endif

#include <cstring>

#include "kernels/latent_rows.h"
#include "kernels/narrow-inl.h"
#include "kernels/widen-inl.h"
#include "numerics/tile_scale.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {

/// Whole numbers of 8 bits.
struct FromI8 {
  using Type = std::int8_t;
  static constexpr float kFactor = 1.0F;
  using Quarter = hn::Rebind<std::int8_t, DF>;
  using Whole = hn::RebindToSigned<DF>;
  static HWY_INLINE VF Load(DF d, const Type* p) {
    return hn::ConvertTo(d, hn::PromoteTo(Whole(), hn::LoadU(Quarter(), p)));
  }
  static HWY_INLINE VF LoadSome(DF d, const Type* p, std::size_t n) {
    return hn::ConvertTo(d, hn::PromoteTo(Whole(), HWY_NAMESPACE::LoadSome(Quarter(), p, n)));
  }
};

struct ToI8 {
  using Type = std::int8_t;
  static HWY_INLINE void Store(DF, VF v, Type* p) {
    hn::StoreU(hn::DemoteTo(FromI8::Quarter(), hn::NearestInt(v)), FromI8::Quarter(), p);
  }
  static HWY_INLINE void StoreSome(DF, VF v, Type* p, std::size_t n) {
    HWY_NAMESPACE::StoreSome(hn::DemoteTo(FromI8::Quarter(), hn::NearestInt(v)), FromI8::Quarter(), p, n);
  }
};

struct ToF16 {
  using Type = std::uint16_t;
  using Half = hn::Rebind<std::uint16_t, DF>;
  static HWY_INLINE void Store(DF, VF v, Type* p) {
    hn::StoreU(hn::TruncateTo(Half(), SmallCodes<F16>(v)), Half(), p);
  }
  static HWY_INLINE void StoreSome(DF, VF v, Type* p, std::size_t n) {
    HWY_NAMESPACE::StoreSome(hn::TruncateTo(Half(), SmallCodes<F16>(v)), Half(), p, n);
  }
};

/// out = from, of a type that is loaded as it is.
template <class From>
HWY_INLINE void WidenValues(const std::byte* from, std::int64_t count, float* out) {
  static_assert(From::kFactor == 1.0F);
  const DF d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto* codes = reinterpret_cast<const typename From::Type*>(from);
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(From::Load(d, codes + i), d, out + i);
  if (i < count) {
    const auto n = static_cast<std::size_t>(count - i);
    StoreSome(From::LoadSome(d, codes + i, n), d, out + i, n);
  }
}

/// out = from · factor.
template <class From>
HWY_INLINE void WidenTile(const std::byte* from, std::int64_t count, float factor, float* out) {
  const DF d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto* codes = reinterpret_cast<const typename From::Type*>(from);
  const VF scale = hn::Set(d, factor * From::kFactor);
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(hn::Mul(From::Load(d, codes + i), scale), d, out + i);
  if (i < count) {
    const auto n = static_cast<std::size_t>(count - i);
    StoreSome(hn::Mul(From::LoadSome(d, codes + i, n), scale), d, out + i, n);
  }
}

/// to = x / divisor.
template <class To>
HWY_INLINE void NarrowValues(const float* x, std::int64_t count, float divisor, std::byte* to) {
  const DF d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  auto* codes = reinterpret_cast<typename To::Type*>(to);
  const VF scale = hn::Set(d, divisor);
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) To::Store(d, hn::Div(hn::LoadU(d, x + i), scale), codes + i);
  if (i < count) {
    const auto n = static_cast<std::size_t>(count - i);
    To::StoreSome(d, hn::Div(LoadSome(d, x + i, n), scale), codes + i, n);
  }
}

/// Where the parts of a row of a type with scales begin.
struct ScaledRow {
  const LatentLayout& layout;
  std::int64_t key() const { return layout.scales() * std::int64_t{sizeof(float)}; }
  std::int64_t codes() const { return key() + layout.rope_dim * std::int64_t{sizeof(std::uint16_t)}; }
};

template <class From>
HWY_INLINE void WidenScaled(const LatentLayout& layout, const std::byte* row, float* out) {
  const std::int64_t tile = layout.scale_tile();
  const std::byte* codes = row + ScaledRow{layout}.codes();
  for (std::int64_t i = 0; i < layout.latent_dim; i += tile) {
    float scale = 0;
    std::memcpy(&scale, row + i / tile * std::int64_t{sizeof(float)}, sizeof(scale));
    WidenTile<From>(codes + i, std::min(tile, layout.latent_dim - i), scale, out + i);
  }
}

template <class To>
HWY_INLINE void NarrowScaled(const LatentLayout& layout, const float* x, float largest, float least,
                             std::byte* row) {
  const std::int64_t tile = layout.scale_tile();
  std::byte* codes = row + ScaledRow{layout}.codes();
  for (std::int64_t i = 0; i < layout.latent_dim; i += tile) {
    const std::int64_t count = std::min(tile, layout.latent_dim - i);
    const float amax = LargestMagnitude(x + i, static_cast<std::size_t>(count));
    const float scale = tile_scale(amax, {ScaleFormat::f32, least}, largest);
    std::memcpy(row + i / tile * std::int64_t{sizeof(float)}, &scale, sizeof(scale));
    NarrowValues<To>(x + i, count, scale, codes + i);
  }
}

/// @param out  [latent_dim]
HWY_INLINE void WidenLatent(const LatentLayout& layout, const std::byte* row, float* out) {
  switch (layout.type) {
    case LatentType::f32:
      return WidenValues<FromF32>(row, layout.latent_dim, out);
    case LatentType::f16:
      return WidenValues<FromF16>(row, layout.latent_dim, out);
    case LatentType::bf16:
      return WidenValues<FromBf16>(row, layout.latent_dim, out);
    case LatentType::f8_e4m3:
      return WidenScaled<FromF8E4M3>(layout, row, out);
    case LatentType::q8:
      return WidenScaled<FromI8>(layout, row, out);
  }
}

/// @param out  [rope_dim]
HWY_INLINE void WidenKey(const LatentLayout& layout, const std::byte* row, float* out) {
  switch (layout.type) {
    case LatentType::f32:
      return WidenValues<FromF32>(row + layout.latent_dim * std::int64_t{sizeof(float)}, layout.rope_dim,
                                  out);
    case LatentType::f16:
      return WidenValues<FromF16>(row + layout.latent_dim * std::int64_t{sizeof(std::uint16_t)},
                                  layout.rope_dim, out);
    case LatentType::bf16:
      return WidenValues<FromBf16>(row + layout.latent_dim * std::int64_t{sizeof(std::uint16_t)},
                                   layout.rope_dim, out);
    case LatentType::f8_e4m3:
    case LatentType::q8:
      return WidenValues<FromBf16>(row + ScaledRow{layout}.key(), layout.rope_dim, out);
  }
}

/// @param x  [latent_dim + rope_dim]
HWY_INLINE void NarrowRow(const LatentLayout& layout, const float* x, std::byte* row) {
  switch (layout.type) {
    case LatentType::f32:
      std::memcpy(row, x, static_cast<std::size_t>(layout.width()) * sizeof(float));
      return;
    case LatentType::f16:
      return NarrowValues<ToF16>(x, layout.width(), 1.0F, row);
    case LatentType::bf16:
      return NarrowValues<ToBf16>(x, layout.width(), 1.0F, row);
    case LatentType::f8_e4m3:
      NarrowScaled<ToE4M3>(layout, x, F8E4M3{F8E4M3::kMaxFinite}.to_float(), kActivationScaling.least_amax,
                           row);
      break;
    case LatentType::q8:
      NarrowScaled<ToI8>(layout, x, 127.0F, kActivationScaling.least_amax, row);
      break;
  }
  NarrowValues<ToBf16>(x + layout.latent_dim, layout.rope_dim, 1.0F, row + ScaledRow{layout}.key());
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // the toggle of FATHOM_KERNELS_LATENT_ROWS_INL_H_
