#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/block.h"
#include "model/context.h"
#include "model/importance.h"
#include "model/rope.h"
#include "model/weights.h"

namespace fathom {

/// Measures an importance matrix: lets a model read text and adds up the squares of what each linear map of
/// each layer is given, every expert's included. That is what a forward pass keeps for training, or a norm or
/// SwiGLU of it. The head and MTP modules are left out.
class ImportanceMeter {
 public:
  /// Keeps references. The weights are of plain types or FP8.
  /// @param max_tokens  longest sequence that will be read
  ImportanceMeter(const ModelConfig& config, const TransformerWeights& weights, std::int64_t max_tokens);

  /// Reads one sequence, in f32.
  void read(const Context& context, std::span<const std::int32_t> tokens);

  [[nodiscard]] ImportanceMatrix& matrix() { return matrix_; }

 private:
  /// Adds the rows of an input [tokens, ...] of one map of a layer.
  void add(const Context& context, std::size_t layer, const char* map, const Tensor& x);
  void add_attention(const Context& context, std::size_t layer, const Block::Saved& saved);
  void add_experts(const Context& context, std::size_t layer, const Tensor& x, const Moe::Saved& saved);

  const ModelConfig& config_;
  const TransformerWeights& weights_;
  RopeTable rope_;
  std::vector<Block> blocks_;
  ImportanceMatrix matrix_;
};

}  // namespace fathom
