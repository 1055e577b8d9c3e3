#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "model/config.h"
#include "model/context.h"
#include "model/weights.h"
#include "tensor/tensor.h"
#include "train/muon.h"

namespace fathom {

enum class OptimizerKind : std::uint8_t {
  adamw,
  muon,  // for the matrices of linear maps and experts; AdamW for embedding, head, router, norms and biases
};

/// As a config has it: "adamw", "muon".
std::string_view optimizer_name(OptimizerKind kind);

struct OptimizerSettings {
  double learning_rate = 0;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0.1;   // of matrices; norms and biases do not decay
  double gradient_clip = 1.0;  // longest gradient; 0: not clipped
  double muon_momentum = 0.95;
};

/// AdamW, or Muon with AdamW (train/muon.h), over all parameters of a model but the routers' selection
/// biases, which balancing moves instead.
///
/// Memory beside the weights: gradients, f32, and two moments, f32 or BF16; Muon has one. A step of AdamW is
/// two passes over memory: the gradient's norm, then everything else. Work is cut into chunks by the
/// parameters' sizes alone and chunk norms are summed in order, so the result does not depend on the thread
/// count.
class Optimizer {
 public:
  /// @param weights  f32; must outlive the optimizer
  /// @param moments  what the moments are stored in: f32 or bf16
  Optimizer(const ModelConfig& config, TransformerWeights& weights, DType moments = DType::f32,
            OptimizerKind kind = OptimizerKind::adamw);

  /// Gradients to add to. Zero after construction and after each step.
  [[nodiscard]] TransformerWeights& gradients() { return gradients_; }
  [[nodiscard]] const TransformerWeights& first_moments() const { return first_moments_; }
  [[nodiscard]] TransformerWeights& first_moments() { return first_moments_; }
  /// Undefined for the matrices of Muon, whose momentum is among the first moments.
  [[nodiscard]] const TransformerWeights& second_moments() const { return second_moments_; }
  [[nodiscard]] TransformerWeights& second_moments() { return second_moments_; }

  /// The length of the gradient over all parameters. Not finite when any of it is not.
  [[nodiscard]] double gradient_norm(const Context& context) const;

  /// Moves the weights against the gradients, then zeroes those.
  /// @param step  which step this is, from 0: the moments' bias correction
  /// @param norm  `gradient_norm` of these gradients
  void step(const Context& context, const OptimizerSettings& settings, std::int64_t step, double norm);

 private:
  /// A run of one parameter's values, at most `kChunk` of them.
  struct Chunk {
    float* weight;
    float* gradient;
    void* first;
    void* second;
    std::size_t count;
    bool decays;
    bool is_muons;
  };
  /// At most 64 KiB of each of the four arrays: together they fit in a core's cache.
  static constexpr std::int64_t kChunk = 16384;

  DType moments_;
  TransformerWeights gradients_;
  TransformerWeights first_moments_;
  TransformerWeights second_moments_;
  std::vector<Chunk> chunks_;
  Muon muon_;
};

}  // namespace fathom
