#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "io/gguf.h"
#include "model/importance.h"
#include "model/quant_recipe.h"

namespace fathom {

/// What became of one tensor.
struct QuantizedTensor {
  std::string name;
  TensorRole role = TensorRole::plain;
  DType from = DType::f32;
  DType to = DType::f32;
  std::int64_t values = 0;
  std::uint64_t bytes_before = 0;
  std::uint64_t bytes_after = 0;
  bool weighted = false;      // by importance
  double error_square = 0.0;  // Σ (value - quantised)²
  double square = 0.0;        // Σ value²
};

struct QuantizeOptions {
  const QuantRecipe& recipe;
  std::vector<TypeOverride> overrides = {};
  const ImportanceMatrix* importance = nullptr;
  /// Called with values done and values in all.
  std::function<void(std::int64_t done, std::int64_t all)> progress = {};
};

/// The types that `quantize_gguf` will store, in the order of the source; errors are not filled in.
std::vector<QuantizedTensor> plan_quantization(const GgufFile& source, const QuantizeOptions& options);

/// Writes a GGUF file with the source's metadata and its tensors in other types. A band of rows is widened to
/// f32, encoded and written at a time, so memory does not grow with the model; the bytes do not depend on the
/// number of threads. Nothing appears under the target's name before the file is whole. Throws `Error` naming
/// the tensor and row that holds a value that cannot be encoded.
std::vector<QuantizedTensor> quantize_gguf(ThreadPool& pool, const GgufFile& source,
                                           const std::filesystem::path& target,
                                           const QuantizeOptions& options);

}  // namespace fathom
