#include "train/muon.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>

#include "kernels/muon.h"
#include "numerics/small_float.h"

namespace fathom {
namespace {

/// Of one side of a matrix that is worth sharing its products among threads: below, products are too short.
constexpr std::int64_t kLargeSide = 512;

}  // namespace

Muon::Muon(const std::vector<Matrix>& matrices, DType momentum) : momentum_(momentum) {
  for (const Matrix& matrix : matrices)
    (std::min(matrix.rows, matrix.cols) < kLargeSide ? small_ : large_).push_back(matrix);
  // The longest first, so that no thread is left alone with one at the end.
  std::stable_sort(small_.begin(), small_.end(), [](const Matrix& a, const Matrix& b) {
    return a.rows * a.cols * std::min(a.rows, a.cols) > b.rows * b.cols * std::min(b.rows, b.cols);
  });
}

void Muon::step(const Context& context, const Settings& settings) {
  context.pool.parallel_for(small_.size(), [&](std::size_t i) { move(context, settings, small_[i]); });
  for (const Matrix& matrix : large_) move(context, settings, matrix);
}

void Muon::move(const Context& context, const Settings& settings, const Matrix& matrix) const {
  constexpr std::size_t kChunk = 16384;
  const auto count = static_cast<std::size_t>(matrix.rows * matrix.cols);
  const auto update = std::make_unique_for_overwrite<float[]>(count);
  context.pool.parallel_ranges(count, kChunk, [&](std::size_t begin, std::size_t end) {
    const auto momentum = [&](auto* values) {
      kernels::muon_momentum(settings.momentum, settings.gradient_scale, end - begin, matrix.gradient + begin,
                             values + begin, update.get() + begin);
    };
    if (momentum_ == DType::bf16) {
      momentum(static_cast<Bf16*>(matrix.momentum));
    } else {
      momentum(static_cast<float*>(matrix.momentum));
    }
  });
  kernels::orthogonalize(context.pool, matrix.rows, matrix.cols, update.get());
  const float scale = 0.2F * std::sqrt(static_cast<float>(std::max(matrix.rows, matrix.cols)));
  const float keep = 1.0F - settings.learning_rate * settings.weight_decay;
  context.pool.parallel_ranges(count, kChunk, [&](std::size_t begin, std::size_t end) {
    kernels::muon_apply(keep, settings.learning_rate * scale, end - begin, update.get() + begin,
                        matrix.weight + begin);
  });
}

}  // namespace fathom
