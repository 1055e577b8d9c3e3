#include "numerics/dtype.h"

#include <array>

namespace fathom {
namespace {

struct DTypeRow {
  std::string_view name;
  std::size_t size;
};

// In the order of the enumerators.
constexpr std::array<DTypeRow, 8> kRows = {
    {{"F32", 4}, {"BF16", 2}, {"F16", 2}, {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"I64", 8}, {"I32", 4}, {"U8", 1}}};

}  // namespace

std::size_t dtype_size(DType dtype) {
  return kRows[static_cast<std::size_t>(dtype)].size;
}

std::string_view dtype_name(DType dtype) {
  return kRows[static_cast<std::size_t>(dtype)].name;
}

std::optional<DType> dtype_from_name(std::string_view name) {
  for (std::size_t i = 0; i < kRows.size(); ++i)
    if (kRows[i].name == name) return static_cast<DType>(i);
  return std::nullopt;
}

}  // namespace fathom
