#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dist/communicator.h"
#include "model/batch.h"
#include "model/config.h"
#include "model/losses.h"
#include "text/tokenizer.h"
#include "train/metrics.h"
#include "train/sample_loader.h"
#include "train/token_dataset.h"

namespace fathom {

/// What a model is measured on, of one source: pieces, each read in one forward pass.
struct HeldOutText {
  struct Piece {
    std::int64_t first = 0;  // a place in the source
    std::int64_t count = 0;  // places
    std::int64_t targets = 0;
  };
  std::string name;
  std::vector<Piece> pieces;
  std::function<Batch(const Piece& piece)> read;

  [[nodiscard]] std::int64_t targets() const;
};

/// Held-out text in sequences of the training length that do not overlap and have text of one source each.
/// Keeps references to the sources' tokens; a source may have none.
/// @param targets  how many tokens are predicted, of each source from the second on and as large a part of
///                 it as of the others; 0 or more than there are: all
std::vector<HeldOutText> held_out_text(std::span<const SourceTokens> sources, std::int64_t sequence_length,
                                       std::int64_t sequences_at_once, std::int64_t targets);

/// Held-out samples in packs; at least one. Keeps a reference to them.
std::vector<HeldOutText> held_out_text(const SampleLoader& samples, std::int64_t packs_at_once,
                                       std::int64_t targets);

/// Measures a model on held-out text: always the same tokens, so that figures of one run can be compared.
class Evaluation {
 public:
  Evaluation(std::vector<HeldOutText> texts, const Tokenizer& tokenizer);

  [[nodiscard]] std::int64_t targets() const { return targets_; }

  /// Bits per byte are the nats of all predicted tokens over the bytes that they stand for: BOS, EOS and
  /// other special tokens cost nats but stand for no bytes.
  ///
  /// Who measures a batch: a rank that has the whole model, or those of a pipeline together.
  struct Measurer {
    /// This rank's part of what a batch is measured to be; the sum over the ranks of the measurer is all.
    std::function<Losses(const Batch& batch)> measure;
    int index = 0;
    int count = 1;  // of measurers
    bool needs_others_turns =
        false;  // takes part with a batch of no tokens while others measure the last ones
  };

  /// All ranks call it, each with the same model; measurers take turns at the batches, and what is returned
  /// is of all of them, to the bit the same on every rank and whatever their number.
  [[nodiscard]] EvalMetrics run(const ModelConfig& config, const Measurer& measurer, std::int64_t step,
                                Communicator& ranks) const;

 private:
  /// @param figures  those of the batch (evaluation.cpp)
  /// @param load     [MoE layers · n_routed_experts], added to
  void measure(const Measurer& measurer, const Batch& batch, std::span<double> figures,
               std::span<std::int64_t> load) const;

  std::vector<HeldOutText> texts_;         // those that have targets
  std::int64_t targets_ = 0;               // of all texts
  std::vector<std::int32_t> token_bytes_;  // [vocab]
};

/// "web 2.3104, books 2.8812".
std::string source_loss_text(std::span<const SourceLoss> sources);

/// How many of `wanted` are taken from each part, in proportion to the parts' sizes and at least one where
/// there is one; all where more are wanted than there are.
std::vector<std::int64_t> proportional_counts(std::span<const std::int64_t> sizes, std::int64_t wanted);

/// Loads of each expert, relative to the mean of its layer; zeros where a layer has no load.
std::vector<std::vector<double>> relative_load(const std::vector<std::vector<std::int64_t>>& load);

/// sum += load, layer by layer; an empty sum takes the shape of `load`.
void add_load(std::vector<std::vector<std::int64_t>>& sum,
              const std::vector<std::vector<std::int64_t>>& load);

/// The mean, where there is any.
std::optional<double> mean_of(const std::vector<double>& values);

}  // namespace fathom
