#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "model/block.h"
#include "model/config.h"
#include "model/context.h"
#include "model/head_evaluation.h"
#include "model/latent_cache.h"
#include "model/mtp.h"
#include "model/rope.h"
#include "model/sequences.h"
#include "model/weights.h"
#include "tensor/tensor.h"

namespace fathom {

/// Tokens to learn from.
struct Batch {
  std::vector<std::int32_t> tokens;   // [tokens]
  std::vector<std::int32_t> targets;  // [tokens], the token that follows each; -1 where there is no loss
  Sequences sequences;
};

/// Factors of the losses beside the main one.
struct LossFactors {
  double mtp = 0.3;         // lambda, technical report equation 25
  double balance = 0.0001;  // alpha, equation 17; of the classical loss where `seq_aux` is false
};

/// What a forward pass over a batch measured. Cross-entropies are means over targets, in nats.
struct Losses {
  double main = 0;
  std::vector<double> mtp;  // one per MTP module
  double balance = 0;       // sum over MoE layers, before its factor; 0 in evaluation
  std::int64_t targets = 0;
  std::vector<DraftAcceptance> drafts;  // one per MTP module; in evaluation only
  /// [MoE layer][n_routed_experts]: tokens that went to each expert; the MTP modules' blocks come last.
  std::vector<std::vector<std::int64_t>> expert_load;

  /// What is minimised: main + mtp factor · mean(mtp) + balance factor · balance.
  [[nodiscard]] double total(const LossFactors& factors) const;
};

/// The whole model: embedding, blocks, final norm, head, MTP modules.
class Transformer {
 public:
  /// What the backward pass needs of a forward.
  struct Saved {
    struct Mtp {
      MtpModule::Saved module;
      std::vector<std::int32_t> tokens;  // whose embeddings this depth joined
      Tensor dnormed;  // [tokens, hidden], gradient of this depth's loss at the head's input
    };
    std::vector<Block::Saved> blocks;
    Tensor output;   // [tokens, hidden], of the last block
    Tensor dnormed;  // [tokens, hidden], gradient of the main loss at the head's input
    Tensor dhead;    // [vocab, hidden], gradient of all cross-entropies at the head's weight
    std::vector<Mtp> mtp;
  };

  /// Keeps references: config and weights must outlive the model.
  /// @param max_positions  longest sequence that will be asked for
  Transformer(const ModelConfig& config, const TransformerWeights& weights, std::int64_t max_positions);
  Transformer(const Transformer&) = delete;
  Transformer& operator=(const Transformer&) = delete;

  /// Losses of a batch. `saved` null: evaluation, nothing is kept. Logits are made and used a slice of tokens
  /// at a time, together with their gradient.
  Losses forward(const Context& context, const Batch& batch, const LossFactors& factors, Saved* saved) const;

  /// Called with a layer as in `ParameterSpec`.
  using LayerIsDone = std::function<void(std::int64_t layer)>;

  /// grads += scale · d(total loss) / d(parameters). What is saved is freed on the way.
  /// @param done  if wanted: called when no more is added to a layer's gradients, from the last MTP module's
  ///              down, and with -1 for embedding, final norm and head in the end
  void backward(const Context& context, const Batch& batch, const LossFactors& factors, double scale,
                Saved& saved, TransformerWeights& grads, const LayerIsDone& done = {}) const;

  /// Hidden states after the final norm, [tokens, hidden], of whole sequences.
  Tensor hidden_states(const Context& context, std::span<const std::int32_t> tokens,
                       const Sequences& sequences) const;

  /// Hidden states after the final norm of tokens that follow those in the cache; the cache grows by them.
  Tensor forward_cached(const Context& context, std::span<const std::int32_t> tokens,
                        LatentCache& cache) const;

  /// Logits [tokens, vocab] of hidden states after the final norm.
  Tensor head(const Context& context, const Tensor& hidden) const;

  [[nodiscard]] const ModelConfig& config() const { return config_; }
  [[nodiscard]] std::int64_t max_positions() const { return rope_.positions(); }

 private:
  /// Rows of the embedding, [tokens, hidden]; throws `Error` for an id outside the vocabulary.
  Tensor embed(std::span<const std::int32_t> tokens) const;

  const ModelConfig& config_;
  const TransformerWeights& weights_;
  RopeTable rope_;
  std::vector<Block> blocks_;
  std::vector<MtpModule> mtp_;
};

}  // namespace fathom
