#pragma once

#include <cstdint>
#include <vector>

#include "kernels/rope.h"
#include "model/config.h"

namespace fathom {

/// Rotary angles for every position (YaRN's where the config asks): cos and sin with the attention factor
/// folded in, as `transformers` computes them (in f32: the released models were trained so).
class RopeTable {
 public:
  /// @param positions  how many to make now
  RopeTable(const ModelConfig& config, std::int64_t positions);

  [[nodiscard]] std::int64_t positions() const { return positions_; }
  /// [qk_rope_head_dim / 2] cosines of a position.
  [[nodiscard]] const float* cosines(std::int64_t position) const { return cos_.data() + position * half_; }
  [[nodiscard]] const float* sines(std::int64_t position) const { return sin_.data() + position * half_; }
  /// The whole table, for `kernels::rope_rotate`.
  [[nodiscard]] kernels::RopeAngles angles() const;
  [[nodiscard]] bool interleaved() const { return interleaved_; }
  [[nodiscard]] std::int64_t dim() const { return half_ * 2; }

 private:
  std::int64_t half_;
  std::int64_t positions_;
  bool interleaved_;
  std::vector<float> cos_;  // [positions, half]
  std::vector<float> sin_;
};

/// Angular frequency of each of the qk_rope_head_dim / 2 pairs, in radians per position: theta^(-2i / dim),
/// bent by YaRN (arXiv 2309.00071, section 3.2) where the config asks for it.
std::vector<double> rope_frequencies(const ModelConfig& config);

}  // namespace fathom
