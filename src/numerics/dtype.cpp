#include "numerics/dtype.h"

#include <array>
#include <string>

#include "base/error.h"

namespace fathom {
namespace {

struct DTypeRow {
  std::string_view name;
  std::int64_t values;  // of a block
  std::size_t bytes;
};

// In the order of the enumerators.
constexpr std::array<DTypeRow, 30> kRows = {{
    {"F32", 1, 4},      {"BF16", 1, 2},       {"F16", 1, 2},        {"F8_E4M3", 1, 1},
    {"F8_E5M2", 1, 1},  {"I64", 1, 8},        {"I32", 1, 4},        {"U8", 1, 1},
    {"Q4_0", 32, 18},   {"Q4_1", 32, 20},     {"Q5_0", 32, 22},     {"Q5_1", 32, 24},
    {"Q8_0", 32, 34},   {"IQ4_NL", 32, 18},   {"Q2_K", 256, 84},    {"Q3_K", 256, 110},
    {"Q4_K", 256, 144}, {"Q5_K", 256, 176},   {"Q6_K", 256, 210},   {"IQ4_XS", 256, 136},
    {"IQ1_S", 256, 50}, {"IQ1_M", 256, 56},   {"IQ2_XXS", 256, 66}, {"IQ2_XS", 256, 74},
    {"IQ2_S", 256, 82}, {"IQ3_XXS", 256, 98}, {"IQ3_S", 256, 110},  {"TQ1_0", 256, 54},
    {"TQ2_0", 256, 66}, {"MXFP4", 32, 17},
}};

const DTypeRow& row_of(DType dtype) {
  return kRows[static_cast<std::size_t>(dtype)];
}

std::optional<DType> find(std::string_view name, bool blocks) {
  for (std::size_t i = 0; i < kRows.size(); ++i)
    if (kRows[i].name == name && (kRows[i].values > 1) == blocks) return static_cast<DType>(i);
  return std::nullopt;
}

}  // namespace

std::size_t dtype_size(DType dtype) {
  require(!is_block_quantized(dtype), "elements of {} have no size of their own", dtype_name(dtype));
  return row_of(dtype).bytes;
}

std::string_view dtype_name(DType dtype) {
  return row_of(dtype).name;
}

std::optional<DType> dtype_from_name(std::string_view name) {
  return find(name, false);
}

std::optional<DType> block_dtype_from_name(std::string_view name) {
  return find(name, true);
}

std::optional<DType> dtype_from_text(std::string_view text) {
  std::string upper(text);
  for (char& c : upper)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  const auto plain = dtype_from_name(upper);
  return plain ? plain : block_dtype_from_name(upper);
}

std::int64_t block_values(DType dtype) {
  return row_of(dtype).values;
}

std::size_t block_bytes(DType dtype) {
  return row_of(dtype).bytes;
}

}  // namespace fathom
