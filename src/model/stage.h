#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "model/batch.h"
#include "model/block.h"
#include "model/config.h"
#include "model/context.h"
#include "model/losses.h"
#include "model/mtp.h"
#include "model/rope.h"
#include "model/weights.h"
#include "tensor/tensor.h"

namespace fathom {

/// Consecutive layers of a model, [begin, end). With layer 0 goes the embedding, with the last one all that
/// follows it: the final norm, the head, and the MTP modules.
struct LayerRun {
  std::int64_t begin = 0;
  std::int64_t end = 0;

  bool operator==(const LayerRun&) const = default;

  [[nodiscard]] bool has_embedding() const { return begin == 0; }
  [[nodiscard]] bool has_head(const ModelConfig& config) const { return end == config.num_hidden_layers; }
  /// Whether a parameter is read there. `embed_tokens` is so twice, in the last run of several too where it
  /// is the head as well or MTP modules look tokens up.
  [[nodiscard]] bool uses(const ModelConfig& config, const ParameterSpec& spec) const;
};

/// A run of layers as one place computes it: the whole model, or a stage of a pipeline. For one micro-batch
/// comes `forward`, then `backward`, or in its place `backward_input` and some time later `backward_weight`;
/// passes of several micro-batches may come in any order. Split or not, and whatever the runs that a model is
/// cut into, gradients are the same to the bit.
class Stage {
 public:
  /// What a micro-batch's passes keep for the next ones.
  struct Saved {
    struct Mtp {
      MtpModule::Saved module;
      MtpModule::Deltas deltas;
      std::vector<std::int32_t> tokens;  // whose embeddings this depth joined
      Tensor dnormed;     // [tokens, hidden], gradient of this depth's loss at the head's input
      Tensor dembedding;  // [tokens, hidden], gradient at the embeddings, from the input's pass on
    };
    std::vector<Block::Saved> blocks;
    std::vector<Block::Deltas> deltas;  // [blocks], from the input's pass on
    std::vector<Mtp> mtp;
    Tensor output;      // [tokens, hidden], of the last block
    Tensor dnormed;     // [tokens, hidden], gradient of the main loss at the head's input; then of all losses
    Tensor dhead;       // [vocab, hidden], gradient of all cross-entropies at the head's weight
    Tensor dembedding;  // [tokens, hidden], gradient at the embedding's output, from the input's pass on
  };

  /// Keeps references to all but `layers`. Weights that the run does not use may be undefined.
  Stage(const ModelConfig& config, const TransformerWeights& weights, const RopeTable& rope, LayerRun layers);

  /// @param input   [tokens, hidden], the output of the stage before; the first takes the batch's tokens
  /// @param saved   null: evaluation, nothing is kept, and heads are evaluated together
  /// @param losses  receives what is measured here: balance and loads of the stage's own MoE layers, and on
  ///                the last stage the cross-entropies. Logits are made and used a slice of tokens at a time,
  ///                together with their gradient
  /// @return  [tokens, hidden]; undefined on the last stage
  Tensor forward(const Context& context, const Batch& batch, Tensor input, const LossFactors& factors,
                 Saved* saved, Losses& losses) const;

  /// Called with a layer as in `ParameterSpec`.
  using LayerIsDone = std::function<void(std::int64_t layer)>;

  /// grads += scale · d(total loss) / d(parameters), layer by layer; what is saved is freed on the way.
  /// @param doutput  [tokens, hidden], at the output; the last stage takes its losses' instead
  /// @param scale    of the losses in `grads`; `doutput` has it already
  /// @param done     if wanted: called when no more is added to a layer's gradients, from the last MTP
  ///                 module's down, and in the end with -1, where there is an embedding or a head
  /// @return  [tokens, hidden], the gradient at the input; undefined on the first stage
  Tensor backward(const Context& context, const Batch& batch, const LossFactors& factors, double scale,
                  Tensor doutput, Saved& saved, TransformerWeights& grads,
                  const LayerIsDone& done = {}) const;

  /// The first part of `backward`: adds to `saved` what the second one needs.
  Tensor backward_input(const Context& context, const Batch& batch, const LossFactors& factors, double scale,
                        Tensor doutput, Saved& saved) const;
  /// The second: the products of weight gradients, and no others.
  void backward_weight(const Context& context, const Batch& batch, double scale, Saved& saved,
                       TransformerWeights& grads, const LayerIsDone& done = {}) const;

  [[nodiscard]] LayerRun layers() const { return layers_; }
  [[nodiscard]] std::span<const Block> blocks() const { return blocks_; }
  /// Of the last stage.
  [[nodiscard]] std::span<const MtpModule> mtp() const { return mtp_; }

 private:
  /// What a backward pass goes through, one after another.
  struct Part {
    enum class Kind : std::uint8_t { head, mtp, norm, block, embedding };
    Kind kind;
    std::size_t index = 0;  // of an MTP module, of a block
    bool operator==(const Part&) const = default;
  };

  /// The head's losses and the MTP modules.
  void predict(const Context& context, const Batch& batch, const Tensor& output, const LossFactors& factors,
               Saved* saved, Losses& losses) const;
  /// Where a MoE layer counts its load.
  std::vector<std::int64_t>* load_of(bool is_moe, Losses& losses) const;

  /// From the gradient behind a part, where there is one, to that before it.
  Tensor part_input(const Context& context, const Batch& batch, const LossFactors& factors, double scale,
                    Part part, Tensor gradient, Saved& saved) const;
  void part_weight(const Context& context, const Batch& batch, double scale, Part part, Saved& saved,
                   TransformerWeights& grads) const;
  /// No more is added to the gradients of a part's weights.
  void weights_are_done(Part part, const LayerIsDone& done) const;

  const ModelConfig& config_;
  const TransformerWeights& weights_;
  LayerRun layers_;
  std::vector<Block> blocks_;
  std::vector<MtpModule> mtp_;
  std::vector<Part> parts_;  // in the order of a backward pass
};

}  // namespace fathom
