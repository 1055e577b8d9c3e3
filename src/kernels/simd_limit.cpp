#include "kernels/simd_limit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "base/error.h"
#include "kernels/byte_products.h"
#include "kernels/simd_targets.h"
// After simd_targets.h.
#include <hwy/targets.h>

namespace fathom::kernels {
namespace {

constexpr std::string_view kBaseline = "baseline";
constexpr std::string_view kByteProducts = "dotprod";

std::string set_name(std::int64_t target) {
  if (target == HWY_AVX3) return "avx512";
  if (target == HWY_STATIC_TARGET) return std::string(kBaseline);
  std::string name = hwy::TargetName(target);
  for (char& c : name)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return name;
}

}  // namespace

std::vector<std::string> simd_sets() {
  std::vector<std::string> sets;
  if (byte_products_in_use()) sets.emplace_back(kByteProducts);
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) sets.push_back(set_name(target));
  // Of a machine that has NEON without AES Highway says that it has nothing.
  if (sets.empty() || sets.back() != kBaseline) sets.emplace_back(kBaseline);
  return sets;
}

std::string simd_in_use() {
  return simd_sets().front();
}

void limit_simd(std::string_view set) {
  hwy::DisableTargets(0);
  allow_byte_products(true);
  if (set.empty() || (set == kByteProducts && byte_products_in_use())) return;
  const std::vector<std::int64_t> targets = hwy::SupportedAndGeneratedTargets();
  const auto chosen = std::ranges::find(targets, set, set_name);
  if (chosen == targets.end() && set != kBaseline)
    fail("no instruction set \"{}\" on this machine: choose of {}", printable(set),
         fmt::join(simd_sets(), ", "));
  if (chosen != targets.end()) hwy::DisableTargets(*chosen - 1);  // the better ones: they are the lower bits
  allow_byte_products(false);
}

void limit_simd_by_environment() {
  if (const char* set = std::getenv("FATHOM_SIMD")) limit_simd(set);
}

}  // namespace fathom::kernels
