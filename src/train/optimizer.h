#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "model/config.h"
#include "model/context.h"
#include "model/weights.h"
#include "tensor/tensor.h"
#include "train/muon.h"
#include "train/optimizer_kind.h"
#include "train/parameter_shards.h"

namespace fathom {

struct OptimizerSettings {
  double learning_rate = 0;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0.1;   // of matrices; norms and biases do not decay
  double gradient_clip = 1.0;  // longest gradient; 0: not clipped
  double muon_momentum = 0.95;
};

/// What an optimizer keeps beside the weights of one shard: of each parameter the rows that
/// `ParameterShards::rows` says, undefined where those are none.
struct Moments {
  TransformerWeights first;
  TransformerWeights second;  // undefined for the matrices of Muon, whose momentum is among the first
  Tensor first_block;         // all of `first`, as one flat tensor
  Tensor second_block;
};
/// @param dtype  f32 or bf16
Moments zero_moments(const ModelConfig& config, OptimizerKind optimizer, DType dtype,
                     const ParameterShards& shards, int rank);

/// AdamW, or Muon with AdamW (train/muon.h), over all parameters of a model but the routers' selection
/// biases, which balancing moves instead.
///
/// Memory beside the weights: gradients, f32, and two moments, f32 or BF16; Muon has one. A step of AdamW is
/// two passes over memory: the gradient's norm, then everything else. Work is cut into chunks by the
/// parameters' sizes alone and chunk norms are summed in order, so the result does not depend on the thread
/// count. Of several ranks that train together, each has the moments of its own shard and moves that alone.
class Optimizer {
 public:
  /// @param weights  f32; must outlive the optimizer
  /// @param moments  what the moments are stored in: f32 or bf16
  Optimizer(const ModelConfig& config, TransformerWeights& weights, DType moments = DType::f32,
            OptimizerKind kind = OptimizerKind::adamw);
  /// The part of one rank.
  /// @param weights  what the rank holds by the layout of the shards; the rest is undefined
  Optimizer(const ModelConfig& config, TransformerWeights& weights, DType moments, OptimizerKind kind,
            const ParameterShards& shards, int rank);

  [[nodiscard]] const ParameterShards& shards() const { return shards_; }
  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] OptimizerKind kind() const { return kind_; }
  [[nodiscard]] DType dtype() const { return dtype_; }

  /// Gradients to add to, of all parameters that are here. Zero after construction and after each step.
  [[nodiscard]] TransformerWeights& gradients() { return gradients_; }
  /// The same as one block.
  [[nodiscard]] Tensor& gradient_block() { return gradient_block_; }
  /// Of the own shard.
  [[nodiscard]] const Moments& moments() const { return moments_; }
  [[nodiscard]] Moments& moments() { return moments_; }
  [[nodiscard]] const TransformerWeights& first_moments() const { return moments_.first; }
  [[nodiscard]] TransformerWeights& first_moments() { return moments_.first; }
  [[nodiscard]] const TransformerWeights& second_moments() const { return moments_.second; }
  [[nodiscard]] TransformerWeights& second_moments() { return moments_.second; }

  /// The sum of the squares of the gradient over the own shard. Not finite when any of it is not.
  [[nodiscard]] double gradient_square(const Context& context) const;
  /// The length of the gradient over all parameters, where the own shard is all there is.
  [[nodiscard]] double gradient_norm(const Context& context) const {
    return std::sqrt(gradient_square(context));
  }

  /// Moves the weights of the own shard against the gradients, then zeroes those, all of them.
  /// @param step  which step this is, from 0: the moments' bias correction
  /// @param norm  of the gradient over all parameters
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

  void zero_other_gradients(const Context& context);

  ParameterShards shards_;
  int rank_;
  OptimizerKind kind_;
  DType dtype_;  // of the moments
  Tensor gradient_block_;
  TransformerWeights gradients_;
  Moments moments_;
  std::vector<Chunk> chunks_;
  Muon muon_;
};

}  // namespace fathom
