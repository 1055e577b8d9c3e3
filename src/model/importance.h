#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace fathom {

/// How strongly the inputs of a model's linear maps are driven: what a weight's error is multiplied with, and
/// so how much it matters in each column.
class ImportanceMatrix {
 public:
  /// Of one tensor, by its GGUF name: a matrix, or all experts' matrices as one tensor.
  struct Entry {
    std::int64_t columns = 0;
    std::vector<double> square_sums;   // [matrices, columns], of the inputs
    std::vector<std::int64_t> tokens;  // [matrices], that passed through
  };

  /// Adds inputs of one matrix.
  /// @param squares  [columns], sums of squares over `tokens` rows
  void add(const std::string& tensor, std::int64_t matrices, std::int64_t matrix,
           const std::vector<double>& squares, std::int64_t tokens);

  [[nodiscard]] const std::map<std::string, Entry, std::less<>>& entries() const { return entries_; }

  /// Mean squares of a tensor's inputs, [matrices, columns] in f32. An expert that few tokens chose is taken
  /// partly, and one that none chose wholly, as the mean of all experts: as if `kPriorTokens` of that kind
  /// had come too. Undefined when nothing is known of the tensor. `attn_v_b` is given what is known of
  /// `attn_kv_b`: their inputs are latents of the same columns. Throws `Error` when the sizes differ from the
  /// tensor's.
  [[nodiscard]] Tensor mean_squares(std::string_view tensor, const Shape& shape) const;

  static constexpr double kPriorTokens = 32.0;

  std::vector<std::string> datasets;  // files that the text came from
  std::int64_t chunks = 0;            // sequences
  std::int64_t chunk_tokens = 0;

 private:
  std::map<std::string, Entry, std::less<>> entries_;
};

/// Writes what llama.cpp reads as an importance matrix: a GGUF file with `NAME.in_sum2` [matrices, columns]
/// and `NAME.counts` [matrices, 1] for each tensor, atomically.
void write_importance(const std::filesystem::path& path, const ImportanceMatrix& importance);

/// Reads one, Fathom's or llama.cpp's. Throws `Error` naming the file and what is wrong.
ImportanceMatrix read_importance(const std::filesystem::path& path);

}  // namespace fathom
