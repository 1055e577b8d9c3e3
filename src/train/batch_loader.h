#pragma once

#include <cstdint>

#include "model/transformer.h"
#include "train/token_dataset.h"

namespace fathom {

/// Cuts a data set into sequences and serves them in a shuffled order, epoch after epoch.
///
/// A sequence is `sequence_length` + 1 tokens that lie together in the data (the last is only a target), so
/// documents are packed without masks between them, as in the report's pre-training. The place in the data is
/// one number, the count of sequences served: sequence `position` is a pure function of (data, length, seed,
/// position). It depends neither on threads, nor on the batch size, nor on what was asked before. Each epoch
/// has its own order and begins at its own offset, so that boundaries move and no tail is left out forever.
class BatchLoader {
 public:
  /// Keeps a reference to `data`. Throws `Error` when the data has not even one sequence.
  BatchLoader(const TokenDataset& data, std::int64_t sequence_length, std::uint64_t seed);

  [[nodiscard]] std::int64_t sequences_per_epoch() const { return per_epoch_; }

  /// Sequences [position, position + count) of the endless order.
  [[nodiscard]] Batch batch(std::int64_t position, std::int64_t count) const;

 private:
  const TokenDataset& data_;
  std::int64_t sequence_length_;
  std::uint64_t seed_;
  std::int64_t per_epoch_;

  /// Index of the first token of a sequence.
  [[nodiscard]] std::int64_t begin_of(std::int64_t position) const;
};

/// `targets` many targets that follow token `first`, in the data's own order, as one batch: sequences of
/// `sequence_length`, the last one shorter where they do not divide. Evaluation walks a split with it so that
/// each token but the very first is a target exactly once.
Batch consecutive_batch(const TokenDataset& data, std::int64_t first, std::int64_t targets,
                        std::int64_t sequence_length);

}  // namespace fathom
