#pragma once

#include <cstdint>
#include <vector>

#include "model/context.h"
#include "numerics/dtype.h"

namespace fathom {

/// Muon: momentum, orthogonalised, for the matrices of linear maps. As in Moonlight (arXiv 2502.16982,
/// equation 4 and section 2.2) an update is scaled by 0.2·sqrt(max(rows, cols)), which gives it the root mean
/// square of AdamW's, and weights decay; so AdamW's learning rate and decay serve both.
///
///     m = beta · m + (1 - beta) · g     o = orthogonalised (beta · m + (1 - beta) · g)
///     w = w - learning_rate · (0.2 · sqrt(max(rows, cols)) · o + weight_decay · w)
///
/// Each matrix of the model is one: each expert's three, MLA's projections over all heads together.
class Muon {
 public:
  struct Matrix {
    float* weight;    // [rows, cols]
    float* gradient;  // [rows, cols]
    void* momentum;   // [rows, cols], of the type given below
    std::int64_t rows;
    std::int64_t cols;
  };
  struct Settings {
    float learning_rate = 0;
    float weight_decay = 0;
    float momentum = 0;
    float gradient_scale = 1;  // clipping
  };

  /// Without matrices.
  Muon() = default;
  /// @param momentum  what it is stored in: f32 or bf16
  Muon(const std::vector<Matrix>& matrices, DType momentum);

  /// Moves the weights against the gradients, then zeroes those. Small matrices are taken many at once, large
  /// ones are shared by the threads: by size alone, and results do not depend on the threads either way.
  void step(const Context& context, const Settings& settings);

 private:
  void move(const Context& context, const Settings& settings, const Matrix& matrix) const;

  std::vector<Matrix> small_;
  std::vector<Matrix> large_;
  DType momentum_ = DType::f32;
};

}  // namespace fathom
