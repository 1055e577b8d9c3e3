#include "kernels/minhash.h"

#include <array>

#include "base/error.h"
#include "base/rng.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/minhash.cpp"
#include "kernels/simd.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// A few permutations at a time stay in registers while all values pass.
void MinHashes(const std::uint32_t* values, std::size_t count, const std::uint32_t* xors,
               const std::uint32_t* factors, std::uint32_t* least) {
  const hn::CappedTag<std::uint32_t, 16> d;
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t i = 0; i < kMinHashes; i += 2 * lanes) {
    const auto xor0 = hn::LoadU(d, xors + i);
    const auto xor1 = hn::LoadU(d, xors + i + lanes);
    const auto factor0 = hn::LoadU(d, factors + i);
    const auto factor1 = hn::LoadU(d, factors + i + lanes);
    auto least0 = hn::LoadU(d, least + i);
    auto least1 = hn::LoadU(d, least + i + lanes);
    for (std::size_t v = 0; v < count; ++v) {
      const auto value = hn::Set(d, values[v]);
      least0 = hn::Min(least0, hn::Mul(hn::Xor(value, xor0), factor0));
      least1 = hn::Min(least1, hn::Mul(hn::Xor(value, xor1), factor1));
    }
    hn::StoreU(least0, d, least + i);
    hn::StoreU(least1, d, least + i + lanes);
  }
}

}  // namespace fathom::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::kernels {
namespace {

HWY_EXPORT(MinHashes);

struct Permutations {
  std::array<std::uint32_t, kMinHashes> xors;
  std::array<std::uint32_t, kMinHashes> factors;

  Permutations() {
    Rng random(0x4D696E48617368);  // the same for ever: signatures of two runs must agree
    for (std::size_t i = 0; i < kMinHashes; ++i) {
      xors[i] = random.next_u32();
      factors[i] = random.next_u32() | 1U;
    }
  }
};

}  // namespace

void min_hashes(std::span<const std::uint32_t> values, std::span<std::uint32_t> least) {
  require(least.size() == kMinHashes, "a signature of {} numbers, not {}", least.size(), kMinHashes);
  static const Permutations permutations;
  HWY_DYNAMIC_DISPATCH(MinHashes)
  (values.data(), values.size(), permutations.xors.data(), permutations.factors.data(), least.data());
}

}  // namespace fathom::kernels
#endif
