#pragma once

#include <cstdint>
#include <vector>

#include "model/context.h"
#include "model/transformer.h"
#include "text/tokenizer.h"
#include "train/metrics.h"
#include "train/token_dataset.h"

namespace fathom {

/// Measures a model on held-out text: always the same tokens, in sequences of the training length that do not
/// overlap, so that figures of one run can be compared.
class Evaluation {
 public:
  /// Keeps a reference to `data`.
  /// @param targets  how many tokens are predicted, from the second on; 0 or more than there are: all
  Evaluation(const TokenDataset& data, const Tokenizer& tokenizer, std::int64_t sequence_length,
             std::int64_t sequences_at_once, std::int64_t targets);

  [[nodiscard]] std::int64_t targets() const { return targets_; }

  /// Bits per byte are the nats of all predicted tokens over the bytes that they stand for: BOS, EOS and
  /// other special tokens cost nats but stand for no bytes.
  [[nodiscard]] EvalMetrics run(const Context& context, const Transformer& model, std::int64_t step) const;

 private:
  const TokenDataset& data_;
  std::int64_t sequence_length_;
  std::int64_t batch_targets_;
  std::int64_t targets_;
  std::vector<std::int32_t> token_bytes_;  // [vocab]
};

/// Loads of each expert, relative to the mean of its layer; zeros where a layer has no load.
std::vector<std::vector<double>> relative_load(const std::vector<std::vector<std::int64_t>>& load);

/// sum += load, layer by layer; an empty sum takes the shape of `load`.
void add_load(std::vector<std::vector<std::int64_t>>& sum,
              const std::vector<std::vector<std::int64_t>>& load);

/// The mean, where there is any.
std::optional<double> mean_of(const std::vector<double>& values);

}  // namespace fathom
