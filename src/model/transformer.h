#pragma once

#include <cstdint>
#include <span>

#include "model/batch.h"
#include "model/config.h"
#include "model/context.h"
#include "model/expert_counts.h"
#include "model/latent_cache.h"
#include "model/losses.h"
#include "model/rope.h"
#include "model/sequences.h"
#include "model/stage.h"
#include "model/weights.h"
#include "tensor/tensor.h"

namespace fathom {

/// The whole model: embedding, blocks, final norm, head, MTP modules.
class Transformer {
 public:
  /// What the backward pass needs of a forward.
  using Saved = Stage::Saved;

  /// Keeps references: config and weights must outlive the model.
  /// @param max_positions  longest sequence that will be asked for
  Transformer(const ModelConfig& config, const TransformerWeights& weights, std::int64_t max_positions);
  Transformer(const Transformer&) = delete;
  Transformer& operator=(const Transformer&) = delete;

  /// Losses of a batch. `saved` null: evaluation, nothing is kept. Logits are made and used a slice of tokens
  /// at a time, together with their gradient.
  Losses forward(const Context& context, const Batch& batch, const LossFactors& factors, Saved* saved) const;

  using LayerIsDone = Stage::LayerIsDone;

  /// grads += scale · d(total loss) / d(parameters). What is saved is freed on the way.
  /// @param done  if wanted: called when no more is added to a layer's gradients, from the last MTP module's
  ///              down, and with -1 for embedding, final norm and head in the end
  void backward(const Context& context, const Batch& batch, const LossFactors& factors, double scale,
                Saved& saved, TransformerWeights& grads, const LayerIsDone& done = {}) const;

  /// Hidden states after the final norm, [tokens, hidden], of whole sequences.
  Tensor hidden_states(const Context& context, std::span<const std::int32_t> tokens,
                       const Sequences& sequences) const;

  /// Hidden states after the final norm, [tokens, hidden], of tokens that follow those in their sequences'
  /// caches, which grow by them. Of each sequence they are what a pass of its own gives, but for rounding:
  /// how products are cut may depend on how many tokens there are. No tokens at all are legal, where other
  /// ranks need the experts of this one.
  /// @param tokens  of all sequences, one after another
  /// @param counts  where given, this pass's are added
  Tensor forward_cached(const Context& context, std::span<const std::int32_t> tokens,
                        const CachedTokens<LatentCache>& batch, ExpertCounts* counts = nullptr) const;
  /// The same of one sequence.
  Tensor forward_cached(const Context& context, std::span<const std::int32_t> tokens,
                        LatentCache& cache) const;

  [[nodiscard]] std::int64_t mtp_modules() const { return static_cast<std::int64_t>(stage_.mtp().size()); }
  /// A cache for one MTP module and one sequence.
  [[nodiscard]] LatentCache make_mtp_cache(std::int64_t capacity) const;
  /// What an MTP module makes of each token and the state before it: the state that the head turns into the
  /// logits of the token after, and that the next module takes, [tokens, hidden]. The rows follow those in
  /// the module's own caches, which grow by them.
  /// @param module  0 takes the states of `forward_cached`, module k those of module k - 1
  /// @param tokens  of all sequences, one after another: with the state at position i goes token i + 1 +
  /// module
  /// @param states  [tokens, hidden]
  /// @param batch   with caches of `make_mtp_cache`
  Tensor mtp_forward_cached(const Context& context, std::int64_t module, std::span<const std::int32_t> tokens,
                            const Tensor& states, const CachedTokens<LatentCache>& batch) const;

  /// Logits [tokens, vocab] of hidden states after the final norm.
  Tensor head(const Context& context, const Tensor& hidden) const;

  [[nodiscard]] const ModelConfig& config() const { return config_; }
  [[nodiscard]] std::int64_t max_positions() const { return rope_.positions(); }

 private:
  const ModelConfig& config_;
  const TransformerWeights& weights_;
  RopeTable rope_;
  Stage stage_;  // of all layers
};

}  // namespace fathom
